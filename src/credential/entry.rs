//! An entry of `auths` in Docker's configuration, and the registry that its key means.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::Credential;
use crate::golang::json::{GoValue, Reading, is_field};
use crate::types::Secret;

// Go's decoder ignores the unused bits of the last character, so accept any.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The fields of an entry, as they stand in the configuration. An empty text means absent.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct AuthEntry {
    pub(super) auth: String,
    username: String,
    password: String,
    identity_token: String,
    registry_token: String,
    /// Whether a value has a wrong type, so that the entry may have held a credential that was not read.
    pub(super) wrong: bool,
}

// All fields are credentials, so none is printed.
impl std::fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthEntry(..)")
    }
}

/// `auth` is not `user:password` encoded in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedAuth;

impl AuthEntry {
    /// Reads an entry of `auths` in `config.json`.
    pub(super) fn read(reading: &mut Reading, value: GoValue<'_>, at: &str, into: &mut Self) {
        let before = reading.wrong.len();
        reading.object(value, at, |reading, key, value| {
            let fields = [
                ("auth", &mut into.auth),
                ("username", &mut into.username),
                ("password", &mut into.password),
                ("identitytoken", &mut into.identity_token),
                ("registrytoken", &mut into.registry_token),
                // Docker reads this field and does not use it.
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

    /// Reads an entry of `DOCKER_AUTH_CONFIG`, in which only `auth` is allowed. Returns whether there are other
    /// fields.
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

    /// The credential in the entry; [`Credential::Anonymous`] if the entry is empty.
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

/// Decodes `auth` as docker/cli's `decodeAuth` does: ignores line ends in the base64, and NUL bytes around the
/// password, which are padding.
fn decode_auth(auth: &str) -> Option<(String, String)> {
    let bytes = BASE64.decode(auth.replace(['\r', '\n'], "")).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty()).then(|| (user.to_owned(), password.trim_matches('\0').to_owned()))
}

/// The host and port that the key of an entry means. `https://h/v1/`, `h/v1/` and `h` are equal.
///
/// This is docker/cli's `ConvertToHostname`, which parses URLs with Go's `net/url`.
pub(super) fn host_of(key: &str) -> String {
    if key.contains("://")
        && let Some(host) = host_of_url(key)
    {
        return host;
    }
    before(key, '/').to_owned()
}

/// The repositories that the key of an entry is for: `h/group` is for `group` and everything below it. `None` if it
/// is for the whole host.
pub(super) fn path_of(key: &str) -> Option<&str> {
    let rest = match key.split_once("://") {
        Some((_, rest)) => before(before(rest, '#'), '?'),
        None => key,
    };
    let path = rest.split_once('/')?.1.trim_matches('/');
    // Old entries have the version of the registry's API as their path. That is not a repository.
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
        // An IPv6 address without brackets is not valid.
        (_, true) if !host.starts_with('[') => return None,
        ("", _) => name.to_owned(),
        (port, true) => format!("[{name}]:{port}"),
        (port, false) => format!("{name}:{port}"),
    })
}

/// Whether each `%` is followed by two hexadecimal digits.
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
    #[test_case("http://h:x/", "http:"; "an invalid port")]
    #[test_case("http://h/%zz", "http:"; "an invalid path")]
    #[test_case("h://", "h:"; "no host")]
    #[test_case("a/b://c", "a"; "an invalid scheme")]
    #[test_case("", ""; "nothing")]
    fn hosts_are_read_from_keys(key: &str, host: &str) {
        assert_eq!(host_of(key), host);
    }

    #[test_case("h", None)]
    #[test_case("https://h/v1/", None; "a version of the interface")]
    #[test_case("h/", None; "a slash")]
    #[test_case("h/group/sub/", Some("group/sub"); "a group")]
    #[test_case("https://h/group", Some("group"); "an address")]
    #[test_case("https://h/?q#f", None; "a query")]
    fn repository_paths_are_read_from_keys(key: &str, path: Option<&str>) {
        assert_eq!(path_of(key), path);
    }

    #[test_case("dTpwOnE=", Some(("u", "p:q")))]
    #[test_case("dTpw\r\n", Some(("u", "p")); "line ends")]
    #[test_case("dToAcAA=", Some(("u", "p")); "padding by NUL bytes")]
    #[test_case("dTpwcB==", Some(("u", "pp")); "too many bits")]
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
