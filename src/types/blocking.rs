//! Work that may wait for a disk.

/// Runs `work` on a thread that may block, and gives what it gives.
///
/// The runtime has few threads: they serve the daemon and notice signals, and stop doing so while one of them waits for a disk. A
/// disk that never answers keeps the thread, which does not hold up the end of the process.
pub(crate) async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it whoever waits for this.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_result_comes_back_and_so_does_a_panic() {
        assert_eq!(unblock(|| 7).await, 7);
        let broken = tokio::spawn(unblock(|| panic!("oh")));
        assert!(broken.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn others_go_on_meanwhile() {
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = tokio::spawn(unblock(move || told.recv().is_ok()));
        // On a runtime of one thread this is reached only if that thread is free.
        tokio::task::yield_now().await;
        tell.send(()).unwrap();
        assert!(waiting.await.unwrap());
    }
}
