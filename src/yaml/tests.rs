//! Tests with small documents, and with documents that go-yaml has parsed.

use super::marks::MarkKind;
use super::*;
use crate::diag::SourceMap;

fn one(text: &str) -> Document {
    let mut map = SourceMap::default();
    let id = map.add("compose.yaml", text);
    let mut documents = parse(text, id).expect("no errors");
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn codes(text: &str) -> Vec<&'static str> {
    let mut map = SourceMap::default();
    let id = map.add("compose.yaml", text);
    let problems = parse(text, id).expect_err("errors");
    problems.0.iter().map(|problem| problem.code).collect()
}

#[test]
fn spans_point_to_the_text_of_the_file() {
    let text = "a:\n  b: \"x y\"\n  c: [1, 2]\n";
    let root = one(text).root;
    let at = |span: Span| &text[span.range()];
    let a = &root.as_mapping().expect("mapping")["a"];
    assert_eq!(at(a.key), "a");
    assert_eq!(at(a.value.span), "b: \"x y\"\n  c: [1, 2]");
    let b = a.value.get("b").expect("b");
    assert_eq!(at(b.span), "\"x y\"");
    assert_eq!(at(b.part(2..3)), "y");
    let c = a.value.get("c").expect("c");
    assert_eq!(at(c.span), "[1, 2]");
}

#[test]
fn marks_have_a_path_and_a_kind() {
    let document = one("x:\n  a: !reset null\n  b: !override [1]\n  <<: {c: !reset 1, d: 2}\n");
    let marks: Vec<_> = document
        .marks
        .iter()
        .map(|mark| (mark.path.join("."), mark.kind))
        .collect();
    let expected = [
        ("x.a".to_owned(), MarkKind::Reset),
        ("x.b".to_owned(), MarkKind::Override),
        ("x.c".to_owned(), MarkKind::Reset),
    ];
    assert_eq!(marks, expected);
    let x = document.root.get("x").and_then(YamlNode::as_mapping);
    let keys: Vec<_> = x.expect("x").keys().cloned().collect();
    assert_eq!(keys, ["b", "d"]);
}

#[test]
fn hostile_documents_are_refused() {
    let level = |level: usize| {
        let items = vec![format!("*a{}", level.wrapping_sub(1)); 10].join(", ");
        format!("a{level}: &a{level} [{items}]\n")
    };
    let first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let bomb: String = std::iter::once(first).chain((1..12).map(level)).collect();
    assert_eq!(codes(&bomb), ["yaml::too-large"]);
    assert_eq!(codes(&"[".repeat(100_000)), ["yaml::syntax"]);
    let deep: String = (0..10_000).map(|n| " ".repeat(n) + "a:\n").collect();
    assert_eq!(codes(&deep), ["yaml::syntax"]);
    assert_eq!(codes("a: &a\n  b: *a\n"), ["yaml::cycle"]);
    assert_eq!(codes("a: !override &a\n  b: *a\n"), ["yaml::cycle"]);
    assert_eq!(codes("a: &a\n  <<: *a\n"), ["yaml::cycle"]);
}

#[test]
fn all_errors_are_reported() {
    let text = "a: *x\nb: 1\nb: 2\nc: *y\n";
    let expected = [
        "yaml::unknown-anchor",
        "yaml::unknown-anchor",
        "yaml::duplicate-key",
    ];
    assert_eq!(codes(text), expected);
}

/// Converts a value to the form in the fixture: Go's maps are unordered, and its numbers have types.
fn told(node: &YamlNode) -> serde_json::Value {
    use serde_json::json;
    match &node.value {
        YamlValue::Null => json!(null),
        YamlValue::Bool(value) => json!(value),
        YamlValue::Int(value) => json!({ "int": value.to_string() }),
        YamlValue::Float(value) if value.is_nan() => json!({ "float": "NaN" }),
        YamlValue::Float(value) => json!({ "float": format!("{:016x}", value.to_bits()) }),
        YamlValue::Timestamp(value) => json!({ "time": value.to_string() }),
        YamlValue::String(value) => json!(value),
        YamlValue::Sequence(items) => {
            json!({ "list": items.iter().map(told).collect::<Vec<_>>() })
        }
        YamlValue::Mapping(entries) => {
            let entries = entries
                .iter()
                .map(|(key, entry)| (key.clone(), told(&entry.value)));
            json!({ "map": entries.collect::<serde_json::Map<_, _>>() })
        }
    }
}

fn cases(name: &str) -> Vec<serde_json::Value> {
    let path = format!("{}/tests/fixtures/yaml/{name}", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(path).expect("the fixture");
    let lines = lines.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON in each line")
}

/// The documents of a case, or null if it has errors.
fn found(case: &serde_json::Value) -> serde_json::Value {
    let text = case["text"].as_str().expect("text");
    let mut map = SourceMap::default();
    let id = map.add("compose.yaml", text);
    match parse(text, id) {
        Ok(documents) => documents
            .iter()
            .map(|document| told(&document.root))
            .collect(),
        Err(_) => serde_json::Value::Null,
    }
}

#[test]
fn documents_are_parsed_as_by_go_yaml() {
    let mut wrong = Vec::new();
    for case in cases("documents.jsonl") {
        let found = found(&case);
        if case["documents"] != found {
            wrong.push(format!("{case}\n  in rbake: {found}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn differences_from_go_yaml_are_the_known_ones() {
    for case in cases("differences.jsonl") {
        assert_ne!(case["go"], case["here"]);
        assert_eq!(case["here"], found(&case), "{}", case["text"]);
    }
}
