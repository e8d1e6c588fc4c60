//! Checks the import rules of `ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{code, root, sources};

struct Rule {
    may_use: BTreeSet<String>,
    confined: BTreeSet<String>,
}

fn words(cell: &str) -> BTreeSet<String> {
    cell.split(',')
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

fn rules() -> BTreeMap<String, Rule> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text
        .split("| module | may use | confined crates |")
        .nth(1)
        .expect("the table of modules");
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            let rule = Rule {
                may_use: words(cells[1]),
                confined: words(cells[2]),
            };
            (cells[0].trim().to_owned(), rule)
        })
        .collect()
}

// The top-level module a file of `src/` belongs to; the roots of the crate belong to no module.
fn module_of(file: &Path) -> Option<String> {
    let relative = file.strip_prefix(root().join("src")).ok()?;
    let first = relative.components().next()?.as_os_str().to_str()?;
    match first {
        "main.rs" | "lib.rs" => None,
        name => Some(name.trim_end_matches(".rs").to_owned()),
    }
}

// Modules named after `crate::`, in `use crate::{a, b::c}` lists too.
fn named_modules(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let ident = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(ident(rest));
            continue;
        };
        let mut depth = 1;
        let mut expects_name = true;
        for (offset, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => expects_name = true,
                c if expects_name && depth == 1 && c.is_alphanumeric() => {
                    found.insert(ident(&list[offset..]));
                    expects_name = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let rules = rules();
    let files = sources();
    let mut broken = Vec::new();
    for file in &files {
        let Some(module) = module_of(file) else {
            continue;
        };
        let Some(rule) = rules.get(&module) else {
            broken.push(format!(
                "{}: module `{module}` has no row in ARCHITECTURE.md",
                file.display()
            ));
            continue;
        };
        let code = code(&std::fs::read_to_string(file).unwrap());
        for named in named_modules(&code) {
            if rules.contains_key(&named) && named != module && !rule.may_use.contains(&named) {
                broken.push(format!(
                    "{}: `{module}` may not use `{named}`",
                    file.display()
                ));
            }
        }
        for (owner, other) in &rules {
            for name in &other.confined {
                if *owner != module && names_crate(&code, name) {
                    broken.push(format!(
                        "{}: crate `{name}` is confined to `{owner}`",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_parser_crate_is_named_in_one_file() {
    let files = sources();
    let naming: Vec<_> = files
        .iter()
        .filter(|file| names_crate(&code(&std::fs::read_to_string(file).unwrap()), "hcl_rs"))
        .map(|file| file.strip_prefix(root()).unwrap().to_owned())
        .collect();
    assert_eq!(naming, [Path::new("src/hcl/crosscheck.rs")]);
}

#[test]
fn the_check_finds_modules_and_crates() {
    let found =
        named_modules("use crate::{plan::Plan, types::{a, b}}; x(crate::diag::Span); mycrate::no;");
    assert_eq!(found, ["diag", "plan", "types"].map(str::to_owned).into());
    assert!(names_crate("use clap::Parser;", "clap"));
    assert!(!names_crate("use my_clap::Parser;", "clap"));
}

#[test]
fn every_test_file_is_part_of_the_suite() {
    let main = std::fs::read_to_string(root().join("tests/main.rs")).unwrap();
    for entry in std::fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_module = path.extension().is_some_and(|e| e == "rs") && name != "main"
            || path.join("mod.rs").exists();
        assert!(
            !is_module || main.contains(&format!("mod {name};")),
            "tests/{name} is not in tests/main.rs"
        );
    }
}
