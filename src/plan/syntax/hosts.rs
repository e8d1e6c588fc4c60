//! Values of `extra-hosts`: addresses for host names in build steps.

use std::net::IpAddr;

/// An address of a host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostAddress {
    /// An IP address.
    Ip(IpAddr),
    /// The address of the builder's host (`host-gateway`). Only the builder knows it.
    Gateway,
}

/// The text is not a list of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IP address, a comma-separated list of them, or `host-gateway`")]
pub(crate) struct HostsError(String);

/// Parses the value of an entry of `extra-hosts`: `host-gateway`, or IP addresses separated by commas.
pub(crate) fn parse_host(value: &str) -> Result<Vec<HostAddress>, HostsError> {
    if value == "host-gateway" {
        return Ok(vec![HostAddress::Gateway]);
    }
    value
        .split(',')
        .map(|address| {
            let text = address
                .strip_prefix('[')
                .and_then(|inner| inner.strip_suffix(']'))
                .filter(|inner| !inner.is_empty())
                .unwrap_or(address);
            let ip = text.parse().map_err(|_| HostsError(address.to_owned()))?;
            Ok(HostAddress::Ip(ip))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Result<Vec<String>, HostsError> {
        let addresses = parse_host(value)?;
        Ok(addresses
            .into_iter()
            .map(|address| match address {
                HostAddress::Ip(ip) => ip.to_string(),
                HostAddress::Gateway => "gateway".to_owned(),
            })
            .collect())
    }

    #[test]
    fn addresses_are_parsed() {
        assert_eq!(
            texts("1.2.3.4,[::1],::2"),
            Ok(vec!["1.2.3.4".into(), "::1".into(), "::2".into()])
        );
        assert_eq!(texts("host-gateway"), Ok(vec!["gateway".into()]));
        for bad in [
            "",
            "host",
            "1.2.3.4,host-gateway",
            "[]",
            "[1.2.3.4",
            "1.2.3.4,",
        ] {
            assert!(texts(bad).is_err(), "{bad}");
        }
    }
}
