//! Interns the names that occur in definitions, so that each is stored once.
//!
//! The same few names (`tags`, `target`, a variable) occur thousands of times in a large definition. Sharing them
//! saves memory, and equal names can be compared by pointer.

use std::sync::Arc;

use crate::types::hash::HashSet;

/// A set of interned names.
#[derive(Debug, Default)]
pub(crate) struct NamePool(HashSet<Arc<str>>);

impl NamePool {
    /// Returns the shared name equal to `text`. Two names from one pool are equal exactly if they are the same
    /// `Arc`.
    pub(crate) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(name) = self.0.get(text) {
            return Arc::clone(name);
        }
        let name: Arc<str> = text.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}
