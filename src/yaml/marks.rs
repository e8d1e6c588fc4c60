//! Finds `!reset` and `!override`, and the entries that they remove from the tree.
//!
//! Compose looks for them before it resolves aliases, and does not look inside a node marked `!override`. Marks inside
//! such a node only count if an alias elsewhere refers to a value that contains them.

use super::compose::{Id, TreeNodeKind, YamlTree};
use super::{error, report};
use crate::diag::{Diagnostics, Span};

/// The most marks in one document. Aliases can multiply them.
const MAX_MARKS: usize = 4096;
/// The most nodes to visit. A node with marks is visited again for each alias.
const MAX_VISITS: usize = 1_000_000;

/// A `!reset` or `!override`, which changes what earlier files said about a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergeMark {
    /// The keys from the root. For an item of a sequence, its index from 0. Merge keys (`<<`) are left out, except
    /// at the root.
    pub(crate) path: Vec<String>,
    /// Whether it is `!reset` or `!override`.
    pub(crate) kind: MarkKind,
    /// The place of the marked node.
    pub(crate) span: Span,
}

/// The effect of a [`MergeMark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkKind {
    /// Removes the value. It is not in the tree.
    Reset,
    /// Replaces the value of earlier files. It is in the tree.
    Override,
}

/// Finds all marks of `tree`. Also reports duplicate keys, and aliases that refer to a value around them.
pub(super) fn take(tree: &mut YamlTree<'_>, problems: &mut Diagnostics) -> Vec<MergeMark> {
    let mut walk = Walk {
        seen: vec![Seen::Never; tree.nodes.len()],
        marks: Vec::new(),
        path: Vec::new(),
        visits: 0,
        problems,
    };
    walk.visit(tree, tree.root);
    if walk.exhausted() {
        let span = tree.nodes[tree.root].span;
        let message = "too many uses of `!reset` or `!override`";
        let label = "uses in an aliased value count once for each alias";
        report(
            walk.problems,
            error("yaml::too-large", message, span, label),
        );
    }
    let (marks, seen) = (walk.marks, walk.seen);
    for (node, seen) in tree.nodes.iter_mut().zip(seen) {
        node.resets = seen != Seen::Never;
    }
    marks
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Never,
    // Its entries are being visited.
    Open,
    // Visited. True if it contains marks, so that it must be visited again for each alias.
    Done(bool),
}

struct Walk<'p> {
    seen: Vec<Seen>,
    marks: Vec<MergeMark>,
    path: Vec<String>,
    visits: usize,
    problems: &'p mut Diagnostics,
}

impl Walk<'_> {
    /// Visits a node, following an alias. A node without marks is visited only once.
    fn visit(&mut self, tree: &YamlTree<'_>, id: Id) {
        let target = tree.target(id);
        let node = &tree.nodes[target];
        let kind = match node.tag.as_deref() {
            Some("!reset") => Some(MarkKind::Reset),
            Some("!override") => Some(MarkKind::Override),
            _ => None,
        };
        self.visits += 1;
        if self.exhausted() {
            return;
        }
        if let Some(kind) = kind {
            let (path, span) = (self.path.clone(), node.span);
            self.marks.push(MergeMark { path, kind, span });
            return;
        }
        let before = self.marks.len();
        match (&node.kind, self.seen[target]) {
            (TreeNodeKind::Scalar(_) | TreeNodeKind::Alias(..), _) | (_, Seen::Done(false)) => {
                return;
            }
            (_, Seen::Open) => return self.cycle(tree, id),
            (TreeNodeKind::Mapping(entries), Seen::Never) => {
                duplicates(tree, entries, self.problems);
            }
            (_, Seen::Never | Seen::Done(true)) => {}
        }
        self.seen[target] = Seen::Open;
        self.entries(tree, target);
        self.seen[target] = Seen::Done(self.marks.len() > before);
    }

    const fn exhausted(&self) -> bool {
        self.marks.len() > MAX_MARKS || self.visits > MAX_VISITS
    }

    fn entries(&mut self, tree: &YamlTree<'_>, id: Id) {
        match &tree.nodes[id].kind {
            TreeNodeKind::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.below(index.to_string(), tree, *item);
                }
            }
            TreeNodeKind::Mapping(entries) => {
                for (key, value) in entries {
                    let key = tree.key_text(*key);
                    if key == "<<" && !self.path.is_empty() {
                        self.visit(tree, *value);
                    } else {
                        self.below(key.to_owned(), tree, *value);
                    }
                }
            }
            TreeNodeKind::Scalar(_) | TreeNodeKind::Alias(..) => {}
        }
    }

    fn below(&mut self, key: String, tree: &YamlTree<'_>, id: Id) {
        self.path.push(key);
        self.visit(tree, id);
        self.path.pop();
    }

    fn cycle(&mut self, tree: &YamlTree<'_>, alias: Id) {
        let span = tree.nodes[alias].span;
        let message = "an alias cannot refer to a value that contains it";
        let problem = error("yaml::cycle", message, span, "refers to a value around it")
            .context(tree.resolved(alias).span, "the value")
            .help("move the anchor to a smaller value, or write the value out");
        report(self.problems, problem);
    }
}

/// Reports keys that occur twice in one mapping.
pub(super) fn duplicates(tree: &YamlTree<'_>, entries: &[(Id, Id)], problems: &mut Diagnostics) {
    let mut seen = std::collections::HashMap::new();
    for (key, _) in entries {
        let text = tree.key_text(*key);
        let span = tree.nodes[*key].span;
        if let Some(first) = seen.insert(text, span) {
            let message = format!("the key `{text}` is defined twice");
            let problem = error("yaml::duplicate-key", message, span, "defined again here")
                .context(first, "first defined here")
                .help("remove one of the two");
            report(problems, problem);
        }
    }
}
