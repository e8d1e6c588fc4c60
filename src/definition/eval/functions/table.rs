//! All functions by name.

use std::sync::LazyLock;

use super::{Function, comparison, numeric};

/// Every theme's functions.
const THEMES: &[&[Function]] = &[comparison::FUNCTIONS, numeric::FUNCTIONS];

static BY_NAME: LazyLock<Vec<&'static Function>> = LazyLock::new(|| {
    let mut functions: Vec<&Function> = THEMES.iter().copied().flatten().collect();
    functions.sort_by_key(|function| function.name);
    functions
});

/// The function of a name.
pub fn lookup(name: &str) -> Option<&'static Function> {
    let place = BY_NAME
        .binary_search_by_key(&name, |function| function.name)
        .ok()?;
    BY_NAME.get(place).copied()
}

/// All functions, sorted by name.
pub fn all() -> impl Iterator<Item = &'static Function> {
    BY_NAME.iter().copied()
}
