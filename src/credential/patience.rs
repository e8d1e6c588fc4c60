//! Time limits for credentials.

use std::time::Duration;

/// The time limit for an answer to the daemon. The daemon gives up after 60 s without saying what it waited for
/// (BuildKit, `session/auth/auth.go`). Our limits are shorter, so that we can report it.
pub(super) const ANSWER: Duration = Duration::from_secs(55);

/// The time limit of a credential helper. It is long, because some helpers ask the user.
pub(super) const HELPER: Duration = Duration::from_secs(50);
