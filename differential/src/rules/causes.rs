//! Removes causes of differences from a case.

use serde_json::Value;

use crate::{Answers, Case};

/// Without the overrides that buildx ignores.
pub(super) fn without_ignored_sets(case: &Case, _: &Answers) -> Option<Case> {
    let ignored = |value: &str| {
        let key = value
            .split(['=', '+'])
            .next()
            .unwrap_or_default()
            .split('.')
            .nth(1)
            .unwrap_or_default();
        matches!(key, "network" | "ulimits" | "no-cache-filter")
    };
    without_sets(case, ignored)
}

/// Without the overrides of targets that are not built, which buildx does not even read.
pub(super) fn without_unbuilt_sets(case: &Case, answers: &Answers) -> Option<Case> {
    let plan: Value = serde_json::from_str(answers.buildx.text()).ok()?;
    let targets = plan.get("target")?.as_object()?.clone();
    without_sets(case, |value| {
        let name = value.split('.').next().unwrap_or_default();
        !targets.keys().any(|target| matches(name, target))
    })
}

// Whether a pattern may match a name: a set of characters matches any character.
fn matches(pattern: &str, name: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return name.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    let mut after = name.chars();
    let next = after.next();
    match first {
        '*' => matches(rest, name) || (next.is_some() && matches(pattern, after.as_str())),
        '?' => next.is_some() && matches(rest, after.as_str()),
        '[' => {
            let rest = rest.split_once(']').map_or("", |(_, rest)| rest);
            next.is_some() && matches(rest, after.as_str())
        }
        c => next == Some(c) && matches(rest, after.as_str()),
    }
}

fn without_sets(case: &Case, unwanted: impl Fn(&str) -> bool) -> Option<Case> {
    let mut args = Vec::new();
    let mut words = case.args.iter();
    while let Some(word) = words.next() {
        if word == "--set" {
            let value = words.next()?;
            if unwanted(value) {
                continue;
            }
            args.extend([word.clone(), value.clone()]);
        } else {
            args.push(word.clone());
        }
    }
    let changed = args != case.args;
    changed.then(|| Case {
        args,
        ..case.clone()
    })
}

/// Whether several overrides change outputs.
pub(super) fn several_outputs(case: &Case) -> bool {
    let changes = |word: &&String| {
        ["push", "load", "output"]
            .iter()
            .any(|key| word.contains(key))
    };
    case.args.iter().filter(changes).count() > 1
}
