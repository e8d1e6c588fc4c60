//! A definition and one way to run it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Files, standard input, environment and arguments of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// The files by their path below the working directory.
    pub files: BTreeMap<String, String>,
    /// What is on standard input.
    pub stdin: String,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The arguments after `--print`, or all arguments if one of them asks for a list.
    pub args: Vec<String>,
}

impl Case {
    /// Whether targets or variables are listed instead of printing a plan.
    pub fn lists(&self) -> bool {
        self.args.iter().any(|arg| arg.starts_with("--list"))
    }

    /// The arguments that both programs get.
    pub fn command_line(&self) -> Vec<&str> {
        let print = (!self.lists()).then_some("--print");
        print
            .into_iter()
            .chain(self.args.iter().map(String::as_str))
            .collect()
    }

    /// Writes the files below `dir`.
    pub fn write_files(&self, dir: &Path) -> std::io::Result<()> {
        for (name, text) in &self.files {
            let path = dir.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, text)?;
        }
        Ok(())
    }

    /// Writes the case in the form of a parity case: its files and its line in `runs`.
    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        self.write_files(dir)?;
        if !self.stdin.is_empty() {
            std::fs::write(dir.join("stdin"), &self.stdin)?;
        }
        std::fs::write(dir.join("runs"), format!("random:{}\n", self.line()))
    }

    /// Environment and arguments as a shell would take them.
    pub fn line(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.environment {
            let _ = write!(line, " {name}={}", quoted(value));
        }
        for arg in &self.args {
            let _ = write!(line, " {}", quoted(arg));
        }
        line
    }

    /// The size of the case: the length of its texts.
    pub fn size(&self) -> usize {
        let files: usize = self.files.values().map(|text| text.len() + 1).sum();
        let environment: usize = self
            .environment
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        files
            + self.stdin.len()
            + environment
            + self.args.iter().map(|arg| arg.len() + 1).sum::<usize>()
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = "\"".to_owned();
    for c in word.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}
