//! Checks that links between documents lead to files and headings that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::{documents, root};

/// The anchor that GitHub makes of a heading: lower case, without punctuation, and with `-` for each space.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = outside_of_blocks(text).filter(|(_, line)| line.starts_with('#'));
    headings
        .map(|(_, line)| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

/// The lines that are not in a block of code, with their numbers.
fn outside_of_blocks(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let is_code = fenced || line.starts_with("    ");
        (!is_code).then_some((number + 1, line))
    })
}

/// The targets of the links in `text`, with the numbers of their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let link = Regex::new(r"\]\(([^()\s]+)\)").unwrap();
    let lines = outside_of_blocks(text);
    let found = lines.flat_map(|(number, line)| {
        let found = link.captures_iter(line);
        let found = found.map(move |link| (number, link[1].to_owned()));
        found.collect::<Vec<_>>()
    });
    found.collect()
}

/// Why the link from `file` leads nowhere.
fn broken(file: &Path, text: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, wanted) = link.split_once('#').unwrap_or((link, ""));
    let target: PathBuf = match path {
        "" => file.to_owned(),
        path => file.parent().unwrap().join(path),
    };
    if !target.exists() {
        return Some(format!("there is no file `{path}`"));
    }
    if wanted.is_empty() {
        return None;
    }
    let other = std::fs::read_to_string(&target).unwrap_or_default();
    let there = if path.is_empty() { text } else { &other };
    (!anchors(there).contains(wanted)).then(|| format!("there is no heading `#{wanted}`"))
}

#[test]
fn links_lead_to_files_and_headings() {
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for file in documents() {
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, link) in links(&text) {
            checked += 1;
            if let Some(why) = broken(&file, &text, &link) {
                let shown = file.strip_prefix(root()).unwrap().display();
                wrong.push(format!("{shown}:{number}: ({link}): {why}"));
            }
        }
    }
    assert!(checked > 200, "only {checked} links");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn anchors_are_those_of_the_forge() {
    assert_eq!(
        anchor("`rbake promote --to`: A, b"),
        "rbake-promote---to-a-b"
    );
    assert_eq!(anchor("`publish::no-image`"), "publishno-image");
    let text = "# A\n```\n# b\n[x](y)\n```\n[one](#a) [two](#b)\n";
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["a"]);
    let file = root().join("README.md");
    let found: Vec<_> = links(text)
        .into_iter()
        .map(|(line, link)| (line, broken(&file, text, &link).is_some()))
        .collect();
    assert_eq!(found, [(6, false), (6, true)]);
    assert!(broken(&file, text, "docs/missing.md").is_some());
    assert!(broken(&file, text, "docs/publishing.md#missing").is_some());
    assert!(broken(&file, text, "docs/publishing.md#forward-only").is_none());
}
