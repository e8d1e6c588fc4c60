//! Checks that comments, messages, names of tests and documents do not use phrases that are hard to understand.
//!
//! `CONTRIBUTING.md` says what good prose is, which is more than a list of phrases. These were the worst ones.

use regex::Regex;

use super::{documents, root, sources_in};

/// The phrases, each with what to write instead.
const REJECTED: [(&str, &str); 12] = [
    (
        r"\b(is|are|was|were|be|been|being) told\b",
        "is reported, is printed, learns",
    ),
    (r"\bnone where\b", "`None` if"),
    (r"\bwhere (it|there) is none\b", "if there is none"),
    (r"\bwhoever\b", "the caller, the user, the one that"),
    (r"\bas far as (it|that|they) can\b", "if known"),
    (r"\bthe reference's\b", "buildx's, go-cty's, Go's"),
    (r"\bwhat there is (to|of)\b", "all, the rest"),
    (r"\bit knows best\b", "is the most specific"),
    (r"\bhas (not )?got round\b", "has not yet"),
    (r"\bcomes to be\b", "is made"),
    (r"\bfor good\b", "permanently"),
    (r"\bso to speak\b", "(leave it out)"),
];

/// "X is no Y", unless it is "there is no Y", "is no longer" or "is no more".
const IS_NO: &str = r"(?:([\w`]+) +)?\b(?:is|are) no ([\w`]+)";

/// Words at the start of a test's name after which the subject stays unknown: "what is set to nothing is not set".
const RIDDLES: [&str; 3] = ["what", "whoever", "nobody"];

struct Phrases {
    rejected: Vec<(Regex, &'static str)>,
    is_no: Regex,
}

impl Phrases {
    fn new() -> Self {
        Self {
            rejected: REJECTED
                .into_iter()
                .map(|(phrase, instead)| (Regex::new(phrase).unwrap(), instead))
                .collect(),
            is_no: Regex::new(IS_NO).unwrap(),
        }
    }

    /// What to write instead of the first rejected phrase of `line`.
    fn rejected(&self, line: &str) -> Option<&'static str> {
        let line = line.to_lowercase();
        let phrase = self
            .rejected
            .iter()
            .find(|(phrase, _)| phrase.is_match(&line));
        if let Some((_, instead)) = phrase {
            return Some(instead);
        }
        let is_no = self.is_no.captures_iter(&line).any(|found| {
            let before = found.get(1).map_or("", |word| word.as_str());
            before != "there" && !matches!(&found[2], "longer" | "more")
        });
        is_no.then_some("is not a")
    }
}

/// The comments of a Rust file, line by line, with their numbers.
fn comments(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(number, line)| {
        let comment = line.trim_start().strip_prefix("//")?;
        Some((number + 1, comment.trim_start_matches(['/', '!'])))
    })
}

/// The texts between quotes in the code of a Rust file, with the numbers of their lines.
fn strings(text: &str) -> impl Iterator<Item = (usize, String)> {
    let literal = Regex::new(r#""(?:[^"\\]|\\.)*"?"#).unwrap();
    text.lines().enumerate().filter_map(move |(number, line)| {
        let code = !line.trim_start().starts_with("//");
        let found = literal.find_iter(line).map(|found| found.as_str());
        code.then(|| (number + 1, found.collect::<Vec<_>>().join(" ")))
    })
}

/// The names of the tests in a Rust file, as words, with the numbers of their lines.
fn test_names(text: &str) -> impl Iterator<Item = (usize, String)> {
    let name = Regex::new(r"^\s*(?:async )?fn ([a-z0-9_]+)\(").unwrap();
    let mut in_test = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let line = line.trim_start();
        in_test |= ["#[test]", "#[tokio::test", "#[test_case"]
            .iter()
            .any(|attribute| line.starts_with(attribute));
        let found = name.captures(line)?;
        std::mem::take(&mut in_test).then(|| (number + 1, found[1].replace('_', " ")))
    })
}

/// The prose of a document: its lines outside of code blocks, without the texts between backticks.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let code = fenced || line.starts_with("    ");
        let words: String = line.split('`').step_by(2).collect();
        (!code).then_some((number + 1, words))
    })
}

#[test]
fn comments_messages_tests_and_documents_are_in_plain_words() {
    let phrases = Phrases::new();
    let (mut found, mut riddles) = (Vec::new(), Vec::new());
    let mut check = |place: String, line: &str| {
        if let Some(instead) = phrases.rejected(line) {
            found.push(format!(
                "{place}: {}
    write: {instead}",
                line.trim()
            ));
        }
    };
    for file in sources_in(&[
        "src",
        "tests",
        "xtask/src",
        "differential/src",
        "benches",
        "fuzz/targets",
    ]) {
        // This file holds the phrases themselves.
        if file.ends_with("architecture/words.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let shown = file.strip_prefix(root()).unwrap().display();
        for (number, line) in comments(&text) {
            check(format!("{shown}:{number}"), line);
        }
        for (number, line) in strings(&text).chain(test_names(&text)) {
            check(format!("{shown}:{number}"), &line);
        }
        for (number, name) in test_names(&text) {
            if RIDDLES
                .iter()
                .any(|word| name.split(' ').next() == Some(*word))
            {
                riddles.push(format!("{shown}:{number}: {name}"));
            }
        }
    }
    // `CONTRIBUTING.md` quotes such phrases.
    let documents = documents().into_iter();
    for file in documents.filter(|file| !file.ends_with("CONTRIBUTING.md")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let shown = file.strip_prefix(root()).unwrap().display();
        for (number, line) in prose(&text) {
            check(format!("{shown}:{number}"), &line);
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert!(
        riddles.is_empty(),
        "name the subject in the name of a test:\n{}",
        riddles.join("\n")
    );
}

#[test]
fn messages_and_names_are_found() {
    let text = "    /// A comment.\n    #[test]\n    fn a_name_is_no_path() {\n        check(\"it is \\\" no\", 1, \"b\");\n    }\n    fn helper() {}\n";
    let names: Vec<_> = test_names(text).collect();
    assert_eq!(names, [(3, "a name is no path".to_owned())]);
    let found: Vec<_> = strings(text).filter(|(_, text)| !text.is_empty()).collect();
    assert_eq!(found, [(4, r#""it is \" no" "b""#.to_owned())]);
}

#[test]
fn the_check_finds_phrases() {
    let phrases = Phrases::new();
    for line in [
        "the user is told of it",
        "what is no image",
        "whoever asks",
        "`None`, none where it is none",
    ] {
        assert!(phrases.rejected(line).is_some(), "{line}");
    }
    for line in [
        "there is no such file",
        "the user was asked",
        "telling it",
        "forgoods",
    ] {
        assert!(phrases.rejected(line).is_none(), "{line}");
    }
}
