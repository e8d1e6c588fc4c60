//! Definitions that the builder fetches: from repositories and from addresses with HTTP, beside buildx.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::fake_services::exchange::{Answer, serve};
use crate::support::git_server::GitServer;
use crate::support::layout::{blob, described, entries, unpack};
use crate::support::project::{CommandOutput, TestProject};
use crate::support::{peers, predicates};

const DEFINITION: &str = r#"
group "default" { targets = ["app", "root", "named", "inline"] }
target "app" {
  context = "./app/"
  output  = ["type=local,dest=out/app"]
}
target "root" {
  dockerfile = "app/Dockerfile.root"
  output     = ["type=local,dest=out/root"]
}
target "named" {
  context    = "app"
  contexts   = { other = "other", all = ".", app = "target:app" }
  dockerfile = "Dockerfile.named"
  output     = ["type=local,dest=out/named"]
}
target "inline" {
  context           = "other"
  dockerfile-inline = "FROM scratch\nCOPY sub /\n"
  output            = ["type=local,dest=out/inline"]
}
target "own" {
  context           = BAKE_CMD_CONTEXT
  dockerfile-inline = "FROM scratch\nCOPY mine /\n"
  output            = ["type=local,dest=out/own"]
}
"#;

const FILES: [(&str, &str); 7] = [
    ("docker-bake.hcl", DEFINITION),
    ("app/Dockerfile", "FROM scratch\nCOPY . /\n"),
    ("app/Dockerfile.root", "FROM scratch\nCOPY other/sub /\n"),
    (
        "app/Dockerfile.named",
        "FROM scratch\nCOPY --from=other / /other\nCOPY --from=all docker-bake.hcl /\nCOPY --from=app /a /a\n",
    ),
    ("app/a", "a"),
    ("app/.dockerignore", "Dockerfile*\n.dockerignore\n"),
    ("other/sub/b", "b"),
];

// The files below `dir`, by their paths.
fn tree(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            found.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
    found
}

#[track_caller]
fn passes(output: &CommandOutput) {
    assert_eq!(output.code, Some(0), "{output}");
}

fn project() -> TestProject {
    TestProject::new()
        .file("mine", "mine")
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", 1)
}

#[test]
#[ignore = "needs live peers"]
fn definitions_in_repositories_are_printed_and_built_as_by_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let server = GitServer::serving(&FILES, None);
    for end in ["", "#main", "?branch=main", "#refs/heads/main:"] {
        let url = format!("{}{end}", server.url());
        let printed = Baker::ALL.map(|baker| {
            let output = bakers.bake(baker, &project(), &["--print", &url, "default", "own"]);
            passes(&output);
            output.stdout
        });
        assert_eq!(printed[0], printed[1], "{url}");
        let built = Baker::ALL.map(|baker| {
            let project = project();
            let words = ["--allow", "fs.write=out", &url, "default", "own"];
            passes(&bakers.bake(baker, &project, &words));
            tree(&project.path().join("out"))
        });
        assert_eq!(built[0], built[1], "{url}");
        for made in [
            "app/a",
            "root/b",
            "named/other/sub/b",
            "named/a",
            "inline/b",
            "own/mine",
        ] {
            assert!(built[0].contains_key(made), "{made}: {built:?}");
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_directory_of_a_repository_has_a_definition_too() {
    let definition =
        "target \"default\" {\n  context = \"deep\"\n  output = [\"type=local,dest=out\"]\n}\n";
    let files = [
        ("at/docker-bake.hcl", definition),
        ("at/deep/Dockerfile", "FROM scratch\nCOPY x /\n"),
        ("at/deep/x", "x"),
    ];
    let server = GitServer::serving(&files, None);
    let bakers = Bakers::on_the_shared_daemon();
    for url in [
        format!("{}#main:at", server.url()),
        format!("{}?subdir=at&ref=main", server.url()),
    ] {
        let both = Baker::ALL.map(|baker| {
            let project = project();
            let printed = bakers.bake(baker, &project, &["--print", &url]);
            passes(&printed);
            passes(&bakers.bake(baker, &project, &["--allow", "fs.write=out", &url]));
            let made = std::fs::read_to_string(project.path().join("out/x")).unwrap();
            (printed.stdout, made)
        });
        assert_eq!(both[0], both[1], "{url}");
        assert_eq!(both[0].1, "x");
    }
}

#[test]
#[ignore = "needs live peers"]
fn images_from_repositories_are_those_of_buildx_with_their_provenance() {
    let bakers = Bakers::on_the_shared_daemon();
    let server = GitServer::serving(&FILES, None);
    for (target, mode) in [("app", "min"), ("named", "max"), ("inline", "max")] {
        let made = Baker::ALL.map(|baker| {
            let project = TestProject::new();
            let attest = format!("*.attest=type=provenance,mode={mode}");
            let words = [
                "--allow",
                "fs.write=app.tar",
                "--set",
                &attest,
                "--set",
                "*.output=type=oci,dest=app.tar",
                &server.url(),
                target,
            ];
            passes(&bakers.bake(baker, &project, &words));
            let dir = project.path().join("unpacked");
            unpack(&project.path().join("app.tar"), &dir);
            let mut provenance = provenance(&dir);
            predicates::normalize(&mut provenance);
            without_inputs(&mut provenance);
            (described(&dir), provenance)
        });
        assert_eq!(made[0], made[1], "{target} {mode}");
        let text = made[0].1.to_string();
        assert!(text.contains(&server.url()), "{text}");
    }
}

// BuildKit notes the requests of inputs as it finds them among those of all builds that are running, which differ from run to
// run if targets that link to each other are built at the same time.
fn without_inputs(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove("inputs");
            fields.values_mut().for_each(without_inputs);
        }
        Value::Array(items) => items.iter_mut().for_each(without_inputs),
        _ => {}
    }
}

// The provenance of the only image in the layout `dir`.
fn provenance(dir: &Path) -> Value {
    let index = blob(dir, entries(dir)[0]["digest"].as_str().unwrap());
    let manifests = index["manifests"].as_array().unwrap();
    let attested = manifests
        .iter()
        .find(|one| one["annotations"]["vnd.docker.reference.type"] == "attestation-manifest");
    let manifest = blob(dir, attested.unwrap()["digest"].as_str().unwrap());
    let statement = blob(dir, manifest["layers"][0]["digest"].as_str().unwrap());
    statement["predicate"].clone()
}

#[test]
#[ignore = "needs live peers"]
fn files_of_a_definition_are_at_the_address_or_local() {
    let bakers = Bakers::on_the_shared_daemon();
    let second = "target \"app\" {\n  tags = [\"x:remote\"]\n}\n";
    let files = [FILES.as_slice(), &[("more/second.hcl", second)]].concat();
    let server = GitServer::serving(&files, None);
    let own = "target \"app\" {\n  tags = [\"x:local\"]\n}\n";
    let url = server.url();
    for files in [
        vec!["docker-bake.hcl", "more/second.hcl"],
        vec!["docker-bake.hcl", "cwd://own.hcl"],
        vec!["cwd://own.hcl", "docker-bake.hcl"],
        vec!["cwd://own.hcl"],
    ] {
        let mut words = vec!["--print"];
        words.extend(files.into_iter().flat_map(|file| ["-f", file]));
        words.extend([&*url, "app"]);
        let printed = Baker::ALL.map(|baker| {
            let project = project().file("own.hcl", own);
            let output = bakers.bake(baker, &project, &words);
            passes(&output);
            output.stdout
        });
        assert_eq!(printed[0], printed[1], "{words:?}");
        assert!(printed[0].contains("\"x:"), "{words:?} {}", printed[0]);
    }
}

#[test]
#[ignore = "needs live peers"]
fn downloads_are_the_definition_or_an_archive_with_it() {
    let bakers = Bakers::on_the_shared_daemon();
    let archive = archive();
    let single = "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY mine /\\n\"\n  output = [\"type=local,dest=out\"]\n}\n";
    // Longer than what is read first, to see whether it is an archive.
    let long = "# a long comment\n".repeat(500) + single;
    let address = serve(move |asked, _| {
        let body = match asked.path.as_str() {
            "/docker-bake.hcl" => single.into(),
            "/long.hcl" => long.clone().into_bytes(),
            "/a.tar" => archive.clone(),
            _ => return Some(Answer::empty(404)),
        };
        Some(Answer(200, Vec::new(), body))
    });
    let url = format!("http://{address}/docker-bake.hcl");
    let both = Baker::ALL.map(|baker| {
        let project = project();
        let words = ["--allow", "fs.write=out", &url];
        passes(&bakers.bake(baker, &project, &words));
        (
            bakers.bake(baker, &project, &["--print", &url]).stdout,
            tree(&project.path().join("out")),
        )
    });
    assert_eq!(both[0], both[1]);
    // buildx v0.36.1 takes the first 1024 bytes of a longer one.
    let project = project();
    let long = format!("http://{address}/long.hcl");
    passes(&project_bakes(&bakers, &project, &[&long]));
    assert_eq!(tree(&project.path().join("out")), both[0].1);
    // buildx v0.36.1 fails here: "invalid input type *llb.State for copy".
    let url = format!("http://{address}/a.tar");
    passes(&project_bakes(&bakers, &project, &[&url, "default", "own"]));
    let made = |name: &str| std::fs::read_to_string(project.path().join("out").join(name));
    for (name, text) in [
        ("app/a", "a"),
        ("root/b", "b"),
        ("named/other/sub/b", "b"),
        ("own/mine", "mine"),
    ] {
        assert_eq!(made(name).unwrap(), text, "{name}");
    }
    let absent = project_bakes(&bakers, &project, &[&format!("http://{address}/nope.hcl")]);
    assert_eq!(absent.code, Some(3), "{absent}");
    assert!(
        absent.stderr.contains("definition::not-fetched"),
        "{absent}"
    );
    assert!(absent.stderr.contains("404"), "{absent}");
}

fn project_bakes(bakers: &Bakers, project: &TestProject, words: &[&str]) -> CommandOutput {
    bakers.bake(Baker::Rbake, project, words)
}

// The files as a tar archive.
fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in FILES {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, text.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
#[ignore = "needs live peers"]
fn private_repositories_are_fetched_with_a_token_that_nobody_sees() {
    const TOKEN: &str = "ghp-of-the-definition";
    let bakers = Bakers::on_the_shared_daemon();
    let server = GitServer::serving(&FILES, Some(TOKEN));
    let url = server.url();
    let refused = project_bakes(&bakers, &project(), &[&url, "app"]);
    assert_eq!(refused.code, Some(3), "{refused}");
    assert!(refused.stderr.contains("docs/remote.md"), "{refused}");
    // The context `root` is fetched by its address, with the same token; `app` is a part of the definition's tree.
    for baker in Baker::ALL {
        let project = project().env("BUILDX_BAKE_GIT_AUTH_TOKEN", TOKEN);
        let words = [
            "--allow",
            "fs.write=out",
            "--progress=plain",
            &url,
            "app",
            "root",
        ];
        let output = bakers.bake(baker, &project, &words);
        passes(&output);
        assert!(!format!("{output}").contains(TOKEN), "{output}");
        assert!(project.path().join("out/app/a").exists());
        assert!(project.path().join("out/root/b").exists());
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_second_address_is_the_command_context_and_a_dockerfile_may_be_local() {
    let bakers = Bakers::on_the_shared_daemon();
    let definition = r#"
target "default" {
  context           = BAKE_CMD_CONTEXT
  dockerfile-inline = "FROM scratch\nCOPY mine /\n"
  output            = ["type=local,dest=out"]
}
target "mixed" {
  context    = "app"
  dockerfile = "cwd://Dockerfile.mine"
  output     = ["type=local,dest=out"]
}
target "root" {
  dockerfile = "cwd://Dockerfile.mine"
  output     = ["type=local,dest=out"]
}
"#;
    let files = [
        ("docker-bake.hcl", definition),
        ("app/a", "a"),
        ("a", "root"),
    ];
    let server = GitServer::serving(&files, None);
    let second = GitServer::serving(&[("mine", "of the second")], None);
    let url = server.url();
    for (words, name, text) in [
        (vec![url.clone()], "mine", "mine"),
        (vec![url.clone(), second.url()], "mine", "of the second"),
        (vec![url.clone(), "root".to_owned()], "a", "root"),
    ] {
        for baker in Baker::ALL {
            let project = project().file("Dockerfile.mine", "FROM scratch\nCOPY a /\n");
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let words = [&["--allow", "fs.write=out"], words.as_slice()].concat();
            passes(&bakers.bake(baker, &project, &words));
            let made = std::fs::read_to_string(project.path().join("out").join(name));
            assert_eq!(made.unwrap(), text, "{baker:?} {words:?}");
        }
    }
    // buildx v0.36.1 looks for such a Dockerfile in the repository.
    let project = project().file("Dockerfile.mine", "FROM scratch\nCOPY a /\n");
    passes(&project_bakes(&bakers, &project, &[&url, "mixed"]));
    let made = std::fs::read_to_string(project.path().join("out/a"));
    assert_eq!(made.unwrap(), "a");
    let absent = TestProject::new();
    let output = project_bakes(&bakers, &absent, &[&url, "root"]);
    assert!(
        output.stderr.contains("run::dockerfile-missing"),
        "{output}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn old_daemons_fetch_definitions_too() {
    for program in ["RBAKE_TEST_BUILDKITD_OLD", "RBAKE_TEST_BUILDKITD_OLDEST"] {
        let daemon = Buildkitd::start_program(&peers::program(program), &[]).await;
        let bakers = Bakers::on(&daemon.endpoint().to_string());
        let server = GitServer::serving(&FILES, None);
        let project = project();
        let output = project_bakes(&bakers, &project, &[&server.url(), "default", "own"]);
        passes(&output);
        assert!(
            project.path().join("out/named/other/sub/b").exists(),
            "{output}"
        );
        assert!(daemon.is_alive(), "{}", daemon.log());
    }
}

#[test]
#[ignore = "needs live peers"]
fn mistakes_in_an_address_are_named() {
    let bakers = Bakers::on_the_shared_daemon();
    let server = GitServer::serving(&FILES, None);
    let url = server.url();
    for (words, said) in [
        (vec![format!("{url}#nope")], "does not contain ref nope"),
        (vec![format!("{url}?zz=1")], "`zz` is not a setting"),
        (vec![format!("{url}#main:other")], "there is no definition"),
        (
            vec!["-f".into(), "nope.hcl".into(), url.clone()],
            "there is no file `nope.hcl`",
        ),
        (
            vec![url.replace("r.git", "x.git")],
            "cannot fetch the definition",
        ),
        (vec!["git@127.0.0.1:x/y.git".to_owned()], "start an agent"),
        (
            vec![url.clone(), "appp".to_owned()],
            "a similar name exists: `app`",
        ),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = project_bakes(&bakers, &project(), &words);
        assert_eq!(output.code, Some(3), "{output}");
        assert!(output.stderr.contains(said), "{said}: {output}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_fetched_definition_may_touch_this_machine_only_as_buildx_allows_it() {
    let bakers = Bakers::on_the_shared_daemon();
    let definition = "target \"default\" {\n  context = \"cwd://..\"\n  dockerfile-inline = \"FROM scratch\\nCOPY secret /\\n\"\n  output = [\"type=local,dest=out\"]\n}\ntarget \"mixed\" {\n  context = \"cwd://.\"\n  dockerfile = \"Dockerfile\"\n}\n";
    let server = GitServer::serving(&[("docker-bake.hcl", definition)], None);
    let url = server.url();
    let project = || {
        let project = project().file("Dockerfile", "FROM scratch\n");
        std::fs::write(project.path().join("../secret"), "s").unwrap();
        project
    };
    let refused = Baker::ALL.map(|baker| bakers.bake(baker, &project(), &[&url]).code);
    assert_eq!(refused.map(|code| code == Some(0)), [false, false]);
    for baker in Baker::ALL {
        let project = project().env("BAKE_ALLOW_REMOTE_FS_ACCESS", "1");
        passes(&bakers.bake(baker, &project, &[&url]));
        assert!(project.path().join("out/secret").exists(), "{baker:?}");
    }
    // Whose Dockerfile is meant is not clear.
    let printed = Baker::ALL.map(|baker| {
        let output = bakers.bake(baker, &project(), &["--print", &url, "mixed"]);
        output.code == Some(0)
    });
    assert_eq!(printed, [false, false]);
    let output = project_bakes(&bakers, &project(), &["--print", &url, "mixed"]);
    assert!(
        output.stderr.contains("plan::remote-dockerfile"),
        "{output}"
    );
}

#[test]
#[ignore = "needs live peers"]
fn the_history_names_a_build_by_the_address_of_its_definition() {
    let bakers = Bakers::on_the_shared_daemon();
    let server = GitServer::serving(&FILES, None);
    let url = server.url();
    let shown = Baker::ALL.map(|baker| {
        let project = project().env("BUILDX_CONFIG", bakers.buildx_dir().display());
        let words = [
            "--allow",
            "fs.write=.",
            "--metadata-file",
            "m.json",
            &url,
            "root",
        ];
        let output = match baker {
            Baker::Rbake => project.rbake(&[&["--builder", "test"], words.as_slice()].concat()),
            Baker::Buildx => bakers.bake(baker, &project, &words),
        };
        passes(&output);
        let document = std::fs::read(project.path().join("m.json")).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        let build_ref = document["root"]["buildx.build.ref"]
            .as_str()
            .unwrap()
            .to_owned();
        let parts: Vec<&str> = build_ref.split('/').collect();
        assert_eq!(parts.len(), 3, "{build_ref}");
        let words = [
            "history",
            "inspect",
            "--builder",
            "test",
            "--format",
            "json",
            parts[2],
        ];
        let output = bakers.buildx(&project, &words);
        passes(&output);
        let inspected: Value = serde_json::from_str(&output.stdout).unwrap();
        ["Name", "Context", "Dockerfile", "Status"].map(|key| inspected[key].clone())
    });
    assert_eq!(shown[0], shown[1]);
    assert!(shown[0][0].to_string().contains(&url), "{shown:?}");
}
