//! Checks the short forms of volumes and ports. Builds do not need them, but Compose refuses a file in which they
//! are invalid.
//!
//! The rules are those of `format.ParseVolume` in compose-go v2.13.0 and `nat.ParsePortSpec` in go-connections v0.7.0.

use std::net::IpAddr;

/// Checks the volume `text`: `TARGET` or `SOURCE:TARGET[:OPTIONS]`. The error is the reason.
pub(super) fn volume(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("a volume cannot be empty");
    }
    // compose-go accepts any text that is too short to have a source and a target.
    if text.len() <= 2 {
        return Ok(());
    }
    let mut sections = 0;
    let mut section = 0;
    let mut first = '\0';
    let mut nested = 0_usize;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let opens = letter == '$' && letters.peek() == Some(&'{');
        let closes = letter == '}' && nested > 0;
        // The `:` of a Windows drive (`C:`) does not end a section.
        let drive = section == 1 && first.is_alphabetic();
        if letter == ':' && nested == 0 && !drive {
            sections += 1;
            match (section, sections) {
                (0, _) => return Err("a part before one of its colons is empty"),
                (_, 3..) => return Err("there are too many colons"),
                _ => section = 0,
            }
            continue;
        }
        nested = nested + usize::from(opens) - usize::from(closes);
        if section == 0 {
            first = letter;
        }
        section += 1;
    }
    match (nested, section, sections) {
        (0, 0, _) => Err("there is nothing after its last colon"),
        (0, ..) | (_, _, 2..) => Ok(()),
        // compose-go treats everything after an unclosed `${` as one section.
        _ => Err("its `${` is not closed"),
    }
}

/// Checks the port `text`: `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, with numbers or ranges as ports. The error is the
/// reason.
pub(super) fn port(text: &str) -> Result<(), &'static str> {
    let mut parts = text.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default();

    let (container, protocol) = container.split_once('/').unwrap_or((container, ""));
    if container.is_empty() {
        return Err("it has no port");
    }
    let protocol = protocol.to_lowercase();
    if !matches!(&*protocol, "" | "tcp" | "udp" | "sctp") {
        return Err("the protocol must be tcp, udp or sctp");
    }
    let address = match address.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or("its `[` is not closed")?,
        None => address,
    };
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err("its first part is not an IP address");
    }
    let container = range(container).ok_or("the container's port is not a port or a range")?;
    if !host.is_empty() {
        let host = range(host).ok_or("the host's port is not a port or a range")?;
        // One container port may be mapped to a range of host ports, from which Docker picks a free one.
        if container != 0 && host != container {
            return Err("its two ranges differ in length");
        }
    }
    Ok(())
}

/// The length of a range of ports minus one. `None` if it is invalid.
fn range(text: &str) -> Option<u32> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (number(start)?, number(end)?);
    end.checked_sub(start)
}

fn number(text: &str) -> Option<u32> {
    // Rust and Go agree on accepting a sign.
    text.parse::<u32>().ok().filter(|port| *port <= 65_535)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    // The expected results are those of buildx v0.36.1.
    #[test_case("/data", true)]
    #[test_case("a", true)]
    #[test_case(":", true; "too short to be looked at")]
    #[test_case("", false)]
    #[test_case(":/data", false)]
    #[test_case("/data:", false)]
    #[test_case("a:/b", true)]
    #[test_case("a:/b:ro", true)]
    #[test_case("a:/b:nonsense,ro", true)]
    #[test_case("a:/b:ro:x", true; "a drive")]
    #[test_case("ab:/b:ro:x", false)]
    #[test_case("a::ro", true; "a drive without a path")]
    #[test_case("ab::ro", false)]
    #[test_case("C:\\x:/b", true)]
    #[test_case("C:\\x:D:\\y:ro", true)]
    #[test_case("abc${X:-y", false)]
    #[test_case("ab:${X:-y", false)]
    #[test_case("ab:/c:${X:-y", true)]
    #[test_case("${X:-a:b}:/c", true)]
    fn volumes_are_accepted_as_by_buildx(text: &str, good: bool) {
        assert_eq!(volume(text).is_ok(), good, "{:?}", volume(text));
    }

    #[test_case("80", true)]
    #[test_case("+80", true)]
    #[test_case("-80", false)]
    #[test_case("65535", true)]
    #[test_case("65536", false)]
    #[test_case("", false)]
    #[test_case(":80", true)]
    #[test_case("80:", false)]
    #[test_case("8080:80", true)]
    #[test_case("8080:80/udp", true)]
    #[test_case("8080:80/UDP", true)]
    #[test_case("8080:80/icmp", false)]
    #[test_case("80/", true)]
    #[test_case("/tcp", false)]
    #[test_case("3000-3005", true)]
    #[test_case("3005-3000", false)]
    #[test_case("3000-", false)]
    #[test_case("9090-9091:8080-8081", true)]
    #[test_case("9090-9092:8080-8081", false)]
    #[test_case("9090-9092:8080", true)]
    #[test_case("127.0.0.1:8001:8001", true)]
    #[test_case("127.0.0.1::8001", true)]
    #[test_case("127.0.0.01:1:1", false)]
    #[test_case("localhost:1:1", false)]
    #[test_case("[::1]:1:1", true)]
    #[test_case("::1:1:1", true)]
    #[test_case("[::1:1:1", false)]
    #[test_case("a", false)]
    #[test_case("80x", false)]
    fn ports_are_accepted_as_by_buildx(text: &str, good: bool) {
        assert_eq!(port(text).is_ok(), good, "{:?}", port(text));
    }
}
