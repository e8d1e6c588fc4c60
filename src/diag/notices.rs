//! Messages while something goes on, such as a long wait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Diagnostic;

/// After this time, a wait is reported for the first time.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// After that, the wait is reported at this interval.
const NEXT_WORD: Duration = Duration::from_secs(20);

/// A sink for messages that the user should see at once.
#[derive(Clone)]
pub(crate) struct Notices(Arc<dyn Fn(Diagnostic) + Send + Sync>);

impl Notices {
    pub(crate) fn new(tell: impl Fn(Diagnostic) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, notice: Diagnostic) {
        (self.0)(notice);
    }

    /// Runs `work`. If it takes long, reports with `code` that it is waiting for `what`.
    pub(crate) async fn watch<T>(
        &self,
        code: &'static str,
        what: &str,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut waited = Duration::ZERO;
        let mut next = FIRST_WORD;
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(next) => {
                    waited += next;
                    next = NEXT_WORD;
                    let message = format!("still waiting for {what} after {} s", waited.as_secs());
                    self.tell(Diagnostic::warning(code, message));
                }
            }
        }
    }
}

impl Default for Notices {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_reported_after_five_seconds_and_then_repeatedly() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let notices = Notices::new({
            let told = Arc::clone(&told);
            move |notice| told.lock().unwrap().push(notice.message)
        });
        let seconds = |n| tokio::time::sleep(Duration::from_secs(n));
        notices.watch("x::waiting", "a thing", seconds(4)).await;
        assert!(told.lock().unwrap().is_empty());
        notices.watch("x::waiting", "a thing", seconds(26)).await;
        let expected = [
            "still waiting for a thing after 5 s",
            "still waiting for a thing after 25 s",
        ];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
