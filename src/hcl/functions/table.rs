//! The table of all functions.

use std::sync::LazyLock;

use super::{
    Function, collections, comparison, crypto, encoding, format, lazy, net, numeric, regexes,
    semver, sets, strings, time, uuids,
};

/// The functions of each file.
const THEMES: &[&[Function]] = &[
    collections::FUNCTIONS,
    comparison::FUNCTIONS,
    crypto::FUNCTIONS,
    encoding::FUNCTIONS,
    format::FUNCTIONS,
    lazy::FUNCTIONS,
    net::FUNCTIONS,
    numeric::FUNCTIONS,
    regexes::FUNCTIONS,
    semver::FUNCTIONS,
    sets::FUNCTIONS,
    strings::FUNCTIONS,
    time::FUNCTIONS,
    uuids::FUNCTIONS,
];

static BY_NAME: LazyLock<Vec<&'static Function>> = LazyLock::new(|| {
    let mut functions: Vec<&Function> = THEMES.iter().copied().flatten().collect();
    functions.sort_by_key(|function| function.name);
    functions
});

/// The function with the name `name`, or `None` if there is none.
pub(crate) fn lookup(name: &str) -> Option<&'static Function> {
    let place = BY_NAME
        .binary_search_by_key(&name, |function| function.name)
        .ok()?;
    BY_NAME.get(place).copied()
}

/// All functions of the library, sorted by name.
pub fn all() -> impl Iterator<Item = &'static Function> {
    BY_NAME.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_each_function_is_found() {
        let names: Vec<&str> = all().map(|function| function.name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(names.iter().all(|name| lookup(name).is_some()));
        assert!(lookup("toset").is_none());
    }
}
