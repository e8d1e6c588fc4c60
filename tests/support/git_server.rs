//! Repositories behind HTTP, as git's own server program serves them.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;

use super::fake_services::exchange::{Answer, Asked, serve};

/// A repository that a server serves as `/r.git`. If it needs a login, the server asks for it.
pub(crate) struct GitServer {
    dir: tempfile::TempDir,
    address: SocketAddr,
}

impl GitServer {
    /// Serves `files` as the only commit of the branch `main`. With `token`, only to those who know it.
    pub(crate) fn serving(files: &[(&str, &str)], token: Option<&'static str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("r.git");
        for (name, text) in files {
            let path = work.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        git(&work, &["init", "-q", "-b", "main"]);
        let server = {
            let root = dir.path().to_owned();
            move |asked: &Asked, _| Some(answer(asked, &root, token))
        };
        let git_server = Self {
            dir,
            address: serve(server),
        };
        git_server.commit("first");
        git_server
    }

    /// Commits all files under `message`.
    pub(crate) fn commit(&self, message: &str) {
        let work = self.work();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-qm", message]);
    }

    /// Stores `text` as an object of this `kind`, to which `reference` then points.
    pub(crate) fn store(&self, kind: &str, text: &str, reference: &str) {
        let work = self.work();
        let id = git_with_input(&work, &["hash-object", "-t", kind, "-w", "--stdin"], text);
        git(&work, &["update-ref", reference, id.trim()]);
    }

    /// The working directory of the repository.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("r.git")
    }

    /// The address of the repository.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/r.git", self.address)
    }
}

fn git(dir: &Path, arguments: &[&str]) {
    let settings = ["-c", "user.name=x", "-c", "user.email=x@example.com"];
    let status = Command::new("git")
        .args(settings)
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status();
    assert!(status.unwrap().success(), "git {arguments:?}");
}

fn git_with_input(dir: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("git")
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn answer(asked: &Asked, root: &Path, token: Option<&str>) -> Answer {
    if let Some(token) = token {
        // What BuildKit sends for a token.
        let login = base64::prelude::BASE64_STANDARD.encode(format!("x-access-token:{token}"));
        if asked.header("authorization") != format!("basic {login}") {
            return Answer::empty(401).with("www-authenticate", "Basic realm=\"r\"");
        }
    }
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", asked.header("git-protocol"))
        .env("PATH_INFO", asked.path.replace("/r.git/", "/r.git/.git/"))
        .env("QUERY_STRING", &asked.query)
        .env("REQUEST_METHOD", &asked.method)
        .env("CONTENT_TYPE", asked.header("content-type"))
        .env("HTTP_CONTENT_ENCODING", asked.header("content-encoding"))
        .env("CONTENT_LENGTH", asked.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let body = asked.body.clone();
    let writing = std::thread::spawn(move || {
        let _ = input.write_all(&body);
    });
    let output = child.wait_with_output().unwrap().stdout;
    writing.join().unwrap();
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = output.split_at(end.unwrap());
    let head = String::from_utf8_lossy(head);
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let status = header("Status:");
    let status = status.split(' ').next().and_then(|code| code.parse().ok());
    Answer(
        status.unwrap_or(200),
        vec![("content-type", header("Content-Type:"))],
        body[4..].to_vec(),
    )
}
