//! A machine that is reached with ssh: this one, through OpenSSH's server.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::peers;

/// OpenSSH's server, and a client that knows its machine as `far`. It ends with the value.
pub(crate) struct SshServer {
    dir: tempfile::TempDir,
    child: Child,
}

impl SshServer {
    /// Starts the server. Commands that it runs find `docker` if there is an Engine, and that Engine.
    pub(crate) fn start(engine: Option<&str>) -> Self {
        let dir = tempfile::Builder::new().prefix("ssh").tempdir().unwrap();
        for name in ["host", "key"] {
            key(&dir.path().join(name));
        }
        std::fs::copy(dir.path().join("key.pub"), dir.path().join("authorized")).unwrap();
        // Where its children have nothing to see. A service manager would make it.
        std::fs::create_dir_all("/run/sshd").unwrap();
        let port = free_port();
        let set = engine.map_or_else(String::new, |host| {
            let docker = peers::program("RBAKE_TEST_DOCKER_CLI");
            let folder = docker.parent().unwrap().display();
            format!("SetEnv DOCKER_HOST={host} PATH={folder}:/usr/sbin:/usr/bin:/sbin:/bin\n")
        });
        let at = dir.path().display();
        let server = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n{set}"
        );
        let client = format!(
            "Host far\n  HostName 127.0.0.1\n  Port {port}\nHost *\n  IdentityFile {at}/key\n  IdentitiesOnly yes\n  UserKnownHostsFile {at}/known\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n"
        );
        std::fs::write(dir.path().join("server.conf"), server).unwrap();
        std::fs::write(dir.path().join("client.conf"), client).unwrap();
        let ssh = tool("ssh");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>{at}/calls\nexec {} -F {at}/client.conf \"$@\"\n",
            ssh.display()
        );
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let program = dir.path().join("bin/ssh");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(tool("sshd"))
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("server.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { dir, child };
        server.wait(port);
        server
    }

    /// Waits until the server accepts connections.
    fn wait(&self, port: u16) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A `PATH` with the program `ssh` that knows the machine, and the system's programs.
    pub(crate) fn path(&self) -> String {
        let bin = self.dir.path().join("bin");
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display())
    }

    /// The arguments of each call of `ssh`.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// From now on, nobody may log in.
    pub(crate) fn refuse(&self) {
        std::fs::write(self.dir.path().join("authorized"), "").unwrap();
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tool(name: &str) -> PathBuf {
    peers::program("RBAKE_TEST_OPENSSH").join(name)
}

fn key(path: &Path) {
    let made = Command::new(tool("ssh-keygen"))
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status();
    assert!(made.unwrap().success());
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
