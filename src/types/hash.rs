//! Maps and sets with a hash that is quick for short texts.
//!
//! Names are hashed many times each while a definition is read. The hash is seeded anew in each process, so that a file
//! cannot be made to collide.

pub(crate) use foldhash::fast::RandomState;

/// A map without an order.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// A set without an order.
pub(crate) type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// A map that keeps the order of insertion.
pub(crate) type IndexMap<K, V> = indexmap::IndexMap<K, V, RandomState>;

/// A set that keeps the order of insertion.
pub(crate) type IndexSet<T> = indexmap::IndexSet<T, RandomState>;
