//! Whether the daemon at the other end of a connection still answers.
//!
//! BuildKit's server ends connections on which HTTP/2 pings come more often than each five minutes, so life is told from what
//! a connection carries anyway: a daemon asks every session for its health each five seconds, whatever a build does meanwhile.
//! If nothing has come for a while, one call that costs the daemon nothing asks for an answer. If nothing comes for longer
//! still, the daemon is given up. Start at [`watch()`].

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::traffic::{Counters, Traffic};
use crate::types::Environment;

/// The variable that says how long a builder may be silent.
pub(crate) const VARIABLE: &str = "RBAKE_BUILDER_TIMEOUT";

/// How often is looked, in a builder's patience. Time is counted in looks, so that a process that was stopped for an hour
/// (Ctrl-Z) does not take its own absence for the builder's.
const LOOKS: u32 = 60;
/// After so many looks in silence the daemon is asked.
const ASK: u32 = LOOKS / 4;
/// After so many the user is told.
const TELL: u32 = LOOKS / 2;
/// So many bytes that have left between two looks are a sign of life: the other side takes them. The question is shorter.
const TAKEN: u64 = 16 << 10;

/// How long a builder may be silent before it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// For this time.
    For(Duration),
    /// For ever.
    Endless,
}

impl Default for Patience {
    fn default() -> Self {
        Self::For(Duration::from_secs(60))
    }
}

/// The text is no time that a builder may be silent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{VARIABLE}` is `{0}`; it must be a time from `1s` on such as `90s` or `5m`, or `never`")]
pub struct InvalidPatience(String);

impl Patience {
    /// What the environment says, else a minute.
    pub fn of(environment: &Environment) -> Result<Self, InvalidPatience> {
        match environment.non_empty(VARIABLE) {
            Some(text) => read(text).ok_or_else(|| InvalidPatience(text.to_owned())),
            None => Ok(Self::default()),
        }
    }

    /// `limit`, or the patience where that is shorter.
    pub(crate) fn at_most(self, limit: Duration) -> Duration {
        match self {
            Self::For(time) => time.min(limit),
            Self::Endless => limit,
        }
    }
}

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

/// Completes when nothing was heard for the whole `patience`, with that time. Tells `silence` how long it has been so far,
/// once that is worth telling, and zero when something is heard again.
///
/// `ask` asks the daemon for any answer.
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
            looks = 0;
            question = None;
            silence.send_if_modified(|silence| std::mem::take(silence) > Duration::ZERO);
        } else {
            looks += 1;
        }
        last = now;
        if looks >= ASK && question.is_none() {
            question = Some(AbortOnDropHandle::new(tokio::spawn(ask())));
        }
        if looks >= TELL {
            silence.send_replace(pause * looks);
        }
    }
    patience
}

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
    fn times(text: &str, expected: Option<Patience>) {
        assert_eq!(read(text), expected);
        let environment = Environment::of([(VARIABLE, text)], "/");
        assert_eq!(Patience::of(&environment).ok(), expected);
    }

    // Watches until something came of it or an hour has passed; `answer` is what the daemon does when it is asked.
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
    async fn a_daemon_that_answers_when_it_is_asked_is_never_given_up() {
        let counters = Arc::new(Counters::default());
        let (ended, asked, told) = watched(&counters, |counters| counters.add_received(1)).await;
        assert_eq!((ended, told), (None, Duration::ZERO));
        // Once in fifteen seconds of silence, not more.
        assert!((200..=240).contains(&asked), "{asked}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_says_nothing_is_given_up_after_a_minute_and_told_of_before() {
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
    async fn one_that_takes_what_is_sent_lives() {
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
