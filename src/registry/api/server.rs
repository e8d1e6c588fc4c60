//! The server of an API.

use std::fmt;
use std::sync::Arc;

use http::Method;
use reqwest::Url;

use crate::registry::address::{RegistryAddress, RegistrySecurity};
use crate::registry::connection::RegistryConnection;
use crate::registry::error::RegistryFault;
use crate::registry::exchange::{RegistryReply, RegistryRequest};
use crate::registry::{Registries, RemoteRepository};
use crate::types::secret::redact_url;
use crate::types::terminal::visible;

/// The longest address that a user may give, in bytes.
const LONGEST: usize = 2 << 10;

/// The address of an API, such as `https://api.example/v3`. It was checked; credentials may be sent there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApiAddress {
    server: RegistryAddress,
    /// The path, without a slash at its end.
    path: String,
}

impl fmt::Debug for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiAddress({}{})", self.server.host(), self.path)
    }
}

/// A text is not the address of an API to which credentials may be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{address}` is not the address of an API: it must begin with `https://`, or with `http://` if the server is on this machine, and must not have a user, a query or a fragment"
)]
pub(crate) struct InvalidApiAddress {
    address: String,
}

impl ApiAddress {
    /// Reads an address. `security` is that of the registry to which the API belongs.
    pub(crate) fn parse(text: &str, security: RegistrySecurity) -> Result<Self, InvalidApiAddress> {
        let invalid = || {
            let shown: String = text.chars().take(200).collect();
            InvalidApiAddress {
                address: visible(&redact_url(&shown)).into_owned(),
            }
        };
        let url = Url::parse(text).map_err(|_| invalid())?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if text.len() > LONGEST || !is_plain {
            return Err(invalid());
        }
        Ok(Self {
            server: RegistryAddress::of_server(&url, security).ok_or_else(invalid)?,
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// The server of an API. Requests to it are repeated like those to a registry.
#[derive(Debug)]
pub(super) struct ApiServer {
    pub(super) connection: Arc<RegistryConnection>,
    path: String,
    /// The path of the repository, for which requests are made.
    repository: Arc<str>,
}

impl ApiServer {
    pub(super) fn new(
        registries: &Registries,
        repository: &RemoteRepository,
        address: &ApiAddress,
    ) -> Self {
        let pauses = || repository.connection.pauses.clone();
        Self {
            connection: registries.connection(address.server.clone(), pauses),
            path: address.path.clone(),
            repository: Arc::clone(&repository.path),
        }
    }

    /// The host, with its port if there is one.
    pub(super) fn host(&self) -> &str {
        self.connection.address.host()
    }

    /// A request for `rest`, which begins with a slash or a question mark, or is empty. The caller adds the credential.
    pub(super) fn request(
        &self,
        method: Method,
        rest: &str,
    ) -> Result<RegistryRequest, RegistryFault> {
        let bad = || RegistryFault::malformed("the address of the API");
        let base = self.connection.base()?;
        let place = format!("{}{rest}", self.path);
        let place = base.join(&place).map_err(|_| bad())?;
        if place.origin() != base.origin() {
            return Err(bad());
        }
        let mut request = RegistryRequest::new(method, &self.repository, "").to(place);
        request.has_credential = true;
        Ok(request)
    }

    /// Sends `request` until there is an answer that a repetition would not change.
    pub(super) async fn perform(
        &self,
        request: &RegistryRequest,
    ) -> Result<RegistryReply, RegistryFault> {
        self.connection.perform(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    const REQUIRED: RegistrySecurity = RegistrySecurity::Required;

    #[test_case("https://api.example", true; "https")]
    #[test_case("https://api.example:8443/v3/", true; "port and path")]
    #[test_case("http://127.0.0.1:80/api", true; "this machine")]
    #[test_case("http://localhost", true; "this machine without a port")]
    #[test_case("http://api.example", false; "unprotected")]
    #[test_case("https://user@api.example", false; "user")]
    #[test_case("https://user:word@api.example", false; "password")]
    #[test_case("https://api.example/?a=b", false; "query")]
    #[test_case("https://api.example/#a", false; "fragment")]
    #[test_case("ftp://api.example", false; "another protocol")]
    #[test_case("api.example", false; "a host")]
    #[test_case("", false; "empty")]
    fn credentials_are_sent_to_protected_servers_only(text: &str, is_valid: bool) {
        let parsed = ApiAddress::parse(text, REQUIRED);
        assert_eq!(parsed.is_ok(), is_valid, "{parsed:?}");
        if let Err(error) = parsed {
            assert!(!error.to_string().contains("word"), "{error}");
        }
    }

    #[test]
    fn an_insecure_registry_may_have_an_insecure_api() {
        let waived = RegistrySecurity::Waived;
        assert!(ApiAddress::parse("http://api.example", waived).is_ok());
        let long = format!("https://api.example/{}", "a".repeat(LONGEST));
        assert!(ApiAddress::parse(&long, waived).is_err());
    }
}
