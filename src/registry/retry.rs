//! When a request is repeated, and after which pause.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
#[cfg(test)]
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{HeaderName, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::error::RegistryFault;

/// How often a request is sent at most.
pub(super) const TRIES: u32 = 6;

/// How often a request is sent at most if no connection comes about, and the registry has not answered before. It may
/// be reachable only for the builder.
pub(super) const FIRST_CONNECTIONS: u32 = 2;

/// The pause before the second try, and the longest pause. It doubles in between.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The longest pause that a registry may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(60);

/// A larger number of seconds is a time since 1970: the year 2001.
const FIRST_TIME: Duration = Duration::from_secs(1_000_000_000);

/// The header of Docker Hub's API.
const OF_HUB: HeaderName = HeaderName::from_static("x-retry-after");

/// The retries of a registry at the start of a run, which are also the most that it can have.
const RETRIES: u32 = 20;

/// So many answered requests earn one more retry.
const EARNED_BY: u32 = 5;

/// One try failed.
#[derive(Debug)]
pub(super) struct TryFailure {
    pub(super) fault: RegistryFault,
    /// The status, if the registry answered.
    pub(super) status: Option<u16>,
    /// The pause that the registry asks for.
    pub(super) retry_after: Option<Duration>,
}

impl From<RegistryFault> for TryFailure {
    fn from(fault: RegistryFault) -> Self {
        let status = match &fault {
            RegistryFault::Denied { status, .. } | RegistryFault::Refused { status, .. } => {
                Some(*status)
            }
            _ => None,
        };
        Self {
            fault,
            status,
            retry_after: None,
        }
    }
}

/// The retries that a registry has left in this run, so that a registry that is down does not cost six tries for
/// each of hundreds of requests.
#[derive(Debug)]
pub(super) struct RetryBudget {
    // In fifths of a retry.
    left: AtomicU32,
    has_answered: AtomicBool,
}

impl RetryBudget {
    pub(super) const fn new() -> Self {
        Self {
            left: AtomicU32::new(RETRIES * EARNED_BY),
            has_answered: AtomicBool::new(false),
        }
    }

    /// Records a request that was answered.
    pub(super) fn earn(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
        let add = |left: u32| (left < RETRIES * EARNED_BY).then_some(left + 1);
        let _ = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Whether the registry has answered a request in this run.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// Takes one retry. False if there are none left.
    pub(super) fn take(&self) -> bool {
        let subtract = |left: u32| left.checked_sub(EARNED_BY);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract)
            .is_ok()
    }
}

/// How rbake waits before it repeats a request.
#[derive(Debug, Clone)]
pub(super) enum Pauses {
    /// It sleeps.
    Slept,
    /// It does not wait, but records how long it would.
    #[cfg(test)]
    Recorded(Arc<Mutex<Vec<Duration>>>),
}

impl Pauses {
    pub(super) async fn pause(&self, length: Duration) {
        match self {
            Self::Slept => tokio::time::sleep(length).await,
            #[cfg(test)]
            Self::Recorded(lengths) => lengths.lock().unwrap().push(length),
        }
    }
}

/// The pause after try number `tries`: at most 250 ms after the first one, twice as long after each further one, and
/// 8 s at most. It is random, so that clients which failed together do not come back together.
pub(super) fn backoff(tries: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
    let longest = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    // Without random bytes, the longest pause is as good.
    let Ok(random) = getrandom::u32() else {
        return longest;
    };
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// The pause that the registry asks for with `Retry-After`: seconds or a date. At most a minute. Docker Hub's API has a header
/// `X-Retry-After` with the seconds since 1970, and sends such a number in `Retry-After`, too.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER).or_else(|| headers.get(&OF_HUB))?;
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Too many digits for a number: a long time.
        let seconds = text.parse().map_or(LONGEST_WISH, Duration::from_secs);
        let wait = if seconds < FIRST_TIME {
            seconds
        } else {
            let since = now.duration_since(SystemTime::UNIX_EPOCH);
            seconds.saturating_sub(since.unwrap_or_default())
        };
        return Some(wait.min(LONGEST_WISH));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let now = Timestamp::try_from(now).ok()?;
    let wait = Duration::try_from(date.duration_since(now)).unwrap_or_default();
    Some(wait.min(LONGEST_WISH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use test_case::test_case;

    #[test]
    fn pauses_double_up_to_eight_seconds() {
        for (tries, longest) in [
            (1, 250),
            (2, 500),
            (3, 1000),
            (5, 4000),
            (6, 8000),
            (99, 8000),
        ] {
            let pauses: Vec<_> = (0..200).map(|_| backoff(tries)).collect();
            let longest = Duration::from_millis(longest);
            assert!(pauses.iter().all(|pause| *pause <= longest), "{tries}");
            let most = pauses.iter().max().unwrap();
            assert!(*most > longest / 2, "{most:?} after {tries} tries");
            assert!(pauses.iter().any(|pause| pause != most), "they are random");
        }
    }

    #[test]
    fn docker_hub_asks_for_a_pause_by_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (name, value, seconds) in [
            ("x-retry-after", "1700000007", 7),
            ("retry-after", "1700000007", 7),
            ("x-retry-after", "1600000000", 0),
            ("x-retry-after", "1800000000", 60),
            ("x-retry-after", "3", 3),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            let expected = Duration::from_secs(seconds);
            assert_eq!(
                retry_after(&headers, now),
                Some(expected),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn five_answers_earn_a_retry_up_to_the_limit() {
        let budget = RetryBudget::new();
        (0..100).for_each(|_| budget.earn());
        for _ in 0..RETRIES {
            assert!(budget.take());
        }
        assert!(!budget.take());
        (0..4).for_each(|_| budget.earn());
        assert!(!budget.take());
        budget.earn();
        assert!(budget.take());
        assert!(!budget.take());
    }

    // The time is 100 s after the epoch.
    #[test_case("0", Some(0); "now")]
    #[test_case(" 7 ", Some(7); "seconds")]
    #[test_case("3600", Some(60); "more than a minute")]
    #[test_case("99999999999999999999999", Some(60); "a large number")]
    #[test_case("Thu, 01 Jan 1970 00:02:00 GMT", Some(20); "date")]
    #[test_case("Thu, 01 Jan 1970 00:00:00 GMT", Some(0); "past date")]
    #[test_case("Fri, 01 Jan 2100 00:00:00 GMT", Some(60); "far date")]
    #[test_case("-1", None; "negative")]
    #[test_case("soon", None; "word")]
    #[test_case("", None; "empty")]
    fn the_registry_may_ask_for_a_pause(text: &str, seconds: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs));
    }
}
