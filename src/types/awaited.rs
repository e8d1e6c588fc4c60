//! A list of the files that are being read right now, so that a file can be named if reading it takes long.
//!
//! A pipe without a writer, a terminal at which nobody types, and a disk that does not answer all look the same to
//! a program: a call that does not return. So the reader says before such a call what it waits for ([`file()`]),
//! and the watcher asks [`current`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::terminal;

static AWAITED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn list() -> MutexGuard<'static, Vec<String>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While this value lives, the file counts as being read.
#[derive(Debug)]
#[must_use]
pub(crate) struct Awaited(String);

/// Records that the file called `name` is being read from now on.
pub(crate) fn file(name: &str) -> Awaited {
    what(format!("`{}`", terminal::visible(name)))
}

/// Records that standard input is being read from now on.
pub(crate) fn standard_input() -> Awaited {
    what("standard input".to_owned())
}

fn what(name: String) -> Awaited {
    list().push(name.clone());
    Awaited(name)
}

/// The file that has been waited for longest, ready to be printed. `None` if no file is being read.
pub(crate) fn current() -> Option<String> {
    list().first().cloned()
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut list = list();
        if let Some(at) = list.iter().position(|name| *name == self.0) {
            list.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Other tests read files at the same time, so look for this one only.
    fn has(name: &str) -> bool {
        list().iter().any(|awaited| *awaited == format!("`{name}`"))
    }

    #[test]
    fn a_file_is_awaited_until_it_is_read() {
        let first = file("a-pipe-of-this-test");
        let second = file("a-pipe-of-this-test");
        drop(first);
        assert!(has("a-pipe-of-this-test") && current().is_some());
        drop(second);
        assert!(!has("a-pipe-of-this-test"));
    }
}
