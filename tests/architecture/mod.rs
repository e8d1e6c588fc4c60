//! The rules of `ARCHITECTURE.md` and `CONTRIBUTING.md` that a program can check.

mod document;
mod imports;
mod links;
mod names;
mod words;

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files of the product.
fn sources() -> Vec<PathBuf> {
    sources_in(&["src"])
}

/// The Rust files below `dirs` of the repository, sorted.
fn sources_in(dirs: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in dirs {
        collect(&root().join(dir), "rs", &mut found);
    }
    found.sort();
    found
}

/// The documents for users and contributors, sorted.
fn documents() -> Vec<PathBuf> {
    let names = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
    ];
    let mut found = names.map(|name| root().join(name)).to_vec();
    collect(&root().join("docs"), "md", &mut found);
    found.sort();
    found
}

fn collect(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, extension, found);
        } else if path.extension().is_some_and(|of_file| of_file == extension) {
            found.push(path);
        }
    }
}

/// `text` without comments, so that documentation may link anywhere.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// `text` without its inline test modules, which end the files that have them.
fn without_tests(text: &str) -> &str {
    match text.find("#[cfg(test)]\nmod ") {
        Some(at)
            if text[at..]
                .lines()
                .nth(1)
                .is_some_and(|line| line.ends_with('{')) =>
        {
            &text[..at]
        }
        _ => text,
    }
}

/// Whether a whole file is there for tests only.
fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str());
    matches!(
        name,
        Some("tests" | "testing" | "test_support" | "crosscheck" | "parity")
    )
}
