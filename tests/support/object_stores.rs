//! Amazon's S3 and Azure's blob storage, as `moto` and `azurite` are them. One of each serves all tests of a process.
//!
//! Both keep everything in memory, and end with the process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use super::peers;
use super::project::TestProject;

/// The bucket of the S3 server.
pub(crate) const BUCKET: &str = "caches";
/// The region of the bucket.
pub(crate) const REGION: &str = "us-east-1";
/// The account of the blob storage. It is the one that azurite always has, with this key.
const ACCOUNT: &str = "devstoreaccount1";
/// The key of the account, which everybody may know.
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Ends the program when the standard input is closed, as it is when the process of the tests ends.
const OWNER: &str = r#"
"$@" </dev/null 2>&1 3<&- &
pid=$!
exec >/dev/null
cat >/dev/null
kill "$pid" 2>/dev/null
wait "$pid"
"#;

/// A server that ends with the process of the tests.
struct Served {
    address: String,
    _leash: ChildStdin,
    _owner: Child,
    _dir: tempfile::TempDir,
}

impl Served {
    /// Starts `program`, which prints the address on which it listens after `announces`.
    fn start(program: &Path, arguments: &[&str], announces: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("rbake-").tempdir().unwrap();
        let mut owner = Command::new("sh")
            .args(["-c", OWNER, "sh"])
            .arg(program)
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, after) = line.split_once(announces)?;
            let (_, port) = after.trim().rsplit_once(':')?;
            Some(format!("127.0.0.1:{port}"))
        });
        // Keep reading, because the program would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            address: address.unwrap_or_else(|| panic!("{} did not start", program.display())),
            _leash: owner.stdin.take().unwrap(),
            _owner: owner,
            _dir: dir,
        }
    }

    /// Sends a request and returns the body of the answer.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let is_done = head.contains(" 200 ") || head.contains(" 201 ");
        assert!(is_done, "{method} {path}: {answer}");
        body.to_owned()
    }
}

/// The S3 server. It has one bucket, and one user with keys, and refuses all others.
pub(crate) struct S3Server {
    served: Served,
    /// The id of the user's key.
    pub access_key: String,
    /// The key.
    pub secret_key: String,
}

impl S3Server {
    /// The server of this process.
    pub(crate) fn shared() -> &'static Self {
        static SERVER: OnceLock<S3Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let program = peers::program("RBAKE_TEST_MOTO");
        let arguments = ["-H", "127.0.0.1", "-p", "0"];
        let served = Served::start(&program, &arguments, "Running on http://");
        // Until the last of these requests, the server checks no signature, but reads the name of the service from it.
        let identity = |parameters: &str| {
            let headers = "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0\r\nContent-Type: application/x-www-form-urlencoded\r\n";
            served.ask(
                "POST",
                "/",
                headers,
                &format!("Version=2010-05-08&UserName=u&{parameters}"),
            )
        };
        identity("Action=CreateUser");
        identity(
            "Action=PutUserPolicy&PolicyName=p&PolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D",
        );
        let keys = identity("Action=CreateAccessKey");
        served.ask("PUT", &format!("/{BUCKET}"), "", "");
        served.ask(
            "POST",
            "/moto-api/reset-auth",
            "Content-Type: text/plain\r\n",
            "0",
        );
        let value = |name: &str| {
            let (_, after) = keys.split_once(&format!("<{name}>")).unwrap();
            after.split_once('<').unwrap().0.to_owned()
        };
        Self {
            access_key: value("AccessKeyId"),
            secret_key: value("SecretAccessKey"),
            served,
        }
    }

    /// The attributes of a cache in the bucket, without keys.
    pub(crate) fn cache(&self, more: &str) -> String {
        format!(
            "type=s3,endpoint_url=http://{},use_path_style=true,region={REGION},bucket={BUCKET},{more}",
            self.served.address
        )
    }

    /// `project` with the user's keys in the environment.
    pub(crate) fn with_keys(&self, project: TestProject) -> TestProject {
        project
            .env("AWS_ACCESS_KEY_ID", &self.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret_key)
    }

    /// The names of the objects in the bucket that begin with `prefix`, in order.
    pub(crate) fn objects(&self, prefix: &str) -> Vec<String> {
        let data = self.served.ask("GET", "/moto-api/data.json", "", "");
        let data: serde_json::Value = serde_json::from_str(&data).unwrap();
        let keys = data["s3"]["FakeKey"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut names: Vec<String> = keys
            .iter()
            .filter_map(|key| key["name"].as_str())
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// The blob storage.
pub(crate) struct AzureServer {
    served: Served,
}

impl AzureServer {
    /// The server of this process.
    pub(crate) fn shared() -> &'static Self {
        static SERVER: OnceLock<AzureServer> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let program = peers::program("RBAKE_TEST_AZURITE");
        let arguments = [
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            "0",
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
        ];
        let announces = "successfully listens on http://";
        Self {
            served: Served::start(&program, &arguments, announces),
        }
    }

    /// The attributes of a cache, without the key.
    pub(crate) fn cache(&self, more: &str) -> String {
        format!(
            "type=azblob,account_url=http://{}/{ACCOUNT},account_name={ACCOUNT},{more}",
            self.served.address
        )
    }

    /// Creates a container.
    pub(crate) fn create_container(&self, name: &str) {
        let path = format!("/{ACCOUNT}/{name}?restype=container&{}", signature());
        let _ = self.served.ask("PUT", &path, "", "");
    }

    /// An address of `blob`, with its container, by which everybody may read and write it.
    pub(crate) fn signed(&self, blob: &str) -> String {
        format!(
            "http://{}/{ACCOUNT}/{blob}?{}",
            self.served.address,
            signature()
        )
    }
}

/// The parameters that permit everything in the account (an account SAS, version 2019-12-12 of the storage's protocol).
fn signature() -> String {
    let (permissions, service, kinds) = ("rwdlac", "b", "co");
    let (end, version) = ("2099-12-31T00:00:00Z", "2019-12-12");
    let signed = format!("{ACCOUNT}\n{permissions}\n{service}\n{kinds}\n\n{end}\n\n\n{version}\n");
    let key = BASE64_STANDARD.decode(ACCOUNT_KEY).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(signed.as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
    let end = utf8_percent_encode(end, NON_ALPHANUMERIC);
    format!("sv={version}&ss={service}&srt={kinds}&sp={permissions}&se={end}&sig={signature}")
}
