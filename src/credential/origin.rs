//! Where a credential came from, to be reported if a registry rejects it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Credential;

/// The characters of a user name that are shown. Some registries accept a token as the user name, so it is never shown
/// whole.
const SHOWN: usize = 3;

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
        /// The beginning of the user name, if it was sent and can be shown.
        account: Option<String>,
    },
    /// A credential helper.
    Helper {
        /// The configuration that names it.
        source: String,
        /// The program.
        program: String,
        /// The beginning of the user name, if it was sent and can be shown.
        account: Option<String>,
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

impl Origin {
    /// The same with the account of `credential`, by which its owner recognizes it: the beginning of the user name.
    pub(super) fn with_account_of(mut self, credential: &Credential) -> Self {
        let (name, _) = credential.as_pair();
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+@".contains(&b);
        let is_shown = name.len() > SHOWN && name.bytes().all(is_plain);
        if let Self::Entry { account, .. } | Self::Helper { account, .. } = &mut self {
            let beginning: String = name.chars().take(SHOWN).collect();
            *account = is_shown.then(|| format!("{beginning}…"));
        }
        self
    }
}

/// Writes the account, if it is known.
fn write_account(f: &mut fmt::Formatter<'_>, account: Option<&String>) -> fmt::Result {
    match account {
        Some(account) => write!(f, " (account `{account}`)"),
        None => Ok(()),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::golang::json::shown_key as shown;
        match self {
            Self::Entry {
                source,
                key,
                astray,
                account,
            } => {
                let key = shown(key);
                write!(
                    f,
                    "rbake used the credential in the entry `{key}` of {source}"
                )?;
                write_account(f, account.as_ref())?;
                if *astray {
                    f.write_str(", but no entry there matches the repository")?;
                }
                Ok(())
            }
            Self::Helper {
                source,
                program,
                account,
            } => {
                let program = shown(program);
                write!(
                    f,
                    "rbake used the credential from `{program}`, which {source} names"
                )?;
                write_account(f, account.as_ref())
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Secret;

    #[test]
    fn of_an_account_only_the_beginning_is_shown() {
        let shown = |username: &str| {
            let credential = Credential::Basic {
                username: username.to_owned(),
                password: Secret::new("p".to_owned()),
            };
            let origin = Origin::Helper {
                source: "`c`".to_owned(),
                program: "h".to_owned(),
                account: None,
            };
            origin.with_account_of(&credential).to_string()
        };
        let helper = "rbake used the credential from `h`, which `c` names";
        assert_eq!(shown("keeper"), format!("{helper} (account `kee…`)"));
        for hidden in ["", "abc", "a\u{1b}[0m", "a b c d"] {
            assert_eq!(shown(hidden), helper, "{hidden}");
        }
    }
}
