//! Causes of differences, taken away from a case.

use crate::Case;

/// Without the overrides that buildx does not carry out.
pub(super) fn without_ignored_sets(case: &Case) -> Option<Case> {
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
