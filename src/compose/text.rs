//! Converts values to text in the same way as Go, because users of Compose see that text.

use crate::golang::fmt;
use crate::yaml::{YamlNode, YamlValue};

/// Formats `value` as Go's `fmt.Sprint` does: null is `<nil>`, and the float one million is `1e+06`.
pub(crate) fn text(value: &YamlValue) -> String {
    match value {
        YamlValue::Null => "<nil>".to_owned(),
        YamlValue::Bool(value) => value.to_string(),
        YamlValue::Int(number) => number.to_string(),
        YamlValue::Float(number) => fmt::float(*number),
        YamlValue::Timestamp(time) => time.to_string(),
        YamlValue::String(text) => text.clone(),
        YamlValue::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| text(&item.value)).collect();
            format!("[{}]", items.join(" "))
        }
        YamlValue::Mapping(entries) => {
            let mut entries: Vec<String> = entries
                .iter()
                .map(|(key, entry)| format!("{key}:{}", text(&entry.value.value)))
                .collect();
            entries.sort_unstable();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// The text of a scalar. `None` for null, a list or a mapping.
pub(crate) fn scalar(node: &YamlNode) -> Option<String> {
    match &node.value {
        YamlValue::Null | YamlValue::Sequence(_) | YamlValue::Mapping(_) => None,
        value => Some(text(value)),
    }
}
