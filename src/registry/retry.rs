//! How often requests to one registry are repeated. [`crate::types::retry`] has the pauses.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::error::RegistryFault;

/// How often a request is sent at most if no connection comes about, and the registry has not answered before. It may
/// be reachable only for the builder.
pub(super) const FIRST_CONNECTIONS: u32 = 2;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
