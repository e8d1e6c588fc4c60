//! `cargo xtask parity random`: random definitions, run by rbake and buildx side by side.
//!
//! The crate in `differential/` makes and compares the definitions, and knows the rules; this task prints the results. Start at
//! [`run`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rbake_differential::{
    Answer, Answers, Case, Difference, Programs, Verdict, examine, make, shrink,
};

/// Which definitions to run, and where to write what is found.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The buildx binary
    #[arg(long, value_name = "PATH", env = "RBAKE_TEST_BUILDX")]
    buildx: PathBuf,
    /// The rbake binary; without it, the checkout's is built
    #[arg(long, value_name = "PATH")]
    rbake: Option<PathBuf>,
    /// The seeds, `A..B` without B
    #[arg(long, value_name = "A..B", value_parser = seeds, conflicts_with = "count")]
    seeds: Option<(u64, u64)>,
    /// How many definitions, from the first seed on
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: u64,
    /// Where small reproductions of unexplained differences are written
    #[arg(long, value_name = "DIR", default_value = "target/differential")]
    keep: PathBuf,
    /// How often both programs may run to reduce one definition
    #[arg(long, value_name = "N", default_value_t = 600)]
    shrink: usize,
    /// Make Compose files instead of bake files
    #[arg(long)]
    compose: bool,
    /// Print the definitions instead of running them
    #[arg(long)]
    show: bool,
    /// Print why buildx refuses a definition that both refuse
    #[arg(long)]
    refusals: bool,
    /// Also write definitions whose differences are explained by this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
}

/// Why the definitions could not be run, or what they showed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot compare the programs")]
    Compare(#[from] rbake_differential::Error),
    #[error("cannot build rbake")]
    Build,
    #[error("cannot write below `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{count} unexplained differences, written below `{}`", keep.display())]
    Unexplained { count: usize, keep: PathBuf },
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let ends = text
        .split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    ends.filter(|(from, to)| from < to)
        .ok_or_else(|| "expected two numbers such as `0..100`".to_owned())
}

fn made(args: &Args, seed: u64) -> Case {
    if args.compose {
        make::compose_case(seed)
    } else {
        make::case(seed)
    }
}

/// Runs them all.
pub(crate) fn run(args: &Args, root: &Path) -> Result<(), Error> {
    let (from, to) = args.seeds.unwrap_or((0, args.count));
    if args.show {
        (from..to).for_each(|seed| show(seed, &made(args, seed)));
        return Ok(());
    }
    let programs = Programs {
        buildx: args.buildx.clone(),
        rbake: match &args.rbake {
            Some(path) => path.clone(),
            None => build(root)?,
        },
    };
    let mut tally = Tally::default();
    let start = Instant::now();
    for seed in from..to {
        let case = made(args, seed);
        match examine(&programs, &case)? {
            Verdict::Same(answers) => match answers.buildx {
                Answer::Printed(_) => tally.succeeded += 1,
                refusal => {
                    tally.failed += 1;
                    if args.refusals {
                        print_refusal(seed, refusal.text());
                    }
                }
            },
            Verdict::Explained(rules) => {
                for rule in rules {
                    *tally.explained.entry(rule.name).or_default() += 1;
                    if args.rule.as_deref() == Some(rule.name) {
                        keep(
                            args,
                            &format!("{}-{seed}", rule.name),
                            &case,
                            &programs.compare(&case)?,
                        )?;
                    }
                }
            }
            Verdict::Unexplained(answers) => {
                let small = smallest(&programs, &case, answers.difference(), args.shrink)?;
                tally.unexplained.push(seed);
                keep(args, &seed.to_string(), &small, &programs.compare(&small)?)?;
            }
        }
        if (seed + 1 - from) % 500 == 0 {
            tally.print(seed + 1 - from, start);
        }
    }
    tally.print(to - from, start);
    if tally.unexplained.is_empty() {
        return Ok(());
    }
    Err(Error::Unexplained {
        count: tally.unexplained.len(),
        keep: args.keep.clone(),
    })
}

#[derive(Default)]
struct Tally {
    succeeded: usize,
    failed: usize,
    explained: BTreeMap<&'static str, usize>,
    unexplained: Vec<u64>,
}

impl Tally {
    #[expect(clippy::print_stdout, reason = "a task's output is its purpose")]
    fn print(&self, count: u64, start: Instant) {
        println!(
            "{count} definitions in {} s: {} printed the same, {} refused by both, explained {:?}, unexplained {:?}",
            start.elapsed().as_secs(),
            self.succeeded,
            self.failed,
            self.explained,
            self.unexplained
        );
    }
}

// The same kind of difference, and no rule that explains it.
fn smallest(
    programs: &Programs,
    case: &Case,
    kind: Option<Difference>,
    questions: usize,
) -> Result<Case, Error> {
    Ok(shrink(
        case,
        questions,
        |case| -> Result<bool, rbake_differential::Error> {
            Ok(match examine(programs, case)? {
                Verdict::Unexplained(answers) => answers.difference() == kind,
                _ => false,
            })
        },
    )?)
}

fn keep(args: &Args, name: &str, case: &Case, answers: &Answers) -> Result<(), Error> {
    let dir = args.keep.join(name);
    let write = || -> std::io::Result<()> {
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        case.write(&dir)?;
        std::fs::write(
            dir.join("buildx"),
            format!("{:#?}\n{}", answers.difference(), answers.buildx.text()),
        )?;
        std::fs::write(dir.join("rbake"), answers.rbake.text())
    };
    write().map_err(|source| Error::Write {
        path: dir.clone(),
        source,
    })
}

#[expect(clippy::print_stdout, reason = "a task's output is its purpose")]
fn show(seed: u64, case: &Case) {
    println!("=== {seed}:{}", case.line());
    for (name, text) in &case.files {
        if name.contains("bake") || name.contains(".y") {
            println!("--- {name}\n{text}");
        }
    }
    if !case.stdin.is_empty() {
        println!("--- standard input\n{}", case.stdin);
    }
}

#[expect(clippy::print_stdout, reason = "a task's output is its purpose")]
fn print_refusal(seed: u64, messages: &str) {
    let error = messages
        .lines()
        .rev()
        .find(|line| line.starts_with("ERROR: "));
    println!("{seed}: {}", error.unwrap_or("refused without a message"));
}

fn build(root: &Path) -> Result<PathBuf, Error> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--bin", "rbake"])
        .current_dir(root)
        .status();
    match status {
        Ok(status) if status.success() => Ok(root.join("target/debug/rbake")),
        _ => Err(Error::Build),
    }
}
