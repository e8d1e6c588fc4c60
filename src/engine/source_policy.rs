//! Rules on the sources of a build, which the daemon applies: images, repositories and downloads can be allowed, denied or
//! replaced by others.
//!
//! The file is that of BuildKit (`sourcepolicy/pb`): JSON as Go reads it, or an encoded message.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use rbake_proto::sourcepolicy::{
    AttrConstraint, AttrMatch, MatchType, Policy, PolicyAction, Rule, Selector, Update,
};
use serde::Deserialize;
use serde_json::Value;

/// The rules of one file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SourcePolicy(Arc<Policy>);

/// Why a file has no rules.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidSourcePolicy {
    /// It is not JSON, and not an encoded message.
    #[error("it is not a source policy")]
    Json(#[source] serde_json::Error),
    /// A part of it is of another kind, such as a list in place of a rule.
    #[error("it is not a source policy: `{0}` is not what it should be")]
    Shape(&'static str),
    /// It is JSON of another kind.
    #[error("it is not a source policy")]
    Content(#[source] serde_json::Error),
}

impl SourcePolicy {
    /// Parses the content of a file.
    ///
    /// # Errors
    /// It is in neither of the two forms. A rule that cannot be read is an error, not ignored.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, InvalidSourcePolicy> {
        let policy = match serde_json::from_slice::<Value>(content) {
            Ok(value) => {
                let value = with_lower_keys(value);
                check_shape(&value)?;
                let file = PolicyFile::deserialize(value);
                file.map_err(InvalidSourcePolicy::Content)?.into_message()
            }
            Err(error) => {
                let message = Policy::decode(content);
                message.map_err(|_| InvalidSourcePolicy::Json(error))?
            }
        };
        Ok(Self(Arc::new(policy)))
    }

    /// The form that is sent to the daemon.
    pub(super) fn to_message(&self) -> Policy {
        Policy::clone(&self.0)
    }
}

/// Go does not distinguish the case of the names of fields. The keys of `attrs` are not such names.
fn with_lower_keys(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let lower = |(key, value): (String, Value)| {
                let key = key.to_ascii_lowercase();
                let value = if key == "attrs" {
                    value
                } else {
                    with_lower_keys(value)
                };
                (key, value)
            };
            Value::Object(fields.into_iter().map(lower).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(with_lower_keys).collect()),
        other => other,
    }
}

/// Checks that every part that has fields is an object. A list would be taken for the values of the fields.
fn check_shape(file: &Value) -> Result<(), InvalidSourcePolicy> {
    let object = |value: &Value, name| match value {
        Value::Object(_) => Ok(()),
        _ => Err(InvalidSourcePolicy::Shape(name)),
    };
    let all = |value: &Value, name| match value.as_array() {
        Some(items) => items.iter().try_for_each(|item| object(item, name)),
        None => Ok(()),
    };
    object(file, "the whole")?;
    let rules = file.get("rules").unwrap_or(&Value::Null);
    all(rules, "rules")?;
    for rule in rules.as_array().into_iter().flatten() {
        if let Some(selector) = rule.get("selector") {
            object(selector, "selector")?;
            all(
                selector.get("constraints").unwrap_or(&Value::Null),
                "constraints",
            )?;
        }
        if let Some(updates) = rule.get("updates") {
            object(updates, "updates")?;
        }
    }
    Ok(())
}

/// A value of an enumeration, by its name or its number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Name(String),
    Number(i32),
}

impl Default for Named {
    fn default() -> Self {
        Self::Number(0)
    }
}

#[derive(Deserialize)]
struct PolicyFile {
    #[serde(default)]
    version: i64,
    #[serde(default)]
    rules: Vec<FileRule>,
}

#[derive(Deserialize)]
struct FileRule {
    #[serde(default)]
    action: FileAction,
    #[serde(default)]
    selector: Option<FileSelector>,
    #[serde(default)]
    updates: Option<FileUpdate>,
}

#[derive(Deserialize)]
struct FileSelector {
    #[serde(default)]
    identifier: String,
    #[serde(default)]
    match_type: FileMatch,
    #[serde(default)]
    constraints: Vec<FileConstraint>,
}

#[derive(Deserialize)]
struct FileConstraint {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    condition: FileCondition,
}

#[derive(Deserialize)]
struct FileUpdate {
    #[serde(default)]
    identifier: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// Makes the type of an enumeration in the file.
macro_rules! enumeration {
    ($name:ident, $message:ident) => {
        #[derive(Default, Deserialize)]
        #[serde(try_from = "Named")]
        struct $name(i32);

        impl TryFrom<Named> for $name {
            type Error = String;

            fn try_from(named: Named) -> Result<Self, String> {
                let value = match named {
                    Named::Name(name) => {
                        let value = $message::from_str_name(&name);
                        value.ok_or_else(|| format!("there is no `{name}`"))?
                    }
                    Named::Number(number) => {
                        let value = $message::try_from(number);
                        value.map_err(|_| format!("there is no number {number}"))?
                    }
                };
                Ok(Self(value.into()))
            }
        }
    };
}

enumeration!(FileAction, PolicyAction);
enumeration!(FileMatch, MatchType);
enumeration!(FileCondition, AttrMatch);

impl PolicyFile {
    fn into_message(self) -> Policy {
        let constraint = |constraint: FileConstraint| AttrConstraint {
            key: constraint.key,
            value: constraint.value,
            condition: constraint.condition.0,
        };
        let rule = |rule: FileRule| Rule {
            action: rule.action.0,
            selector: rule.selector.map(|selector| Selector {
                identifier: selector.identifier,
                match_type: selector.match_type.0,
                constraints: selector.constraints.into_iter().map(constraint).collect(),
            }),
            updates: rule.updates.map(|update| Update {
                identifier: update.identifier,
                attrs: update.attrs,
            }),
        };
        Policy {
            version: self.version,
            rules: self.rules.into_iter().map(rule).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn policy(text: &str) -> Policy {
        SourcePolicy::parse(text.as_bytes()).unwrap().to_message()
    }

    #[test]
    fn rules_are_read_by_name_and_by_number() {
        let text = r#"{"version": 1, "rules": [
            {"action": "CONVERT", "selector": {"identifier": "docker-image://a", "match_type": "EXACT",
             "constraints": [{"key": "k", "value": "v", "condition": "NOTEQUAL"}]},
             "updates": {"identifier": "docker-image://b", "attrs": {"http.Checksum": "x"}}},
            {"Action": 1, "SELECTOR": {"Identifier": "*", "Match_Type": 2}}, {}]}"#;
        let policy = policy(text);
        assert_eq!(policy.version, 1);
        let [first, second, third] = policy.rules.as_slice() else {
            panic!("{policy:?}")
        };
        let selector = first.selector.as_ref().unwrap();
        assert_eq!(
            (first.action(), selector.match_type()),
            (PolicyAction::Convert, MatchType::Exact)
        );
        assert_eq!(selector.constraints[0].condition(), AttrMatch::Notequal);
        assert_eq!(first.updates.as_ref().unwrap().attrs["http.Checksum"], "x");
        let selector = second.selector.as_ref().unwrap();
        assert_eq!(
            (second.action(), selector.match_type()),
            (PolicyAction::Deny, MatchType::Regex)
        );
        assert_eq!(
            (third.action(), &third.selector),
            (PolicyAction::Allow, &None)
        );
    }

    #[test]
    fn an_encoded_policy_is_read() {
        let text =
            r#"{"version": 1, "rules": [{"action": "DENY", "selector": {"identifier": "*"}}]}"#;
        let encoded = policy(text).encode_to_vec();
        assert_eq!(
            SourcePolicy::parse(&encoded).unwrap().to_message(),
            policy(text)
        );
    }

    #[test_case("{"; "no json")]
    #[test_case("[]"; "another type")]
    #[test_case(r#"{"rules": [{"action": "REFUSE"}]}"#; "unknown action")]
    #[test_case(r#"{"rules": [{"action": 9}]}"#; "unknown number")]
    #[test_case(r#"{"rules": {"action": "DENY"}}"#; "one rule")]
    #[test_case(r#"{"rules": [["DENY"]]}"#; "a list as rule")]
    #[test_case(r#"{"rules": [{"selector": ["x"]}]}"#; "a list as selector")]
    #[test_case(r#"{"rules": [{"selector": {"constraints": [["x"]]}}]}"#; "a list as constraint")]
    #[test_case(r#"{"rules": [{"updates": []}]}"#; "a list as update")]
    fn policies_that_cannot_be_read_are_errors(text: &str) {
        SourcePolicy::parse(text.as_bytes()).unwrap_err();
    }
}
