//! Runs work on a thread whose stack is large enough for deeply nested definitions.
//!
//! The parser and the evaluator recurse as deep as a definition is nested, which may overflow the usual stack of a
//! thread. Start at [`on_deep_stack`].

use std::cell::Cell;
use std::{io, thread};

/// Stack size in bytes. The system maps it lazily, so only the used part costs memory.
const SIZE: usize = 256 << 20;

thread_local! {
    // Whether [`on_deep_stack`] started this thread.
    static DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a thread with a deep stack: on the current thread if it is one, otherwise on a new thread, for
/// whose end this function waits.
///
/// Do all work on a definition on one such thread: memory that one thread allocates and another frees is slow for
/// both. A panic of `work` is passed on to the caller. The error means that no thread could be started.
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
    fn nested_calls_share_one_thread() {
        let ids = on_deep_stack(|| {
            let inner = on_deep_stack(|| thread::current().id()).unwrap();
            (thread::current().id(), inner)
        })
        .unwrap();
        assert_eq!(ids.0, ids.1);
        assert_ne!(ids.0, thread::current().id());
    }
}
