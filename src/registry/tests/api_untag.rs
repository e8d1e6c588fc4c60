//! Removal of tags by an API.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::TestRun;
use super::apis::ecr;
use super::scripted::{ScriptedRegistry, ok, status};
use super::untag::{OCI_INDEX, index};
use crate::registry::Untagged;
use crate::types::Digest;

#[tokio::test]
async fn a_deletion_by_amazon_that_has_begun_is_awaited_when_the_run_is_stopped() {
    let image = index("one");
    let bytes = image.bytes().clone();
    let run = TestRun::new();
    let stop = run.stop.clone();
    let is_there = Arc::new(Mutex::new((true, true)));
    let kept = Arc::clone(&is_there);
    // With its last tag, the image goes.
    let server = ScriptedRegistry::start(move |request| {
        let (has_tag, has_image) = &mut *kept.lock().unwrap();
        let known = || {
            let digest = Digest::sha256(&bytes);
            ok(bytes.clone())
                .with("content-type", OCI_INDEX)
                .with("docker-content-digest", digest)
        };
        let is_tag = request.target.ends_with("/manifests/1");
        match request.method.as_str() {
            "POST" => {
                stop.cancel();
                (*has_tag, *has_image) = (false, false);
                ok(json!({"imageIds": [{"imageTag": "1"}], "failures": []}).to_string())
            }
            "PUT" => {
                *has_image = true;
                status(201)
            }
            _ if is_tag && *has_tag || !is_tag && *has_image => known(),
            _ => status(404),
        }
    })
    .await;
    let (repository, tag) = (ecr(&run, &server), "1".parse().unwrap());
    let untagged = repository.untag(&tag, image.digest()).await;
    assert_eq!(untagged.unwrap(), Untagged::Removed);
    assert_eq!(*is_there.lock().unwrap(), (false, true));
}
