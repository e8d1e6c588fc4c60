//! Registry credentials: Docker's configuration, credential helpers, token exchange.
//!
//! Knows nothing of sessions or images: it answers "what may be shown to this host". Start at [`Provider`], of which a bake
//! has one, shared by every session.

mod authority;
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

pub(crate) use config::DockerConfig;
pub(crate) use helper::HelperError;
pub(crate) use origin::{Origin, Origins};
pub(crate) use provider::{Provider, ProviderOptions};
pub(crate) use token::{BearerToken, TokenRequest};

use crate::types::Secret;

/// What may be shown to a registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credential {
    /// Nothing is configured.
    #[default]
    Anonymous,
    /// A user name and its password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: Secret<String>,
    },
    /// A long-lived token that is exchanged for others (OAuth's refresh token).
    Identity(Secret<String>),
    /// A token that is shown to the registry as it is.
    Registry {
        /// The token.
        token: Secret<String>,
        /// What is shown to registries that take no token.
        otherwise: Box<Credential>,
    },
}

impl Credential {
    /// User and secret in the form BuildKit's `Credentials` call answers: no user for an identity token, both empty for nothing.
    pub(crate) fn as_pair(&self) -> (&str, &str) {
        match self {
            Self::Anonymous => ("", ""),
            Self::Registry { otherwise, .. } => otherwise.as_pair(),
            Self::Basic { username, password } => (username, password.expose()),
            Self::Identity(token) => ("", token.expose()),
        }
    }

    /// The same with a token that is shown as it is, unless that is empty.
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

/// Why no credential or token could be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What the daemon asks for is no registry.
    #[error("the builder asks for credentials of `{host}`, which is not a host")]
    Host {
        /// What it sent, cleaned.
        host: String,
    },
    /// A credential helper gave no credential.
    #[error(transparent)]
    Helper(#[from] HelperError),
    /// The token server's address is not one that can be asked.
    #[error(
        "the registry `{host}` names `{realm}` as its token server, which is not an http(s) address"
    )]
    Realm {
        /// The registry.
        host: String,
        /// The address.
        realm: String,
    },
    /// The token server did not answer.
    #[error("cannot ask the token server `{realm}`")]
    Exchange {
        /// The address, without credentials.
        realm: String,
        /// Why.
        #[source]
        source: Box<reqwest::Error>,
    },
    /// The token server took too long.
    #[error("the token server `{realm}` gave no token for `{host}` within {seconds} s")]
    NoAnswer {
        /// The address, without credentials.
        realm: String,
        /// The registry.
        host: String,
        /// How long the whole exchange had.
        seconds: u64,
    },
    /// The token server sends us to another server.
    #[error(
        "the token server `{realm}` redirects to `{target}`: credentials are shown to the server that the registry names, and to no other"
    )]
    Redirect {
        /// The address, without credentials.
        realm: String,
        /// The other server.
        target: String,
    },
    /// The token server refused.
    #[error("the token server `{realm}` answered {status}")]
    Refused {
        /// The address, without credentials.
        realm: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer has no token in it.
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
        /// Why.
        message: String,
    },
    /// The user switched token exchange on this side off.
    #[error("client side tokens are disabled")]
    TokensDisabled,
    /// No randomness could be had.
    #[error("the system gave no random bytes")]
    Random,
}
