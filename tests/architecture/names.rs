//! Checks that the name of a type is unique, and that files are where a reader looks for them.

use std::collections::BTreeMap;

use super::{code, is_test_file, root, sources, without_tests};

/// The types that `code` declares for other files to use.
fn public_types(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in code.lines() {
        let line = line.trim_start();
        let Some(rest) = line.strip_prefix("pub") else {
            continue;
        };
        let rest = match rest.strip_prefix('(') {
            Some(restricted) => restricted.split_once(')').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let mut words = rest.split_whitespace();
        if matches!(
            words.next(),
            Some("struct" | "enum" | "trait" | "type" | "union")
        ) && let Some(name) = words.next()
        {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
            let name = &name[..end.unwrap_or(name.len())];
            // In a macro, the name is a parameter such as `$name`.
            if !name.is_empty() {
                found.push(name);
            }
        }
    }
    found
}

/// A search for a type's name must find that type only.
#[test]
fn no_two_public_types_have_the_same_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources().iter().filter(|file| !is_test_file(file)) {
        let text = std::fs::read_to_string(file).unwrap();
        let shown = file.strip_prefix(root()).unwrap().display().to_string();
        for name in public_types(&code(without_tests(&text))) {
            let found = places.entry(name.to_owned()).or_default();
            // One type may have a declaration for each operating system.
            if !found.contains(&shown) {
                found.push(shown.clone());
            }
        }
    }
    assert!(places.len() > 400, "only {} types", places.len());
    let doubled: Vec<String> = places
        .iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(name, files)| format!("`{name}`: {}", files.join(", ")))
        .collect();
    assert!(
        doubled.is_empty(),
        "several types have the same name; add a noun that distinguishes them:\n{}",
        doubled.join("\n")
    );
}

/// A module with files of its own is `name/mod.rs`, and the tests beside a file are `tests.rs`.
#[test]
fn modules_with_files_of_their_own_are_directories() {
    let mut wrong = Vec::new();
    for file in sources() {
        let shown = file.strip_prefix(root()).unwrap().display().to_string();
        if file.with_extension("").is_dir() {
            wrong.push(format!("{shown} belongs in its directory, as `mod.rs`"));
        }
        if shown.ends_with("_tests.rs") || shown.ends_with("_test.rs") {
            wrong.push(format!("{shown} should be `tests.rs` of a directory"));
        }
        let text = std::fs::read_to_string(&file).unwrap();
        if code(&text).contains("#[path") {
            wrong.push(format!("{shown} has a module with `#[path]`"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_check_finds_declarations() {
    let code = "pub struct A<'a> {\n    pub(super) type: u8,\n}\npub(crate) enum B {}\nstruct C;\npub fn d() {}\npub type E = u8;";
    assert_eq!(public_types(code), ["A", "B", "E"]);
}
