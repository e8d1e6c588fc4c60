//! Differences that can be recognised in the answers.

use serde_json::Value;

use crate::{Answer, Answers, Case, Difference};

/// buildx crashed and rbake gave an answer.
pub(super) fn their_crash(_: &Case, _: &Answers, difference: Difference) -> bool {
    difference == Difference::TheirCrash
}

/// buildx reports a variable cycle if a name that is not a variable, such as that of a type, is used twice.
pub(super) fn named_twice(case: &Case, answers: &Answers, difference: Difference) -> bool {
    if difference != Difference::Accepted {
        return false;
    }
    let marker = "variable cycle not allowed for ";
    answers
        .buildx
        .text()
        .lines()
        .filter(|line| line.starts_with("ERROR: "))
        .any(|line| {
            let name: String = match line.split_once(marker) {
                Some((_, rest)) => rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '-')
                    .collect(),
                None => return false,
            };
            let declared = |text: &String| {
                text.contains(&format!("variable \"{name}\""))
                    || text.contains(&format!("variable {name} "))
            };
            !case.files.values().chain([&case.stdin]).any(declared)
        })
}

/// If the result of a user function converts to a type, buildx takes the type for a function.
pub(super) fn type_for_function(_: &Case, answers: &Answers, difference: Difference) -> bool {
    let functions = ["list", "set", "map", "tuple", "object", "optional"];
    let variables = ["string", "number", "bool", "any"];
    let says = |kind: &str, name: &str| {
        error(answers).contains(&format!("{kind} \"{name}\" does not exist: undefined"))
    };
    difference == Difference::Accepted
        && (functions.iter().any(|name| says("function", name))
            || variables.iter().any(|name| says("variable", name)))
}

/// Something refers to a target that has several blocks, and buildx takes one of them.
pub(super) fn several_blocks(case: &Case, _: &Answers, difference: Difference) -> bool {
    let texts = || case.files.values().chain([&case.stdin]);
    let blocks = |name: &str| -> usize {
        let forms = [
            format!("target \"{name}\""),
            format!("target {name} "),
            format!("\"{name}\": {{"),
        ];
        let count = |text: &String| {
            forms
                .iter()
                .map(|form| text.matches(form).count())
                .sum::<usize>()
        };
        texts().map(count).sum()
    };
    difference == Difference::Output
        && texts()
            .flat_map(|text| text.split("target.").skip(1))
            .filter_map(|rest| {
                rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
                    .next()
            })
            .any(|name| !name.is_empty() && blocks(name) > 1)
}

/// buildx does not read the templates of a function in the JSON syntax until it is called.
pub(super) fn json_function(case: &Case, answers: &Answers, difference: Difference) -> bool {
    let messages = answers.rbake.text();
    let errors = || messages.lines().filter(|line| line.starts_with("error["));
    let mut places = messages
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--> "));
    let json = |place: &str| {
        let name = place.split(':').next().unwrap_or_default();
        case.files
            .get(name)
            .unwrap_or(&case.stdin)
            .contains("\"function\"")
    };
    difference == Difference::Refused
        && errors().count() > 0
        && errors().all(|line| line.starts_with("error[definition::syntax]"))
        && places.all(json)
}

/// In buildx, the JSON for a variable of type `any` must name the type of the value.
pub(super) fn plain_json(_: &Case, answers: &Answers, difference: Difference) -> bool {
    let error = error(answers);
    difference == Difference::Accepted
        && error.contains("failed to convert variable")
        && (error.contains("missing expected {") || error.contains("dynamically-typed value"))
}

/// The same plan except for the order of limits, which is random if a Compose file sets them.
pub(super) fn compose_ulimits(case: &Case, answers: &Answers, _: Difference) -> bool {
    let compose = case.files.keys().any(|name| {
        let extension = name.rsplit('.').next();
        matches!(extension, Some("yaml" | "yml"))
    });
    let (Answer::Printed(theirs), Answer::Printed(ours)) = (&answers.buildx, &answers.rbake) else {
        return false;
    };
    let sorted = |text: &str| -> Option<Value> {
        let mut plan: Value = serde_json::from_str(text).ok()?;
        for (_, target) in plan.get_mut("target")?.as_object_mut()? {
            if let Some(limits) = target.get_mut("ulimits").and_then(Value::as_array_mut) {
                limits.sort_by_key(ToString::to_string);
            }
        }
        Some(plan)
    };
    compose && sorted(theirs).is_some_and(|theirs| Some(theirs) == sorted(ours))
}

/// buildx does not find other targets while it evaluates the names of a matrix.
pub(super) fn matrix_references(case: &Case, answers: &Answers, difference: Difference) -> bool {
    difference == Difference::Accepted
        && error(answers).contains("Missing map element; ")
        && case
            .files
            .values()
            .chain([&case.stdin])
            .any(|text| text.contains("matrix"))
}

/// `cidrsubnet` returns `<nil>` in buildx if the length of the prefix becomes negative.
pub(super) fn no_network(_: &Case, answers: &Answers, difference: Difference) -> bool {
    let (theirs, ours) = (answers.buildx.text().lines(), answers.rbake.text().lines());
    let mut different = theirs
        .zip(ours)
        .filter(|(theirs, ours)| theirs != ours)
        .peekable();
    difference == Difference::Output
        && different.peek().is_some()
        && different
            .all(|(theirs, ours)| theirs.contains("\\u003cnil\\u003e") && ours.contains("fails"))
}

/// buildx looks for a target with the name of a group without members.
pub(super) fn empty_group(_: &Case, answers: &Answers, difference: Difference) -> bool {
    let error = error(answers);
    let missing = error.strip_prefix("ERROR: failed to find target ");
    let Answer::Printed(ours) = &answers.rbake else {
        return false;
    };
    let plan: Value = serde_json::from_str(ours).unwrap_or_default();
    let members = missing.and_then(|name| plan.get("group")?.get(name)?.get("targets"));
    // The group `default` of a plan lists what was asked for.
    let empty = members.is_some_and(|members| members.as_array().is_none_or(Vec::is_empty));
    difference == Difference::Accepted && (empty || missing == Some("default"))
}

// The last line of buildx's messages, which says why it failed.
fn error(answers: &Answers) -> &str {
    let mut lines = answers.buildx.text().lines().rev();
    lines
        .find(|line| line.starts_with("ERROR: "))
        .unwrap_or_default()
}

/// The same plan except for the order of the targets that a matrix makes.
pub(super) fn matrix_order(case: &Case, answers: &Answers, _: Difference) -> bool {
    let matrix = case
        .files
        .values()
        .chain([&case.stdin])
        .any(|text| text.contains("matrix"));
    let (Answer::Printed(theirs), Answer::Printed(ours)) = (&answers.buildx, &answers.rbake) else {
        return false;
    };
    let sorted = |text: &str| -> Option<Value> {
        let mut plan: Value = serde_json::from_str(text).ok()?;
        for (_, group) in plan.get_mut("group")?.as_object_mut()? {
            group
                .get_mut("targets")?
                .as_array_mut()?
                .sort_by_key(ToString::to_string);
        }
        Some(plan)
    };
    matrix && sorted(theirs).is_some_and(|theirs| Some(theirs) == sorted(ours))
}
