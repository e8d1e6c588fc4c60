//! Names that occur in definitions, each kept once.
//!
//! The same few names (`tags`, `target`, a variable) occur thousands of times in a large definition; sharing them saves
//! their memory and lets comparisons end at the pointer.

use std::sync::Arc;

use crate::types::hash::HashSet;

/// A pool of names.
#[derive(Debug, Default)]
pub(crate) struct NamePool(HashSet<Arc<str>>);

impl NamePool {
    /// The pooled name equal to `text`.
    pub(crate) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(name) = self.0.get(text) {
            return Arc::clone(name);
        }
        let name: Arc<str> = text.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}
