//! The canary test: each secret of a run is a word that occurs nowhere else. The test searches for it in everything
//! that rbake writes, prints, sends to other hosts, or passes to programs that do not need it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};
use crate::support::pty::Terminal;
use crate::support::registry::{FakeRegistry, Login};

/// A secret, and the only place that may receive it.
struct Canary {
    name: &'static str,
    word: String,
}

impl Canary {
    fn new(name: &'static str) -> Self {
        // Only letters and digits, so that base64 and hexadecimal are the only encodings that change it.
        let word = format!("Canary{}{}", name.replace('-', ""), std::process::id());
        Self { name, word }
    }

    // The forms to search for: the word itself, in hexadecimal, and in base64 at each of the three offsets.
    fn forms(&self) -> Vec<String> {
        let mut forms = vec![self.word.clone()];
        for shift in 0..3 {
            let text = [&b"xxx"[..shift], self.word.as_bytes()].concat();
            for engine in [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD] {
                let encoded = engine.encode(&text);
                // Cut off the characters that also encode bits of the neighbouring text.
                let from = if shift == 0 { 0 } else { shift + 1 };
                forms.push(encoded[from..encoded.len() - 2].to_owned());
            }
        }
        forms.push(hex::encode(&self.word));
        forms
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        let holds = |form: &String| bytes.windows(form.len()).any(|w| w == form.as_bytes());
        self.forms().iter().any(holds)
    }
}

/// All secrets of the run.
struct Canaries {
    all: Vec<Canary>,
}

impl Canaries {
    fn new() -> Self {
        Self::of(&[
            "file",
            "variable",
            "git",
            "basic",
            "token-basic",
            "identity",
            "registry-token",
            "helper",
            "overlay",
            "access",
            "remote",
            "actions",
        ])
    }

    fn of(names: &[&'static str]) -> Self {
        Self {
            all: names.iter().copied().map(Canary::new).collect(),
        }
    }

    fn word(&self, name: &str) -> &str {
        let canary = self.all.iter().find(|canary| canary.name == name);
        &canary.unwrap().word
    }

    // The names of the secrets that occur in `bytes`.
    fn found_in(&self, bytes: &[u8]) -> BTreeSet<&'static str> {
        let found = self.all.iter().filter(|canary| canary.is_in(bytes));
        found.map(|canary| canary.name).collect()
    }
}

/// The registries of the run. Each has its own secret.
struct Hosts {
    basic: FakeRegistry,
    token_basic: FakeRegistry,
    identity: FakeRegistry,
    registry_token: FakeRegistry,
    helper: FakeRegistry,
    overlay: FakeRegistry,
    git: FakeRegistry,
    actions: FakeRegistry,
    bystander: FakeRegistry,
}

impl Hosts {
    fn start(canaries: &Canaries) -> Self {
        let token = || FakeRegistry::start(Login::Token(canaries.word("access").to_owned()));
        Self {
            basic: FakeRegistry::start(Login::Basic),
            token_basic: token(),
            identity: token(),
            registry_token: token(),
            helper: token(),
            overlay: token(),
            git: FakeRegistry::start(Login::Basic),
            actions: FakeRegistry::start(Login::Basic),
            bystander: token(),
        }
    }

    // Each host, with the secrets that it may receive.
    fn all(&self) -> [(&FakeRegistry, &'static [&'static str]); 9] {
        [
            (&self.basic, &["basic"]),
            (&self.token_basic, &["token-basic", "access"]),
            (&self.identity, &["identity", "access"]),
            (&self.registry_token, &["registry-token"]),
            (&self.helper, &["helper", "access"]),
            (&self.overlay, &["overlay", "access"]),
            (&self.git, &["git"]),
            (&self.actions, &["actions"]),
            (&self.bystander, &["access"]),
        ]
    }
}

fn auth(user: &str, password: &str) -> String {
    BASE64_STANDARD.encode(format!("{user}:{password}"))
}

// A token with the format of GitHub's, because the daemon reads a claim from it.
fn token_of_actions(word: &str) -> String {
    let claims =
        r#"{"exp":4102444800,"nbf":1,"ac":"[{\"Scope\":\"refs/heads/main\",\"Permission\":3}]"}"#;
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    // The daemon decodes the signature, so its base64 text gets a length that needs no padding.
    let fill = "A".repeat((4 - word.len() % 4) % 4);
    format!(
        "{}.{}.{word}{fill}",
        part(r#"{"alg":"HS256"}"#),
        part(claims)
    )
}

const DEFINITION: &str = r#"
target "default" {
  secret   = ["id=file,src=secret-file", "id=variable,env=SECRET_VARIABLE", "id=unused,env=GIT_SECRET"]
  attest   = ["type=provenance,mode=max"]
  output   = ["type=local,dest=out"]
  no-cache = true
}
target "cached" {
  dockerfile-inline = "FROM busybox\nARG NONCE\nRUN echo $NONCE\n"
  cache-from        = ["type=gha,scope=canary"]
  secret            = ["id=variable,env=SECRET_VARIABLE", "id=unused,env=GIT_SECRET"]
}
target "git" {
  context = "http://<git host>/repository.git"
  secret  = ["id=GIT_AUTH_TOKEN,env=GIT_SECRET", "id=variable,env=SECRET_VARIABLE"]
}
"#;

// A credential helper, and a git before the real one in `PATH`. Both record their environment and arguments.
const NOTE: &str = "{ tr '\\0' '\\n' < /proc/$$/environ; tr '\\0' '\\n' < /proc/$$/cmdline; } >> $HOME/../given-to-NAME";

struct Stage {
    project: TestProject,
    hosts: Hosts,
    canaries: Canaries,
}

impl Stage {
    fn set(address: &str) -> Self {
        let canaries = Canaries::new();
        let hosts = Hosts::start(&canaries);
        let project = TestProject::new();
        std::fs::write(project.path().join("secret-file"), canaries.word("file")).unwrap();
        let config = format!(
            r#"{{"auths":{{
                "{}":{{"auth":"{}"}},
                "{}":{{"auth":"{}"}},
                "{}":{{"identitytoken":"{}"}},
                "{}":{{"registrytoken":"{}"}}}},
              "credHelpers":{{"{}":"canary"}}}}"#,
            hosts.basic.host(),
            auth("user", canaries.word("basic")),
            hosts.token_basic.host(),
            auth("user", canaries.word("token-basic")),
            hosts.identity.host(),
            canaries.word("identity"),
            hosts.registry_token.host(),
            canaries.word("registry-token"),
            hosts.helper.host(),
        );
        let overlay = format!(
            r#"{{"auths":{{"{}":{{"auth":"{}"}}}}}}"#,
            hosts.overlay.host(),
            auth("user", canaries.word("overlay"))
        );
        let note = |name: &str| NOTE.replace("NAME", name);
        let helper = format!(
            "{}\necho '{{\"Username\":\"u\",\"Secret\":\"{}\"}}'",
            note("helper"),
            canaries.word("helper")
        );
        let git = format!("{}\nexec /usr/bin/git \"$@\"", note("git"));
        let project = project
            .file(
                "docker-bake.hcl",
                DEFINITION.replace("<git host>", &hosts.git.host()),
            )
            .file("Dockerfile", dockerfile(&hosts))
            .docker_config(&config)
            .program_in_path("docker-credential-canary", &helper)
            .program_in_path("git", &git)
            .env("DOCKER_AUTH_CONFIG", overlay)
            .env("SECRET_VARIABLE", canaries.word("variable"))
            .env("GIT_SECRET", canaries.word("git"))
            .env(
                "ACTIONS_RUNTIME_TOKEN",
                token_of_actions(canaries.word("actions")),
            )
            .env(
                "ACTIONS_RESULTS_URL",
                format!("http://{}/", hosts.actions.host()),
            )
            .env("ACTIONS_CACHE_SERVICE_V2", "1")
            .env("BUILDKIT_HOST", address);
        let stage = Self {
            project,
            hosts,
            canaries,
        };
        let remote = format!(
            "https://user:{}@example.com/r.git",
            stage.canaries.word("remote")
        );
        for arguments in [
            vec!["init", "-q"],
            vec![
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                "x",
            ],
            vec!["remote", "add", "origin", &remote],
        ] {
            let path = stage.project.path();
            let status = Command::new("git")
                .arg("-C")
                .arg(path)
                .args(arguments)
                .status();
            assert!(status.unwrap().success());
        }
        stage
    }

    fn root(&self) -> PathBuf {
        self.project.home().join("..").canonicalize().unwrap()
    }

    // Fails if `text` contains a secret.
    fn check_text(&self, what: &str, text: &str) {
        let found = self.canaries.found_in(text.as_bytes());
        assert!(found.is_empty(), "{what}: {found:?} in\n{text}");
    }

    // Runs `rbake` with the most detailed log, checks that the log has no secret and no value of a build argument, and
    // returns the log.
    fn logged(&self, arguments: &[&str], code: i32) -> String {
        let path = self.root().join("log");
        let mut command = self.project.command(arguments);
        command
            .arg("--log-file")
            .arg(&path)
            .env("RBAKE_LOG", "trace");
        let output = self.project.read(&command.output().unwrap());
        assert_eq!(output.code, Some(code), "{arguments:?}: {output}");
        let log = std::fs::read_to_string(&path).unwrap();
        self.check_text(&format!("the log of {arguments:?}"), &log);
        // The same holds if the log goes to standard error, together with the progress.
        let mut command = self.project.command(arguments);
        command.env("RBAKE_LOG", "trace");
        let output = self.project.read(&command.output().unwrap());
        assert_eq!(output.code, Some(code), "{arguments:?}: {output}");
        self.check_output(&format!("{arguments:?} with its log"), &output);
        log
    }

    fn check_output(&self, what: &str, output: &CommandOutput) {
        self.check_text(what, &output.stdout);
        self.check_text(what, &output.stderr);
    }

    // Fails if a secret is in any file, except those in which the user put it.
    fn check_files(&self, what: &str) {
        let given = [
            self.project.path().join("secret-file"),
            self.project.home().join(".docker/config.json"),
            self.project.home().join("bin/docker-credential-canary"),
            self.project.path().join(".git/config"),
        ];
        let mut files = Vec::new();
        files_below(&self.root(), &mut files);
        assert!(files.len() > 10, "{files:?}");
        for file in files.iter().filter(|file| !given.contains(file)) {
            let found = self.canaries.found_in(&std::fs::read(file).unwrap());
            assert!(found.is_empty(), "{what}: {found:?} in {}", file.display());
        }
        for program in ["helper", "git"] {
            let given = std::fs::read_to_string(self.root().join(format!("given-to-{program}")));
            let given = given.unwrap_or_else(|error| panic!("{program} was not started: {error}"));
            assert!(given.contains("HOME="), "{program} was given: {given}");
        }
    }

    // Fails if a host received a secret that is not meant for it.
    fn check_hosts(&self) {
        for (host, allowed) in self.hosts.all() {
            let requests = host.requests().join("\n");
            let found = self.canaries.found_in(requests.as_bytes());
            let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
            let unexpected: Vec<_> = found.difference(&allowed).collect();
            assert!(
                unexpected.is_empty(),
                "{unexpected:?} was sent to {}:\n{requests}",
                host.host()
            );
        }
    }
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_below(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

// Pulls from every registry, and uses the secrets in a step that does not print them.
fn dockerfile(hosts: &Hosts) -> String {
    let pulled = [
        &hosts.basic,
        &hosts.token_basic,
        &hosts.identity,
        &hosts.registry_token,
        &hosts.helper,
        &hosts.overlay,
        &hosts.bystander,
    ];
    let mut text = String::new();
    let mut copies = String::new();
    for (number, host) in pulled.iter().enumerate() {
        writeln!(text, "FROM {}/app:1 AS s{number}", host.host()).unwrap();
        writeln!(copies, "COPY --from=s{number} /f /{number}").unwrap();
    }
    text.push_str("FROM busybox AS uses\nRUN --mount=type=secret,id=file,required=true --mount=type=secret,id=variable,required=true,env=V cat /run/secrets/file | sha256sum > /sum; echo $V | sha256sum >> /sum\n");
    text.push_str("FROM scratch\nCOPY --from=uses /sum /sum\n");
    text + &copies
}

#[test]
#[ignore = "needs live peers"]
fn no_secret_of_a_run_is_written_printed_or_sent_to_the_wrong_host() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let stage = Stage::set(&address);
    let project = &stage.project;
    // The daemon asks only the first run for all credentials, because it keeps tokens.
    let log = stage.logged(&["-D", "--progress=rawjson"], 0);
    for event in [
        "secret asked for id=variable",
        "kind=\"basic\"",
        "kind=\"identity token\"",
        "kind=\"registry token\"",
        "credential helper program=\"docker-credential-canary\"",
        "token fetched",
        "output ended",
    ] {
        assert!(log.contains(event), "`{event}` is not in\n{log}");
    }
    for mode in ["plain", "rawjson", "quiet", "auto"] {
        let progress = format!("--progress={mode}");
        let output = project.rbake(&["-D", &progress, "--metadata-file", "meta.json"]);
        assert_eq!(output.code, Some(0), "{mode}: {output}");
        stage.check_output(mode, &output);
        stage.check_files(mode);
    }
    for (number, mode) in ["--progress=plain", "--progress=rawjson"]
        .iter()
        .enumerate()
    {
        let set = format!("cached.args.NONCE={}-{number}", std::process::id());
        let output = project.rbake(&["cached", "-D", mode, "--set", &set]);
        assert_eq!(output.code, Some(0), "{output}");
        stage.check_output(&format!("cached {mode}"), &output);
    }
    let argument = Canary::new("argument");
    let set = format!("cached.args.NONCE={}", argument.word);
    let log = stage.logged(&["cached", "-D", "--progress=quiet", "--set", &set], 0);
    assert!(!argument.is_in(log.as_bytes()), "{log}");
    let command = project.command(&["-D", "--progress=tty"]);
    let terminal = Terminal::start(Path::new(command.get_program()), &command).read_to_end();
    let terminal = String::from_utf8_lossy(&terminal).into_owned();
    assert!(terminal.contains("1 target built"), "{terminal}");
    stage.check_text("tty", &terminal);
    for arguments in [
        ["--print", "default"].as_slice(),
        &["--print", "git"],
        &["--list=targets"],
        &["--list=variables"],
        &["--print", "default", "--set", "*.args.A=1", "-D"],
    ] {
        let output = project.rbake(arguments);
        assert_eq!(output.code, Some(0), "{output}");
        stage.check_output(&arguments.join(" "), &output);
    }
    // Failing runs, with the most details.
    for arguments in [["git", "-D"], ["default", "-D"]] {
        if arguments[0] == "default" {
            let broken = dockerfile(&stage.hosts).replace("> /sum;", "> /sum; exit 7;");
            std::fs::write(project.path().join("Dockerfile"), broken).unwrap();
        }
        for mode in ["--progress=plain", "--progress=rawjson"] {
            let output = project.rbake(&[arguments[0], arguments[1], mode]);
            assert_eq!(output.code, Some(1), "{output}");
            stage.check_output(&format!("{arguments:?} {mode}"), &output);
        }
        let log = stage.logged(&[arguments[0], arguments[1], "--progress=quiet"], 1);
        assert!(log.contains("target failed"), "{log}");
    }
    stage.check_files("in the end");
    stage.check_hosts();
    for (host, needed) in stage.hosts.all() {
        let requests = host.requests().join("\n");
        let found = stage.canaries.found_in(requests.as_bytes());
        assert_eq!(
            found,
            needed.iter().copied().collect(),
            "{} was asked:\n{requests}",
            host.host()
        );
    }
}

#[test]
fn the_search_finds_a_secret_in_every_encoding() {
    let canary = Canary::new("file");
    for shift in 0..9 {
        let text = format!("{}{}{}", "u".repeat(shift), canary.word, ":p");
        for text in [
            text.clone(),
            BASE64_STANDARD.encode(&text),
            BASE64_URL_SAFE_NO_PAD.encode(&text),
            hex::encode(&text),
        ] {
            assert!(canary.is_in(text.as_bytes()), "{text}");
        }
    }
    assert!(!canary.is_in(b"Canary"));
}

/// Attributes of a target, and its Dockerfile. One of them has the secret in an address.
const ADDRESSES: [(&str, &str); 5] = [
    ("context = \"http://u:${WORD}@127.0.0.1:1/x.git\"", ""),
    ("context = \"http://${WORD}@127.0.0.1:1/x.tgz\"", ""),
    (
        "args = { WORD = WORD }",
        "FROM scratch\nARG WORD\nADD http://u:$WORD@127.0.0.1:1/x /x\n",
    ),
    (
        "contexts = { x = \"docker-img://u:${WORD}@h/x\" }",
        "FROM x\n",
    ),
    ("tags = [\"https://u:${WORD}@h/x\"]", "FROM scratch\n"),
];

#[test]
#[ignore = "needs live peers"]
fn a_password_in_an_address_is_never_shown() {
    let daemon = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let canary = Canary::new("address");
    let project = |target: &str, dockerfile: &str| {
        let definition = format!("variable \"WORD\" {{}}\ntarget \"default\" {{\n  {target}\n}}\n");
        TestProject::new()
            .file("docker-bake.hcl", definition)
            .file("Dockerfile", dockerfile)
    };
    for (target, dockerfile) in ADDRESSES {
        for progress in ["plain", "rawjson", "quiet"] {
            let output = project(target, dockerfile)
                .env("WORD", &canary.word)
                .env("BUILDKIT_HOST", &daemon)
                .env("RBAKE_LOG", "trace")
                .rbake(&["--progress", progress]);
            assert_ne!(output.code, Some(0), "{target}: {output}");
            let text = output.to_string();
            assert!(!canary.is_in(text.as_bytes()), "{target}: {output}");
        }
    }
    for address in [
        "u:$@h:1",
        "unix:u:$@h:1",
        "tcp://u:$@h",
        "grpc://u:$@h:1",
        "unix://u:$@h",
    ] {
        for variable in ["BUILDKIT_HOST", "DOCKER_HOST"] {
            let output = project("", "FROM scratch\n")
                .env(variable, address.replace('$', &canary.word))
                .env("RBAKE_LOG", "trace")
                .rbake(&[]);
            assert_eq!(output.code, Some(4), "{address}: {output}");
            let text = output.to_string();
            assert!(!canary.is_in(text.as_bytes()), "{address}: {output}");
        }
    }
}

/// Caches in clouds. Both are imported and exported, and neither works.
const CLOUDS: &str = r#"
variable "ACCOUNT_KEY" {}
variable "NONCE" {}
target "default" {
  dockerfile-inline = "FROM busybox\nARG NONCE\nRUN echo $NONCE\n"
  args       = { NONCE = NONCE }
  output     = ["type=cacheonly"]
  cache-from = caches
  cache-to   = caches
}
variable "caches" {
  default = [
    "type=s3,bucket=b,region=r,use_path_style=true,retry_max_attempts=1,endpoint_url=http://<s3>",
    "type=azblob,account_url=http://<azure>/a,account_name=a,secret_access_key=${ACCOUNT_KEY}",
  ]
}
"#;

#[test]
#[ignore = "needs live peers"]
fn the_keys_of_caches_in_clouds_are_neither_printed_nor_sent() {
    let canaries = Canaries::of(&["aws-id", "aws-secret", "aws-session", "account"]);
    let account_key = BASE64_STANDARD.encode(canaries.word("account"));
    let [s3, azure] = [(); 2].map(|()| FakeRegistry::start(Login::Basic));
    let definition = CLOUDS
        .replace("<s3>", &s3.host())
        .replace("<azure>", &azure.host());
    let project = TestProject::new()
        .file("docker-bake.hcl", definition)
        .env("ACCOUNT_KEY", &account_key)
        .env("AWS_ACCESS_KEY_ID", canaries.word("aws-id"))
        .env("AWS_SECRET_ACCESS_KEY", canaries.word("aws-secret"))
        .env("AWS_SESSION_TOKEN", canaries.word("aws-session"))
        .env("BUILDX_METADATA_PROVENANCE", "max")
        .env("BUILDX_METADATA_WARNINGS", "1")
        .env("BUILDKIT_HOST", peers::peer("RBAKE_TEST_BUILDKIT_ADDR"));
    let check = |what: &str, text: &[u8]| {
        let found = canaries.found_in(text);
        let text = String::from_utf8_lossy(text);
        assert!(found.is_empty(), "{what}: {found:?} in\n{text}");
    };
    for mode in ["plain", "rawjson", "quiet", "auto"] {
        let nonce = format!("{mode}{}", std::process::id());
        let progress = format!("--progress={mode}");
        let words = [
            "-D",
            &progress,
            "--metadata-file",
            "meta.json",
            "--log-file",
            "log",
        ];
        let mut command = project.command(&words);
        command.env("RBAKE_LOG", "trace").env("NONCE", nonce);
        let output = project.read(&command.output().unwrap());
        assert_eq!(output.code, Some(1), "{output}");
        check(mode, output.to_string().as_bytes());
        for place in ["s3:b/buildkit", "/a/buildkit-cache/buildkit"] {
            assert!(output.stderr.contains(place), "{place}: {output}");
        }
    }
    let root = project.home().join("..").canonicalize().unwrap();
    let mut files = Vec::new();
    files_below(&root, &mut files);
    for name in ["log", "meta.json"] {
        let path = project.path().join(name);
        assert!(files.contains(&path.canonicalize().unwrap()), "{files:?}");
    }
    for file in files {
        check(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
    // What a definition says is printed, as by buildx, but not what the environment adds.
    let printed = project.rbake(&["--print"]);
    assert_eq!(printed.code, Some(0), "{printed}");
    let found = canaries.found_in(printed.to_string().as_bytes());
    assert_eq!(found, BTreeSet::from(["account"]), "{printed}");
    // A request is signed with the keys. They are not in it.
    for (host, allowed) in [
        (&s3, BTreeSet::from(["aws-id", "aws-session"])),
        (&azure, BTreeSet::new()),
    ] {
        let requests = host.requests().join("\n");
        assert!(requests.contains("buildkit"), "{requests}");
        assert_eq!(
            canaries.found_in(requests.as_bytes()),
            allowed,
            "{requests}"
        );
    }
}
