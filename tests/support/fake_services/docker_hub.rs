//! A fake of Docker Hub, written from its documentation ("Delete image manifest", "Create access token", "Rate Limiting") and
//! the client `hub-tool`, and never compared with the real one. The registry deletes manifests to which nothing leads, and no
//! tags. The API below `/hub` removes tags.

use std::net::SocketAddr;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::exchange::{Answer, Asked};
use super::login::PASSWORD;
use super::{ServiceState, login, refusal};

/// The token of the API.
const TOKEN: &str = "hidden-access";

pub(super) fn answer(asked: &Asked, state: &mut ServiceState, address: SocketAddr) -> Answer {
    if let Some(rest) = asked.path.strip_prefix("/hub/v2/") {
        return api(asked, rest, state);
    }
    if let Some(answer) = login::check(asked, state, address) {
        return answer;
    }
    let Some(rest) = asked.path.strip_prefix("/v2/acme/web/") else {
        return refusal(404, "NAME_UNKNOWN");
    };
    let content = &mut state.content;
    match rest.strip_prefix("manifests/") {
        Some(name) if asked.method == "DELETE" => {
            if !name.contains(':') {
                return refusal(405, "UNSUPPORTED");
            }
            if content.is_tagged(name) || content.has_parent(name) {
                return refusal(403, "DENIED");
            }
            if content.delete(name) {
                Answer::empty(202)
            } else {
                refusal(404, "MANIFEST_UNKNOWN")
            }
        }
        _ => content.answer(asked, rest),
    }
}

fn api(asked: &Asked, rest: &str, state: &mut ServiceState) -> Answer {
    let problem = |status, detail: &str| {
        Answer::of_json(status, &json!({"detail": detail, "message": detail}))
    };
    if rest == "auth/token" {
        let login: Value = serde_json::from_slice(&asked.body).unwrap();
        return if login == json!({"identifier": "someone", "secret": PASSWORD}) {
            Answer::of_json(200, &json!({"access_token": TOKEN}))
        } else {
            problem(401, "incorrect authentication credentials")
        };
    }
    if asked.header("authorization") != format!("Bearer {TOKEN}") {
        return problem(401, "unauthorized");
    }
    let tag = rest.strip_prefix("namespaces/acme/repositories/web/tags/");
    let tag = tag.map(|tag| percent_decode_str(tag).decode_utf8().unwrap());
    match tag {
        _ if state.reads_only => problem(403, "access denied: insufficient scope"),
        Some(tag) if state.protected.iter().any(|one| *one == tag) => {
            problem(403, "the tag is immutable")
        }
        Some(tag) if asked.method == "DELETE" => match state.content.tags.remove(&*tag) {
            Some(_) => Answer::empty(204),
            None => problem(404, "tag not found"),
        },
        _ => problem(404, "object not found"),
    }
}
