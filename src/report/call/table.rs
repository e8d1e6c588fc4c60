//! The answers that are tables, in the layout that Go's `text/tabwriter` gives them in `BuildKit`.

use serde::Deserialize;

use crate::types::terminal::visible;

/// The answer to `outline`: what a stage can be built with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Outline {
    name: String,
    description: String,
    args: Option<Vec<OutlineArgument>>,
    secrets: Option<Vec<OutlineMount>>,
    ssh: Option<Vec<OutlineMount>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutlineArgument {
    name: String,
    description: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutlineMount {
    name: String,
    required: bool,
}

/// The answer to `targets`: the stages that can be built.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StageList {
    targets: Option<Vec<Stage>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stage {
    name: String,
    default: bool,
    description: String,
}

/// One entry of the answer to `subrequests.describe`: a method of the frontend.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FrontendMethod {
    name: String,
    version: String,
    description: String,
}

/// Prints an outline.
pub(super) fn outline(outline: &Outline) -> String {
    let mut text = String::new();
    if !outline.name.is_empty() || !outline.description.is_empty() {
        let name = if outline.name.is_empty() {
            "(default)"
        } else {
            &outline.name
        };
        let mut rows = vec![["TARGET:", name]];
        if !outline.description.is_empty() {
            rows.push(["DESCRIPTION:", &outline.description]);
        }
        text.push_str(&layout(&rows, 1));
        text.push('\n');
    }
    let args = outline.args.as_deref().unwrap_or_default();
    if !args.is_empty() {
        let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"]];
        rows.extend(
            args.iter()
                .map(|arg| [&*arg.name, &*arg.value, &*arg.description]),
        );
        text.push_str(&layout(&rows, 3));
        text.push('\n');
    }
    for (title, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        let mounts = mounts.as_deref().unwrap_or_default();
        if !mounts.is_empty() {
            let required = |mount: &OutlineMount| if mount.required { "true" } else { "" };
            let mut rows = vec![[title, "REQUIRED"]];
            rows.extend(mounts.iter().map(|mount| [&*mount.name, required(mount)]));
            text.push_str(&layout(&rows, 3));
            text.push('\n');
        }
    }
    text
}

/// Prints a list of stages.
pub(super) fn targets(list: &StageList) -> String {
    let stages = list.targets.as_deref().unwrap_or_default();
    let names: Vec<String> = stages
        .iter()
        .map(|stage| match (&*stage.name, stage.default) {
            ("", true) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        })
        .collect();
    let mut rows = vec![["TARGET", "DESCRIPTION"]];
    let stages = names.iter().zip(stages);
    rows.extend(stages.map(|(name, stage)| [name, &*stage.description]));
    layout(&rows, 1)
}

/// Prints the methods of a frontend.
pub(super) fn requests(methods: &[FrontendMethod]) -> String {
    let mut rows = vec![["NAME", "VERSION", "DESCRIPTION"]];
    rows.extend(methods.iter().map(|method| {
        let name = method.name.strip_prefix("frontend.");
        let name = name.unwrap_or(&method.name);
        [name, &*method.version, &*method.description]
    }));
    layout(&rows, 1)
}

/// Aligns `rows`: all columns but the last are as wide as their longest cell and `gap` spaces. The width of a character is
/// 1, as in Go.
fn layout<const N: usize>(rows: &[[&str; N]], gap: usize) -> String {
    let cells: Vec<[_; N]> = rows.iter().map(|row| row.map(visible)).collect();
    let mut widths = [0; N];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &cells {
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            text.push_str(cell);
            if at + 1 < N {
                let missing = width + gap - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', missing));
            }
        }
        text.push('\n');
    }
    text
}
