//! How long something was worked on, computed from intervals that arrive in any order and may overlap.

use std::time::{Duration, SystemTime};

/// The number of intervals that are kept. If there are more, the earliest are only added to a sum.
const MAX_INTERVALS: usize = 32;

/// A union of time intervals by the daemon's clock.
///
/// A source is worked on several times (for its cache key, then for its content), and each solve that shares a
/// vertex reports it with its own start time. The union counts no time twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Busy {
    /// Sorted and disjoint.
    intervals: Vec<(SystemTime, SystemTime)>,
    /// The length of the earlier intervals that are no longer kept.
    folded: Duration,
}

impl Busy {
    /// Adds the time from `start` to `end`. Does nothing if `end` is not after `start`.
    pub(super) fn add(&mut self, start: SystemTime, end: SystemTime) {
        if end <= start {
            return;
        }
        let (mut start, mut end) = (start, end);
        // The intervals that touch the new one are neighbours in the list.
        let first = self.intervals.partition_point(|(_, e)| *e < start);
        let last = self.intervals.partition_point(|(s, _)| *s <= end);
        if first < last {
            start = start.min(self.intervals[first].0);
            end = end.max(self.intervals[last - 1].1);
        }
        self.intervals
            .splice(first..last.max(first), [(start, end)]);
        if self.intervals.len() > MAX_INTERVALS {
            let (start, end) = self.intervals.remove(0);
            // The daemon chooses the times. It may report one huge interval after the other, so the sum must not
            // overflow.
            self.folded = self.folded.saturating_add(length(start, end));
        }
    }

    /// Returns the length of all intervals together.
    pub(super) fn total(&self) -> Duration {
        let kept = self
            .intervals
            .iter()
            .map(|(start, end)| length(*start, *end));
        kept.fold(self.folded, Duration::saturating_add)
    }
}

fn length(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn times_of_a_hostile_daemon_cause_no_overflow() {
        let mut busy = Busy::default();
        let far = u64::try_from(i64::MAX / 2).unwrap();
        for _ in 0..8 {
            busy.add(at(0), at(far));
            // Add so many later intervals that the first one is only kept in the sum.
            for n in 0..=MAX_INTERVALS as u64 {
                busy.add(at(far + 10 * n + 5), at(far + 10 * n + 6));
            }
        }
        assert!(busy.total() >= Duration::from_secs(far));
    }

    #[test]
    fn overlapping_intervals_count_once() {
        let mut busy = Busy::default();
        for (start, end) in [
            (10, 20),
            (30, 40),
            (11, 19),
            (20, 22),
            (5, 6),
            (39, 50),
            (9, 9),
            (8, 7),
        ] {
            busy.add(at(start), at(end));
        }
        assert_eq!(busy.total(), Duration::from_secs(12 + 20 + 1));
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(mut intervals in prop::collection::vec((0u64..60, 0u64..10), 0..20)) {
            let union = |intervals: &[(u64, u64)]| {
                let mut busy = Busy::default();
                for (start, long) in intervals {
                    busy.add(at(*start), at(start + long));
                }
                busy.total()
            };
            let expected = (0..80u64)
                .filter(|second| intervals.iter().any(|(s, l)| (*s..s + l).contains(second)))
                .count() as u64;
            let forwards = union(&intervals);
            intervals.reverse();
            prop_assert_eq!(forwards, Duration::from_secs(expected));
            prop_assert_eq!(union(&intervals), forwards);
        }
    }
}
