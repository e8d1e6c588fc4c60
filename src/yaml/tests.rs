//! Trees of small documents.

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
fn places_are_those_of_the_file() {
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
fn marks_say_where_and_what() {
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
    let x = document.root.get("x").and_then(Node::as_mapping);
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
