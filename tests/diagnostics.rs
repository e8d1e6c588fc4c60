//! Checks that `docs/diagnostics.md` describes every code in the source, and that its examples print these codes. Snapshots
//! have the messages of the examples.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::support::project::{CommandOutput, TestProject};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

// Whether the file is compiled only for tests.
fn is_test(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.ends_with("tests.rs") || path.ends_with("hcl/crosscheck.rs")
}

// All strings in the source that have the form of a code, with their files. Test modules are at the end of a file, and are
// left out.
fn codes_of_the_source() -> BTreeMap<String, PathBuf> {
    static LITERAL: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""([a-z][A-Za-z_-]*::[A-Za-z0-9_-]+)""#).unwrap());
    static TESTS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"#\[cfg\(test\)\]\nmod \w+ \{").unwrap());
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut codes = BTreeMap::new();
    for file in files.into_iter().filter(|file| !is_test(file)) {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = TESTS.split(&text).next().unwrap();
        let lines = code.lines().filter(|line| !line.contains("serde("));
        for line in lines {
            for found in LITERAL.captures_iter(line) {
                codes.insert(found[1].to_owned(), file.clone());
            }
        }
    }
    codes
}

struct Section<'a> {
    code: &'a str,
    text: &'a str,
}

impl<'a> Section<'a> {
    // The first block in one of `languages`.
    fn block(&self, languages: &[&str]) -> Option<(&'a str, &'a str)> {
        let mut parts = self.text.split("```");
        parts.next();
        while let Some(block) = parts.next() {
            let (language, content) = block.split_once('\n')?;
            if languages.contains(&language) {
                return Some((language, content));
            }
            parts.next();
        }
        None
    }
}

fn document() -> String {
    std::fs::read_to_string(root().join("docs/diagnostics.md")).unwrap()
}

fn sections(document: &str) -> Vec<Section<'_>> {
    let sections = document.split("\n### `").skip(1);
    let sections = sections.map(|section| section.split_once('`').unwrap());
    let own = |text: &'_ str| text.find("\n## ").unwrap_or(text.len());
    sections
        .map(|(code, text)| Section {
            code,
            text: &text[..own(text)],
        })
        .collect()
}

#[test]
fn every_code_has_one_section_and_every_section_has_a_code() {
    let source = codes_of_the_source();
    let form = Regex::new("^[a-z]+::[a-z0-9]+(-[a-z0-9]+)*$").unwrap();
    for (code, file) in &source {
        assert!(
            form.is_match(code),
            "`{code}` in {} does not have the form `area::kebab-name`",
            file.display()
        );
    }
    let document = document();
    let mut documented = BTreeSet::new();
    for section in sections(&document) {
        assert!(
            documented.insert(section.code),
            "`{}` has two sections",
            section.code
        );
        let link = format!("(#{})", section.code.replace("::", ""));
        assert!(
            document.contains(&link),
            "the index has no `{}`",
            section.code
        );
    }
    let missing: Vec<_> = source
        .keys()
        .filter(|code| !documented.contains(code.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/diagnostics.md has no section for {missing:?}"
    );
    let gone: Vec<_> = documented
        .iter()
        .filter(|code| !source.contains_key(**code))
        .collect();
    assert!(
        gone.is_empty(),
        "docs/diagnostics.md has sections for codes that are not in the source: {gone:?}"
    );
}

/// A section's file and the command that is run with it.
struct Example<'a> {
    code: &'a str,
    file: Option<(&'a str, &'a str)>,
    command: &'a str,
    is_error: bool,
}

impl<'a> Example<'a> {
    /// `None` if the section has no example.
    fn of(section: &Section<'a>) -> Option<Self> {
        let file = section.block(&["hcl", "json", "yaml", "dotenv"]);
        let command = section.block(&["sh"]);
        (file.is_some() || command.is_some()).then(|| Self {
            code: section.code,
            is_error: !section.text.trim_start().starts_with("Warning"),
            file,
            command: command.map_or("rbake --print app", |(_, command)| command.trim()),
        })
    }

    fn run(&self) -> CommandOutput {
        let mut project = TestProject::new();
        let mut arguments: Vec<&str> = Vec::new();
        for word in self.command.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) if arguments.is_empty() => project = project.env(name, value),
                _ => arguments.push(word.trim_matches('\'')),
            }
        }
        let name = match self.file {
            Some(("hcl", _)) => "docker-bake.hcl",
            Some(("json", _)) => "docker-bake.json",
            Some(("dotenv", _)) => ".env",
            _ => "compose.yaml",
        };
        if let Some((_, content)) = self.file {
            project = project.file(name, content);
        }
        // What is missing is reported with all other errors, and would distract from them. After a warning, it ends the run
        // before that looks for a builder.
        if self.is_error && !self.code.contains("dockerfile") {
            project = project.file("Dockerfile", "FROM scratch\n");
        }
        if name == ".env" {
            project = project.file("compose.yaml", "services:\n  app:\n    build: .\n");
        }
        project.rbake(&arguments[1..])
    }
}

// `cargo test diagnostics::plan` runs the examples of the codes that begin with `plan::`. Each area has one
// snapshot, so that related messages are reviewed together.
macro_rules! areas {
    ($($area:ident)*) => {
        const AREAS: &[&str] = &[$(stringify!($area)),*];
        $(
            #[test]
            fn $area() {
                the_examples_print_their_messages(stringify!($area));
            }
        )*
    };
}

areas! { cli compose definition dotenv plan run yaml }

fn the_examples_print_their_messages(area: &str) {
    let document = document();
    let mut page = String::new();
    let mut wrong = Vec::new();
    for example in sections(&document).iter().filter_map(Example::of) {
        if example.code.split_once("::").map(|(area, _)| area) != Some(area) {
            continue;
        }
        let output = example.run();
        if !output.stderr.contains(&format!("[{}]", example.code)) {
            wrong.push(example.code);
        }
        let _ = writeln!(
            page,
            "### {}\n\n$ {}\n{}",
            example.code,
            example.command,
            output.session()
        );
    }
    insta::with_settings!({
        snapshot_path => "snapshots/diagnostics",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(area, page);
    });
    assert!(
        wrong.is_empty(),
        "these examples do not print their code: {wrong:?}"
    );
    assert!(!page.is_empty(), "`{area}` has no examples");
}

#[test]
fn every_example_is_run() {
    let document = document();
    let examples = sections(&document);
    let examples: Vec<_> = examples.iter().filter_map(Example::of).collect();
    for example in &examples {
        let (area, _) = example.code.split_once("::").unwrap();
        assert!(
            AREAS.contains(&area),
            "no test runs the examples of `{area}`"
        );
    }
    let count = examples.len();
    assert!(count > 80, "found only {count} examples");
}
