//! Names of targets and groups.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The text is not a valid name for a target or group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid name: only letters, digits, `_` and `-` are allowed")]
pub struct InvalidName(String);

fn is_name(text: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !text.is_empty() && text.bytes().all(ok)
}

macro_rules! name {
    ($(#[$doc:meta])* $vis:vis $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis struct $type(Arc<str>);

        impl $type {
            /// The name's text.
            $vis fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(Arc::from(text))
            }
        }

        impl TryFrom<Arc<str>> for $type {
            type Error = InvalidName;

            fn try_from(text: Arc<str>) -> Result<Self, InvalidName> {
                if is_name(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName(text.as_ref().to_owned()))
                }
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        #[cfg(any(test, feature = "recording"))]
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a target: one or more of `[a-zA-Z0-9_-]`.
    pub TargetName
}
name! {
    /// The name of a group: one or more of `[a-zA-Z0-9_-]`.
    pub(crate) GroupName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_names_are_refused() {
        assert!("web-app_1".parse::<TargetName>().is_ok());
        for bad in ["", "web.app", "a b", "ä"] {
            assert!(bad.parse::<GroupName>().is_err(), "{bad}");
        }
    }
}
