//! Checks that the tables in docs/definition.md match the code. `RBAKE_UPDATE_DOCS=1 cargo test definition_doc` writes them.

use std::fmt::Write as _;
use std::path::Path;

use rbake::definition::schema::{ATTRIBUTES, AttributeKind, Merge, SetForm};
use rbake::hcl::functions;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "an environment variable selects whether the test writes the file"
)]
fn the_tables_match_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/definition.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let text_now = with_table(&text, "attributes", &attributes());
    let text_now = with_table(&text_now, "functions", &library());
    if std::env::var_os("RBAKE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text_now).unwrap();
        return;
    }
    assert!(
        text == text_now,
        "docs/definition.md is out of date: run `RBAKE_UPDATE_DOCS=1 cargo test definition_doc`"
    );
}

fn with_table(text: &str, name: &str, table: &str) -> String {
    let start = format!("<!-- {name} -->\n");
    let (before, rest) = text.split_once(&start).unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{start}\n{table}\n<!-- end -->{after}")
}

fn attributes() -> String {
    let mut table =
        "| attribute | takes | a later value | `--set` | |\n|---|---|---|---|---|\n".to_owned();
    for spec in ATTRIBUTES {
        let set = spec.set.map_or_else(String::new, |set| {
            let key = set.key;
            match set.form {
                SetForm::Scalar | SetForm::Bool => format!("`{key}=`"),
                SetForm::Entry => format!("`{key}.NAME=`"),
                SetForm::List => format!("`{key}=`, `{key}+=`"),
                SetForm::AppendOnly => format!("`{key}+=`"),
            }
        });
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {set} | {} |",
            spec.name,
            kind(spec.kind),
            merge(spec.merge),
            spec.doc
        );
    }
    table
}

fn kind(kind: AttributeKind) -> &'static str {
    match kind {
        AttributeKind::RequiredText | AttributeKind::Text => "text",
        AttributeKind::Bool => "bool",
        AttributeKind::Texts => "list of texts",
        AttributeKind::NullableMap | AttributeKind::Map => "map of texts",
        AttributeKind::Entries => "list of texts with fields, or of objects",
        AttributeKind::Object => "object",
    }
}

fn merge(merge: Merge) -> String {
    match merge {
        Merge::Replace => "replaces".to_owned(),
        Merge::ReplaceUnlessEmpty => "replaces unless empty".to_owned(),
        Merge::PerKey => "key by key".to_owned(),
        Merge::Append => "is appended".to_owned(),
        Merge::AppendUnique => "is appended, without duplicates".to_owned(),
        Merge::ByKey(key) => format!("by `{key}`"),
    }
}

fn library() -> String {
    let mut all: Vec<_> = functions::all().collect();
    all.sort_by_key(|function| function.name);
    let mut table = "| function | |\n|---|---|\n".to_owned();
    for function in all {
        let mut parameters: Vec<String> = function
            .parameters
            .iter()
            .map(|parameter| parameter.name.to_owned())
            .collect();
        parameters.extend(
            function
                .variadic
                .map(|parameter| format!("{}...", parameter.name)),
        );
        let description = function.description.replace('|', "\\|");
        let _ = writeln!(
            table,
            "| `{}({})` | {description} |",
            function.name,
            parameters.join(", ")
        );
    }
    table
}
