//! Work with files, off the threads that serve connections and signals: a file system may take its time, or hang.

/// Does `work` on a thread for such work.
///
/// Whoever drops the future does not wait for the work any longer; it goes on by itself.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and the task that waits here with it.
            Err(_) => std::future::pending().await,
        },
    }
}
