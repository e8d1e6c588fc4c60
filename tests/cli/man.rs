//! Checks that the manual page matches the program.

#[path = "../../xtask/src/man.rs"]
mod page;

use std::path::Path;

#[test]
fn the_manual_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page::PATH);
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == page::page().unwrap(),
        "the manual page is out of date; run `cargo xtask man`"
    );
}

// The page has every exit code of the documentation and every verb.
#[test]
fn the_manual_page_leaves_nothing_out() {
    let page = page::page().unwrap().replace('\\', "");
    let differs = |code: &str| !page.contains(&format!("\\fB{code}\\fR").replace('\\', ""));
    let codes = include_str!("../../docs/exit-codes.md");
    let codes = codes
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    for code in codes.filter(|code| code.parse::<u8>().is_ok() && !["100", "102"].contains(code)) {
        assert!(!differs(code), "exit code {code}");
    }
    for verb in rbake::cli::verb::Verb::ALL {
        assert!(page.contains(verb.about()), "{verb:?}");
    }
}
