//! The parts of a page that a test runs.

use std::fmt;

/// A page of documentation with examples.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page {
    /// What stands before each step.
    before: Vec<String>,
    pub(super) steps: Vec<Step>,
    after: String,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Run a line that the page does not show.
    Setup(String),
    /// Kill the next command when it has set this tag.
    Kill(String),
    /// Run a line, which prints this.
    Command { line: String, output: String },
}

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        let mut page = Self {
            before: Vec::new(),
            steps: Vec::new(),
            after: String::new(),
        };
        let mut lines = text.split_inclusive('\n').peekable();
        let mut place = Place::Prose;
        while let Some(line) = lines.next() {
            let bare = line.trim_end();
            match place {
                Place::Prose if bare == "```console" => place = Place::Console,
                Place::Prose if bare == "<!-- setup" => place = Place::Setup,
                Place::Prose => {
                    let tag = bare.strip_prefix("<!-- kill ");
                    if let Some(tag) = tag.and_then(|tag| tag.strip_suffix(" -->")) {
                        page.push(Step::Kill(tag.to_owned()));
                        continue;
                    }
                }
                Place::Console if bare == "```" => place = Place::Prose,
                Place::Setup if bare == "-->" => place = Place::Prose,
                Place::Setup => {
                    page.push(Step::Setup(bare.to_owned()));
                    continue;
                }
                Place::Console => {
                    let mut command = bare.strip_prefix("$ ").expect(line).to_owned();
                    while command.ends_with('\\') {
                        command.push('\n');
                        command += lines.next().unwrap_or_default().trim_end();
                    }
                    let mut output = String::new();
                    let is_output =
                        |next: &&str| !next.starts_with("$ ") && !next.starts_with("```");
                    while let Some(next) = lines.next_if(is_output) {
                        output += next;
                    }
                    page.push(Step::Command {
                        line: command,
                        output,
                    });
                    continue;
                }
            }
            page.after += line;
        }
        page
    }

    fn push(&mut self, step: Step) {
        self.before.push(std::mem::take(&mut self.after));
        self.steps.push(step);
    }
}

#[derive(Clone, Copy)]
enum Place {
    Prose,
    Console,
    Setup,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (before, step) in self.before.iter().zip(&self.steps) {
            write!(f, "{before}")?;
            match step {
                Step::Setup(line) => writeln!(f, "{line}")?,
                Step::Kill(tag) => writeln!(f, "<!-- kill {tag} -->")?,
                Step::Command { line, output } => write!(f, "$ {line}\n{output}")?,
            }
        }
        write!(f, "{}", self.after)
    }
}

/// The first block of `text` in `language`.
pub(super) fn block<'a>(text: &'a str, language: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("```{language}\n"))?;
    Some(after.split_once("```")?.0)
}

#[test]
fn a_page_is_taken_apart_and_put_together() {
    let text = "a\n<!-- setup\nb\n-->\n```console\n$ c \\\n  d\ne\n$ f\n```\n<!-- kill g -->\n```hcl\nh\n```\n";
    let page = Page::parse(text);
    let command = |line: &str, output: &str| Step::Command {
        line: line.to_owned(),
        output: output.to_owned(),
    };
    assert_eq!(
        page.steps,
        [
            Step::Setup("b".to_owned()),
            command("c \\\n  d", "e\n"),
            command("f", ""),
            Step::Kill("g".to_owned()),
        ]
    );
    assert_eq!(page.to_string(), text);
    assert_eq!(block(text, "hcl"), Some("h\n"));
}
