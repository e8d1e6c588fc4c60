//! Pushes an image that a Docker Engine has, as `docker push` does: the Engine sends the image and receives the
//! credential from us.
//!
//! The request is made here, because the client crate encodes credentials in a base64 alphabet that the Engine cannot
//! read.

use base64::Engine as _;
use http::Request;
use http_body_util::BodyExt as _;
use serde::Deserialize;

use super::{Docker, DockerError, http as wire};
use crate::credential::Credential;
use crate::engine::failure::clean;
use crate::types::{Digest, Reference, Secret};

/// The most that is kept of one line of the answer, in bytes.
const LINE_LIMIT: usize = 64 << 10;

/// The key of Docker Hub's credential in Docker's configuration. Engines expect it as the server's address.
const HUB: &str = "https://index.docker.io/v1/";

/// One line of the Engine's answer.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    status: String,
    error: Option<String>,
    aux: Option<Aux>,
}

#[derive(Deserialize)]
struct Aux {
    #[serde(rename = "Digest", default)]
    digest: String,
}

impl Docker {
    /// Pushes the image `name`. Returns the digest that the registry now has for it, if the Engine reports it.
    pub async fn push(
        &self,
        name: &Reference,
        credential: &Credential,
    ) -> Result<Option<Digest>, DockerError> {
        let tag = name.tag_or_latest().unwrap_or("latest");
        let repository = name.repository();
        let refused = |message: String| DockerError::Push {
            host: self.host.to_string(),
            image: format!("{repository}:{tag}"),
            message: clean(&message),
        };
        let path = format!("{}/images/{repository}/push?tag={tag}", self.prefix);
        let request = Request::post(&path)
            .header(
                "X-Registry-Auth",
                header(name.domain(), credential).expose(),
            )
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .map_err(|_| DockerError::Path(path.clone()))?;
        Ok(self.report(request, refused).await?.digest)
    }

    /// Sends `request`, and reads the lines of the Engine's report to their end. `refused` makes the error of what the Engine
    /// says about a failure.
    pub(super) async fn report(
        &self,
        request: Request<http_body_util::Empty<bytes::Bytes>>,
        refused: impl Fn(String) -> DockerError,
    ) -> Result<Lines, DockerError> {
        let response = wire::send(&self.host, request).await?;
        if !response.status().is_success() {
            return Err(match wire::refusal(&self.host, response).await {
                DockerError::Refused { message, .. } => refused(message),
                other => other,
            });
        }
        let mut lines = Lines::default();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| DockerError::Http {
                host: self.host.to_string(),
                source,
            })?;
            if let Ok(data) = frame.into_data() {
                lines.take(&data).map_err(&refused)?;
            }
        }
        lines.end().map_err(refused)?;
        Ok(lines)
    }
}

/// Reads an answer line by line, and keeps the digest.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    digest: Option<Digest>,
}

impl Lines {
    /// Reads the next part of the answer. `Err` has the Engine's error message.
    pub(super) fn take(&mut self, data: &[u8]) -> Result<(), String> {
        let mut pieces = data.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LINE_LIMIT.saturating_sub(self.rest.len());
            self.rest.extend_from_slice(&piece[..piece.len().min(room)]);
            if pieces.peek().is_some() {
                self.end()?;
            }
        }
        Ok(())
    }

    /// Ends the current line and reads it. A later digest replaces an earlier one.
    pub(super) fn end(&mut self) -> Result<(), String> {
        let line = std::mem::take(&mut self.rest);
        // Like Docker's own client, ignore a line that is not valid JSON.
        let line: Line = serde_json::from_slice(&line).unwrap_or_default();
        if let Some(error) = line.error {
            return Err(error);
        }
        let told = line.aux.and_then(|aux| aux.digest.parse().ok());
        self.digest = told
            .or_else(|| in_status(&line.status))
            .or(self.digest.take());
        Ok(())
    }
}

/// Reads `latest: digest: sha256:… size: 527`, which older Engines send instead of the field `aux`.
fn in_status(status: &str) -> Option<Digest> {
    let (_, after) = status.split_once(": digest: ")?;
    after.split(' ').next()?.parse().ok()
}

/// The value of `X-Registry-Auth`: the credential as JSON, in URL-safe base64.
pub(super) fn header(domain: &str, credential: &Credential) -> Secret<String> {
    let server = if domain == "docker.io" { HUB } else { domain };
    let (user, secret) = credential.as_pair();
    let config = match credential {
        Credential::Anonymous => serde_json::json!({}),
        Credential::Basic { .. } => {
            serde_json::json!({ "username": user, "password": secret, "serveraddress": server })
        }
        Credential::Identity(_) => {
            serde_json::json!({ "identitytoken": secret, "serveraddress": server })
        }
        Credential::Registry { token, .. } => {
            serde_json::json!({ "registrytoken": token.expose(), "serveraddress": server })
        }
    };
    Secret::new(base64::prelude::BASE64_URL_SAFE.encode(config.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:5daad4162475230ff61787a884f24379e0ac98465eeeb64ac0ae9abde6fea5fa";

    fn read(pieces: &[&str]) -> Result<Option<String>, String> {
        let mut lines = Lines::default();
        for piece in pieces {
            lines.take(piece.as_bytes())?;
        }
        lines.end()?;
        Ok(lines.digest.map(|digest| digest.to_string()))
    }

    #[test]
    fn the_digest_is_found_wherever_the_answer_is_split() {
        let answer = format!(
            "{{\"status\":\"The push refers to repository [h/x]\"}}\r\n{{\"status\":\"1: digest: {DIGEST} size: 527\"}}\r\n"
        );
        for at in 0..answer.len() {
            let (one, other) = answer.split_at(at);
            assert_eq!(read(&[one, other]).unwrap().as_deref(), Some(DIGEST));
        }
        let aux = format!("{{\"aux\":{{\"Tag\":\"1\",\"Digest\":\"{DIGEST}\",\"Size\":527}}}}");
        assert_eq!(read(&[&aux]).unwrap().as_deref(), Some(DIGEST));
    }

    #[test]
    fn an_error_within_the_answer_is_reported_and_malformed_lines_are_ignored() {
        let answer = "{\"status\":\"x\"}\n{\"errorDetail\":{},\"error\":\"denied\"}\n{}\n";
        assert_eq!(read(&[answer]).unwrap_err(), "denied");
        assert_eq!(read(&["nonsense\n", "{\"aux\":5}"]), Ok(None));
        let endless = "x".repeat(3 * LINE_LIMIT);
        let mut lines = Lines::default();
        lines.take(endless.as_bytes()).unwrap();
        assert_eq!(lines.rest.len(), LINE_LIMIT);
    }

    #[test]
    fn credentials_are_sent_in_url_safe_base64() {
        let decoded = |credential: &Credential, domain: &str| -> serde_json::Value {
            let header = header(domain, credential);
            let bytes = base64::prelude::BASE64_URL_SAFE.decode(header.expose());
            serde_json::from_slice(&bytes.unwrap()).unwrap()
        };
        let basic = Credential::Basic {
            username: "me".into(),
            password: Secret::new("?>~ü".into()),
        };
        let told = decoded(&basic, "docker.io");
        assert_eq!(told["password"], "?>~ü");
        assert_eq!(told["serveraddress"], HUB);
        let token = Credential::Identity(Secret::new("t".into()));
        assert_eq!(decoded(&token, "h:5000")["identitytoken"], "t");
        assert_eq!(decoded(&token, "h:5000")["serveraddress"], "h:5000");
        assert_eq!(decoded(&Credential::Anonymous, "h"), serde_json::json!({}));
    }
}
