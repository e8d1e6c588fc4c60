//! Where a credential was found, to be told when a registry does not take it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// For each registry that was asked for, where its credentials came from.
pub(crate) type Origins = BTreeMap<String, BTreeSet<Origin>>;

/// Where a credential comes from, or why there is none. Holds names only, nothing secret.
///
/// Of several reasons why there is none, the least is the one to tell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// An entry of a configuration.
    Entry {
        /// The file, or the variable.
        source: String,
        /// The entry's key.
        key: String,
        /// Whether its path leads to none of the repositories that the credential is for, as far as they are known.
        astray: bool,
    },
    /// A credential helper.
    Helper {
        /// The configuration that names it.
        source: String,
        /// The program.
        program: String,
    },
    /// There is an entry, but what it holds is no credential.
    Malformed {
        /// The file, or the variable.
        source: String,
        /// The entry's key.
        key: String,
    },
    /// A configuration that could not be read might have one.
    Unread {
        /// The file, or the variable.
        source: String,
    },
    /// A credential helper knows none.
    Silent {
        /// The configuration that names it.
        source: String,
        /// The program.
        program: String,
    },
    /// No configuration has one.
    Nowhere,
}

impl Origin {}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::golang::json::shown_key as shown;
        match self {
            Self::Entry {
                source,
                key,
                astray,
            } => {
                let key = shown(key);
                write!(f, "the credential was the entry `{key}` of {source}")?;
                if *astray {
                    f.write_str(", though no entry there leads to the repository")?;
                }
                Ok(())
            }
            Self::Helper { source, program } => write!(
                f,
                "the credential was that of `{}`, which {source} names",
                shown(program)
            ),
            Self::Malformed { source, key } => write!(
                f,
                "no credential was shown: the entry `{}` of {source} is malformed",
                shown(key)
            ),
            Self::Unread { source } => {
                write!(f, "no credential was shown: {source} could not be read")
            }
            Self::Silent { source, program } => write!(
                f,
                "no credential was shown: `{}`, which {source} names, knows none",
                shown(program)
            ),
            Self::Nowhere => f.write_str("no credential is configured for it"),
        }
    }
}
