//! One entry of Docker's configuration, and the registry its key means.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::Credential;
use crate::golang::json::{GoValue, Reading, is_field};
use crate::types::Secret;

// Go's decoder does not look at the bits that the last character has too many.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// What an entry says.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct AuthEntry {
    pub(super) auth: String,
    username: String,
    password: String,
    identity_token: String,
    registry_token: String,
    /// Whether a value of it has a wrong type, so that it may mean more than was read.
    pub(super) wrong: bool,
}

// The fields are credentials.
impl std::fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthEntry(..)")
    }
}

/// `auth` is not `user:password` in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedAuth;

impl AuthEntry {
    /// Reads an entry of `auths`.
    pub(super) fn read(reading: &mut Reading, value: GoValue<'_>, at: &str, into: &mut Self) {
        let before = reading.wrong.len();
        reading.object(value, at, |reading, key, value| {
            let fields = [
                ("auth", &mut into.auth),
                ("username", &mut into.username),
                ("password", &mut into.password),
                ("identitytoken", &mut into.identity_token),
                ("registrytoken", &mut into.registry_token),
                // Read by Docker, used by nobody.
                ("serveraddress", &mut String::new()),
            ];
            for (field, into) in fields {
                if is_field(key, field) {
                    reading.text(value, &format!("{at}.{field}"), into);
                }
            }
        });
        into.wrong = reading.wrong.len() > before;
    }

    /// Reads an entry of `DOCKER_AUTH_CONFIG`, which has `auth` alone. Returns whether there is more.
    pub(super) fn read_auth(
        &mut self,
        reading: &mut Reading,
        value: GoValue<'_>,
        at: &str,
    ) -> bool {
        let (before, mut more) = (reading.wrong.len(), false);
        reading.object(value, at, |reading, key, value| {
            if is_field(key, "auth") {
                reading.text(value, &format!("{at}.auth"), &mut self.auth);
            } else {
                more = true;
            }
        });
        self.wrong = reading.wrong.len() > before;
        more
    }

    /// The credential that the entry holds.
    pub(super) fn credential(&self) -> Result<Credential, MalformedAuth> {
        let secret = |text: &String| Secret::new(text.clone());
        let (username, password) = if self.auth.is_empty() {
            (self.username.clone(), self.password.clone())
        } else {
            decode_auth(&self.auth).ok_or(MalformedAuth)?
        };
        let exchanged = if !self.identity_token.is_empty() {
            Credential::Identity(secret(&self.identity_token))
        } else if username.is_empty() && password.is_empty() {
            Credential::Anonymous
        } else {
            Credential::Basic {
                username,
                password: Secret::new(password),
            }
        };
        Ok(exchanged.with_registry_token(&self.registry_token))
    }
}

// As docker/cli's `decodeAuth`: base64 without regard to line ends, NUL bytes around the password are padding.
fn decode_auth(auth: &str) -> Option<(String, String)> {
    let bytes = BASE64.decode(auth.replace(['\r', '\n'], "")).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty()).then(|| (user.to_owned(), password.trim_matches('\0').to_owned()))
}

/// The host, with its port, that the key of an entry means: `https://h/v1/`, `h/v1/` and `h` mean the same.
///
/// docker/cli's `ConvertToHostname`, which takes an address apart as Go's `net/url` does.
pub(super) fn host_of(key: &str) -> String {
    if key.contains("://")
        && let Some(host) = host_of_url(key)
    {
        return host;
    }
    before(key, '/').to_owned()
}

/// The repositories that the key of an entry is for: `h/group` is for `group` and all below; `None` if for all of the host.
pub(super) fn path_of(key: &str) -> Option<&str> {
    let rest = match key.split_once("://") {
        Some((_, rest)) => before(before(rest, '#'), '?'),
        None => key,
    };
    let path = rest.split_once('/')?.1.trim_matches('/');
    // The versions of the registries' interface, which stand in old entries.
    (!matches!(path, "" | "v1" | "v2")).then_some(path)
}

fn host_of_url(url: &str) -> Option<String> {
    if url.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return None;
    }
    let (scheme, rest) = url.split_once(':')?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(legal) {
        return None;
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let authority = before(rest, '?').strip_prefix("//")?;
    let (authority, path) = authority.split_once('/').unwrap_or((authority, ""));
    if !is_escaped(path) || !is_escaped(fragment) {
        return None;
    }
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            let legal =
                |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
            (user.bytes().all(legal) && is_escaped(user)).then_some(host)?
        }
        None => authority,
    };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.rsplit_once(']')?;
            (
                address,
                port.strip_prefix(':')
                    .or(Some("").filter(|_| port.is_empty()))?,
            )
        }
        None => host.rsplit_once(':').unwrap_or((host, "")),
    };
    let legal = |byte: u8| {
        byte >= 0x80 || byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:<>\"".contains(&byte)
    };
    if name.is_empty() || !name.bytes().all(legal) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(match (port, name.contains(':')) {
        // Without brackets an address of IPv6 is none.
        (_, true) if !host.starts_with('[') => return None,
        ("", _) => name.to_owned(),
        (port, true) => format!("[{name}]:{port}"),
        (port, false) => format!("{name}:{port}"),
    })
}

// Whether each `%` stands before two hexadecimal digits.
fn is_escaped(text: &str) -> bool {
    let mut parts = text.as_bytes().split(|byte| *byte == b'%');
    parts.next();
    parts.all(|part| part.len() >= 2 && part[..2].iter().all(u8::is_ascii_hexdigit))
}

fn before(text: &str, end: char) -> &str {
    text.split(end).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("r.example", "r.example")]
    #[test_case("r.example/v1/", "r.example"; "a path")]
    #[test_case("https://r.example/v1/", "r.example"; "an address")]
    #[test_case("HTTP://u:p@R.example:5000?x#y", "R.example:5000"; "all parts of an address")]
    #[test_case("http://[::1]:5000/", "[::1]:5000"; "an address of IPv6")]
    #[test_case("http://[::1]/", "::1"; "an address of IPv6 without a port")]
    #[test_case("http://h:x/", "http:"; "a port that is none")]
    #[test_case("http://h/%zz", "http:"; "a path that is none")]
    #[test_case("h://", "h:"; "no host")]
    #[test_case("a/b://c", "a"; "a scheme that is none")]
    #[test_case("", ""; "nothing")]
    fn keys_mean_hosts(key: &str, host: &str) {
        assert_eq!(host_of(key), host);
    }

    #[test_case("h", None)]
    #[test_case("https://h/v1/", None; "a version of the interface")]
    #[test_case("h/", None; "a slash")]
    #[test_case("h/group/sub/", Some("group/sub"); "a group")]
    #[test_case("https://h/group", Some("group"); "an address")]
    #[test_case("https://h/?q#f", None; "a query")]
    fn keys_may_mean_repositories(key: &str, path: Option<&str>) {
        assert_eq!(path_of(key), path);
    }

    #[test_case("dTpwOnE=", Some(("u", "p:q")))]
    #[test_case("dTpw\r\n", Some(("u", "p")); "line ends")]
    #[test_case("dToAcAA=", Some(("u", "p")); "padding by NUL bytes")]
    #[test_case("dTpwcB==", Some(("u", "pp")); "bits that are too many")]
    #[test_case("dTo=", Some(("u", "")); "no password")]
    #[test_case(" dTpw", None; "a blank")]
    #[test_case("OnA=", None; "no user")]
    #[test_case("dQ==", None; "no colon")]
    #[test_case("dTpwcA", None; "no padding")]
    #[test_case("/zpw", None; "not UTF-8")]
    fn auth_is_decoded_as_docker_does(auth: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(user, password)| (user.to_owned(), password.to_owned()));
        assert_eq!(decode_auth(auth), expected);
    }
}
