//! Logins by tokens, as the registries of GitLab and Docker Hub have them: a token allows only some of the actions that were
//! asked for, and the server does not say which.

use std::net::SocketAddr;

use super::exchange::{Answer, Asked};
use super::{ServiceState, refusal};

/// The password of the user `someone`.
pub(crate) const PASSWORD: &str = "hidden-word";

/// Checks the token of a request for the repository, and answers requests for tokens. `None` if the request may pass.
pub(super) fn check(asked: &Asked, state: &ServiceState, address: SocketAddr) -> Option<Answer> {
    if asked.path == "/token" {
        return Some(token(asked, state));
    }
    let action = match asked.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    };
    let token = asked.header("authorization").strip_prefix("Bearer allows:");
    let is_allowed = |token: &str| token.split(',').any(|allowed| allowed == action);
    if token.is_some_and(is_allowed) {
        return None;
    }
    let challenge = format!(
        "Bearer realm=\"http://{address}/token\",service=\"fake\",scope=\"repository:acme/web:{action}\""
    );
    let refused = refusal(401, "UNAUTHORIZED");
    Some(refused.with("www-authenticate", challenge))
}

fn token(asked: &Asked, state: &ServiceState) -> Answer {
    use base64::Engine as _;
    let login = base64::prelude::BASE64_STANDARD.encode(format!("someone:{PASSWORD}"));
    if asked.header("authorization") != format!("Basic {login}") {
        return refusal(401, "UNAUTHORIZED");
    }
    let mut allowed = vec!["pull", "push"];
    if asked.query.contains("delete") && !state.reads_only {
        allowed.push("delete");
    }
    let token = format!("allows:{}", allowed.join(","));
    Answer::of_json(200, &serde_json::json!({"token": token, "expires_in": 300}))
}
