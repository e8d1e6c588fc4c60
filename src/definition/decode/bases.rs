//! Contexts that are relative to the file they are written in (`BUILDX_BAKE_FILE_RELATIVE_PATHS`).
//!
//! A context is relative to the directory of the block that set it, even if another target inherits it. `context =
//! target.x.context` uses the directory of `x`, because the value comes from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::evaluated::EvaluatedBlock;
use super::super::model::{SharedText, Target};
use crate::diag::Spanned;
use crate::golang::path;
use crate::hcl::syntax::{Expr, ExprKind, Step};
use crate::types::hash::{HashMap, IndexMap};
use crate::types::{TargetName, remote};

/// For each target, the directories that its contexts are relative to.
#[derive(Debug, Default)]
pub(super) struct ContextBases(HashMap<TargetName, TargetBases>);

#[derive(Debug, Default)]
struct TargetBases {
    /// The directory of the target's last block.
    implicit: SharedText,
    /// The directory of the last block that sets `context`.
    context: Option<ContextBase>,
    /// For each entry of `contexts`, the directory of the last block that sets it.
    contexts: BTreeMap<SharedText, SharedText>,
}

#[derive(Debug)]
struct ContextBase {
    dir: SharedText,
    /// If the attribute is exactly `target.NAME.context`, the name of that target.
    of: Option<Arc<str>>,
}

impl ContextBases {
    /// Records the directory of `block`, from which `target` was decoded.
    pub(super) fn note(&mut self, block: &EvaluatedBlock, target: &Target) {
        let dir: SharedText = block
            .base_dir
            .as_ref()
            .map(|dir| dir.to_string_lossy())
            .unwrap_or_default()
            .into();
        let bases = self.0.entry(target.name.value.clone()).or_default();
        bases.implicit = Arc::clone(&dir);
        if target.context.is_some() {
            let expr = block.attribute("context").and_then(|raw| raw.expr.as_ref());
            bases.context = Some(ContextBase {
                dir: Arc::clone(&dir),
                of: expr.and_then(|expr| context_of(expr)),
            });
        }
        for (key, _) in target.contexts.iter() {
            bases.contexts.insert(Arc::clone(key), Arc::clone(&dir));
        }
    }

    /// Rewrites the contexts of all targets to be relative to the working directory.
    pub(super) fn rebase(&self, targets: &mut IndexMap<TargetName, Arc<Target>>) {
        for (name, target) in targets {
            let Some(bases) = self.0.get(name) else {
                continue;
            };
            let target = Arc::make_mut(target);
            match &mut target.context {
                Some(context) => {
                    let dir = self.context_dir(bases);
                    context.value = rebased(dir, &context.value);
                }
                None => target.implicit_context = Some(rebased(&bases.implicit, ".")),
            }
            let moved: Vec<(SharedText, Spanned<SharedText>)> = target
                .contexts
                .iter()
                .filter_map(|(key, value)| {
                    let moved = rebased(bases.contexts.get(key)?, value);
                    let span = value.span;
                    Some((Arc::clone(key), Spanned { value: moved, span }))
                })
                .collect();
            for (key, value) in moved {
                target.contexts.insert(key, value);
            }
        }
    }

    /// Returns the directory of the block in which the context is written, following `context = target.x.context`
    /// references.
    fn context_dir<'a>(&'a self, start: &'a TargetBases) -> &'a str {
        let mut bases = start;
        for _ in 0..self.0.len() {
            let Some(context) = &bases.context else {
                return &bases.implicit;
            };
            match context.of.as_deref().and_then(|of| self.0.get(of)) {
                Some(next) => bases = next,
                None => return &context.dir,
            }
        }
        // Not reached: evaluation refuses references in a cycle, so a chain is shorter than the number of targets.
        &bases.implicit
    }
}

/// Returns `NAME` if the expression is exactly `target.NAME.context`.
fn context_of(expr: &Expr) -> Option<Arc<str>> {
    let ExprKind::Traversal(traversal) = &expr.inner().kind else {
        return None;
    };
    match (&traversal.root.inner().kind, traversal.steps.as_slice()) {
        (ExprKind::Variable(root), [Step::Attribute(target), Step::Attribute(field)])
            if &**root == "target" && &*field.text == "context" =>
        {
            Some(Arc::clone(&target.text))
        }
        _ => None,
    }
}

/// `path` below `dir`. Unchanged if it is absolute, or not a path (a prefix such as `target:`, or a remote address).
fn rebased(dir: &str, path: &str) -> SharedText {
    let special = ["cwd://", "target:", "docker-image:", "oci-layout://"];
    if dir.is_empty()
        || path.is_empty()
        || path.starts_with('/')
        || special.iter().any(|prefix| path.starts_with(prefix))
        || remote::is_remote(path)
    {
        return path.into();
    }
    path::join(dir, path).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("sub", ".", "sub")]
    #[test_case("sub", "../x", "x")]
    #[test_case(".", "x", "x")]
    #[test_case("sub", "/abs", "/abs")]
    #[test_case("sub", "cwd://x", "cwd://x")]
    #[test_case("sub", "docker-image://a", "docker-image://a")]
    #[test_case("sub", "https://h/x", "https://h/x")]
    #[test_case("", "x", "x"; "standard input has no directory")]
    fn relative_paths_are_rebased(dir: &str, path: &str, expected: &str) {
        assert_eq!(&*rebased(dir, path), expected);
    }
}
