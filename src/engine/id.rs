//! Ids that the client chooses: those of sessions and of solves.

use std::fmt;
use std::sync::Arc;

macro_rules! id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// A new id, from the system's random numbers.
            #[expect(clippy::new_without_default, reason = "a `default()` that returns a different value each time would surprise the reader")]
            pub fn new() -> Self {
                Self(base36(uuid::Uuid::new_v4().as_u128()).into())
            }

            /// An id with a known text: for tests, and for ids that were stored.
            pub fn from_text(text: &str) -> Self {
                Self(text.into())
            }

            /// The text that is sent to the daemon.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

id! {
    /// The id of a session: 25 characters of `[0-9a-z]`, never used twice.
    SessionId
}
id! {
    /// The id of a solve, also in the daemon's history: 25 characters of `[0-9a-z]`, never used twice.
    BuildRef
}

/// Writes `number` in base 36 with 25 digits, as BuildKit's own clients do. The text has no colon, because daemons
/// cut ids at colons, and it has a fixed length, because daemons compare ids as text.
fn base36(mut number: u128) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 25];
    for place in text.iter_mut().rev() {
        *place = DIGITS[usize::try_from(number % 36).unwrap_or_default()];
        number /= 36;
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_fit_into_25_digits() {
        assert_eq!(base36(0), "0".repeat(25));
        assert_eq!(base36(35), format!("{}z", "0".repeat(24)));
        assert_eq!(base36(u128::MAX), "f5lxx1zz5pnorynqglhzmsp33");
    }

    #[test]
    fn ids_differ() {
        assert_ne!(SessionId::new(), SessionId::new());
        assert_eq!(BuildRef::new().as_str().len(), 25);
    }
}
