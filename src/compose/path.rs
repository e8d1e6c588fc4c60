//! Paths to values in a model, and patterns that match them.

use std::fmt;

/// The keys from the root of a model to a value. `[]` is an item of a list.
#[derive(Clone, Copy)]
pub(super) struct ModelPath<'a> {
    parent: Option<&'a ModelPath<'a>>,
    key: &'a str,
    len: usize,
}

impl<'a> ModelPath<'a> {
    /// The path of the whole model.
    pub(super) const ROOT: ModelPath<'static> = ModelPath {
        parent: None,
        key: "",
        len: 0,
    };

    /// The path of the value of `key`.
    pub(super) const fn key(&'a self, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            key,
            len: self.len + 1,
        }
    }

    /// The path of any item of this list.
    pub(super) const fn item(&'a self) -> Self {
        self.key("[]")
    }

    /// Whether `pattern` matches the whole path. `*` matches any key.
    pub(super) fn matches(&self, pattern: &[&str]) -> bool {
        if pattern.len() != self.len {
            return false;
        }
        let mut at = *self;
        for wanted in pattern.iter().rev() {
            if *wanted != "*" && *wanted != at.key {
                return false;
            }
            match at.parent {
                Some(parent) => at = *parent,
                None => break,
            }
        }
        true
    }
}

impl fmt::Display for ModelPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent
            && parent.len > 0
        {
            write!(f, "{parent}")?;
            if self.key != "[]" {
                f.write_str(".")?;
            }
        }
        f.write_str(self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_paths_of_the_same_length() {
        let services = ModelPath::ROOT.key("services");
        let web = services.key("web.app");
        let build = web.key("build");
        assert!(build.matches(&["services", "*", "build"]));
        assert!(!web.matches(&["services", "*", "build"]));
        assert!(!build.matches(&["services", "*", "image"]));
        assert!(!build.matches(&["networks", "*", "build"]));
        let tags = build.key("tags");
        assert_eq!(tags.item().to_string(), "services.web.app.build.tags[]");
    }
}
