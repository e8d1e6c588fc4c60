//! The one place that asks what time it is.

#[cfg(test)]
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// A source of wall-clock and monotonic time that a test can hold still.
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
    /// The machine's clock; monotonic readings count from this call.
    pub fn system() -> Self {
        Self(Kind::System {
            origin: Instant::now(),
        })
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
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

    /// Time passed since the clock was made; for a fixed clock, since the epoch.
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

    /// Moves a fixed clock on; the system's clock is left alone.
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
