//! Names that are visible in a part of an expression only.
//!
//! A scope holds a few names and refers to the scope around it, so a new scope copies nothing. A name that is in no
//! scope belongs to the definition, and the evaluator looks it up.

use std::sync::Arc;

use crate::hcl::cty::Value;

/// Names bound by a matrix, by the parameters of a function, or by a `for`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'s> {
    names: &'s [(Arc<str>, Value)],
    outer: Option<&'s Self>,
}

impl<'s> Scope<'s> {
    /// The empty scope: only the definition's own names are visible.
    pub(crate) const ROOT: Scope<'static> = Scope {
        names: &[],
        outer: None,
    };

    /// A scope with `names` and nothing around it.
    pub(crate) const fn of(names: &'s [(Arc<str>, Value)]) -> Self {
        Self { names, outer: None }
    }

    /// A scope with `names`, which hide equal names of this one.
    pub(crate) const fn with(&'s self, names: &'s [(Arc<str>, Value)]) -> Self {
        Scope {
            names,
            outer: Some(self),
        }
    }

    /// The value of `name`: the innermost one, and in one scope the last one. `None` if no scope has it.
    pub(crate) fn get(&self, name: &str) -> Option<&'s Value> {
        let mut scope = self;
        loop {
            if let Some((_, value)) = scope.names.iter().rev().find(|(known, _)| **known == *name) {
                return Some(value);
            }
            scope = scope.outer?;
        }
    }

    /// All visible names, innermost first, for suggestions. Hidden ones are not removed.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        let mut scope = Some(self);
        while let Some(Scope { names: own, outer }) = scope {
            names.extend(own.iter().map(|(name, _)| Arc::clone(name)));
            scope = *outer;
        }
        names
    }
}
