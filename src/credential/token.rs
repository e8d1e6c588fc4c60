//! Token exchange: gets a short-lived token for some scopes in exchange for a credential.
//!
//! The requests are in the order of BuildKit's client (`session/auth/authprovider` and containerd's
//! `remotes/docker/auth`), so that the same registries work: first OAuth by POST, then GET with Basic
//! authentication if the server does not support POST.

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::host::shown;
use super::{Credential, Error};
use crate::golang::json::{GoText, Reading, Trailing, is_field};
use crate::types::Clock;
use crate::types::Secret;
use crate::types::retry::{Pauses, Tries, is_transient_status, retry_after};
use crate::types::secret::redact_url;

/// The lifetime of a token, in seconds, if the server does not report one (the minimum in the distribution
/// specification).
const DEFAULT_LIFETIME: i64 = 60;

/// The largest answer that is read, in bytes. Real tokens are much shorter.
const MAX_ANSWER: usize = 1 << 20;

/// A request for a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenRequest {
    /// The registry's host, as the daemon names it.
    pub(crate) host: String,
    /// The address of the token server, from the registry's challenge.
    pub(crate) realm: String,
    /// The service name, from the registry's challenge.
    pub(crate) service: String,
    /// Scopes such as `repository:a/b:pull,push`.
    pub(crate) scopes: Vec<String>,
    /// The repositories of the host that the caller works with, used if the scopes name none. Earlier lists take
    /// precedence.
    pub(crate) repositories: Vec<Vec<String>>,
    /// The client's name for the token server. If empty, BuildKit's name is sent.
    pub(crate) client_id: String,
}

/// A token from a token server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BearerToken {
    /// The token.
    pub(crate) value: Secret<String>,
    /// Its lifetime in seconds.
    pub(crate) expires_in: i64,
    /// When it was issued, in seconds since the epoch; 0 if the server does not report it.
    pub(crate) issued_at: i64,
}

#[derive(Default)]
struct Answer {
    access_token: String,
    token: String,
    expires_in: i64,
    issued_at: String,
}

impl Answer {
    /// Parses the answer as containerd does. Fields of a wrong type are ignored.
    fn read(body: &[u8]) -> Self {
        let mut answer = Self::default();
        if let Ok(Some(document)) = GoText::new(body).value(Trailing::Ignored) {
            Reading::default().object(document, "", |reading, key, value| {
                if is_field(key, "access_token") {
                    reading.text(value, "access_token", &mut answer.access_token);
                } else if is_field(key, "token") {
                    reading.text(value, "token", &mut answer.token);
                } else if is_field(key, "expires_in") {
                    reading.whole(value, "expires_in", &mut answer.expires_in);
                } else if is_field(key, "issued_at") {
                    reading.text(value, "issued_at", &mut answer.issued_at);
                }
            });
        }
        answer
    }
}

/// How requests to a token server are repeated.
#[derive(Debug)]
pub(super) struct TokenTries {
    /// The tries of all requests of one exchange together.
    pub(super) tries: Tries,
    /// How rbake waits between them.
    pub(super) pauses: Pauses,
    /// The time, for a server that asks for a pause by a date.
    pub(super) clock: Clock,
}

/// Exchanges `credential` for a token. Asks for an anonymous token if there is no secret. If the server is overloaded (429, 503 and the
/// like) or closes the connection, the request is sent again, as often as `tries` allow; a server that cannot be reached is not asked
/// again.
pub(super) async fn fetch(
    client: &Client,
    request: &TokenRequest,
    credential: &Credential,
    tries: TokenTries,
) -> Result<BearerToken, Error> {
    let mut exchange = Exchange {
        client,
        request,
        realm: realm(request)?,
        tries,
    };
    match credential {
        Credential::Registry { token, .. } => {
            return Ok(BearerToken {
                value: token.clone(),
                expires_in: DEFAULT_LIFETIME,
                issued_at: 0,
            });
        }
        Credential::Anonymous => return exchange.get(None).await,
        Credential::Basic { .. } | Credential::Identity(_) => {}
    }
    let (username, secret) = credential.as_pair();
    // As in containerd, a user without a password counts as anonymous.
    if secret.is_empty() {
        return exchange.get(None).await;
    }
    let response = exchange.post(username, secret).await?;
    match (response.status(), username.is_empty()) {
        // Answers of servers that do not support POST. As in containerd, 405 counts only if there is a user name.
        (StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED, _)
        | (StatusCode::METHOD_NOT_ALLOWED, false) => exchange.get(Some((username, secret))).await,
        _ => exchange.read(response).await,
    }
}

/// The address of the token server for messages, without credentials.
pub(super) fn shown_realm(request: &TokenRequest) -> String {
    shown(&redact_url(&request.realm))
}

fn realm(request: &TokenRequest) -> Result<Url, Error> {
    let bad = || Error::Realm {
        host: shown(&request.host),
        realm: shown_realm(request),
    };
    let url: Url = request.realm.parse().map_err(|_| bad())?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(bad())
    }
}

struct Exchange<'a> {
    client: &'a Client,
    request: &'a TokenRequest,
    realm: Url,
    tries: TokenTries,
}

impl Exchange<'_> {
    fn name(&self) -> String {
        redact_url(self.realm.as_str())
    }

    async fn post(&mut self, username: &str, secret: &str) -> Result<Response, Error> {
        let client_id = match self.request.client_id.as_str() {
            "" => "buildkit-client",
            id => id,
        };
        let scopes = self.request.scopes.join(" ");
        let mut form = vec![("client_id", client_id), ("service", &self.request.service)];
        if !scopes.is_empty() {
            form.push(("scope", &scopes));
        }
        if username.is_empty() {
            form.extend([("grant_type", "refresh_token"), ("refresh_token", secret)]);
        } else {
            form.extend([
                ("grant_type", "password"),
                ("username", username),
                ("password", secret),
            ]);
        }
        let request = self.client.post(self.realm.clone()).form(&form);
        self.send(request).await
    }

    async fn get(&mut self, basic: Option<(&str, &str)>) -> Result<BearerToken, Error> {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if !self.request.service.is_empty() {
                query.append_pair("service", &self.request.service);
            }
            for scope in &self.request.scopes {
                query.append_pair("scope", scope);
            }
        }
        let mut builder = self.client.get(url);
        if let Some((username, password)) = basic {
            builder = builder.basic_auth(username, Some(password));
        }
        let response = self.send(builder).await?;
        self.read(response).await
    }

    async fn send(&mut self, builder: RequestBuilder) -> Result<Response, Error> {
        loop {
            // The bodies are in memory, so each request can be copied.
            let Some(copy) = builder.try_clone() else {
                return builder.send().await.map_err(|error| self.failed(error));
            };
            let sent = copy.send().await;
            let TokenTries {
                tries,
                pauses,
                clock,
            } = &mut self.tries;
            let repeats = match &sent {
                Ok(response) if is_transient_status(response.status().as_u16()) => {
                    let wish = retry_after(response.headers(), clock.now());
                    tries.again(wish, pauses).await
                }
                Err(error) if !error.is_connect() && !error.is_builder() => {
                    tries.again(None, pauses).await
                }
                _ => false,
            };
            if !repeats {
                return sent.map_err(|error| self.failed(error));
            }
        }
    }

    /// Wraps reqwest's error, without its URL, which may contain credentials.
    fn failed(&self, error: reqwest::Error) -> Error {
        Error::Exchange {
            realm: self.name(),
            source: Box::new(error.without_url()),
        }
    }

    async fn read(&self, mut response: Response) -> Result<BearerToken, Error> {
        let status = response.status();
        if status.is_redirection() {
            return Err(Error::Redirect {
                realm: self.name(),
                target: target_of(&response),
            });
        }
        if !status.is_success() {
            return Err(Error::Refused {
                realm: self.name(),
                status: status.as_u16(),
            });
        }
        let no_token = || Error::NoToken { realm: self.name() };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(no_token());
            }
            body.extend_from_slice(&chunk);
        }
        let answer = Answer::read(&body);
        let value = [answer.access_token, answer.token]
            .into_iter()
            .find(|token| !token.is_empty());
        Ok(BearerToken {
            value: Secret::new(value.ok_or_else(no_token)?),
            expires_in: if answer.expires_in > 0 {
                answer.expires_in
            } else {
                DEFAULT_LIFETIME
            },
            issued_at: answer
                .issued_at
                .parse::<jiff::Timestamp>()
                .map_or(0, jiff::Timestamp::as_second),
        })
    }
}

/// The server to which a redirect leads. Omits the rest of the URL, which may be a secret.
fn target_of(response: &Response) -> String {
    let location = response.headers().get(reqwest::header::LOCATION);
    let target = location
        .and_then(|location| location.to_str().ok())
        .and_then(|location| response.url().join(location).ok());
    match target {
        Some(url) => url.origin().ascii_serialization(),
        None => "an unknown place".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    // A token server that gives one prepared answer per request and records the requests.
    async fn server(answers: Vec<&'static str>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/token", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        tokio::spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let mut length = 0;
                loop {
                    let read = socket.read(&mut request[length..]).await.unwrap();
                    length += read;
                    let text = String::from_utf8_lossy(&request[..length]).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    let wanted = head
                        .lines()
                        .find_map(|line| {
                            line.to_ascii_lowercase()
                                .strip_prefix("content-length: ")
                                .map(str::to_owned)
                        })
                        .map_or(0, |length| length.parse::<usize>().unwrap());
                    if body.len() >= wanted {
                        log.lock().unwrap().push(text);
                        break;
                    }
                }
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (address, seen)
    }

    fn client() -> Client {
        let host = super::super::host::RegistryHost::parse("x").unwrap();
        let config = super::super::tls::client_config(&host, &[]).unwrap();
        Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(super::super::clients::redirects())
            .no_proxy()
            .build()
            .unwrap()
    }

    fn request(realm: &str) -> TokenRequest {
        TokenRequest {
            host: "r.example".into(),
            realm: realm.into(),
            service: "registry".into(),
            scopes: vec!["repository:a:pull".into(), "repository:b:push".into()],
            repositories: Vec::new(),
            client_id: String::new(),
        }
    }

    fn tries(most: u32) -> TokenTries {
        TokenTries {
            tries: Tries::new(most, None),
            pauses: Pauses::Slept,
            clock: Clock::system(),
        }
    }

    async fn fetch_once(
        client: &Client,
        request: &TokenRequest,
        credential: &Credential,
    ) -> Result<BearerToken, Error> {
        fetch(client, request, credential, tries(1)).await
    }

    const BUSY: &str =
        "HTTP/1.1 429 No\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const DOWN: &str =
        "HTTP/1.1 503 No\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn an_overloaded_server_is_asked_again_after_the_pause_that_it_asks_for() {
        let slow =
            "HTTP/1.1 429 No\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        // The third answer is cut off.
        let (realm, seen) = server(vec![BUSY, slow, "", OK]).await;
        let pauses = Arc::new(Mutex::new(Vec::new()));
        let repeated = TokenTries {
            pauses: Pauses::Recorded(Arc::clone(&pauses)),
            ..tries(4)
        };
        let token = fetch(&client(), &request(&realm), &basic(), repeated).await;
        assert_eq!(token.unwrap().expires_in, 300);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 4);
        assert!(seen.iter().all(|request| request.starts_with("POST ")));
        let pauses = pauses.lock().unwrap();
        assert_eq!(pauses[..2], [0, 7].map(std::time::Duration::from_secs));
    }

    #[tokio::test]
    async fn the_tries_of_an_exchange_are_limited_together_and_a_refusal_ends_them() {
        let unauthorized = "HTTP/1.1 401 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        // The POST takes one of two tries, the GET the other.
        let (realm, seen) = server(vec![BUSY, unauthorized, DOWN, OK]).await;
        let error = fetch(&client(), &request(&realm), &basic(), tries(2)).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, Error::Refused { status: 503, .. }),
            "{error}"
        );
        assert_eq!(seen.lock().unwrap().len(), 3);
        let denied = "HTTP/1.1 403 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let (realm, seen) = server(vec![denied, OK]).await;
        let refused = fetch(&client(), &request(&realm), &basic(), tries(4)).await;
        assert!(refused.is_err());
        assert_eq!(seen.lock().unwrap().len(), 1);
    }

    fn basic() -> Credential {
        Credential::Basic {
            username: "u".into(),
            password: Secret::new("p w".into()),
        }
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 73\r\nconnection: close\r\n\r\n{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"1970-01-01T00:01:00.0000000Z\"}";

    #[tokio::test]
    async fn passwords_are_sent_in_a_post_request() {
        let (realm, seen) = server(vec![OK]).await;
        let token = fetch_once(&client(), &request(&realm), &basic())
            .await
            .unwrap();
        assert_eq!(
            (
                token.value.expose().as_str(),
                token.expires_in,
                token.issued_at
            ),
            ("t", 300, 60)
        );
        let seen = seen.lock().unwrap();
        assert!(seen[0].starts_with("POST /token "), "{}", seen[0]);
        assert!(
            seen[0].contains("scope=repository%3Aa%3Apull+repository%3Ab%3Apush"),
            "{}",
            seen[0]
        );
        assert!(
            seen[0].contains("grant_type=password&username=u&password=p+w"),
            "{}",
            seen[0]
        );
    }

    #[tokio::test]
    async fn servers_that_refuse_post_get_a_get_request() {
        let refused = "HTTP/1.1 405 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let (realm, seen) = server(vec![refused, OK]).await;
        fetch_once(&client(), &request(&realm), &basic())
            .await
            .unwrap();
        let seen = seen.lock().unwrap();
        assert!(
            seen[1].starts_with("GET /token?service=registry&scope=repository%3Aa%3Apull&scope="),
            "{}",
            seen[1]
        );
        assert!(
            seen[1]
                .to_ascii_lowercase()
                .contains("authorization: basic"),
            "{}",
            seen[1]
        );
    }

    #[tokio::test]
    async fn a_request_without_credentials_has_no_authorization() {
        let (realm, seen) = server(vec![OK]).await;
        fetch_once(&client(), &request(&realm), &Credential::Anonymous)
            .await
            .unwrap();
        assert!(
            !seen.lock().unwrap()[0]
                .to_ascii_lowercase()
                .contains("authorization")
        );
    }

    #[tokio::test]
    async fn a_user_name_without_a_password_is_not_posted() {
        let (realm, seen) = server(vec![OK]).await;
        let credential = Credential::Basic {
            username: "u".into(),
            password: Secret::new(String::new()),
        };
        fetch_once(&client(), &request(&realm), &credential)
            .await
            .unwrap();
        assert!(seen.lock().unwrap()[0].starts_with("GET "), "{seen:?}");
    }

    #[test]
    fn answers_are_decoded_as_in_go() {
        let answer = Answer::read(
            br#"{"TOKEN":"t","access_token":null,"expires_in":null,"Expires_In":300,"issued_at":5} {"#,
        );
        assert_eq!((answer.token.as_str(), answer.expires_in), ("t", 300));
        assert_eq!(
            (answer.access_token.as_str(), answer.issued_at.as_str()),
            ("", "")
        );
    }

    #[tokio::test]
    async fn errors_for_refusals_and_malformed_answers_contain_no_secrets() {
        let denied = "HTTP/1.1 403 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let (realm, _) = server(vec![denied]).await;
        let error = fetch_once(
            &client(),
            &request(&realm.replace("http://", "http://u:secret@")),
            &basic(),
        )
        .await
        .unwrap_err();
        assert!(
            matches!(error, Error::Refused { status: 403, .. }),
            "{error}"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
        let empty = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        let (realm, _) = server(vec![empty]).await;
        assert!(matches!(
            fetch_once(&client(), &request(&realm), &basic()).await,
            Err(Error::NoToken { .. })
        ));
        assert!(matches!(
            fetch_once(&client(), &request("file:///etc"), &basic()).await,
            Err(Error::Realm { .. })
        ));
    }

    #[tokio::test]
    async fn a_redirect_to_another_server_is_reported_and_not_followed() {
        for status in [301, 302, 303, 307, 308] {
            for credential in [basic(), Credential::Identity(Secret::new("i".into()))] {
                let (other, seen) = server(vec![OK]).await;
                let redirect = format!(
                    "HTTP/1.1 {status} Go\r\nlocation: {other}?secret=1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                let (realm, asked) = server(vec![redirect.leak()]).await;
                let error = fetch_once(&client(), &request(&realm), &credential).await;
                let error = error.unwrap_err();
                assert!(matches!(error, Error::Redirect { .. }), "{error}");
                let text = error.to_string();
                assert!(text.contains(other.trim_end_matches("/token")), "{text}");
                assert!(!text.contains("secret"), "{text}");
                assert_eq!(asked.lock().unwrap().len(), 1);
                assert!(seen.lock().unwrap().is_empty(), "{status}");
            }
        }
    }

    #[tokio::test]
    async fn a_redirect_within_the_server_is_followed() {
        let redirect =
            "HTTP/1.1 307 Go\r\nlocation: /other\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let (realm, seen) = server(vec![redirect, OK]).await;
        assert!(
            fetch_once(&client(), &request(&realm), &basic())
                .await
                .is_ok()
        );
        assert!(seen.lock().unwrap()[1].starts_with("POST /other "));
    }
}
