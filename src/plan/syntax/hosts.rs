//! Names for addresses in build steps.

use std::net::IpAddr;

/// Where a name points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostAddress {
    /// An address.
    Ip(IpAddr),
    /// The address of the builder's host, which only the builder knows.
    Gateway,
}

/// The text is no list of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IP address, a comma-separated list of them, or `host-gateway`")]
pub(crate) struct HostsError(String);

/// Reads the value of an entry of `extra-hosts`.
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
    fn addresses() {
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
