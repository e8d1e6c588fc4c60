//! Values as the text Go makes of them, which is what users of Compose get to see.

use crate::golang::fmt;
use crate::yaml::{YamlNode, YamlValue};

/// `value` as `fmt.Sprint` writes it: `<nil>` for null, `1e+06` for a million with a point.
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

/// The text of a node that is none of: null, a list, a mapping.
pub(crate) fn scalar(node: &YamlNode) -> Option<String> {
    match &node.value {
        YamlValue::Null | YamlValue::Sequence(_) | YamlValue::Mapping(_) => None,
        value => Some(text(value)),
    }
}
