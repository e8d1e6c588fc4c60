//! Builds values from nodes: resolves aliases, merge keys and scalars.

use super::compose::{Id, Raw, TreeNodeKind, YamlTree};
use super::marks::duplicates;
use super::{YamlEntry, YamlMapping, YamlNode, YamlValue, error, report, scalar};
use crate::diag::{Diagnostics, Span};

/// The most values that aliases may add to a document. go-yaml has the same limit.
const MAX_ALIASED: usize = 400_000;
/// The deepest nesting of values. Aliases can make it deeper than the nesting in the text.
const MAX_DEPTH: usize = 500;

/// Builds the value of the whole document.
pub(super) fn root(tree: &YamlTree<'_>, problems: &mut Diagnostics) -> YamlNode {
    let span = tree.nodes[tree.root].span;
    let mut constructor = Constructor {
        tree,
        problems,
        aliased: 0,
        aliases: 0,
        depth: 0,
        open: vec![false; tree.nodes.len()],
        exhausted: false,
    };
    if tree.has_tag(tree.root, "!reset") {
        let message = "`!reset` on the whole document leaves nothing";
        let problem = error("yaml::reset-root", message, span, "here")
            .help("write `!reset` before the values to remove");
        report(constructor.problems, problem);
        return YamlNode::new(YamlValue::Null, span);
    }
    constructor.node(tree.root)
}

struct Constructor<'t, 'a, 'p> {
    tree: &'t YamlTree<'a>,
    problems: &'p mut Diagnostics,
    /// The number of values built inside aliases.
    aliased: usize,
    aliases: usize,
    depth: usize,
    /// Which nodes are being built, to find cycles. [`super::marks`] finds most of them earlier, but does not look
    /// inside `!override`.
    open: Vec<bool>,
    exhausted: bool,
}

impl<'t> Constructor<'t, '_, '_> {
    /// Builds the value of a node. Returns null once a limit is exceeded.
    fn node(&mut self, id: Id) -> YamlNode {
        let tree = self.tree;
        let raw = &tree.nodes[id];
        if let TreeNodeKind::Alias(target, _) = raw.kind {
            return self.alias(raw.span, target);
        }
        let nothing = YamlNode::new(YamlValue::Null, raw.span);
        if self.aliases > 0 {
            self.aliased += 1;
        }
        if self.exhausted || self.aliased > MAX_ALIASED || self.depth > MAX_DEPTH {
            self.exhaust(raw.span);
            return nothing;
        }
        self.depth += 1;
        self.open[id] = true;
        let (value, verbatim) = match &raw.kind {
            TreeNodeKind::Scalar(text) => (self.scalar(raw), text.verbatim),
            TreeNodeKind::Sequence(items) => {
                let items = items.iter().filter(|item| !self.is_reset(raw, **item));
                let items: Vec<Id> = items.copied().collect();
                let items = items.into_iter().map(|item| self.node(item));
                (YamlValue::Sequence(items.collect()), None)
            }
            TreeNodeKind::Mapping(entries) => {
                (YamlValue::Mapping(self.mapping(raw, entries)), None)
            }
            TreeNodeKind::Alias(..) => (YamlValue::Null, None),
        };
        self.open[id] = false;
        self.depth -= 1;
        YamlNode {
            span: raw.span,
            tag: raw.tag.clone(),
            verbatim: verbatim.filter(|_| matches!(value, YamlValue::String(_))),
            value,
        }
    }

    /// Builds the value that an alias refers to. Reports an error if the alias is inside that value.
    fn alias(&mut self, span: Span, target: Id) -> YamlNode {
        if self.open[target] {
            let message = "an alias cannot refer to a value that contains it";
            let problem = error("yaml::cycle", message, span, "refers to a value around it")
                .help("move the anchor to a smaller value, or write the value out");
            report(self.problems, problem);
            return YamlNode::new(YamlValue::Null, span);
        }
        self.aliases += 1;
        let node = self.node(target);
        self.aliases -= 1;
        node
    }

    /// Reports that a limit is exceeded. Only the first call reports.
    fn exhaust(&mut self, span: Span) {
        if !self.exhausted {
            let message = "aliases make this document too large";
            let problem = error("yaml::too-large", message, span, "exceeds the limit here")
                .help("use fewer aliases of aliases");
            report(self.problems, problem);
        }
        self.exhausted = true;
    }

    fn is_reset(&self, parent: &Raw<'_>, child: Id) -> bool {
        parent.resets && self.tree.has_tag(child, "!reset")
    }

    fn scalar(&mut self, raw: &Raw<'_>) -> YamlValue {
        match scalar::value(raw) {
            Ok(value) => value,
            Err(message) => {
                let problem = error("yaml::wrong-tag", message, raw.span, "here")
                    .help("remove the tag, or write a value of its type");
                report(self.problems, problem);
                YamlValue::Null
            }
        }
    }

    /// Builds a mapping: first its own keys, then merged ones. A mapping that [`super::marks`] did not visit is
    /// checked for duplicate keys here.
    fn mapping(&mut self, raw: &Raw<'_>, entries: &'t [(Id, Id)]) -> YamlMapping {
        if !raw.resets {
            duplicates(self.tree, entries, self.problems);
        }
        let mut mapping = YamlMapping::with_capacity(entries.len());
        self.own(raw, entries, &mut mapping);
        // As in go-yaml: if all keys are strings, merged keys are converted to strings, whatever their type is.
        let strings = entries.iter().all(|(key, _)| {
            let key = self.tree.resolved(*key);
            scalar::is_merge(key) || scalar::is_string(key)
        });
        self.merges(raw, entries, strings, &mut mapping);
        mapping
    }

    /// Adds the mapping's own keys, without merge keys and reset entries.
    fn own(&mut self, raw: &Raw<'_>, entries: &[(Id, Id)], mapping: &mut YamlMapping) {
        for (key, value) in entries {
            if self.is_reset(raw, *value) || scalar::is_merge(&self.tree.nodes[*key]) {
                continue;
            }
            let node = self.node(*key);
            if self.exhausted {
                return;
            }
            let YamlValue::String(name) = node.value else {
                self.wrong_key(&node);
                continue;
            };
            let key = self.tree.nodes[*key].span;
            let value = self.node(*value);
            mapping.insert(name, YamlEntry { key, value });
        }
    }

    fn wrong_key(&mut self, key: &YamlNode) {
        let message = format!("a key must be a string, not {}", key.kind());
        let mut problem = error("yaml::key-not-string", message, key.span, "here");
        if !matches!(key.value, YamlValue::Sequence(_) | YamlValue::Mapping(_)) {
            problem = problem.help("put it in quotes");
        }
        report(self.problems, problem);
    }

    /// Adds merged keys. The mapping's own keys take precedence, and an earlier merged mapping takes precedence
    /// over a later one.
    fn merges(
        &mut self,
        raw: &Raw<'_>,
        entries: &'t [(Id, Id)],
        strings: bool,
        into: &mut YamlMapping,
    ) {
        for (key, value) in entries {
            if !scalar::is_merge(&self.tree.nodes[*key]) || self.is_reset(raw, *value) {
                continue;
            }
            let target = self.tree.resolved(*value);
            match &target.kind {
                TreeNodeKind::Mapping(_) => self.merge(*value, strings, into),
                TreeNodeKind::Sequence(items) => {
                    for item in items {
                        if self.is_reset(target, *item) {
                            continue;
                        }
                        let TreeNodeKind::Mapping(_) = self.tree.resolved(*item).kind else {
                            self.wrong_merge(*item);
                            continue;
                        };
                        self.merge(*item, strings, into);
                    }
                }
                TreeNodeKind::Scalar(_) | TreeNodeKind::Alias(..) => self.wrong_merge(*value),
            }
        }
    }

    fn wrong_merge(&mut self, id: Id) {
        let message = "`<<` merges a mapping or a list of mappings";
        let span = self.tree.nodes[id].span;
        let problem = error("yaml::wrong-merge", message, span, "this is neither")
            .help("write `<<: *name` or `<<: [*one, *two]`, with anchors of mappings");
        report(self.problems, problem);
    }

    /// Adds the keys of one merged mapping that are not in `into` yet. `strings` says that keys are converted to
    /// strings.
    fn merge(&mut self, id: Id, strings: bool, into: &mut YamlMapping) {
        let tree = self.tree;
        let target = tree.target(id);
        let raw = &tree.nodes[target];
        let TreeNodeKind::Mapping(entries) = &raw.kind else {
            return;
        };
        let is_alias = target != id;
        if self.open[target] || self.depth > MAX_DEPTH {
            self.alias(tree.nodes[id].span, target);
            return;
        }
        self.open[target] = true;
        self.depth += 1;
        self.aliases += usize::from(is_alias);
        if !raw.resets {
            duplicates(tree, entries, self.problems);
        }
        for (key, value) in entries {
            if self.is_reset(raw, *value) || scalar::is_merge(&tree.nodes[*key]) {
                continue;
            }
            let Some(name) = self.merged_key(*key, strings) else {
                continue;
            };
            if into.contains_key(&name) {
                continue;
            }
            let key = tree.nodes[*key].span;
            let value = self.node(*value);
            into.insert(name, YamlEntry { key, value });
        }
        self.merges(raw, entries, strings, into);
        self.aliases -= usize::from(is_alias);
        self.depth -= 1;
        self.open[target] = false;
    }

    /// A key of a merged mapping as a string. `None` if it is skipped, or after an error.
    fn merged_key(&mut self, id: Id, strings: bool) -> Option<String> {
        let raw = self.tree.resolved(id);
        let node = self.node(id);
        if self.exhausted {
            return None;
        }
        match (node.value, &raw.kind) {
            (YamlValue::String(name), _) => Some(name),
            (YamlValue::Null, TreeNodeKind::Scalar(_)) if strings => None,
            (_, TreeNodeKind::Scalar(scalar)) if strings => Some(scalar.text.clone().into_owned()),
            (value, _) => {
                self.wrong_key(&YamlNode::new(value, raw.span));
                None
            }
        }
    }
}
