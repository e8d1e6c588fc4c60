//! Registry credentials: Docker's configuration, credential helpers, and token exchange.
//!
//! Knows nothing of sessions or images. It answers one question: which credential may be sent to this host? Start
//! at [`Provider`]; a bake has one, which all sessions share.

mod authority;
mod aws;
mod clients;
mod config;
mod entry;
mod helper;
mod helpers;
mod host;
mod origin;
mod patience;
mod provider;
mod scoped;
pub(crate) mod tls;
mod token;

pub(crate) use aws::{AwsCredential, AwsCredentialError};
pub(crate) use clients::RegistryClientSpec;
pub(crate) use config::DockerConfig;
pub(crate) use helper::HelperError;
pub(crate) use origin::{Origin, Origins};
pub(crate) use provider::{Provider, ProviderOptions};
pub(crate) use token::{BearerToken, TokenRequest};

use crate::types::Secret;

/// A credential that may be sent to a registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credential {
    /// No credential is configured.
    #[default]
    Anonymous,
    /// A user name and its password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret<String>,
    },
    /// A long-lived token that is exchanged for short-lived ones (OAuth's refresh token, docker's "identity
    /// token").
    Identity(Secret<String>),
    /// A token that is sent to the registry unchanged, without an exchange.
    Registry {
        /// The token.
        token: Secret<String>,
        /// The credential for registries that do not accept such a token.
        otherwise: Box<Credential>,
    },
}

impl Credential {
    /// User and secret as BuildKit's `Credentials` call returns them. The user is empty for an identity token; both
    /// are empty for [`Self::Anonymous`].
    pub(crate) fn as_pair(&self) -> (&str, &str) {
        match self {
            Self::Anonymous => ("", ""),
            Self::Registry { otherwise, .. } => otherwise.as_pair(),
            Self::Basic { username, password } => (username, password.expose()),
            Self::Identity(token) => ("", token.expose()),
        }
    }

    /// What it is called in logs.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Basic { .. } => "basic",
            Self::Identity(_) => "identity token",
            Self::Registry { .. } => "registry token",
        }
    }

    /// Adds a registry token, unless it is empty.
    fn with_registry_token(self, token: &str) -> Self {
        if token.is_empty() {
            return self;
        }
        Self::Registry {
            token: Secret::new(token.to_owned()),
            otherwise: Box::new(self),
        }
    }

    fn registry_token(&self) -> &str {
        match self {
            Self::Registry { token, .. } => token.expose(),
            _ => "",
        }
    }

    fn has_secret(&self) -> bool {
        !self.as_pair().1.is_empty()
    }
}

/// No credential or token could be obtained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The daemon asks for credentials of something that is not a registry's host.
    #[error("the builder asks for credentials for `{host}`, which is not a valid host")]
    Host {
        /// The text it sent, made fit for a message.
        host: String,
    },
    /// A credential helper failed.
    #[error(transparent)]
    Helper(#[from] HelperError),
    /// The address of the token server is not an http or https URL.
    #[error(
        "the registry `{host}` names `{realm}` as its token server, which is not an http(s) address"
    )]
    Realm {
        /// The registry.
        host: String,
        /// The address, without credentials.
        realm: String,
    },
    /// The request to the token server failed.
    #[error("the request to the token server `{realm}` failed")]
    Exchange {
        /// The address, without credentials.
        realm: String,
        /// The underlying error.
        #[source]
        source: Box<reqwest::Error>,
    },
    /// The token server did not answer in time.
    #[error("the token server `{realm}` gave no token for `{host}` within {seconds} s")]
    NoAnswer {
        /// The address, without credentials.
        realm: String,
        /// The registry.
        host: String,
        /// The time limit of the whole exchange, in seconds.
        seconds: u64,
    },
    /// The token server redirects to another server, which must not get the credential.
    #[error(
        "the token server `{realm}` redirects to `{target}`; rbake sends credentials only to the server that the registry names"
    )]
    Redirect {
        /// The address, without credentials.
        realm: String,
        /// The other server, without the rest of the URL.
        target: String,
    },
    /// The token server answered with an error status.
    #[error("the token server `{realm}` answered with status {status}")]
    Refused {
        /// The address, without credentials.
        realm: String,
        /// The HTTP status.
        status: u16,
    },
    /// The token server's answer contains no token.
    #[error("the token server `{realm}` sent no token")]
    NoToken {
        /// The address, without credentials.
        realm: String,
    },
    /// Certificates could not be read.
    #[error("cannot use the certificates in `{path}`: {message}")]
    Certificates {
        /// The file or folder.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// The user disabled token exchange in the client (`BUILDKIT_NO_CLIENT_TOKEN`).
    #[error("client side tokens are disabled")]
    TokensDisabled,
    /// The system returned no random bytes.
    #[error("the system returned no random bytes")]
    Random,
}
