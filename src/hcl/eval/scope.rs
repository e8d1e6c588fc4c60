//! Names that are visible in a part of an expression only.
//!
//! A scope is a few names in front of another scope; making one copies nothing. Names that are in none of them are the
//! definition's own, which the evaluator looks up.

use std::sync::Arc;

use crate::hcl::cty::Value;

/// Names bound by a matrix, a function's parameters or a `for`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'s> {
    names: &'s [(Arc<str>, Value)],
    outer: Option<&'s Self>,
}

impl<'s> Scope<'s> {
    /// Nothing but the definition's own names.
    pub(crate) const ROOT: Scope<'static> = Scope {
        names: &[],
        outer: None,
    };

    /// `names`, and else the definition's own.
    pub(crate) const fn of(names: &'s [(Arc<str>, Value)]) -> Self {
        Self { names, outer: None }
    }

    /// `names` in front of this scope.
    pub(crate) const fn with(&'s self, names: &'s [(Arc<str>, Value)]) -> Self {
        Scope {
            names,
            outer: Some(self),
        }
    }

    /// The value of `name` in this scope.
    pub(crate) fn get(&self, name: &str) -> Option<&'s Value> {
        let mut scope = self;
        loop {
            if let Some((_, value)) = scope.names.iter().rev().find(|(known, _)| **known == *name) {
                return Some(value);
            }
            scope = scope.outer?;
        }
    }

    /// All names of this scope, for suggestions.
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
