//! The intended differences: each rule quotes the line in `docs/differences.md` that documents it.
//!
//! A rule either looks at the answers only, or removes its cause from the case: then the difference must be gone. A difference
//! is unexplained if no rule explains it. Start at [`explain`].

use crate::{Answers, Case, Difference, Error, Programs};

mod causes;
mod signs;

/// A known reason for a difference.
#[derive(Debug)]
pub struct Rule {
    /// Its name in reports.
    pub name: &'static str,
    /// Words of `docs/differences.md`.
    pub documented: &'static str,
    /// How it is recognised.
    sign: Sign,
}

#[derive(Debug)]
enum Sign {
    /// The answers show it.
    Answers(fn(&Case, &Answers, Difference) -> bool),
    /// Only rbake refuses, and its errors contain this.
    Refused(&'static str),
    /// The same case without the cause, which must show no difference; `None` if the cause is absent.
    Without(fn(&Case, &Answers) -> Option<Case>),
    /// buildx itself does not always give the same answer.
    Random,
}

impl Rule {
    const fn new(name: &'static str, documented: &'static str, sign: Sign) -> Self {
        Self {
            name,
            documented,
            sign,
        }
    }
}

/// All rules; those that need no further run come first.
pub const RULES: &[Rule] = &[
    Rule::new(
        "their-crash",
        "buildx crashes",
        Sign::Answers(signs::their_crash),
    ),
    Rule::new(
        "named-twice",
        "however often it is used",
        Sign::Answers(signs::named_twice),
    ),
    Rule::new(
        "repeated-key",
        "A key that is there twice in a JSON object",
        Sign::Refused("occurs twice"),
    ),
    Rule::new(
        "types-in-functions",
        "The result of a user function may convert",
        Sign::Answers(signs::type_for_function),
    ),
    Rule::new(
        "json-function",
        "A template of the JSON syntax that cannot be read",
        Sign::Answers(signs::json_function),
    ),
    Rule::new(
        "matrix-references",
        "A matrix or a name may refer to other targets",
        Sign::Answers(signs::matrix_references),
    ),
    Rule::new(
        "several-blocks",
        "A reference to a target that several blocks define",
        Sign::Answers(signs::several_blocks),
    ),
    Rule::new(
        "no-network",
        "A network without a prefix",
        Sign::Answers(signs::no_network),
    ),
    Rule::new(
        "plain-json",
        "The JSON of a variable of type `any` may be plain",
        Sign::Answers(signs::plain_json),
    ),
    Rule::new(
        "compose-ulimits",
        "The limits of a Compose service are sorted",
        Sign::Answers(signs::compose_ulimits),
    ),
    Rule::new(
        "empty-group",
        "A group without members inside another",
        Sign::Answers(signs::empty_group),
    ),
    Rule::new(
        "size-too-large",
        "A size of 8 EiB or more",
        Sign::Refused("is too large for a size"),
    ),
    Rule::new(
        "matrix-order",
        "Matrix targets are made in the order",
        Sign::Answers(signs::matrix_order),
    ),
    Rule::new(
        "set-ignored",
        "do what they say",
        Sign::Without(causes::without_ignored_sets),
    ),
    Rule::new(
        "set-unbuilt",
        "An override that cannot be read is an error",
        Sign::Without(causes::without_unbuilt_sets),
    ),
    Rule::new(
        "append-one",
        "buildx ignores the `+`",
        Sign::Refused("is not a list and cannot be appended to"),
    ),
    Rule::new(
        "attest-type",
        "An attestation without a type",
        Sign::Refused("a `type` is required"),
    ),
    Rule::new(
        "resources-field",
        "An unknown field of `resources`",
        Sign::Refused("is not a valid key here"),
    ),
    Rule::new(
        "random",
        "Several overrides of one target apply in a fixed order",
        Sign::Random,
    ),
];

/// The rules that explain a difference between the answers, if there are any.
pub fn explain(
    programs: &Programs,
    case: &Case,
    answers: &Answers,
) -> Result<Option<Vec<&'static Rule>>, Error> {
    let Some(difference) = answers.difference() else {
        return Ok(Some(Vec::new()));
    };
    if difference == Difference::OurCrash {
        return Ok(None);
    }
    if difference == Difference::Refused
        && let Some(rules) = refusals(answers.rbake.text())
    {
        return Ok(Some(rules));
    }
    for rule in RULES {
        let explained = match rule.sign {
            Sign::Answers(sign) => sign(case, answers, difference),
            Sign::Refused(_) => false,
            Sign::Without(without) => match without(case, answers) {
                Some(without) if without != *case => {
                    let rest = programs.compare(&without)?;
                    // A remaining difference may have other reasons.
                    if let Some(mut rules) = explain(programs, &without, &rest)? {
                        rules.push(rule);
                        return Ok(Some(rules));
                    }
                    false
                }
                _ => false,
            },
            Sign::Random if !causes::several_outputs(case) => false,
            // buildx does not choose evenly: the right order comes in one of five runs.
            Sign::Random => (0..40).try_fold(false, |found, _| -> Result<bool, Error> {
                Ok(found || programs.buildx(case)? == answers.rbake)
            })?,
        };
        if explained {
            return Ok(Some(vec![rule]));
        }
    }
    Ok(None)
}

// The rules for all errors that rbake reports; `None` if one of the errors has no rule.
fn refusals(messages: &str) -> Option<Vec<&'static Rule>> {
    let rule_of = |error: &str| {
        RULES
            .iter()
            .find(|rule| matches!(rule.sign, Sign::Refused(says) if error.contains(says)))
    };
    let errors = messages.lines().filter(|line| line.starts_with("error["));
    let mut rules: Vec<&Rule> = errors.map(rule_of).collect::<Option<_>>()?;
    rules.dedup_by_key(|rule| rule.name);
    (!rules.is_empty()).then_some(rules)
}
