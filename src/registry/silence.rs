//! Tells the user that a registry keeps a run waiting.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::diag::{Diagnostic, Notices};

/// A wait is reported after this time.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// After that, it is reported at this interval. Requests that wait at the same time are one wait.
const NEXT_WORD: Duration = Duration::from_secs(20);

/// A pause before a repetition is reported if it is not shorter than this.
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// Reports waits for one registry.
#[derive(Debug)]
pub(super) struct RegistrySilence {
    /// The host of the registry.
    host: String,
    notices: Notices,
    /// When a wait was reported last.
    told: Mutex<Option<Instant>>,
}

impl RegistrySilence {
    pub(super) fn new(host: &str, notices: Notices) -> Self {
        Self {
            host: host.to_owned(),
            notices,
            told: Mutex::new(None),
        }
    }

    /// Waits for `answer`, which may take `more` than other answers because of what is sent. Reports that it waits.
    pub(super) async fn watch<T>(&self, more: Duration, answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        let begun = Instant::now();
        let mut next = begun + FIRST_WORD + more;
        loop {
            tokio::select! {
                done = &mut answer => return done,
                () = tokio::time::sleep_until(next) => {
                    let waited = begun.elapsed().as_secs();
                    let message = format!("the registry `{}` has not answered for {waited} s", self.host);
                    self.tell(message);
                    next += NEXT_WORD;
                }
            }
        }
    }

    /// Reports that a request is sent again after `pause`, because the registry answered with `status`.
    pub(super) fn pauses(&self, pause: Duration, status: Option<u16>) {
        if pause < LONG_PAUSE {
            return;
        }
        let why = match status {
            Some(status) => format!("answered {status}"),
            None => "did not answer".to_owned(),
        };
        let seconds = pause.as_secs();
        self.tell(format!(
            "the registry `{}` {why}; it is asked again in {seconds} s",
            self.host
        ));
    }

    fn tell(&self, message: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= FIRST_WORD) {
            *told = Some(Instant::now());
            let notice = Diagnostic::warning("run::registry-waiting", message);
            self.notices.tell(notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    type Told = Arc<Mutex<Vec<String>>>;

    fn silence() -> (RegistrySilence, Told) {
        let told = Told::default();
        let into = Arc::clone(&told);
        let notices = Notices::new(move |notice| into.lock().unwrap().push(notice.message));
        (RegistrySilence::new("reg.example", notices), told)
    }

    async fn after(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_wait_together_are_one_wait() {
        let (silence, told) = silence();
        let waits = [35, 34, 8].map(|seconds| silence.watch(Duration::ZERO, after(seconds)));
        futures_util::future::join_all(waits).await;
        let of = |seconds| format!("the registry `reg.example` has not answered for {seconds} s");
        assert_eq!(*told.lock().unwrap(), [of(10), of(30)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_may_take_longer() {
        let (silence, told) = silence();
        silence.watch(Duration::from_secs(30), after(39)).await;
        assert!(told.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_reported_with_its_reason() {
        let (silence, told) = silence();
        silence.pauses(Duration::from_secs(2), Some(503));
        silence.pauses(Duration::from_secs(60), Some(429));
        silence.pauses(Duration::from_secs(60), Some(429));
        let expected = "the registry `reg.example` answered 429; it is asked again in 60 s";
        assert_eq!(*told.lock().unwrap(), [expected]);
    }
}
