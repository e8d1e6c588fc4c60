//! Writing a document in the JSON syntax.

use super::document::{Attribute, Block, Document, Key, Value, escape_introducers};
use crate::Random;

/// The document as text.
pub(super) fn write(document: &Document, random: &mut Random) -> String {
    let mut root = Vec::new();
    if random.percent(20) {
        root.push(("//".to_owned(), string("a ${comment")));
    }
    for attribute in &document.attributes {
        root.push((attribute.name.clone(), value(&attribute.value)));
    }
    // Blocks of a kind are together under one key, or each has its own, repeated key.
    let together = random.percent(80);
    for kind in ["variable", "function", "group", "target"] {
        let blocks: Vec<&Block> = document
            .blocks
            .iter()
            .filter(|block| block.kind == kind)
            .collect();
        let mut entries: Vec<(String, String)> = Vec::new();
        for block in blocks {
            let body = body(block, random);
            let label = block.label.clone().unwrap_or_default();
            let listed = if random.percent(10) {
                format!("[{body}]")
            } else {
                body
            };
            if together {
                entries.push((label, listed));
            } else {
                root.push((kind.to_owned(), object(&[(label, listed)], random)));
            }
        }
        if !entries.is_empty() {
            root.push((kind.to_owned(), object(&entries, random)));
        }
    }
    let mut text = object(&root, random);
    if random.percent(50) {
        text.push('\n');
    }
    text
}

fn body(block: &Block, random: &mut Random) -> String {
    let mut entries: Vec<(String, String)> = block
        .attributes
        .iter()
        .map(|Attribute { name, value: found }| (name.clone(), value(found)))
        .collect();
    if random.percent(5) {
        entries.push(("//".to_owned(), "null".to_owned()));
    }
    let inner: Vec<String> = block
        .blocks
        .iter()
        .map(|inner| body(inner, random))
        .collect();
    if let Some(first) = block.blocks.first() {
        let text = if inner.len() == 1 && random.percent(50) {
            inner.concat()
        } else {
            format!("[{}]", inner.join(", "))
        };
        entries.push((first.kind.to_owned(), text));
    }
    object(&entries, random)
}

fn object(entries: &[(String, String)], random: &mut Random) -> String {
    let (open, between, close) =
        *random.pick(&[("{", ", ", "}"), ("{\n", ",\n", "\n}"), ("{\t", " ,", " }")]);
    let entries: Vec<String> = entries
        .iter()
        .map(|(key, value)| format!("{}: {value}", string(key)))
        .collect();
    format!("{open}{}{close}", entries.join(between))
}

fn value(found: &Value) -> String {
    match found {
        Value::Expression(text) if text.starts_with("<<") => string(&escape_introducers(text)),
        // In JSON, the escapes of quoted templates are JSON's own.
        Value::Template(inside) if inside.contains(['"', '\\']) => {
            string(&format!("${{\"{inside}\"}}"))
        }
        Value::Template(inside) => string(inside),
        Value::Text(text) => string(&escape_introducers(text)),
        Value::Number(text) if serde_json::from_str::<serde_json::Value>(text).is_ok() => {
            text.clone()
        }
        Value::Expression(text) | Value::Number(text) => string(&format!("${{{text}}}")),
        Value::Bool(value) => value.to_string(),
        Value::Null => "null".to_owned(),
        Value::Bare(text) => bare(text),
        Value::List(elements) => {
            let elements: Vec<String> = elements.iter().map(value).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, found)| format!("{}: {}", string(&key_text(key)), value(found)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

fn bare(text: &str) -> String {
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(names) if !names.contains('[') => {
            let names: Vec<String> = names
                .split(", ")
                .filter(|name| !name.is_empty())
                .map(string)
                .collect();
            format!("[{}]", names.join(", "))
        }
        _ => string(text),
    }
}

fn key_text(key: &Key) -> String {
    match key {
        Key::Text(text) => escape_introducers(text),
        Key::Expression(text) => format!("${{{text}}}"),
    }
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
