//! Detects whether the daemon at the other end of a connection still answers.
//!
//! HTTP/2 pings cannot be used, because BuildKit's server closes connections on which pings come more often than
//! every five minutes. But a daemon asks each session for its health every five seconds, whatever a build is doing,
//! so bytes normally keep arriving. If none arrive for a while, one cheap call asks the daemon for an answer. If none
//! arrive for longer still, the connection is given up. Start at [`watch()`].

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::traffic::{Counters, Traffic};
use crate::types::Environment;

/// The environment variable that sets how long a builder may be silent.
pub(crate) const VARIABLE: &str = "RBAKE_BUILDER_TIMEOUT";

/// How many times a connection is checked during the builder's patience. Time is counted in checks, not by the clock:
/// if this process was stopped for an hour (Ctrl-Z), the builder must not be blamed for the gap.
const LOOKS: u32 = 60;
/// The daemon is asked for an answer after this many checks in silence.
const ASK: u32 = LOOKS / 4;
/// The user is informed after this many checks in silence.
const TELL: u32 = LOOKS / 2;
/// If this many bytes were sent between two checks, the daemon is alive, because it accepts them. Our own question is
/// shorter, so it never counts.
const TAKEN: u64 = 16 << 10;

/// How long a builder may be silent before it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// For this time.
    For(Duration),
    /// Without a limit.
    Endless,
}

impl Default for Patience {
    fn default() -> Self {
        Self::For(Duration::from_secs(60))
    }
}

/// A value of the variable that is not a valid time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{VARIABLE}` is `{0}`; it must be a duration of at least `1s`, such as `90s` or `5m`, or `never`"
)]
pub struct InvalidPatience(String);

impl Patience {
    /// The value of the environment variable, or one minute if it is not set.
    pub fn of(environment: &Environment) -> Result<Self, InvalidPatience> {
        match environment.non_empty(VARIABLE) {
            Some(text) => read(text).ok_or_else(|| InvalidPatience(text.to_owned())),
            None => Ok(Self::default()),
        }
    }

    /// The shorter of `limit` and the patience.
    pub(crate) fn at_most(self, limit: Duration) -> Duration {
        match self {
            Self::For(time) => time.min(limit),
            Self::Endless => limit,
        }
    }
}

/// Parses `never`, or a positive number with `s` or `m`.
fn read(text: &str) -> Option<Patience> {
    let text = text.trim();
    if text == "never" {
        return Some(Patience::Endless);
    }
    let (number, seconds) = match text.strip_suffix('m') {
        Some(number) => (number, 60),
        None => (text.strip_suffix('s')?, 1),
    };
    let number: u32 = number.parse().ok().filter(|number| *number > 0)?;
    Some(Patience::For(Duration::from_secs(
        u64::from(number) * seconds,
    )))
}

/// Completes when there was no sign of life for all of `patience`, and returns that time. Never completes if the
/// patience is endless.
///
/// Sends `silence` the length of the silence so far, once the user should know of it, and zero when bytes arrive
/// again. `ask` makes a call to the daemon whose only purpose is an answer.
pub(super) async fn watch<A>(
    counters: &Counters,
    patience: Patience,
    silence: &watch::Sender<Duration>,
    ask: impl Fn() -> A,
) -> Duration
where
    A: Future<Output = ()> + Send + 'static,
{
    let Patience::For(patience) = patience else {
        return std::future::pending().await;
    };
    let pause = patience / LOOKS;
    let mut last = counters.read();
    let mut looks = 0;
    let mut question = None;
    while looks < LOOKS {
        tokio::time::sleep(pause).await;
        let now = counters.read();
        if is_life(last, now) {
            if looks >= TELL {
                tracing::info!("builder responds again");
            }
            looks = 0;
            question = None;
            silence.send_if_modified(|silence| std::mem::take(silence) > Duration::ZERO);
        } else {
            looks += 1;
        }
        last = now;
        if looks >= ASK && question.is_none() {
            tracing::debug!(
                seconds = (pause * looks).as_secs(),
                "no answer, asking the builder"
            );
            question = Some(AbortOnDropHandle::new(tokio::spawn(ask())));
        }
        if looks == TELL {
            tracing::warn!(
                seconds = (pause * looks).as_secs(),
                "builder does not respond"
            );
        }
        if looks >= TELL {
            silence.send_replace(pause * looks);
        }
    }
    patience
}

/// Any received byte is a sign of life. Sent bytes count only if there are at least [`TAKEN`].
fn is_life(before: Traffic, now: Traffic) -> bool {
    now.received != before.received || now.sent.saturating_sub(before.sent) >= TAKEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use test_case::test_case;
    use tokio::time::Instant;

    #[test_case("90s", Some(Patience::For(Duration::from_secs(90))))]
    #[test_case(" 5m ", Some(Patience::For(Duration::from_secs(300))))]
    #[test_case("never", Some(Patience::Endless))]
    #[test_case("0s", None)]
    #[test_case("90", None)]
    #[test_case("-1s", None)]
    #[test_case("m", None)]
    fn the_variable_is_parsed_as_a_duration(text: &str, expected: Option<Patience>) {
        assert_eq!(read(text), expected);
        let environment = Environment::of([(VARIABLE, text)], "/");
        assert_eq!(Patience::of(&environment).ok(), expected);
    }

    // Watches for at most an hour of paused time; `answer` is what the daemon does when it is asked.
    async fn watched(
        counters: &Arc<Counters>,
        answer: impl Fn(&Counters) + Send + Sync + 'static,
    ) -> (Option<Duration>, u32, Duration) {
        let (silence, told) = watch::channel(Duration::ZERO);
        let (answer, asked) = (Arc::new(answer), Arc::new(AtomicU32::new(0)));
        let ask = || {
            let (counters, answer) = (Arc::clone(counters), Arc::clone(&answer));
            let asked = Arc::clone(&asked);
            async move {
                asked.fetch_add(1, Ordering::SeqCst);
                answer(&counters);
            }
        };
        let watch = watch(counters, Patience::default(), &silence, ask);
        let ended = tokio::time::timeout(Duration::from_secs(3600), watch).await;
        let told = *told.borrow();
        (ended.ok(), asked.load(Ordering::SeqCst), told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_answers_the_question_is_never_given_up() {
        let counters = Arc::new(Counters::default());
        let (ended, asked, told) = watched(&counters, |counters| counters.add_received(1)).await;
        assert_eq!((ended, told), (None, Duration::ZERO));
        // It is asked once in fifteen seconds of silence, not more often.
        assert!((200..=240).contains(&asked), "{asked}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_daemon_is_reported_and_given_up_after_a_minute() {
        let counters = Arc::new(Counters::default());
        let start = Instant::now();
        let (ended, asked, told) = watched(&counters, |_| {}).await;
        assert_eq!(ended, Some(Duration::from_secs(60)));
        assert_eq!(asked, 1);
        assert!(told >= Duration::from_secs(30), "{told:?}");
        assert!(
            start.elapsed() < Duration::from_secs(62),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_takes_an_upload_is_not_silent() {
        let counters = Arc::new(Counters::default());
        let sending = Arc::clone(&counters);
        let upload = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                sending.add_sent(TAKEN);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }));
        let (ended, ..) = watched(&counters, |_| {}).await;
        assert_eq!(ended, None);
        drop(upload);
    }
}
