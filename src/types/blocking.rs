//! Runs work that may have to wait for a disk.

/// Runs `work` on a thread that may block, and returns its result.
///
/// The runtime has few threads. They serve the daemon and handle signals, which would stop if one of them had to
/// wait for a disk. If a disk never answers, its thread stays blocked, but that does not delay the end of the
/// process.
pub(crate) async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // What the thread logs belongs to who waits for it.
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and will drop this future, too.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_and_panics_are_passed_on() {
        assert_eq!(unblock(|| 7).await, 7);
        let broken = tokio::spawn(unblock(|| panic!("oh")));
        assert!(broken.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn other_tasks_continue_meanwhile() {
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = tokio::spawn(unblock(move || told.recv().is_ok()));
        // On a runtime with one thread, this line is reached only if `unblock` does not block that thread.
        tokio::task::yield_now().await;
        tell.send(()).unwrap();
        assert!(waiting.await.unwrap());
    }
}
