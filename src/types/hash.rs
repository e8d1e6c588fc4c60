//! Maps and sets with a hash function that is fast for short texts.
//!
//! While a definition is read, names are hashed many times. The hash has a new random seed in each process, so that
//! nobody can write a file whose names collide.

pub(crate) use foldhash::fast::RandomState;

/// A map without a defined order.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// A set without a defined order.
pub(crate) type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// A map that keeps the order of insertion.
pub(crate) type IndexMap<K, V> = indexmap::IndexMap<K, V, RandomState>;

/// A set that keeps the order of insertion.
pub(crate) type IndexSet<T> = indexmap::IndexSet<T, RandomState>;
