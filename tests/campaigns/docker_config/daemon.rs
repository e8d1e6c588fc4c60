//! The daemon of a case: it asks the client's session for credentials and tokens, and then refuses the build.

use std::time::Duration;

use rbake_proto::control::SolveResponse;
use rbake_proto::filesync::auth_client::AuthClient;
use rbake_proto::filesync::{CredentialsRequest, FetchTokenRequest};
use rbake_proto::gateway::{PongResponse, ReturnResponse};
use rbake_proto::health::HealthCheckRequest;
use rbake_proto::health::health_client::HealthClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Status;

use super::make::Ask;
use crate::support::fake_buildkit::{Call, ClientSession, FakeBuildkit};

/// What a registry would receive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    Error,
    Nothing,
    Pair(String, String),
    Token(String),
}

impl Shown {
    /// A user and a secret, or `Nothing` if both are empty.
    pub(super) fn pair(user: String, secret: String) -> Self {
        if user.is_empty() && secret.is_empty() {
            Self::Nothing
        } else {
            Self::Pair(user, secret)
        }
    }
}

/// What the daemon has received.
pub(super) struct Learnt {
    pub shown: Vec<Shown>,
    pub proxies: Vec<(String, String)>,
}

/// Serves one run: asks all questions, then fails the solve.
pub(super) async fn serve(fake: &mut FakeBuildkit, asks: &[Ask], realm: &str) -> Learnt {
    let (mut auth, mut solve, mut probe) = (None, None, None);
    let (mut watched, mut returned) = (false, false);
    while auth.is_none() || solve.is_none() || !watched {
        match fake.call().await {
            Call::Session(session) => {
                if session
                    .methods
                    .iter()
                    .any(|method| method.contains("Auth/"))
                {
                    auth = Some(AuthClient::new(session.channel.clone()));
                }
                tokio::spawn(hold(session));
            }
            // With a build without a frontend, the client asks for the capabilities of the daemon.
            Call::Solve(request, answer) if request.frontend.is_empty() => probe = Some(answer),
            Call::Solve(request, answer) => solve = Some((request, answer)),
            Call::Ping(_, answer) => drop(answer.send(Ok(PongResponse::default()))),
            Call::Return(_, answer) => {
                drop(answer.send(Ok(ReturnResponse::default())));
                returned = true;
            }
            // Dropping the sender ends the progress at once.
            Call::Status(..) => watched = true,
            Call::GatewaySolve(..) => panic!("unexpected build through the gateway"),
        }
        // The calls for the capabilities come in any order.
        if returned && let Some(probe) = probe.take() {
            drop(probe.send(Ok(SolveResponse::default())));
        }
    }
    let (mut auth, (request, answer)) = auth.zip(solve).unwrap();
    let mut shown = Vec::new();
    for ask in asks {
        shown.push(one(&mut auth, ask, realm).await);
    }
    let host = asks.first().map_or("r1.example", |ask| ask.host);
    let message = format!("failed to push {host}/x: unexpected status: 401 Unauthorized");
    let _ = answer.send(Err(Status::unknown(message)));
    let names = [
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "ftp_proxy",
        "all_proxy",
    ];
    let mut proxies: Vec<(String, String)> = request
        .frontend_attrs
        .into_iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("build-arg:")?.to_owned(), value)))
        .filter(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()))
        .collect();
    proxies.sort();
    Learnt { shown, proxies }
}

// The daemon ends its side of a session when the client ends its own.
async fn hold(session: ClientSession) {
    let mut health = HealthClient::new(session.channel);
    while health.check(HealthCheckRequest::default()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(session.hold);
}

async fn one(auth: &mut AuthClient<tonic::transport::Channel>, ask: &Ask, realm: &str) -> Shown {
    if ask.scopes.is_empty() {
        let request = CredentialsRequest {
            host: ask.host.to_owned(),
        };
        return match auth.credentials(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                Shown::pair(answer.username, answer.secret)
            }
            Err(_) => Shown::Error,
        };
    }
    let request = FetchTokenRequest {
        host: ask.host.to_owned(),
        realm: realm.to_owned(),
        service: "registry".to_owned(),
        scopes: ask.scopes.clone(),
        ..FetchTokenRequest::default()
    };
    match auth.fetch_token(request).await {
        Ok(answer) => {
            let token = answer.into_inner().token;
            // The token contains what the token server received.
            match serde_json::from_str::<Vec<String>>(&token).ok().as_deref() {
                Some([]) => Shown::Nothing,
                Some([user, secret]) => Shown::Pair(user.clone(), secret.clone()),
                _ => Shown::Token(token),
            }
        }
        Err(_) => Shown::Error,
    }
}

/// Starts a token server whose tokens contain the credentials that it received. It ends when the sender is dropped.
pub(super) async fn token_server() -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let (sender, mut ended) = oneshot::channel();
    tokio::spawn(async move {
        loop {
            let (socket, _) = tokio::select! {
                accepted = listener.accept() => accepted.unwrap(),
                _ = &mut ended => return,
            };
            tokio::spawn(answer(socket));
        }
    });
    (realm, sender)
}

async fn answer(mut socket: tokio::net::TcpStream) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let Ok(count @ 1..) = socket.read(&mut buffer).await else {
            return;
        };
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        if body.len() < length {
            continue;
        }
        let form: std::collections::BTreeMap<String, String> =
            url::form_urlencoded::parse(body.as_bytes())
                .into_owned()
                .collect();
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        let shown = match field("grant_type").as_str() {
            "password" => vec![field("username"), field("password")],
            "refresh_token" => vec![String::new(), field("refresh_token")],
            // A GET request is anonymous. Credentials would come in a POST request.
            _ => Vec::new(),
        };
        let token = serde_json::to_string(&shown).unwrap();
        let body = serde_json::json!({ "access_token": token, "expires_in": 300 }).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
        return;
    }
}
