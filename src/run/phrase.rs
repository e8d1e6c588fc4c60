//! Targets as a part of a sentence.

use crate::types::TargetName;

/// The targets as a phrase: `a`, `b` and `c`.
pub(super) fn names<'a>(targets: impl IntoIterator<Item = &'a TargetName>) -> String {
    let names: Vec<String> = targets
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
