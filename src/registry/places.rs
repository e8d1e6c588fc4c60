//! Addresses at a registry, and those to which it leads.

use http::Method;
use http::header::LOCATION;
use reqwest::{Response, Url};

use super::address::RegistryProtocol;
use super::connection::RegistryConnection;
use super::error::RegistryFault;
use super::exchange::RegistryRequest;

/// The longest address to which a registry may lead, in bytes.
const LONGEST_ADDRESS: usize = 8 << 10;

impl RegistryConnection {
    /// The address to which `response` redirects. `None` if it is not a redirect that is followed: the method and the
    /// body of a request that changes something are kept only by 307 and 308.
    pub(super) fn redirect(
        &self,
        request: &RegistryRequest,
        response: &Response,
        url: &Url,
    ) -> Result<Option<Url>, RegistryFault> {
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        let is_followed = match response.status().as_u16() {
            301..=303 => is_read,
            307 | 308 => true,
            _ => false,
        };
        if !is_followed {
            return Ok(None);
        }
        let location = response.headers().get(LOCATION);
        match location.and_then(|location| location.to_str().ok()) {
            Some(location) => self.resolve(url, location).map(Some),
            None => Err(RegistryFault::malformed("a redirect without `Location`")),
        }
    }

    /// The address that `text`, from the registry, means at `base`.
    pub(super) fn resolve(&self, base: &Url, text: &str) -> Result<Url, RegistryFault> {
        let bad = || RegistryFault::malformed("an address that is not a valid http(s) URL");
        if text.len() > LONGEST_ADDRESS {
            return Err(bad());
        }
        let mut url = base.join(text).map_err(|_| bad())?;
        url.set_fragment(None);
        // A user name in it would be sent as an authorization of its own.
        let is_plain = url.username().is_empty() && url.password().is_none() && url.has_host();
        if !is_plain || !matches!(url.scheme(), "http" | "https") {
            return Err(bad());
        }
        let is_checked = self.address.protocol() == RegistryProtocol::Https;
        if is_checked && url.scheme() == "http" {
            return Err(RegistryFault::malformed(
                "an address that leads from https to http",
            ));
        }
        Ok(url)
    }

    /// The address of the registry, by the protocol that it speaks.
    pub(super) fn base(&self) -> Result<Url, RegistryFault> {
        let scheme = match self.address.protocol() {
            RegistryProtocol::Http => "http",
            RegistryProtocol::Either if self.spoken.is_http() => "http",
            RegistryProtocol::Https | RegistryProtocol::Either => "https",
        };
        let host = self.address.host();
        Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|_| RegistryFault::malformed(format!("`{host}` is not a valid host")))
    }

    /// Whether `url` is at the registry itself: same protocol, host and port.
    pub(super) fn is_ours(&self, url: &Url) -> bool {
        self.base().is_ok_and(|base| base.origin() == url.origin())
    }
}
