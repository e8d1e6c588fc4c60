//! Differences that the answers themselves give away.

use serde_json::Value;

use crate::{Answer, Answers, Case, Difference};

/// buildx crashed and rbake gave an answer.
pub(super) fn their_crash(_: &Case, _: &Answers, difference: Difference) -> bool {
    difference == Difference::TheirCrash
}

/// buildx tells of a cycle of variables where a name that is no variable is used twice, such as that of a type.
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

/// The same plan but for the order of the targets that a matrix made.
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
