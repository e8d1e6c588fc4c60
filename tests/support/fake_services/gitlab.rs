//! A fake of GitLab's registry, written from its documentation ("Differences From Upstream", "Delete manifest", "Protected
//! container tags") and never compared with the real one: it deletes tags and digests, but neither protected tags nor what an
//! index has.

use std::net::SocketAddr;

use super::exchange::{Answer, Asked};
use super::{ServiceState, login, refusal};

pub(super) fn answer(asked: &Asked, state: &mut ServiceState, address: SocketAddr) -> Answer {
    if let Some(answer) = login::check(asked, state, address) {
        return answer;
    }
    let Some(rest) = asked.path.strip_prefix("/v2/acme/web/") else {
        return match asked.path.as_str() {
            "/v2/" => Answer::of_json(200, &serde_json::json!({}))
                .with("gitlab-container-registry-version", "4.30.0-gitlab")
                .with("gitlab-container-registry-database-enabled", "true"),
            _ => refusal(404, "NAME_UNKNOWN"),
        };
    };
    match rest.strip_prefix("manifests/") {
        Some(name) if asked.method == "DELETE" => delete(name, state),
        _ => state.content.answer(asked, rest),
    }
}

fn delete(name: &str, state: &mut ServiceState) -> Answer {
    let content = &mut state.content;
    let is_tag = !name.contains(':');
    let is_meant = |tag: &String| tag == name || content.tags.get(tag).is_some_and(|to| to == name);
    if state.protected.iter().any(is_meant) {
        return refusal(403, "DENIED");
    }
    if is_tag {
        return match content.tags.remove(name) {
            Some(_) => Answer::empty(202),
            None => refusal(404, "MANIFEST_UNKNOWN"),
        };
    }
    if content.has_parent(name) {
        return refusal(409, "MANIFEST_REFERENCED_IN_LIST");
    }
    if content.delete(name) {
        Answer::empty(202)
    } else {
        refusal(404, "MANIFEST_UNKNOWN")
    }
}
