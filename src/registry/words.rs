//! The explanations in a registry's error answers.

use serde::Deserialize;
use serde_json::Value;

use crate::types::secret::redact_urls;
use crate::types::terminal::visible;

/// The longest explanation that is shown, in characters.
pub(super) const LONGEST: usize = 200;

/// The most errors of one answer that are looked at.
const ERRORS: usize = 3;

/// The first error of an answer: `{"errors":[{"code":…,"message":…}]}` (OCI distribution specification, "Error
/// Codes"). The texts are empty if the answer has another form.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RegistryWords {
    /// The code, such as `MANIFEST_UNKNOWN`.
    pub(super) code: String,
    /// The message.
    pub(super) message: String,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    errors: Vec<Value>,
}

impl RegistryWords {
    /// Reads `body`, and removes `secrets`, which a hostile registry could repeat.
    pub(super) fn read(body: &[u8], secrets: &[&str]) -> Self {
        let errors = serde_json::from_slice(body)
            .map_or_else(|_| Vec::new(), |answer: ErrorAnswer| answer.errors);
        let text = |error: &Value, key: &str| {
            let text = error.get(key).and_then(Value::as_str);
            cleaned(text.unwrap_or_default(), secrets)
        };
        if errors.is_empty() {
            let answer = serde_json::from_slice(body).unwrap_or(Value::Null);
            return Self::of_api(|key| text(&answer, key));
        }
        errors
            .iter()
            .take(ERRORS)
            .map(|error| Self {
                code: text(error, "code"),
                message: text(error, "message"),
            })
            .find(|words| *words != Self::default())
            .unwrap_or_default()
    }

    /// Reads an error of an API: those of GitHub and Docker Hub have only a message, those of Amazon a type, such as
    /// `com.amazonaws.ecr#ServerException`.
    fn of_api(text: impl Fn(&str) -> String) -> Self {
        let kind = text("__type");
        let messages = ["message", "Message", "detail"].into_iter().map(&text);
        Self {
            code: kind.rsplit('#').next().unwrap_or_default().to_owned(),
            message: messages
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or_default(),
        }
    }

    /// The code and the message in one text.
    pub(super) fn text(&self) -> String {
        let text = match (self.code.as_str(), self.message.as_str()) {
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        text.chars().take(LONGEST).collect()
    }
}

/// Makes a text from a registry fit for a message.
pub(super) fn cleaned(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "xxxxx");
    }
    let text = redact_urls(text.trim()).into_owned();
    visible(&text).chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn read(body: &str) -> String {
        RegistryWords::read(body.as_bytes(), &["hunter2"]).text()
    }

    #[test_case(r#"{"errors":[{"code":"DENIED","message":"no","detail":{"a":1}}]}"#, "DENIED: no"; "both")]
    #[test_case(r#"{"errors":[{},{"message":"no"}]}"#, "no"; "message only")]
    #[test_case(r#"{"errors":[{"code":"DENIED"}]}"#, "DENIED"; "code only")]
    #[test_case(r#"{"errors":[{"code":7,"message":null}]}"#, ""; "other types")]
    #[test_case(r#"{"errors":null}"#, ""; "null")]
    #[test_case(r#"{"message":"Bad credentials","status":"401"}"#, "Bad credentials"; "of an API of GitHub")]
    #[test_case(r#"{"detail":"no such tag"}"#, "no such tag"; "of docker hub")]
    #[test_case(r#"{"__type":"com.amazonaws.ecr#ServerException","Message":"later"}"#, "ServerException: later"; "of an API of amazon")]
    #[test_case(r#"{"__type":"ThrottlingException"}"#, "ThrottlingException"; "only a type")]
    #[test_case(r#"{"message":["a"]}"#, ""; "a list of messages")]
    #[test_case("<html>", ""; "not json")]
    #[test_case(r#"{"errors":[{"message":"a\u001b[2J\nb \u202e"}]}"#, "a\\u001b[2J\\u000ab \\u202e"; "control characters")]
    #[test_case(r#"{"errors":[{"message":"got hunter2 from https://u:p@h/"}]}"#, "got xxxxx from https://xxxxx:xxxxx@h/"; "secrets")]
    fn explanations_are_read_and_cleaned(body: &str, expected: &str) {
        assert_eq!(read(body), expected);
    }

    #[test]
    fn long_explanations_are_cut() {
        let body = format!(
            r#"{{"errors":[{{"code":"C","message":"{}"}}]}}"#,
            "é".repeat(9999)
        );
        assert_eq!(read(&body).chars().count(), LONGEST);
    }

    #[test]
    fn deeply_nested_answers_are_ignored() {
        assert_eq!(read(&"[".repeat(100_000)), "");
        let body = format!("{{\"errors\":{}", "[".repeat(100_000));
        assert_eq!(read(&body), "");
    }
}
