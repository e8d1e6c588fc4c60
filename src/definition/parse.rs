//! Files to syntax trees: picks the syntax of each file.
//!
//! Start at [`parse`].

use super::names::Names;
use super::source::{Format, Source, Sources};
use super::syntax::File;
use super::{json, native};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};

/// Parses all files; problems of all of them are reported.
pub(super) fn parse(sources: &Sources, problems: &mut Diagnostics) -> Vec<File> {
    let mut names = Names::default();
    let mut files = Vec::with_capacity(sources.files.len());
    for source in &sources.files {
        let Some(file) = sources.map.get(source.id) else {
            continue;
        };
        files.extend(parse_one(
            source, &file.name, &file.text, &mut names, problems,
        ));
    }
    files
}

fn parse_one(
    source: &Source,
    name: &str,
    text: &str,
    names: &mut Names,
    problems: &mut Diagnostics,
) -> Option<File> {
    match source.format {
        Format::Hcl => Some(native::parse(text, source.id, names, problems)),
        Format::Json => json::parse(text, source.id, names, problems),
        Format::Compose => {
            problems.push(compose_unsupported(source, name));
            None
        }
        Format::Unknown => {
            let found = Source {
                format: sniff(text),
                ..source.clone()
            };
            parse_one(&found, name, text, names, problems)
        }
    }
}

fn sniff(text: &str) -> Format {
    if starts_as_json(text) {
        Format::Json
    } else if looks_like_compose(text) {
        Format::Compose
    } else {
        Format::Hcl
    }
}

// No HCL text starts with a brace, so one that does is meant as JSON.
fn starts_as_json(text: &str) -> bool {
    text.trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with(['{', '['])
}

// A line such as `services:` is no HCL, and every Compose file has one that is not indented.
fn looks_like_compose(text: &str) -> bool {
    text.lines().any(|line| {
        let key = line.split_once(':').map(|(key, _)| key);
        matches!(key, Some("services" | "\"services\"" | "include"))
    })
}

fn compose_unsupported(source: &Source, name: &str) -> Diagnostic {
    let shown = if name == "-" { "standard input" } else { name };
    Diagnostic::error(
        Class::Definition,
        "definition::compose-unsupported",
        format!("`{shown}` is a Compose file, and those are not supported yet"),
    )
    .at(Span::new(source.id, 0..0), "")
    .help("name the bake files to be used, such as `-f docker-bake.hcl`")
}
