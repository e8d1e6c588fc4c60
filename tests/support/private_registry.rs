//! A registry for one test, which needs a password.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::peers;

/// The real distribution registry with one user. It ends when this is dropped.
pub(crate) struct PrivateRegistry {
    _dir: tempfile::TempDir,
    child: Child,
    /// Host and port.
    pub address: String,
}

/// The name of the registry's user.
pub(crate) const USER: &str = "keeper";
/// The user's password. Its encoding differs between the standard and the URL-safe alphabet of base64.
pub(crate) const PASSWORD: &str = "w?~~~>?>?x";

impl PrivateRegistry {
    /// Starts the registry.
    pub(crate) fn start() -> Self {
        let program = peers::program("RBAKE_TEST_REGISTRY3");
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        std::fs::write(path("htpasswd"), format!("{USER}:{hash}\n")).unwrap();
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\nauth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            path("data"),
            path("htpasswd"),
        );
        std::fs::write(path("config.yml"), config).unwrap();
        let mut child = Command::new(program)
            .args(["serve", &path("config.yml")])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, after) = line.split_once("listening on 127.0.0.1:")?;
                let digits = after
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(after.len());
                Some(format!("127.0.0.1:{}", &after[..digits]))
            })
            .expect("the registry says where it listens");
        // Keep reading, because the registry would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            _dir: dir,
            child,
            address,
        }
    }

    /// A `config.json` for Docker that has the password.
    pub(crate) fn docker_config(&self) -> String {
        use base64::Engine as _;
        let pair = base64::prelude::BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
        format!(r#"{{"auths":{{"{}":{{"auth":"{pair}"}}}}}}"#, self.address)
    }
}

impl Drop for PrivateRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
