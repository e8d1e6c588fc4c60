//! Explains what goes wrong with caches in S3 and Azure Blob Storage.
//!
//! Reads the daemon's message, which is made by the libraries of Amazon and Microsoft for Go. An unknown message stays as it is.

use super::aws_keys::AwsKeys;
use crate::definition::model::ObjectStore;
use crate::outcome::SolveFailure;
use crate::types::secret::redact_urls;

/// What a line of Microsoft's errors consists of that separates their parts.
const RULE: &str = "----";
/// What precedes the code of such an error.
const CODE: &str = "ERROR CODE: ";

/// Returns `failure`, of a cache in `store`, in one line and with what the user can do.
pub(super) fn explained(
    store: ObjectStore,
    mut failure: SolveFailure,
    keys: &AwsKeys,
) -> SolveFailure {
    let message = failure.message.clone();
    failure.message = redact_urls(&in_short(&message)).into_owned();
    let help = match store {
        ObjectStore::S3 => of_s3(&message, keys),
        ObjectStore::AzBlob => of_azure(&message),
    };
    failure.help.extend(help);
    failure
}

/// `message` without the details of an answer of Azure's, which has many lines.
fn in_short(message: &str) -> String {
    let mut lines = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default().to_owned();
    let code = lines
        .clone()
        .find_map(|line| line.strip_prefix(CODE))
        .filter(|code| *code != "UNAVAILABLE");
    let said = lines.find(|line| line.starts_with("RESPONSE "));
    match (said, code) {
        (Some(said), Some(code)) => format!("{first}: {said} ({code})"),
        (Some(said), None) => format!("{first}: {said}"),
        (None, _) => {
            let all = message.lines().map(str::trim);
            let all = all.filter(|line| !line.is_empty() && !line.starts_with(RULE));
            all.collect::<Vec<_>>().join(" ")
        }
    }
}

fn of_s3(message: &str, keys: &AwsKeys) -> Vec<String> {
    let has = |text: &str| message.contains(text);
    if has("bucket ($AWS_BUCKET) not set") {
        return vec![
            "add `bucket=NAME`, or set `AWS_BUCKET` in the environment of the builder".to_owned(),
        ];
    }
    if has("region ($AWS_REGION) not set") {
        return vec![
            "add `region=NAME`, or set `AWS_REGION` in the environment of the builder".to_owned(),
        ];
    }
    if UNKNOWN.iter().any(|text| has(text)) {
        return vec![NOT_IN_DOCKER.to_owned()];
    }
    let refused = [
        "StatusCode: 401",
        "StatusCode: 403",
        "get credentials",
        "failed to refresh cached credentials",
    ];
    match keys.missing() {
        Some(reason) if refused.iter().any(|text| has(text)) => vec![format!(
            "rbake found no AWS keys, so the builder used its own: {reason}"
        )],
        _ => Vec::new(),
    }
}

fn of_azure(message: &str) -> Vec<String> {
    let has = |text: &str| message.contains(text);
    let help = if has("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL") {
        "add `account_url=https://ACCOUNT.blob.core.windows.net`"
    } else if UNKNOWN.iter().any(|text| has(text)) {
        NOT_IN_DOCKER
    } else if has("DefaultAzureCredential") {
        "add `secret_access_key=…` with a key of the account, or give the builder an identity of Azure's"
    } else if has("AuthenticationFailed") || has("failed to create shared key") {
        "`secret_access_key` must be a key of the account, as Azure shows it; `account_name` is the account's name if it does not begin `account_url`"
    } else {
        return Vec::new();
    };
    vec![help.to_owned()]
}

/// What a daemon says that does not have the backend.
const UNKNOWN: [&str; 2] = ["unknown cache exporter", "unknown cache importer"];

/// The BuildKit inside a Docker Engine has only some of the backends (moby `daemon/internal/builder-next/controller.go`).
const NOT_IN_DOCKER: &str = "the BuildKit in a Docker Engine has no caches of this type: use another builder, such as `docker buildx create --driver docker-container` makes";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureKind;
    use test_case::test_case;

    fn explained_by(store: ObjectStore, message: &str, keys: &AwsKeys) -> (String, Vec<String>) {
        let failure = SolveFailure::new(FailureKind::Build, message);
        let failure = explained(store, failure, keys);
        (failure.message, failure.help)
    }

    #[test]
    fn an_answer_of_azure_becomes_one_line() {
        let message = "failed to create container client: failed to get properties of cache container c: GET http://u:hunter2@h/a/c\n--------------------------------------------------------------------------------\nRESPONSE 403: 403 Forbidden\nERROR CODE: AuthenticationFailed\n--------------------------------------------------------------------------------\nResponse contained no body\n--------------------------------------------------------------------------------\n";
        let (message, help) = explained_by(ObjectStore::AzBlob, message, &AwsKeys::default());
        assert_eq!(
            message,
            "failed to create container client: failed to get properties of cache container c: GET http://xxxxx:xxxxx@h/a/c: RESPONSE 403: 403 Forbidden (AuthenticationFailed)"
        );
        assert!(help[0].contains("account_name"), "{help:?}");
    }

    #[test]
    fn other_texts_become_one_line() {
        let (message, help) = explained_by(
            ObjectStore::AzBlob,
            "a\n\n  b\n----\nc",
            &AwsKeys::default(),
        );
        assert_eq!((message.as_str(), help.len()), ("a b c", 0));
    }

    #[test_case("bucket ($AWS_BUCKET) not set for s3 cache", "`bucket=NAME`")]
    #[test_case("region ($AWS_REGION) not set for s3 cache", "`region=NAME`")]
    #[test_case("unknown cache exporter: \"s3\"", "docker-container")]
    #[test_case("unknown cache importer: s3", "docker-container")]
    #[test_case("https response error StatusCode: 403, RequestID: x", "no keys here")]
    fn the_help_names_what_is_missing(message: &str, expected: &str) {
        let keys = AwsKeys::Missing("no keys here".to_owned());
        let (_, help) = explained_by(ObjectStore::S3, message, &keys);
        assert!(help[0].contains(expected), "{help:?}");
    }

    #[test]
    fn keys_that_were_found_are_not_said_to_be_missing() {
        let (_, help) = explained_by(
            ObjectStore::S3,
            "https response error StatusCode: 403, RequestID: x",
            &AwsKeys::NotNeeded,
        );
        assert!(help.is_empty(), "{help:?}");
    }
}
