//! Where a credential came from, to be reported if a registry rejects it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The origins of the credentials of each registry that was asked for.
pub(crate) type Origins = BTreeMap<String, BTreeSet<Origin>>;

/// Where a credential came from, or why there is none. Holds names only, never secrets.
///
/// The order matters: if there are several reasons why there is none, the smallest is reported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// An entry of a configuration.
    Entry {
        /// The file, or the variable.
        source: String,
        /// The entry's key.
        key: String,
        /// Whether its path matches none of the repositories that the credential is for. `false` if these are not
        /// known.
        astray: bool,
    },
    /// A credential helper.
    Helper {
        /// The configuration that names it.
        source: String,
        /// The program.
        program: String,
    },
    /// There is an entry, but its content is not a credential.
    Malformed {
        /// The file, or the variable.
        source: String,
        /// The entry's key.
        key: String,
    },
    /// A configuration could not be read, so it is unknown whether it has a credential.
    Unread {
        /// The file, or the variable.
        source: String,
    },
    /// A credential helper has no credential.
    Silent {
        /// The configuration that names it.
        source: String,
        /// The program.
        program: String,
    },
    /// No configuration mentions a credential.
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
                write!(
                    f,
                    "rbake used the credential in the entry `{key}` of {source}"
                )?;
                if *astray {
                    f.write_str(", but no entry there matches the repository")?;
                }
                Ok(())
            }
            Self::Helper { source, program } => write!(
                f,
                "rbake used the credential from `{}`, which {source} names",
                shown(program)
            ),
            Self::Malformed { source, key } => write!(
                f,
                "rbake sent no credential: the entry `{}` of {source} is malformed",
                shown(key)
            ),
            Self::Unread { source } => {
                write!(f, "rbake sent no credential: {source} could not be read")
            }
            Self::Silent { source, program } => write!(
                f,
                "rbake sent no credential: `{}`, which {source} names, has none",
                shown(program)
            ),
            Self::Nowhere => f.write_str("no credential is configured for it"),
        }
    }
}
