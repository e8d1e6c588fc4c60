//! Tests the messages about mistakes and their positions. How correct texts are parsed is tested in
//! [`crate::hcl::crosscheck`] and by the parity cases.

use test_case::test_case;

use super::parse;
use crate::diag::{Diagnostics, SourceMap};
use crate::hcl::name_pool::NamePool;
use crate::hcl::syntax::File;
use crate::hcl::testing::messages;

fn read(text: &str) -> (File, Diagnostics) {
    let source = SourceMap::default().add("x.hcl", text);
    let mut problems = Diagnostics::default();
    let file = parse(text, source, &mut NamePool::default(), &mut problems);
    (file, problems)
}

fn mistakes(text: &str) -> Vec<String> {
    messages(&read(text).1, text)
}

#[test_case("a = \"x\n", "this string is not closed @ \"x"; "open string")]
#[test_case("a = [1 2]\n", "expected `,` or `]` @ 2"; "no comma")]
#[test_case("a = f(1\nb = 2\n", "expected `,` or `)` @ b"; "open call")]
#[test_case("a = {b 1}\n", "expected `=` and a value @ 1"; "no value for a key")]
#[test_case("a = {b.c = 1}\n", "this key could be a name or a reference @ b.c"; "ambiguous key")]
#[test_case("a = {b[\"c\"].d = 1}\n", "this key could be a name or a reference @ b[\"c\"].d"; "ambiguous key with an index")]
#[test_case("a = {b.0 = 1}\n", "this key could be a name or a reference @ b.0"; "ambiguous key with an old index")]
#[test_case("a = 1 b = 2\n", "expected a line break after the attribute @ b"; "two in one line")]
#[test_case("a = 1,\n", "expected a line break after the attribute @ ,"; "comma after an attribute")]
#[test_case("a: 1\n", "expected `=` after the name of the attribute @ :"; "colon")]
#[test_case("a\n", "expected `=` or a block @ \n"; "a word alone")]
#[test_case("\"a\" = 1\n", "expected an attribute or a block @ \""; "quoted name")]
#[test_case("a =\n", "the attribute has no value @ \n"; "no value")]
#[test_case("a = 1 = 2\n", "expected a line break after the attribute @ ="; "assignment in a value")]
#[test_case("a = 'x'\n", "a string cannot be in single quotes @ '"; "single quotes")]
#[test_case("a = \u{201c}x\u{201d}\n", "a string cannot be in curly quotes @ \u{201c}"; "curly quotes")]
#[test_case("a = 1 & 2\n", "HCL has no bitwise operators @ &"; "bitwise")]
#[test_case("a = 1.2.3\n", "this is not a number @ 1.2.3"; "a version")]
#[test_case("a = b.0.1\n", "two indexes cannot be joined by a dot @ 0.1"; "old index twice")]
#[test_case("a = \"\\q\"\n", "this escape sequence does not exist @ \\q"; "escape")]
#[test_case("a = \"\\ud800\"\n", "this escape sequence is not a valid character @ \\ud800"; "half a pair")]
#[test_case("a = \"${b\"\n", "this sequence is not closed before the string ends @ ${"; "open interpolation")]
#[test_case("a = \"${b:-c}\"\n", "expected `}` here @ :"; "a shell's default")]
#[test_case("a = \"%{ iff b }x%{ endif }\"\n", "there is no directive `iff` @ iff"; "no such directive")]
#[test_case("a = \"%{ if b }x\"\n", "this `if` has no `endif` @ %{ if b }"; "open directive")]
#[test_case("a = \"%{ endfor }\"\n", "`endfor` has no matching opening directive @ %{ endfor }"; "stray end")]
#[test_case("a = <<E\nx\n", "this heredoc is not closed @ <<E\n"; "open heredoc")]
#[test_case("a = <<E x\nE\n", "a heredoc starts with `<<`, a word and the end of the line @ <"; "text after the marker")]
#[test_case("a = [for x in y : x => x]\n", "a list has no keys @ x"; "keys in a list")]
#[test_case("a = {for x in y : x}\n", "an object needs keys @ x"; "no keys in an object")]
#[test_case("a {\n", "this block is not closed @ {"; "open block")]
#[test_case("a {\n b = 1 }\n", "expected a line break after the attribute @ }"; "brace in the line of an attribute")]
#[test_case("a { b = 1, c = 2 }\n", "a block on one line has one attribute and ends on that line @ ,"; "two in a line")]
#[test_case("}\n", "this `}` has no matching `{` @ }"; "stray brace")]
#[test_case("a \"${b}\" {}\n", "a label cannot contain `${` or `%{` @ ${b}"; "template in a label")]
#[test_case("a /* b\n", "this comment is not closed @ /*"; "open comment")]
#[test_case("a = 1\nb = 2\na = 3\n", "`a` is set twice @ a"; "set twice")]
fn the_first_mistake_is_reported_at_its_place(text: &str, expected: &str) {
    assert_eq!(mistakes(text).first().map(String::as_str), Some(expected));
}

#[test]
fn parsing_continues_after_a_mistake() {
    let text = r#"
target "a" {
  tags = ["x" "y"]
  args = {
    A 1
  }
  dockerfile = "open
}
target b" {
  context = .
}
target "c" {
  platforms = ["linux/amd64",
  good = 1
}
"#;
    assert_eq!(
        mistakes(text),
        [
            "expected `,` or `]` @ \"",
            "expected `=` and a value @ 1",
            "this string is not closed @ \"open",
            "this string is not closed @ \" {",
            "expected a value @ .",
            "expected `,` or `]` @ =",
        ]
    );
    let (file, _) = read(text);
    let last = &file.body.blocks[2].body;
    assert_eq!(
        last.attributes.len(),
        1,
        "the lines after an open bracket are parsed again"
    );
}

#[test]
fn a_missing_brace_is_found_by_indentation() {
    let text = "target \"a\" {\n  x = 1\n\ntarget \"b\" {\n}\n";
    let (_, problems) = read(text);
    let hint = &problems.0[0].labels[1];
    assert_eq!(&text[hint.span.range()], "target \"b\"");
    assert_eq!(problems.0.len(), 1);
}

#[test]
fn a_span_covers_only_its_expression() {
    let text = "a = upper(b.c[0])\n";
    let (file, _) = read(text);
    let expr = &file.body.attributes[0].expr;
    assert_eq!(&text[expr.span.range()], "upper(b.c[0])");
}

#[test_case("[", "]"; "lists")]
#[test_case("(", ")"; "parentheses")]
#[test_case("\"${", "}\""; "templates")]
#[test_case("!", ""; "operators in front")]
#[test_case("a ? ", ""; "conditionals")]
#[test_case("f(", ")"; "calls")]
#[test_case("1 + ", ""; "operators between")]
fn nesting_is_limited(open: &str, close: &str) {
    let text = format!("a = {}1{}\n", open.repeat(50_000), close.repeat(50_000));
    // The deepest nesting that is allowed needs more stack than a thread of the test runner has.
    let found = std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(move || mistakes(&text))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn parsing_stops_after_too_many_mistakes() {
    let text = "a = = 1\n".repeat(5_000);
    assert_eq!(mistakes(&text).len(), super::PROBLEM_LIMIT);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-c0-9\"'{}\\[\\]()=:.,*%$~<>?!&|#/\\\\\\-\\n E]{0,80}") {
        read(&text);
    }
}
