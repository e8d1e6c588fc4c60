//! Checks that everything that `ARCHITECTURE.md` names exists, and the files that `CONTRIBUTING.md` names.

use super::{code, root, sources};

fn document() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// The texts between backticks, line by line, so that an unpaired backtick affects only its line.
fn quoted(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if !fenced {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// Files and directories: `hcl/functions/`, `tests/architecture`, `engine/wire.rs`.
#[test]
fn named_paths_exist() {
    let contributing = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let text = document() + &contributing;
    let mut missing = Vec::new();
    let mut checked = 0;
    for name in quoted(&text) {
        let is_path = name.contains('/')
            && !name.starts_with('/')
            && !name.starts_with("target/")
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        if !is_path {
            continue;
        }
        checked += 1;
        if !root().join(name).exists() && !root().join("src").join(name).exists() {
            missing.push(name);
        }
    }
    assert!(checked > 20, "only {checked} paths");
    assert!(missing.is_empty(), "{missing:?}");
}

/// Modules and items: `run::lower`, `files::Resolver`, `definition::schema`.
#[test]
fn its_modules_and_items_exist() {
    let text = document();
    let mut missing = Vec::new();
    let mut checked = 0;
    for name in quoted(&text) {
        let segments: Vec<&str> = name.trim_end_matches("::").split("::").collect();
        let is_item = segments.len() > 1
            && segments.iter().all(|part| {
                !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_')
            });
        // Other crates are named, too.
        if !is_item || !root().join("src").join(segments[0]).exists() {
            continue;
        }
        checked += 1;
        if !exists(&segments) {
            missing.push(name);
        }
    }
    assert!(checked > 10, "only {checked} items");
    assert!(missing.is_empty(), "{missing:?}");
}

// Whether the modules lead to a file or directory, and the rest of the path is declared or exported there.
fn exists(segments: &[&str]) -> bool {
    let mut dir = root().join("src");
    for (depth, segment) in segments.iter().enumerate() {
        if dir.join(segment).is_dir() {
            dir.push(segment);
            continue;
        }
        let file = dir.join(format!("{segment}.rs"));
        if file.exists() {
            let text = std::fs::read_to_string(file).unwrap();
            return segments[depth + 1..]
                .iter()
                .all(|item| declares(&text, item));
        }
        let text = std::fs::read_to_string(dir.join("mod.rs")).unwrap_or_default();
        return segments[depth..].iter().all(|item| declares(&text, item));
    }
    true
}

fn declares(text: &str, item: &str) -> bool {
    let word = |text: &str| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|part| part == item)
    };
    code(text).lines().any(|line| {
        let line = line.trim_start();
        let declares = [
            "pub", "fn", "struct", "enum", "trait", "type", "const", "mod",
        ];
        word(line) && (declares.iter().any(|start| line.starts_with(start)) || line.ends_with(','))
    })
}

/// Each term of the glossary is a name in the code, so that a reader who searches for it finds something.
#[test]
fn its_terms_are_names_in_the_code() {
    // Terms that are not implemented yet, or that occur only in output.
    const NOT_YET: [&str; 2] = ["publish", "LLB definition"];
    let text = document();
    let table = text
        .split("| term | meaning |")
        .nth(1)
        .expect("the glossary");
    let code: String = sources()
        .iter()
        .map(|file| code(&std::fs::read_to_string(file).unwrap()).to_lowercase())
        .collect();
    let code = code.replace('_', "");
    let mut unknown = Vec::new();
    let mut checked = 0;
    for line in table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
    {
        let terms = line.trim_matches('|').split('|').next().unwrap_or_default();
        for term in terms.split('/') {
            let term = term.trim().trim_matches('`');
            checked += 1;
            let name = term.to_lowercase().replace([' ', '_'], "");
            if !code.contains(&name) && !NOT_YET.contains(&term) {
                unknown.push(term.to_owned());
            }
        }
    }
    assert!(checked > 20, "only {checked} terms");
    assert!(unknown.is_empty(), "{unknown:?}");
}
