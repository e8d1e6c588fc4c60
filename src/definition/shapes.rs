//! The shapes of the blocks of a bake file. The JSON reader needs them, because JSON itself does not distinguish
//! blocks from attributes.

use super::declarations::BlockKind;
use super::schema::EVALUATED;
use super::typing;
use crate::hcl::json::BlockShape;

/// The blocks that a definition may have at its top level.
pub(super) const TOP_LEVEL: &[BlockShape] = &[
    BlockShape {
        kind: "variable",
        labels: 1,
        blocks: &[BlockShape {
            kind: "validation",
            labels: 0,
            blocks: &[],
            expressions: &[],
            has_attribute: |name| matches!(name, "condition" | "error_message"),
        }],
        expressions: &["type"],
        has_attribute: |name| matches!(name, "type" | "default" | "description"),
    },
    BlockShape {
        kind: "function",
        labels: 1,
        blocks: &[],
        expressions: &["params", "variadic_params"],
        has_attribute: |name| matches!(name, "params" | "variadic_params" | "result"),
    },
    BlockShape {
        kind: "group",
        labels: 1,
        blocks: &[],
        expressions: &[],
        has_attribute: |name| has_attribute(BlockKind::Group, name),
    },
    BlockShape {
        kind: "target",
        labels: 1,
        blocks: &[],
        expressions: &[],
        has_attribute: |name| has_attribute(BlockKind::Target, name),
    },
];

fn has_attribute(kind: BlockKind, name: &str) -> bool {
    typing::of(kind, name).is_some() || EVALUATED.contains(&name)
}
