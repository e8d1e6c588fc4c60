//! The only place that reads the time.

#[cfg(test)]
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// A source of wall-clock and monotonic time. Tests can use one that stands still.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    System {
        origin: Instant,
    },
    #[cfg(test)]
    Fixed(Arc<Mutex<SystemTime>>),
}

impl Clock {
    /// The system's clock. Its [`Self::elapsed`] counts from this call.
    pub fn system() -> Self {
        Self(Kind::System {
            origin: Instant::now(),
        })
    }

    /// A clock that stays at `start` until [`Clock::advance`] moves it.
    #[cfg(test)]
    pub(crate) fn fixed(start: SystemTime) -> Self {
        Self(Kind::Fixed(Arc::new(Mutex::new(start))))
    }

    /// The wall-clock time.
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Kind::System { .. } => SystemTime::now(),
            #[cfg(test)]
            Kind::Fixed(at) => *at.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        }
    }

    /// The time since the clock was created. For a fixed clock: the time since the epoch.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::System { origin } => origin.elapsed(),
            #[cfg(test)]
            Kind::Fixed(_) => self
                .now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// Moves a fixed clock forward. Has no effect on the system's clock.
    #[cfg(test)]
    pub(crate) fn advance(&self, by: Duration) {
        if let Kind::Fixed(at) = &self.0 {
            let mut at = at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *at += by;
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}
