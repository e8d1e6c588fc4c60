//! Random definitions: rbake prints the same as buildx, or a rule explains the difference.
//!
//! A fixed number of seeds; `cargo xtask parity random` runs any number of them, and reduces the definitions that it finds.

use std::path::PathBuf;

use rbake_differential::{Programs, Verdict, examine, make};

use crate::support::peers;

const SEEDS: std::ops::Range<u64> = 0..200;

#[test]
#[ignore = "needs live peers"]
fn random_definitions_give_the_same_plan_as_in_buildx() {
    let buildx = peers::program("RBAKE_TEST_BUILDX");
    let programs = Programs {
        buildx,
        rbake: PathBuf::from(env!("CARGO_BIN_EXE_rbake")),
    };
    let mut printed = 0;
    let mut unexplained = Vec::new();
    for seed in SEEDS {
        let case = make::case(seed);
        match examine(&programs, &case).unwrap() {
            Verdict::Same(answers) => printed += usize::from(answers.both_printed()),
            Verdict::Explained(_) => {}
            Verdict::Unexplained(answers) => unexplained.push(format!(
                "seed {seed}:{}\n{:?}\n--- buildx\n{}\n--- rbake\n{}",
                case.line(),
                answers.difference(),
                answers.buildx.text(),
                answers.rbake.text()
            )),
        }
    }
    assert!(
        unexplained.is_empty(),
        "{} differ; `cargo xtask parity random` reduces them:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    // A failure hides all other differences, so most must not fail.
    assert!(printed > 60, "only {printed} definitions were valid");
}

/// Every rule quotes a line of `docs/differences.md`, where users find it.
#[test]
fn every_rule_is_documented() {
    let text = include_str!("../../docs/differences.md");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for rule in rbake_differential::rules::RULES {
        assert!(
            text.contains(rule.documented),
            "{}: `{}` is not in docs/differences.md",
            rule.name,
            rule.documented
        );
    }
}
