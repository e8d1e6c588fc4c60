//! The file that is being read just now, so that it can be named where that takes long.
//!
//! A pipe to which nobody writes, a terminal at which nobody types, and a disk that does not answer look the same from inside:
//! a call that does not come back. The caller says before such a call what it waits for ([`file()`]); the watcher asks [`current`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::terminal;

static AWAITED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn list() -> MutexGuard<'static, Vec<String>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file is awaited for as long as this lives.
#[derive(Debug)]
#[must_use]
pub(crate) struct Awaited(String);

/// Says that the file called `name` is read from now on.
pub(crate) fn file(name: &str) -> Awaited {
    what(format!("`{}`", terminal::visible(name)))
}

/// Says that standard input is read from now on.
pub(crate) fn standard_input() -> Awaited {
    what("standard input".to_owned())
}

fn what(name: String) -> Awaited {
    list().push(name.clone());
    Awaited(name)
}

/// What has been awaited longest, as it is shown; `None` if nothing is.
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

    // Other tests read files meanwhile.
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
