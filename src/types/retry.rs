//! Repeats of requests that rbake makes itself: after which answers, after which pause, and how often.

#[cfg(test)]
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{HeaderName, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use tokio::time::Instant;

/// How often a request is sent at most.
pub(crate) const TRIES: u32 = 6;

/// The pause before the second try, and the longest pause. It doubles in between.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The longest pause that a server may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(60);

/// A larger number of seconds is a time since 1970: the year 2001.
const FIRST_TIME: Duration = Duration::from_secs(1_000_000_000);

/// The header of Docker Hub's API.
const OF_HUB: HeaderName = HeaderName::from_static("x-retry-after");

/// How rbake waits before it repeats a request.
#[derive(Debug, Clone)]
pub(crate) enum Pauses {
    /// It sleeps.
    Slept,
    /// It does not wait, but records how long it would.
    #[cfg(test)]
    Recorded(Arc<Mutex<Vec<Duration>>>),
}

impl Pauses {
    pub(crate) async fn pause(&self, length: Duration) {
        match self {
            Self::Slept => tokio::time::sleep(length).await,
            #[cfg(test)]
            Self::Recorded(lengths) => lengths.lock().unwrap().push(length),
        }
    }
}

/// The pause after try number `tries`: at most 250 ms after the first one, twice as long after each further one, and
/// 8 s at most. It is random, so that clients which failed together do not come back together.
pub(crate) fn backoff(tries: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
    let longest = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    // Without random bytes, the longest pause is as good.
    let Ok(random) = getrandom::u32() else {
        return longest;
    };
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// The pause that the server asks for with `Retry-After`: seconds or a date. At most a minute. Docker Hub's API has a header
/// `X-Retry-After` with the seconds since 1970, and sends such a number in `Retry-After`, too.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
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

/// Whether a request may succeed if it is repeated after an answer with this status.
pub(crate) const fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// The tries of one request, which must succeed until a given time.
#[derive(Debug)]
pub(crate) struct Tries {
    left: u32,
    made: u32,
    until: Option<Instant>,
}

impl Tries {
    /// At most `most` tries, all of them before `until`.
    pub(crate) const fn new(most: u32, until: Option<Instant>) -> Self {
        Self {
            left: most,
            made: 0,
            until,
        }
    }

    /// Waits after a try that failed: for `wish`, the pause that the server has asked for, or else for a random one. Returns whether the
    /// request is to be sent again. Returns at once if it is not: there is no try left, or the pause would be too long.
    pub(crate) async fn again(&mut self, wish: Option<Duration>, pauses: &Pauses) -> bool {
        self.left = self.left.saturating_sub(1);
        self.made += 1;
        let pause = wish.unwrap_or_else(|| backoff(self.made));
        let is_late = self
            .until
            .is_some_and(|until| Instant::now() + pause >= until);
        if self.left == 0 || is_late {
            return false;
        }
        tracing::warn!("try" = self.made, ?pause, "request failed, repeating it");
        pauses.pause(pause).await;
        true
    }
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

    #[tokio::test]
    async fn tries_end_with_their_number_and_before_their_time() {
        let lengths = Arc::new(Mutex::new(Vec::new()));
        let pauses = Pauses::Recorded(Arc::clone(&lengths));
        let mut tries = Tries::new(3, None);
        let wish = Some(Duration::from_secs(7));
        assert!(tries.again(wish, &pauses).await);
        assert!(tries.again(None, &pauses).await);
        assert!(!tries.again(wish, &pauses).await);
        let lengths = lengths.lock().unwrap().clone();
        assert_eq!(lengths[0], Duration::from_secs(7));
        assert!(lengths.len() == 2 && lengths[1] <= Duration::from_millis(500));

        let until = Instant::now() + Duration::from_secs(5);
        let mut tries = Tries::new(3, Some(until));
        assert!(!tries.again(wish, &pauses).await);
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
