//! A stack deep enough for definitions that are nested deeply.
//!
//! Evaluation recurses as deep as a definition is nested, which may be deeper than a thread's usual stack. Start at
//! [`on_deep_stack`].

use std::cell::Cell;
use std::{io, thread};

// Only what is used of it is ever memory.
const SIZE: usize = 256 << 20;

thread_local! {
    // Whether this thread was started here.
    static DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` on a thread with a deep stack: this one if it is such a thread, else one that is started for it.
///
/// Whoever does more with a definition than to evaluate it does so on one such thread: what one thread allocates and
/// another frees costs both of them. Panics go through; an error means that no thread could be started.
pub(crate) fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if DEEP.get() {
        return Ok(work());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("definition".to_owned())
            .stack_size(SIZE)
            .spawn_scoped(scope, || {
                DEEP.set(true);
                work()
            })?;
        Ok(thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_is_enough() {
        let ids = on_deep_stack(|| {
            let inner = on_deep_stack(|| thread::current().id()).unwrap();
            (thread::current().id(), inner)
        })
        .unwrap();
        assert_eq!(ids.0, ids.1);
        assert_ne!(ids.0, thread::current().id());
    }
}
