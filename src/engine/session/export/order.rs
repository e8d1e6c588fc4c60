//! Checks that entries arrive in the order of a directory walk, so that each one lies in a directory that has
//! arrived.

/// A path that is invalid, or that arrived out of order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPath {
    #[error("the path `{0}` is not below the output directory")]
    Escapes(String),
    #[error("the path `{0}` comes out of order")]
    Order(String),
}

/// The directories from the root to the last entry, with the last name seen in each.
#[derive(Debug)]
pub(super) struct EntryOrder {
    /// The first level is the root, whose name is empty.
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    name: Vec<u8>,
    last: Vec<u8>,
}

impl EntryOrder {
    pub(super) fn new() -> Self {
        Self {
            levels: vec![Level::default()],
        }
    }

    /// Checks and records `path`. It must come after the previous path, in a directory that has already arrived.
    pub(super) fn next(&mut self, path: &[u8], is_dir: bool) -> Result<(), BadPath> {
        let text = || String::from_utf8_lossy(path).into_owned();
        let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        let strange = |part: &&[u8]| matches!(*part, b"" | b"." | b"..") || part.contains(&0);
        if parts.iter().any(strange) {
            return Err(BadPath::Escapes(text()));
        }
        let Some((name, parents)) = parts.split_last() else {
            return Err(BadPath::Escapes(text()));
        };
        let known = self.levels[1..].iter().map(|level| level.name.as_slice());
        let present = self.levels.len() > parents.len()
            && parents
                .iter()
                .zip(known)
                .all(|(parent, known)| *parent == known);
        if !present {
            return Err(BadPath::Order(text()));
        }
        self.levels.truncate(parents.len() + 1);
        let level = &mut self.levels[parents.len()];
        if *name <= level.last.as_slice() {
            return Err(BadPath::Order(text()));
        }
        level.last = name.to_vec();
        if is_dir {
            self.levels.push(Level {
                name: name.to_vec(),
                last: Vec::new(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_walk_is_accepted() {
        let mut order = EntryOrder::new();
        for (path, is_dir) in [
            ("a", true),
            ("a/b", true),
            ("a/b/c", false),
            ("a/d", false),
            ("a-b", false),
            ("b", true),
            ("b/a", false),
        ] {
            assert_eq!(order.next(path.as_bytes(), is_dir), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_outside_the_directory_or_out_of_order_are_refused() {
        for path in [
            "", "/a", "a/", "..", "../a", "a/../b", ".", "a//b", "m/./b", "m\0",
        ] {
            let mut order = EntryOrder::new();
            order.next(b"m", true).unwrap();
            assert!(
                matches!(order.next(path.as_bytes(), false), Err(BadPath::Escapes(_))),
                "{path}"
            );
        }
        for path in ["a", "m", "x/y", "m/b/c", "n/a", "m/a"] {
            let mut order = EntryOrder::new();
            order.next(b"m", true).unwrap();
            order.next(b"m/a", false).unwrap();
            assert!(
                matches!(order.next(path.as_bytes(), false), Err(BadPath::Order(_))),
                "{path}"
            );
        }
    }
}
