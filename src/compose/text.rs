//! Values as the text Go makes of them, which is what users of Compose get to see.

use crate::golang::fmt;
use crate::yaml::{Node, Value};

/// `value` as `fmt.Sprint` writes it: `<nil>` for null, `1e+06` for a million with a point.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => fmt::float(*number),
        Value::Timestamp(time) => time.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| text(&item.value)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Mapping(entries) => {
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
pub fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        value => Some(text(value)),
    }
}
