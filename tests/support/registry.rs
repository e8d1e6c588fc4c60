//! A registry with its token server, which serves everybody the same small image and records every request.
//!
//! A real registry does not reveal what it received. This one shows which server received which secret.

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rbake::types::Digest;

/// How a registry makes its users log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// With a token from this server.
    Token(String),
    /// With a token from a server that redirects to this address.
    RedirectedTo(String),
    /// With user name and password.
    Basic,
}

/// The server. It ends with the test's process.
pub(crate) struct FakeRegistry {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

struct Image {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, "f", &b"f\n"[..]).unwrap();
        let layer = tar.into_inner().unwrap();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            Digest::sha256(&layer)
        );
        let descriptor = |kind: &str, data: &[u8]| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{}","size":{}}}"#,
                Digest::sha256(data),
                data.len()
            )
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
            descriptor("config.v1+json", config.as_bytes()),
            descriptor("layer.v1.tar", &layer)
        );
        Self {
            manifest: manifest.into_bytes(),
            config: config.into_bytes(),
            layer,
        }
    }
}

impl FakeRegistry {
    pub(crate) fn start(login: Login) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, image) = (Arc::clone(&requests), Arc::new(Image::new()));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, image, login) = (Arc::clone(&log), Arc::clone(&image), login.clone());
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
                    let Some(request) = read(&stream) else { return };
                    let answer = answer(&request, address, &login, &image);
                    log.lock().unwrap().push(request);
                    let _ = (&stream).write_all(&answer);
                });
            }
        });
        Self { address, requests }
    }

    /// The host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// All requests so far, each with its head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The number of requests whose first line begins with `start`.
    pub(crate) fn count(&self, start: &str) -> usize {
        let requests = self.requests();
        requests.iter().filter(|r| r.starts_with(start)).count()
    }
}

fn read(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut text = String::new();
    let mut length = 0;
    loop {
        let from = text.len();
        if reader.read_line(&mut text).ok()? == 0 {
            return None;
        }
        let line = text[from..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    text.push_str(&String::from_utf8_lossy(&body));
    Some(text)
}

fn answer(request: &str, address: SocketAddr, login: &Login, image: &Image) -> Vec<u8> {
    let mut words = request.split_ascii_whitespace();
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let is_known = request
        .lines()
        .take_while(|line| !line.is_empty())
        .any(|line| line.to_ascii_lowercase().starts_with("authorization:"));
    if path.starts_with("/token") {
        return match login {
            Login::RedirectedTo(place) => respond(
                "307 Temporary Redirect",
                &format!("location: {place}\r\n"),
                b"",
                true,
            ),
            Login::Token(token) => {
                let body =
                    format!(r#"{{"token":"{token}","access_token":"{token}","expires_in":300}}"#);
                respond("200 OK", "", body.as_bytes(), true)
            }
            Login::Basic => respond("404 Not Found", "", b"", true),
        };
    }
    if !is_known {
        let challenge = match login {
            Login::Basic => "Basic realm=\"test\"".to_owned(),
            Login::Token(_) | Login::RedirectedTo(_) => {
                let name = path.strip_prefix("/v2/").unwrap_or_default();
                let name = name.split("/manifests").next().unwrap_or_default();
                format!(
                    "Bearer realm=\"http://{address}/token\",service=\"test\",scope=\"repository:{name}:pull\""
                )
            }
        };
        let header = format!("www-authenticate: {challenge}\r\n");
        return respond("401 Unauthorized", &header, b"", true);
    }
    let is_get = method == "GET";
    let digest_of = |data: &[u8]| Digest::sha256(data).to_string();
    if path.contains("/manifests/") {
        let headers = format!(
            "content-type: application/vnd.oci.image.manifest.v1+json\r\ndocker-content-digest: {}\r\n",
            digest_of(&image.manifest)
        );
        return respond("200 OK", &headers, &image.manifest, is_get);
    }
    let blobs = [&image.config, &image.layer];
    match blobs.iter().find(|blob| path.ends_with(&digest_of(blob))) {
        Some(blob) => respond(
            "200 OK",
            "content-type: application/octet-stream\r\n",
            blob,
            is_get,
        ),
        None => respond("404 Not Found", "", b"", true),
    }
}

fn respond(status: &str, headers: &str, body: &[u8], with_body: bool) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let body = if with_body { body } else { &[] };
    [head.as_bytes(), body].concat()
}
