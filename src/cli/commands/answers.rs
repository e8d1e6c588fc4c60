//! Prints what frontends answered to `--call`, and to `call` in a definition.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU8;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::outcome::TargetOutcome;
use crate::plan::{
    DockerfileSource, FrontendCall, Plan, PlannedTarget, PrintedAnswer, print_called,
};
use crate::report::call::{Answer, AskedDockerfile, Question, answer};
use crate::types::{Environment, TargetName};

/// The message that a frontend leaves for the user, in the response of any solve.
const INLINE_MESSAGE: &str = "frontend.result.inlinemessage";

/// What is wrong with an answer that cannot be a part of the document.
const NOT_JSON: &str = "the answer of the frontend is not JSON";

/// A run that has succeeded, or that kept going after targets had failed.
pub(super) struct AnsweredRun<'a> {
    pub(super) plan: &'a Plan,
    /// What `--call` asked. `None` if each target did what its definition says.
    pub(super) flag: Option<&'a FrontendCall>,
    pub(super) targets: &'a [(TargetName, Arc<TargetOutcome>)],
    pub(super) environment: &'a Environment,
}

impl AnsweredRun<'_> {
    /// Prints the answers that there are in the order of the targets' names, and returns the exit code: that of the first answer with a
    /// status, or 1 if something is wrong with an answer.
    pub(super) fn tell(&self, screen: &mut Screen) -> Exit {
        let responses: BTreeMap<&TargetName, &BTreeMap<String, String>> = self
            .targets
            .iter()
            .filter_map(|(name, end)| match &**end {
                TargetOutcome::Succeeded(solved) => Some((name, &solved.response)),
                _ => None,
            })
            .collect();
        let failed = self.targets.iter();
        let failed = failed.filter(|(_, end)| !matches!(**end, TargetOutcome::Succeeded(_)));
        let failed: BTreeSet<&TargetName> = failed.map(|(name, _)| name).collect();
        let mut planned: Vec<&PlannedTarget> = self.plan.targets.values().collect();
        planned.sort_by(|a, b| a.name.cmp(&b.name));
        let asked: Vec<(&PlannedTarget, &FrontendCall, Answer)> = planned
            .iter()
            .filter_map(|target| {
                let call = target.build().call.as_ref()?;
                if failed.contains(&target.name) {
                    return None;
                }
                let nothing = BTreeMap::new();
                let response = responses.get(&target.name).copied().unwrap_or(&nothing);
                Some((
                    *target,
                    call,
                    answer(&self.question(target, call), response),
                ))
            })
            .collect();
        let as_json = self.flag.is_some_and(FrontendCall::is_json);
        let mut exit = exit_of(&asked, as_json);
        if self.environment.get("GITHUB_ACTIONS") == Some("true") {
            for (_, _, answer) in &asked {
                screen.message(&answer.annotations);
            }
        }
        let printed = if as_json {
            self.json(&asked)
        } else {
            text(&asked)
        };
        let messages = planned.iter().filter_map(|target| {
            let message = responses.get(&target.name)?.get(INLINE_MESSAGE)?;
            Some(format!("\n# {}\n{message}\n", target.name))
        });
        let printed = printed + &messages.collect::<String>();
        if !printed.is_empty() {
            let written = screen.data(&printed);
            if written != Exit::Success {
                exit = written;
            }
        }
        exit
    }

    fn question<'q>(&'q self, target: &'q PlannedTarget, call: &'q FrontendCall) -> Question<'q> {
        Question {
            method: &call.method,
            // As in buildx, these two do not come from a definition.
            format: self.flag.and_then(|flag| flag.format.as_deref()),
            ignores_status: self.flag.is_some_and(|flag| flag.ignores_status),
            dockerfile: match &target.inputs.dockerfile {
                DockerfileSource::Local(path) => AskedDockerfile::File(path),
                DockerfileSource::Inline(_) => AskedDockerfile::Elsewhere("inline"),
                DockerfileSource::InContext(name) | DockerfileSource::Url(name) => {
                    AskedDockerfile::Elsewhere(name)
                }
            },
        }
    }

    /// The document with the plan and all answers.
    fn json(&self, asked: &[(&PlannedTarget, &FrontendCall, Answer)]) -> String {
        let answers = asked.iter().map(|(target, call, answer)| {
            let printed = PrintedAnswer {
                method: call.shown().to_owned(),
                fields: fields(call, answer),
            };
            (target.name.clone(), printed)
        });
        print_called(self.plan, &answers.collect())
    }
}

/// The fields of an answer: those of the object that the frontend sent, or one for another value, and `error` if
/// something is wrong.
fn fields(call: &FrontendCall, answer: &Answer) -> BTreeMap<String, Box<RawValue>> {
    let mut fields = BTreeMap::new();
    if let Some(problem) = &answer.problem {
        fields.extend(error_field(problem));
    }
    let sent = answer.text.trim_end_matches('\n');
    // If something is wrong, the frontend may have sent nothing.
    if sent.is_empty() && answer.problem.is_some() {
        return fields;
    }
    if let Ok(own) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(sent) {
        fields.extend(own);
    } else if let Ok(value) = RawValue::from_string(sent.to_owned()) {
        fields.insert(call.method.clone(), value);
    } else {
        fields.extend(error_field(NOT_JSON));
    }
    fields
}

fn error_field(problem: &str) -> Option<(String, Box<RawValue>)> {
    let text = serde_json::to_string(problem).ok()?;
    Some(("error".to_owned(), RawValue::from_string(text).ok()?))
}

/// The answers as text, each below the name and the description of its target.
fn text(asked: &[(&PlannedTarget, &FrontendCall, Answer)]) -> String {
    let blocks = asked.iter().map(|(target, _, answer)| {
        let mut block = format!("{}\n", target.name);
        let description = target.attributes.description.as_ref();
        if let Some(description) = description.filter(|text| !text.is_empty()) {
            block.push_str(description);
            block.push('\n');
        }
        block.push('\n');
        block.push_str(&answer.text);
        if let Some(problem) = &answer.problem {
            block.push_str("error: ");
            block.push_str(problem);
            block.push('\n');
        }
        block
    });
    blocks.collect::<Vec<_>>().join("\n")
}

/// The exit code of a run with these answers.
fn exit_of(asked: &[(&PlannedTarget, &FrontendCall, Answer)], as_json: bool) -> Exit {
    let ends = asked.iter().map(|(_, call, answer)| {
        let is_wrong = as_json && fields(call, answer).contains_key("error");
        (answer.status, is_wrong || answer.problem.is_some())
    });
    combined(ends)
}

/// The exit code for answers with these statuses, of which some are wrong.
fn combined(ends: impl Iterator<Item = (Option<i32>, bool)>) -> Exit {
    let mut exit = Exit::Success;
    for (status, is_wrong) in ends {
        if is_wrong {
            exit = Exit::Failed;
        } else if let (Some(status), Exit::Success) = (status, exit) {
            exit = Exit::Answered(status_code(status));
        }
    }
    exit
}

/// The exit code for a status that is not 0. As for any program, only its last eight bits can be returned, but it never
/// becomes a success.
fn status_code(status: i32) -> NonZeroU8 {
    let [low, ..] = status.to_le_bytes();
    NonZeroU8::new(low).unwrap_or(NonZeroU8::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_status_is_the_exit_code_unless_an_answer_is_wrong() {
        let exit = |ends: &[(Option<i32>, bool)]| combined(ends.iter().copied()).code();
        assert_eq!(exit(&[(None, false), (None, false)]), 0);
        assert_eq!(
            exit(&[(None, false), (Some(7), false), (Some(1), false)]),
            7
        );
        assert_eq!(exit(&[(Some(7), false), (None, true)]), 1);
        assert_eq!(exit(&[(Some(256), false)]), 1);
        assert_eq!(exit(&[(Some(-1), false)]), 255);
    }

    #[test]
    fn fields_of_other_values_have_the_name_of_the_method() {
        let call = FrontendCall::parse("lint").unwrap().unwrap();
        let of = |text: &str, problem: Option<&str>| {
            let answer = Answer {
                text: text.to_owned(),
                problem: problem.map(str::to_owned),
                ..Answer::default()
            };
            serde_json::to_string(&fields(&call, &answer)).unwrap()
        };
        assert_eq!(of("{\"b\":1,\"a\":1e2}\n", None), r#"{"a":1e2,"b":1}"#);
        assert_eq!(of("[1]\n", None), r#"{"lint":[1]}"#);
        assert_eq!(of("\n", Some("a\"b")), r#"{"error":"a\"b"}"#);
        assert!(of("plain text\n", None).contains(NOT_JSON));
    }
}
