//! A fake of Amazon's private registry and of its API, written from the "Amazon ECR API Reference" and never compared with the
//! real one. The registry refuses every `DELETE`. The API below `/ecr` checks the signatures of requests, removes tags and
//! deletes images; with its last tag, an image goes, too; what an index has stays.

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::exchange::{Answer, Asked};
use super::login::PASSWORD;
use super::{ServiceState, refusal};

pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const ACCESS_KEY: &str = "AKIAFAKE";
pub(crate) const SECRET_KEY: &str = "hidden-key";
pub(crate) const SESSION_TOKEN: &str = "hidden-session";

pub(super) fn answer(asked: &Asked, state: &mut ServiceState) -> Answer {
    if asked.path == "/ecr/" && asked.method == "POST" {
        return api(asked, state);
    }
    let login = base64::prelude::BASE64_STANDARD.encode(format!("someone:{PASSWORD}"));
    if asked.header("authorization") != format!("Basic {login}") {
        let realm = "Basic realm=\"https://fake.example/\",service=\"ecr.amazonaws.com\"";
        return refusal(401, "DENIED").with("www-authenticate", realm);
    }
    match asked.path.strip_prefix("/v2/acme/web/") {
        Some(_) if asked.method == "DELETE" => refusal(405, "UNSUPPORTED"),
        Some(rest) => state.content.answer(asked, rest),
        None => refusal(404, "NAME_UNKNOWN"),
    }
}

fn api(asked: &Asked, state: &mut ServiceState) -> Answer {
    let problem = |kind: &str, message: &str| {
        Answer::of_json(400, &json!({"__type": kind, "message": message}))
    };
    if asked.header("x-amz-security-token") != SESSION_TOKEN {
        let message = "The security token included in the request is invalid.";
        return problem("UnrecognizedClientException", message);
    }
    if asked.header("authorization") != signed(asked) {
        return problem("InvalidSignatureException", "The signature does not match.");
    }
    let input: Value = serde_json::from_slice(&asked.body).unwrap();
    if input["repositoryName"] != "acme/web" {
        return problem(
            "RepositoryNotFoundException",
            "There is no such repository.",
        );
    }
    match asked.header("x-amz-target").rsplit('.').next() {
        Some("BatchDeleteImage") if state.reads_only => {
            let message = "User someone is not authorized to perform: ecr:BatchDeleteImage";
            problem("AccessDeniedException", message)
        }
        Some("BatchDeleteImage") => delete(&input, state),
        Some("DescribeImages") => describe(&input, state),
        _ => problem("UnknownOperationException", "What?"),
    }
}

fn delete(input: &Value, state: &mut ServiceState) -> Answer {
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    let images = input["imageIds"].as_array().unwrap();
    assert!((1..=100).contains(&images.len()));
    for image in images {
        let content = &mut state.content;
        let failure = match (image["imageTag"].as_str(), image["imageDigest"].as_str()) {
            (Some(tag), None) => match content.tags.remove(tag) {
                Some(digest) => {
                    if !content.is_tagged(&digest) && !content.has_parent(&digest) {
                        content.delete(&digest);
                    }
                    None
                }
                None => Some("ImageNotFound"),
            },
            (None, Some(digest)) if content.has_parent(digest) => {
                Some("ImageReferencedByManifestList")
            }
            (None, Some(digest)) if content.delete(digest) => None,
            (None, Some(_)) => Some("ImageNotFound"),
            _ => Some("MissingDigestAndTag"),
        };
        match failure {
            None => deleted.push(image.clone()),
            Some(code) => failures.push(
                json!({"imageId": image, "failureCode": code, "failureReason": "Requested image is not deleted"}),
            ),
        }
    }
    Answer::of_json(200, &json!({"imageIds": deleted, "failures": failures}))
}

/// A page of the images, smaller than a client asks for.
fn describe(input: &Value, state: &ServiceState) -> Answer {
    const PAGE: usize = 5;
    assert_eq!(input["maxResults"], 1000);
    let after = input["nextToken"].as_str().unwrap_or_default();
    let mut images = state.content.manifests.iter();
    let mut images = images
        .by_ref()
        .filter(|(digest, _)| digest.as_str() > after);
    let page: Vec<_> = images.by_ref().take(PAGE).collect();
    let details = page.iter().map(|(digest, manifest)| {
        let tags = state.content.tags.iter().filter(|(_, to)| to == digest);
        let tags: Vec<&String> = tags.map(|(tag, _)| tag).collect();
        #[expect(clippy::cast_precision_loss, reason = "as in the real answer")]
        let pushed = manifest.pushed.as_millisecond() as f64 / 1000.0;
        json!({"registryId": "123456789012", "repositoryName": "acme/web", "imageDigest": digest, "imageTags": tags, "imagePushedAt": pushed, "imageManifestMediaType": manifest.media_type})
    });
    let mut answer = json!({"imageDetails": details.collect::<Vec<_>>()});
    if images.next().is_some() {
        answer["nextToken"] = page.last().unwrap().0.as_str().into();
    }
    Answer::of_json(200, &answer)
}

/// The header that a client with the right keys sends (docs.aws.amazon.com, "Create a signed AWS API request").
fn signed(asked: &Asked) -> String {
    let mac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
    let mut headers = String::new();
    for name in names.split(';') {
        headers.extend([name, ":", asked.header(name), "\n"]);
    }
    let request = format!(
        "POST\n{}\n\n{headers}\n{names}\n{}",
        asked.path,
        hash(&asked.body)
    );
    let date = asked.header("x-amz-date");
    let day = &date[..8];
    let scope = format!("{day}/{REGION}/ecr/aws4_request");
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hash(request.as_bytes())
    );
    let key = mac(format!("AWS4{SECRET_KEY}").as_bytes(), day);
    let key = mac(&mac(&mac(&key, REGION), "ecr"), "aws4_request");
    let signature = hex::encode(mac(&key, &text));
    format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
}
