//! Credentials for the APIs of Amazon, by which requests are signed. They are never sent themselves.
//!
//! [`AwsCredential::find`] looks in the places of Amazon's tools, in their order: the variables, the profile's keys in the
//! files, and last the program `aws`, which also knows single sign-on, roles and the machine's own role.
//! [`AwsCredential::for_caches`] looks where Amazon's library for Go looks, which buildx uses for caches.

mod chain;
mod files;
mod program;
mod services;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::types::blocking::unblock;
use crate::types::{Environment, Secret};

use files::AwsFiles;
pub(crate) use services::ServiceFault;

const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// Keys by which requests are signed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AwsCredential {
    access_key: Secret<String>,
    secret_key: Secret<String>,
    session_token: Option<Secret<String>>,
}

impl fmt::Debug for AwsCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsCredential(..)")
    }
}

/// There are no keys.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AwsCredentialError {
    /// One of the two variables is set without the other.
    #[error("`{set}` is set, but `{missing}` is not")]
    Incomplete {
        /// The variable that is set.
        set: &'static str,
        /// The variable that is not.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The environment names a profile that no file has.
    #[error("there is no AWS profile `{profile}`")]
    NoProfile {
        /// The profile.
        profile: String,
    },
    /// The program that a profile names failed.
    #[error("the program in `credential_process` gave no AWS keys: {message}")]
    NamedProgram {
        /// What it printed, one line.
        message: String,
    },
    /// A service that should give keys did not.
    #[error("cannot get AWS keys from {service}")]
    Service {
        /// What it is.
        service: &'static str,
        /// Why not.
        #[source]
        source: Arc<ServiceFault>,
    },
    /// No place has keys, and the program `aws` is not installed.
    #[error(
        "there are no AWS keys for the profile `{profile}`, and the program `aws`, which could find others, is not installed"
    )]
    Missing {
        /// The profile.
        profile: String,
    },
    /// The program `aws` failed.
    #[error(
        "`aws configure export-credentials` gave no AWS keys for the profile `{profile}`: {message}"
    )]
    Program {
        /// The profile.
        profile: String,
        /// What it printed, one line.
        message: String,
    },
}

impl AwsCredential {
    /// A credential with these keys. An empty session token counts as absent.
    pub(crate) fn new(access_key: &str, secret_key: &str, session_token: Option<&str>) -> Self {
        let secret = |text: &str| Secret::new(text.to_owned());
        Self {
            access_key: secret(access_key),
            secret_key: secret(secret_key),
            session_token: session_token.filter(|token| !token.is_empty()).map(secret),
        }
    }

    /// Finds the keys that Amazon's tools would use. Blocks at most for a minute, for the program `aws`.
    pub(crate) async fn find(environment: &Environment) -> Result<Self, AwsCredentialError> {
        let access_key = environment.non_empty(ACCESS_KEY).map(str::trim);
        let secret_key = environment.non_empty(SECRET_KEY).map(str::trim);
        match (access_key, secret_key) {
            (Some(access_key), Some(secret_key)) => {
                let token = environment.non_empty(SESSION_TOKEN).map(str::trim);
                return Ok(Self::new(access_key, secret_key, token));
            }
            (Some(_), None) => {
                return Err(AwsCredentialError::Incomplete {
                    set: ACCESS_KEY,
                    missing: SECRET_KEY,
                });
            }
            (None, Some(_)) => {
                return Err(AwsCredentialError::Incomplete {
                    set: SECRET_KEY,
                    missing: ACCESS_KEY,
                });
            }
            (None, None) => {}
        }
        let profile = profile_name(environment);
        let files = AwsFiles::of(environment);
        let of = profile.clone();
        if let Some(found) = unblock(move || files.credential(&of)).await? {
            return Ok(found);
        }
        program::credential(environment, profile).await
    }

    /// Finds the keys that buildx would give a cache. Programs that are asked for them get `of_programs` as their environment.
    /// Takes at most a minute and a half, for programs and services.
    ///
    /// # Errors
    /// There are none. Then buildx gives the cache none, and does not say so.
    pub(crate) async fn for_caches(
        environment: &Environment,
        of_programs: &Environment,
    ) -> Result<Self, AwsCredentialError> {
        chain::credential(environment, of_programs).await
    }

    /// The access key's id.
    pub(crate) const fn access_key(&self) -> &Secret<String> {
        &self.access_key
    }

    /// The secret access key.
    pub(crate) const fn secret_key(&self) -> &Secret<String> {
        &self.secret_key
    }

    /// The token of a temporary session, which is sent with requests.
    pub(crate) const fn session_token(&self) -> Option<&Secret<String>> {
        self.session_token.as_ref()
    }
}

/// The profile that the environment names.
fn profile_name(environment: &Environment) -> String {
    let mut names = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"].into_iter();
    let name = names.find_map(|name| environment.non_empty(name));
    name.unwrap_or("default").trim().to_owned()
}

#[cfg(test)]
mod tests;
