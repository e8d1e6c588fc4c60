//! Tests that every stored expression has the same value as in buildx.
//!
//! `tests/parity/functions.json` contains expressions and the value that `buildx bake --print` printed for each, or
//! that it failed. `cargo xtask parity expressions` generates the file again. Only values are compared, never the
//! text of error messages.

use std::fmt::Write as _;

use serde::Deserialize;

use super::all;
use crate::hcl::testing::{attributes, value_of};

/// The number of expressions in one definition. Starting a thread with a deep stack for each expression would
/// take most of the test's time.
const BATCH: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    expression: String,
    /// The value as JSON; missing if buildx failed.
    value: Option<String>,
    #[serde(default)]
    fails: bool,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../tests/parity/functions.json")).unwrap()
}

// A function of buildx that is missing here fails the comparison below; this finds one that is not compared.
#[test]
fn every_function_is_compared_with_buildx() {
    let cases = cases();
    let missing = all().filter(|function| {
        let call = format!("{}(", function.name);
        !cases.iter().any(|case| case.expression.contains(&call))
    });
    let missing: Vec<&str> = missing.map(|function| function.name).collect();
    assert!(
        missing.is_empty(),
        "add expressions to tests/parity/functions.json for: {missing:?}"
    );
}

#[test]
fn expressions_have_the_same_value_as_in_buildx() {
    let cases: Vec<Case> = cases().into_iter().filter(|case| !case.fails).collect();
    assert!(cases.len() > 2500);
    let mut different = Vec::new();
    for batch in cases.chunks(BATCH) {
        let mut text = String::new();
        for (place, case) in batch.iter().enumerate() {
            writeln!(text, "v{place} = jsonencode({})", case.expression).unwrap();
        }
        let values = attributes(&text).unwrap_or_default();
        for (place, case) in batch.iter().enumerate() {
            let name = format!("v{place}");
            let ours = match values.get(&name) {
                Some(value) => value.as_str().unwrap_or_default().to_owned(),
                // An expression of the batch failed, so there are no values. Evaluate this one alone.
                None => value_of(&case.expression),
            };
            let theirs = case.value.as_deref().unwrap_or_default();
            if ours != theirs {
                different.push(format!(
                    "{}: buildx {theirs}, rbake {ours}",
                    case.expression
                ));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn expressions_that_fail_in_buildx_fail_in_rbake() {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.fails).collect();
    assert!(cases.len() > 500);
    let succeeding: Vec<String> = cases
        .iter()
        .map(|case| (case, value_of(&case.expression)))
        .filter(|(_, ours)| !ours.starts_with("ERROR "))
        .map(|(case, ours)| format!("{}: buildx fails, rbake {ours}", case.expression))
        .collect();
    assert!(succeeding.is_empty(), "{}", succeeding.join("\n"));
}

/// If buildx crashes or contradicts itself, rbake evaluates the expression as written.
#[test]
fn deliberate_differences_from_buildx() {
    let cases = [
        // buildx panics.
        ("modulo(1/0, 2)", "ERROR "),
        ("log(-1, 10)", "ERROR "),
        ("pow(-8, 0.3)", "ERROR "),
        ("indent(-1, \"a\")", "ERROR "),
        ("merge(null, \"a\")", "ERROR "),
        // buildx takes the name of a type for a variable, and its second use for a cycle.
        (
            "convert(convert([\"b\",\"a\"], set(string)), list(string))",
            "[\"a\",\"b\"]",
        ),
        // buildx loses names that are not in normalization form C.
        ("jsondecode(\"{\\\"e\\\\u0301\\\":1}\")", "{\"é\":1}"),
        // buildx ignores the text after the first value if it begins with a bracket.
        ("jsondecode(\"1]\")", "ERROR "),
    ];
    for (expression, expected) in cases {
        let ours = value_of(expression);
        assert!(ours.starts_with(expected), "{expression}: {ours}");
    }
}

/// Calls that would take too much time or memory fail with an error that says so.
#[test]
fn hostile_calls_are_refused() {
    let cases = [
        ("format(\"%1000000000s\", \"a\")", "16 MiB"),
        ("format(\"%.1000000000f\", 1)", "16 MiB"),
        ("indent(100000000, \"\\n\")", "16 MiB"),
        ("setproduct(range(1000), range(1000))", "262144 elements"),
        (
            "concat([for x in range(1000): range(1000)]...)",
            "262144 elements",
        ),
        (
            "flatten([for x in range(300): range(1000)])",
            "262144 elements",
        ),
        ("range(0, 1e30, 1e-30)", "more than 1024 values"),
        ("regex(\"((a{1000}){1000}){1000}\", \"a\")", "too large"),
        ("bcrypt(\"a\", 31)", "above the maximum"),
        (
            "jsondecode(join(\"\", [for x in range(1000): \"[\"]))",
            "512 levels",
        ),
        ("1e999999999 + 1", "number"),
    ];
    for (expression, expected) in cases {
        let ours = value_of(expression);
        assert!(
            ours.starts_with("ERROR ") && ours.contains(expected),
            "{expression}: {ours}"
        );
    }
}
