//! Parses each file with the parser for its syntax.
//!
//! Start at [`parse`].

use std::sync::Arc;

use super::compose::ComposeFiles;
use super::shapes::TOP_LEVEL;
use super::source::{DefinitionSource, DefinitionSources, Format};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceMap, Span};
use crate::hcl::name_pool::NamePool;
use crate::hcl::syntax::File;
use crate::hcl::{json, parser};
use crate::types::encoding::{IS_UTF16, SAVE_AS_UTF8};

/// Parses all HCL and JSON files, and passes Compose files on to `compose`. Adds the problems of all files to
/// `problems`.
pub(super) fn parse(
    sources: &mut DefinitionSources,
    compose: &mut ComposeFiles<'_>,
    problems: &mut Diagnostics,
) -> Vec<File> {
    let mut parser = Parser {
        map: &mut sources.map,
        names: NamePool::default(),
        compose,
    };
    let mut files = Vec::with_capacity(sources.files.len());
    for source in &sources.files {
        files.extend(parser.parse(source, problems));
    }
    files
}

struct Parser<'a, 'i> {
    map: &'a mut SourceMap,
    names: NamePool,
    compose: &'a mut ComposeFiles<'i>,
}

impl Parser<'_, '_> {
    fn parse(&mut self, source: &DefinitionSource, problems: &mut Diagnostics) -> Option<File> {
        let file = self.map.get(source.id)?;
        let (name, text) = (file.name.clone(), Arc::clone(&file.text));
        match source.format {
            Format::Hcl => Some(parser::parse(&text, source.id, &mut self.names, problems)),
            Format::Json => json::parse(&text, source.id, TOP_LEVEL, &mut self.names, problems),
            // As in buildx, an empty Compose file is ignored.
            Format::Compose if text.is_empty() => None,
            Format::Compose => {
                if let Err(mut why) = self.compose.add(source, &name, self.map) {
                    problems.0.append(&mut why.0);
                }
                None
            }
            Format::Unknown => self.parse_unknown(source, &name, &text, problems),
        }
    }

    /// Tries to read a file with an unknown extension as each of the three syntaxes. If none fits, reports the
    /// errors of the most likely one, with a hint at the others.
    fn parse_unknown(
        &mut self,
        source: &DefinitionSource,
        name: &str,
        text: &str,
        problems: &mut Diagnostics,
    ) -> Option<File> {
        let mut compose = Diagnostics::default();
        if !text.is_empty() {
            match self.compose.add(source, name, self.map) {
                Ok(()) => return None,
                Err(why) => compose = why,
            }
        }
        if source.utf16 {
            problems.push(no_utf16(source, name, &compose));
            return None;
        }
        let mut hcl = Diagnostics::default();
        let file = parser::parse(text, source.id, &mut self.names, &mut hcl);
        if !hcl.has_errors() {
            problems.0.append(&mut hcl.0);
            return Some(file);
        }
        let mut json = Diagnostics::default();
        let file = json::parse(text, source.id, TOP_LEVEL, &mut self.names, &mut json);
        if !json.has_errors() {
            problems.0.append(&mut json.0);
            return file;
        }
        problems.push(unreadable(source, name, &compose, &hcl, &json));
        let likely = match likely(text) {
            Format::Compose => compose,
            Format::Json => json,
            _ => hcl,
        };
        problems.0.extend(likely.0);
        None
    }
}

fn no_utf16(source: &DefinitionSource, name: &str, compose: &Diagnostics) -> Diagnostic {
    let shown = if name == "-" { "standard input" } else { name };
    let problem = Diagnostic::error(
        Class::Definition,
        "definition::unreadable",
        format!("cannot read the definition `{shown}`: {IS_UTF16}"),
    )
    .at(Span::new(source.id, 0..0), "");
    let first = compose.errors().next();
    match first {
        Some(first) => problem.note(format!("as a Compose file: {}", first.message)),
        None => problem,
    }
    .help(SAVE_AS_UTF8)
}

fn likely(text: &str) -> Format {
    if starts_as_json(text) {
        Format::Json
    } else if looks_like_compose(text) {
        Format::Compose
    } else {
        Format::Hcl
    }
}

/// An HCL file cannot start with a brace or bracket, so a file that does is probably JSON.
fn starts_as_json(text: &str) -> bool {
    text.trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with(['{', '['])
}

/// Whether a line starts with a top-level key of Compose. Such a line is not valid HCL, and every Compose file has
/// one.
fn looks_like_compose(text: &str) -> bool {
    text.lines().any(|line| {
        let key = line.split_once(':').map(|(key, _)| key);
        matches!(key, Some("services" | "\"services\"" | "include"))
    })
}

fn unreadable(
    source: &DefinitionSource,
    name: &str,
    compose: &Diagnostics,
    hcl: &Diagnostics,
    json: &Diagnostics,
) -> Diagnostic {
    let shown = if name == "-" { "standard input" } else { name };
    let mut problem = Diagnostic::error(
        Class::Definition,
        "definition::unknown-syntax",
        format!("`{shown}` is neither a Compose file nor HCL nor JSON"),
    )
    .at(Span::new(source.id, 0..0), "");
    for (syntax, problems) in [("a Compose file", compose), ("HCL", hcl), ("JSON", json)] {
        if let Some(first) = problems.errors().next() {
            problem = problem.note(format!("as {syntax}: {}", first.message));
        }
    }
    problem.help("the ending of the file's name sets its format: use `.hcl`, `.json` or `.yaml`")
}
