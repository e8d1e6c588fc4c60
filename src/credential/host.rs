//! The name of a registry, as the daemon sends it. It is untrusted.

use std::fmt;

/// The longest name, in bytes: 253 for the host, one for the colon, and the port.
const LONGEST: usize = 260;

/// `host` or `host:port`. Contains no characters with which it could act as a path, a URL with a path, or a
/// terminal's control sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RegistryHost(String);

impl RegistryHost {
    /// Parses a text from the daemon. `None` if it is not a host.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-:[]%".contains(&b);
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
        (begins_well && text.len() <= LONGEST && text.bytes().all(legal))
            .then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes a text from the daemon fit for a message: without control characters, and at most 100 characters.
pub(super) fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(100).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_accepted_and_paths_are_refused() {
        for host in [
            "r.example",
            "localhost:5000",
            "[::1]:5000",
            "10.0.0.1",
            "A-b_c.d",
        ] {
            assert_eq!(RegistryHost::parse(host).unwrap().as_str(), host);
        }
        let long = "a".repeat(LONGEST + 1);
        for text in [
            "", ".", "..", "../..", "a/b", "/etc", "a\0", "a\n", "a b", "é", "u@h", &long,
        ] {
            assert_eq!(RegistryHost::parse(text), None, "{text:?}");
        }
        assert_eq!(shown("a\u{1b}[2J"), "a\u{fffd}[2J");
    }
}
