//! The parity cases: definitions, ways to run them, and buildx's answer to each.
//!
//! A case is a directory with definition files and a file `runs`, with one run per line: `name: VAR=value … argument … < file`.
//! Words are quoted as in a shell; the file after `<` is standard input. Arguments after a `$` are the whole command line, others
//! are added after `--print`. `expected.json` holds buildx's answers and is written by `cargo xtask parity update`;
//! `differences.json` holds the answers that rbake gives on purpose instead, each with the reason.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Map, Value, json};

/// A directory with definition files.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The directory's name.
    pub(crate) name: String,
    /// The directory.
    pub(crate) dir: PathBuf,
    /// The ways to run it.
    pub(crate) runs: Vec<Run>,
    /// buildx's answers, by the name of the run; empty before the first `cargo xtask parity update`.
    expected: Map<String, Value>,
    /// The answers that rbake gives instead.
    differences: Map<String, Value>,
}

/// One way to run a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its name, unique in the case.
    pub(crate) name: String,
    /// Environment variables.
    pub(crate) environment: Vec<(String, String)>,
    /// The arguments after `bake --print`, or after `bake` if they ask for a list or are the whole command line.
    pub(crate) args: Vec<String>,
    /// Whether the arguments are the whole command line.
    pub(crate) whole: bool,
    /// The file of the case that is standard input.
    pub(crate) stdin: Option<String>,
}

impl Case {
    /// The answer that rbake must give to `run`, which belongs to this case.
    ///
    /// # Errors
    /// If no answer is stored, or if the one in `differences.json` has no reason or equals buildx's.
    pub(crate) fn wanted(&self, run: &Run) -> Result<Value, String> {
        let place = format!("{}/{}", self.name, run.name);
        let stored = self.expected.get(&run.name);
        let stored =
            stored.ok_or_else(|| format!("{place}: no answer; run `cargo xtask parity update`"))?;
        let Some(difference) = self.differences.get(&run.name) else {
            return Ok(stored.clone());
        };
        if !difference["why"].is_string() {
            return Err(format!("{place}: `why` is missing"));
        }
        // If buildx's answer changes from run to run, the stored one may happen to equal rbake's.
        let random = difference.get("random").is_some();
        if !random && comparable(difference) == comparable(stored) {
            return Err(format!("{place}: the answer equals buildx's"));
        }
        Ok(difference.clone())
    }
}

/// The answers in the file at `path`, by the name of the run; empty if there is no file.
fn stored(path: &Path) -> Result<Map<String, Value>, String> {
    if !path.exists() {
        return Ok(Map::new());
    }
    let bad = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| bad(&error))?;
    let mut document: Value = serde_json::from_str(&text).map_err(|error| bad(&error))?;
    match document["runs"].take() {
        Value::Object(runs) => Ok(runs),
        _ => Err(bad(&"`runs` is missing")),
    }
}

/// The part of an answer that is compared, as text, so that the order of fields is compared too. All failures are equal.
pub(crate) fn comparable(answer: &Value) -> String {
    if answer.get("fails").is_some() {
        return "fails".to_owned();
    }
    answer["output"].to_string()
}

/// The answer of the command to `run`.
pub(crate) fn answered(run: &Run, output: &Output) -> Value {
    if !output.status.success() {
        return json!({ "fails": String::from_utf8_lossy(&output.stderr) });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    if run.lists() && !run.whole {
        return json!({ "output": text });
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(printed) => json!({ "output": printed }),
        Err(_) if run.whole => json!({ "output": text }),
        Err(error) => json!({ "output": format!("not JSON: {error}") }),
    }
}

impl Run {
    /// The arguments after the program's name or `bake`.
    pub(crate) fn command_line(&self) -> Vec<String> {
        let print = (!self.whole && !self.lists()).then(|| "--print".to_owned());
        print.into_iter().chain(self.args.iter().cloned()).collect()
    }

    /// Whether targets or variables are listed rather than a plan printed.
    pub(crate) fn lists(&self) -> bool {
        self.args.iter().any(|arg| arg.starts_with("--list"))
    }

    /// Standard input for a command that runs this in `dir`; empty if the file cannot be opened.
    pub(crate) fn input(&self, dir: &Path) -> Stdio {
        let file = self.stdin.as_ref().map(|file| File::open(dir.join(file)));
        file.and_then(Result::ok)
            .map_or_else(Stdio::null, Stdio::from)
    }
}

/// All cases below `root`, sorted by name.
pub(crate) fn all(root: &Path) -> Result<Vec<Case>, String> {
    let entries =
        std::fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut cases = Vec::new();
    for entry in entries {
        let dir = entry.map_err(|error| error.to_string())?.path();
        let file = dir.join("runs");
        let text = std::fs::read_to_string(&file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let runs = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| {
                run(line).ok_or_else(|| format!("{}: cannot read `{line}`", file.display()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut names = HashSet::new();
        if let Some(run) = runs.iter().find(|run| !names.insert(run.name.as_str())) {
            return Err(format!(
                "{}: `{}` is defined twice",
                file.display(),
                run.name
            ));
        }
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        cases.push(Case {
            name: name.into_owned(),
            expected: stored(&dir.join("expected.json"))?,
            differences: stored(&dir.join("differences.json"))?,
            dir,
            runs,
        });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

fn run(line: &str) -> Option<Run> {
    let (name, words) = line.split_once(':')?;
    let mut args = words_of(words)?;
    let variables = args
        .iter()
        .take_while(|word| {
            let name = word.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            })
        })
        .count();
    let environment = args
        .drain(..variables)
        .filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect();
    let stdin = match args.iter().rev().nth(1) {
        Some(word) if word == "<" => args.pop(),
        _ => None,
    };
    args.truncate(args.len() - usize::from(stdin.is_some()));
    let whole = args.first().is_some_and(|word| word == "$");
    args.drain(..usize::from(whole));
    Some(Run {
        name: name.trim().to_owned(),
        environment,
        args,
        whole,
        stdin,
    })
}

// Words separated by spaces; '…' is taken as it is, "…" and plain text with `\` before the next character.
fn words_of(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}
