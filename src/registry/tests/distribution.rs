//! The real registry of the distribution project, versions 2 and 3, for one test.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

use super::scripted::{ScriptedAnswer, ScriptedRegistry, SeenRequest, ok, status};

/// The user of registries that need a login.
pub(super) const USER: &str = "keeper";
/// The user's password.
pub(super) const PASSWORD: &str = "w?~~~>?>?x";

/// A version of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DistributionVersion {
    Two,
    Three,
}

impl DistributionVersion {
    pub(super) const ALL: [Self; 2] = [Self::Two, Self::Three];

    /// The program.
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment of the tests names their peers"
    )]
    fn program(self) -> PathBuf {
        let variable = match self {
            Self::Two => "RBAKE_TEST_REGISTRY2",
            Self::Three => "RBAKE_TEST_REGISTRY3",
        };
        let path = std::env::var(variable).unwrap_or_default();
        let path = PathBuf::from(path);
        assert!(
            path.is_file(),
            "`{variable}` names no program: run `eval \"$(scripts/peers.sh env)\"`"
        );
        path
    }
}

/// A running registry. It ends when this is dropped.
pub(super) struct Distribution {
    child: Child,
    address: String,
    dir: tempfile::TempDir,
}

impl Distribution {
    /// A registry that anybody may use, and that deletes.
    pub(super) fn start(version: DistributionVersion) -> Self {
        Self::start_with(version, true, |_| String::new())
    }

    /// A registry that does not delete.
    pub(super) fn that_keeps_everything(version: DistributionVersion) -> Self {
        Self::start_with(version, false, |_| String::new())
    }

    /// A registry that needs the password.
    pub(super) fn with_password(version: DistributionVersion) -> Self {
        Self::start_with(version, true, |dir| {
            let hash = bcrypt::hash(PASSWORD, 4).unwrap();
            std::fs::write(dir.join("users"), format!("{USER}:{hash}\n")).unwrap();
            let users = dir.join("users").display().to_string();
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {users}\n")
        })
    }

    /// A registry that accepts the tokens of `server`.
    pub(super) fn with_tokens(server: &TokenServer) -> Self {
        Self::start_with(DistributionVersion::Three, true, |dir| {
            let keys = dir.join("keys.json");
            std::fs::write(&keys, server.public_keys()).unwrap();
            format!(
                "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    jwks: {}\n",
                server.http.url("/token"),
                keys.display()
            )
        })
    }

    /// A registry with TLS, whose certificate is in the file [`Self::certificate`].
    pub(super) fn with_tls(version: DistributionVersion) -> Self {
        Self::start_with(version, true, |dir| {
            let path = |name: &str| dir.join(name).display().to_string();
            let made = Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
                .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
                .args(["-subj", "/CN=rbake-test", "-addext"])
                .args(["subjectAltName=IP:127.0.0.1", "-addext"])
                .args(["basicConstraints=critical,CA:FALSE"])
                .args(["-keyout", &path("key.pem")])
                .args(["-out", &path("certificate.pem")])
                .output();
            assert!(made.unwrap().status.success());
            // Continues the section `http`.
            format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                path("certificate.pem"),
                path("key.pem")
            )
        })
    }

    fn start_with(
        version: DistributionVersion,
        deletes: bool,
        more: impl FnOnce(&std::path::Path) -> String,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: {deletes}\nhttp:\n  addr: 127.0.0.1:0\n{}",
            dir.path().join("data").display(),
            more(dir.path())
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        let mut child = Command::new(version.program())
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, after) = line.split_once("listening on 127.0.0.1:")?;
                let is_digit = |c: &char| c.is_ascii_digit();
                Some(after.chars().take_while(is_digit).collect::<String>())
            })
            .expect("the registry says where it listens");
        // Keep reading, because the registry would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address: format!("127.0.0.1:{port}"),
            dir,
        }
    }

    /// Host and port.
    pub(super) fn host(&self) -> &str {
        &self.address
    }

    /// The name of the repository `path` at this registry.
    pub(super) fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// The file with the certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVICE: &str = "test-registry";
const ISSUER: &str = "test-issuer";

/// A token server. It grants everything to the user, and reading to everybody else.
pub(super) struct TokenServer {
    pub(super) http: ScriptedRegistry,
    key: SigningKey,
}

impl TokenServer {
    pub(super) async fn start() -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signing = key.clone();
        let http = ScriptedRegistry::start(move |request| grant(request, &signing)).await;
        Self { http, key }
    }

    /// The set of keys that the registry trusts.
    fn public_keys(&self) -> String {
        let public = BASE64_URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "k", "x": public}]})
            .to_string()
    }

    /// The scopes of all requests, one line per request.
    pub(super) fn scopes(&self) -> Vec<String> {
        let seen = self.http.seen().into_iter();
        seen.map(|request| fields(&request, "scope").join(" "))
            .collect()
    }
}

/// The values of a field in the query or in the form.
fn fields(request: &SeenRequest, name: &str) -> Vec<String> {
    let query = request
        .target
        .split_once('?')
        .map_or("", |(_, query)| query);
    [query.as_bytes(), &request.body]
        .into_iter()
        .flat_map(|text| url::form_urlencoded::parse(text))
        .filter(|(field, _)| field == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}

fn grant(request: &SeenRequest, key: &SigningKey) -> ScriptedAnswer {
    let is_user = match request.method.as_str() {
        "POST" => {
            let password = fields(request, "password");
            if fields(request, "username") != [USER] || password != [PASSWORD] {
                return status(401);
            }
            true
        }
        _ if request.header("authorization").is_empty() => false,
        // The client sends this after a refused POST.
        _ => return status(401),
    };
    let scopes = fields(request, "scope").join(" ");
    let access: Vec<_> = scopes
        .split(' ')
        .filter_map(|scope| {
            let mut parts = scope.splitn(3, ':');
            let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
            let actions: Vec<_> = actions
                .split(',')
                .filter(|action| is_user || *action == "pull")
                .collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let encode = |text: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(text);
    let head = json!({"alg": "EdDSA", "typ": "JWT", "kid": "k"}).to_string();
    let claims = json!({
        "iss": ISSUER, "aud": SERVICE, "sub": USER, "access": access,
        "nbf": 0, "iat": 0, "exp": 4_000_000_000_u64, "jti": "x",
    });
    let claims = claims.to_string();
    let text = format!("{}.{}", encode(head.as_bytes()), encode(claims.as_bytes()));
    let signature = encode(&key.sign(text.as_bytes()).to_bytes());
    let token = format!("{text}.{signature}");
    ok(json!({"token": token, "expires_in": 300}).to_string())
}
