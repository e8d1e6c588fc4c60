//! SSH agents and keys in steps, beside buildx.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use test_case::test_case;

use crate::support::bakers::{Baker, Bakers};
use crate::support::peers;
use crate::support::project::TestProject;

/// Speaks to the forwarded agent as ssh does: lists the identities, asks each one for signatures, and tries to remove them
/// all. Signatures of ed25519 and RSA keys have no random part, so that two agents give the same ones.
const CLIENT: &str = r#"
import os, socket, struct
agent = socket.socket(socket.AF_UNIX)
agent.connect(os.environ["SSH_AUTH_SOCK"])
answers = agent.makefile("rb")
def ask(message):
    agent.sendall(struct.pack(">I", len(message)) + message)
    (length,) = struct.unpack(">I", answers.read(4))
    return answers.read(length)
def text(data):
    return struct.pack(">I", len(data)) + data
def take(data):
    (length,) = struct.unpack(">I", data[:4])
    return data[4:4 + length], data[4 + length:]
listed = ask(b"\x0b")
(count,) = struct.unpack(">I", listed[1:5])
rest = listed[5:]
print(count)
for _ in range(count):
    blob, rest = take(rest)
    comment, rest = take(rest)
    print(blob.hex(), comment.decode())
    # With RSA, they ask for another hash than SHA-1.
    for flags in (2, 4) if b"ssh-rsa" in blob else (0,):
        print(ask(b"\x0d" + text(blob) + text(b"data" * 10000) + struct.pack(">I", flags)).hex())
print("remove all:", ask(b"\x13")[0], "extension:", ask(b"\x1b" + text(b"session-bind@openssh.com"))[0])
"#;

fn tool(name: &str) -> Command {
    Command::new(peers::program("RBAKE_TEST_OPENSSH").join(name))
}

fn succeeds(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Keys made by OpenSSH, in its own form and in that of older tools.
fn keys(dir: &Path) -> [PathBuf; 2] {
    let key = |name: &str, words: &[&str]| {
        let path = dir.join(name);
        succeeds(
            tool("ssh-keygen")
                .args(["-q", "-N", "", "-C", name])
                .args(words)
                .arg("-f")
                .arg(&path),
        );
        path
    };
    [
        key("ed25519", &["-t", "ed25519"]),
        key("rsa", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
    ]
}

/// The real agent of OpenSSH with these keys. Ends with the value.
struct OpensshAgent {
    socket: PathBuf,
    child: Child,
}

impl OpensshAgent {
    async fn start(dir: &Path, keys: &[PathBuf]) -> Self {
        let socket = dir.join("agent");
        let mut command = tool("ssh-agent");
        command
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let agent = Self { socket, child };
        while !agent.socket.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        succeeds(
            tool("ssh-add")
                .args(keys)
                .env("SSH_AUTH_SOCK", &agent.socket),
        );
        agent
    }
}

impl Drop for OpensshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn project(entry: &str, mount: &str) -> TestProject {
    // The daemon runs equal steps of builds at the same time once.
    let dockerfile = format!(
        "FROM python:3.13-slim AS run\nCOPY client.py /\nRUN --mount=type=ssh{mount} : {entry} && python3 /client.py > /told\nFROM scratch\nCOPY --from=run /told /told\n"
    );
    TestProject::new()
        .file("Dockerfile", dockerfile)
        .file("client.py", CLIENT)
        .file(
            "docker-bake.hcl",
            format!("target \"default\" {{\n  ssh = [\"{entry}\"]\n  output = [\"type=local,dest=out\"]\n  no-cache = true\n}}\n"),
        )
}

/// What the client in the step printed, for rbake and for buildx.
fn told(make: impl Fn() -> TestProject) -> [String; 2] {
    let bakers = Bakers::on_the_shared_daemon();
    Baker::ALL.map(|baker| {
        let project = make();
        let output = bakers.bake(baker, &project, &["--allow=fs=*", "--allow=ssh"]);
        assert_eq!(output.code, Some(0), "{output}");
        std::fs::read_to_string(project.path().join("out/told")).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn steps_use_the_agent_of_the_user() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(dir.path());
    let agent = OpensshAgent::start(dir.path(), &keys).await;
    let [ours, theirs] =
        told(|| project("default", "").env("SSH_AUTH_SOCK", agent.socket.display()));
    assert_eq!(ours, theirs);
    let refused = "remove all: 5 extension: 28";
    assert!(ours.starts_with("2\n") && ours.contains(refused), "{ours}");
}

#[test_case(&["rsa"]; "one key")]
#[test_case(&["ed25519", "rsa"]; "two keys")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn steps_use_keys_in_files(names: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(dir.path());
    let named = keys
        .iter()
        .filter(|key| names.iter().any(|name| key.ends_with(name)));
    let paths: Vec<_> = named.map(|key| key.display().to_string()).collect();
    let entry = format!("k={}", paths.join(","));
    let [ours, theirs] = told(|| project(&entry, ",id=k"));
    // Go's agent has the keys without their comments.
    let facts = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with("remove"));
        lines
            .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(facts(&ours), facts(&theirs));
    let expected = names.iter().map(|name| if *name == "rsa" { 3 } else { 2 });
    assert_eq!(facts(&ours).len(), 1 + expected.sum::<usize>(), "{ours}");
    assert!(!facts(&ours).contains(&"05".to_owned()), "{ours}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_agent_that_a_step_requires_and_nobody_offers_is_an_error() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project("other", ",required=true").env("SSH_AUTH_SOCK", "");
    let missing = bakers.bake(Baker::Rbake, &project, &["--allow=ssh"]);
    assert_eq!(missing.code, Some(3), "{missing}");
    assert!(missing.stderr.contains("SSH_AUTH_SOCK"), "{missing}");
    let dir = tempfile::tempdir().unwrap();
    let [key, _] = keys(dir.path());
    let project = project_with_key(&key);
    let failed = bakers.bake(Baker::Rbake, &project, &["--allow=fs=*"]);
    assert_eq!(failed.code, Some(1), "{failed}");
    let protected = dir.path().join("protected");
    succeeds(
        tool("ssh-keygen")
            .args(["-q", "-N", "secret", "-f"])
            .arg(&protected),
    );
    let project = project_with_key(&protected);
    let refused = bakers.bake(Baker::Rbake, &project, &["--allow=fs=*"]);
    assert_eq!(refused.code, Some(3), "{refused}");
    assert!(
        refused.stderr.contains("passphrase") && refused.stderr.contains("ssh-add"),
        "{refused}"
    );
}

/// A step that requires an agent of another name.
fn project_with_key(key: &Path) -> TestProject {
    project(&format!("k={}", key.display()), ",id=other,required=true")
}
