//! Values that must never be printed.

use std::borrow::Cow;
use std::fmt;

/// A value that is never shown by a formatter, a log or a serializer.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Each call is a place from which the value may leave the program.
    pub(crate) const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

/// Returns `url` with its user name and password replaced, for messages.
///
/// A text without `scheme://user@` is unchanged. So is `ssh://user@host`: this user is not a secret, and the
/// address would mean another account without it. In other schemes, a user without a password is often a token.
pub(crate) fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if scheme == "ssh" && !rest[..at].contains(':') => url.to_owned(),
        Some(at) => format!("{scheme}://xxxxx:xxxxx@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// Returns `text` with the user names and passwords in all of its URLs replaced, for messages.
///
/// A user name alone may be a token, except for SSH, where it is the account. In `docker-image://NAME@DIGEST` and
/// `oci-layout://NAME@DIGEST`, the text before the `@` is not a user, and stays.
pub(crate) fn redact_urls(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = "://";
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let (before, after) = rest.split_at(at + BEGIN.len());
        out.push_str(before);
        // Not at quotes and commas: they may be part of a password (Go's `validUserinfo`).
        let ends = |c: char| c.is_whitespace() || "/?#\"`<>".contains(c);
        let end = after.find(ends).unwrap_or(after.len());
        rest = match after[..end].rsplit_once('@') {
            Some((_, host)) if names_content(before) && is_digest(host) => after,
            Some((user, _)) if user.contains(':') || !before.ends_with("ssh://") => {
                out.push_str("xxxxx:xxxxx");
                &after[user.len()..]
            }
            _ => after,
        };
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Whether `before` ends with the scheme of an image or a layout, in which `@` is followed by a digest.
fn names_content(before: &str) -> bool {
    before.ends_with("docker-image://") || before.ends_with("oci-layout://")
}

/// Whether `text` starts like a digest. The length is not checked, because a mistyped digest must be shown to the
/// user.
fn is_digest(text: &str) -> bool {
    ["sha256:", "sha384:", "sha512:"]
        .iter()
        .any(|algorithm| text.starts_with(algorithm))
}

// Parts of attribute names whose values are secret. They cover the caches `s3`, `azblob` and `gha`, and similar
// names.
const SECRET_NAMES: [&str; 6] = [
    "secret",
    "token",
    "password",
    "access_key",
    "account_key",
    "credential",
];

/// Whether the value of an attribute called `name` is secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Returns `text`, a list of fields such as `type=s3,secret_access_key=…`, with secret values replaced, for
/// messages.
///
/// Everything after the first secret is replaced as well, because a comma may be part of the secret.
pub(crate) fn redact_fields(text: &str) -> String {
    let mut at = 0;
    for field in text.split_inclusive(',') {
        if let Some((name, _)) = field.split_once('=')
            && is_secret_name(name)
        {
            return format!("{}{name}=xxxxx", &text[..at]);
        }
        at += field.len();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_show_the_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(..)");
    }

    #[test]
    fn passwords_in_all_addresses_of_a_text_are_replaced() {
        for (text, expected) in [
            (
                "ADD https://u:p@h/a@b http://t@h2 /",
                "ADD https://xxxxx:xxxxx@h/a@b http://xxxxx:xxxxx@h2 /",
            ),
            (
                "Get \"https://u:p@h\": x@y",
                "Get \"https://xxxxx:xxxxx@h\": x@y",
            ),
            (
                "git ssh://git@h/r.git ssh://u:p@h",
                "git ssh://git@h/r.git ssh://xxxxx:xxxxx@h",
            ),
            ("https://u:p@q@h", "https://xxxxx:xxxxx@h"),
            ("https://u:p,'w@h'", "https://xxxxx:xxxxx@h'"),
            (
                "docker-image://h/x@sha256:00",
                "docker-image://h/x@sha256:00",
            ),
            (
                "docker-image://busybox@sha256:00 oci-layout://x@sha256:00",
                "docker-image://busybox@sha256:00 oci-layout://x@sha256:00",
            ),
            (
                "docker-image://u:p@h/x@sha256:00 oci-layout://t@h/x",
                "docker-image://xxxxx:xxxxx@h/x@sha256:00 oci-layout://xxxxx:xxxxx@h/x",
            ),
            ("a://", "a://"),
            ("x@y", "x@y"),
        ] {
            assert_eq!(redact_urls(text), expected);
        }
    }

    #[test]
    fn userinfo_is_replaced_and_paths_with_at_signs_are_not() {
        assert_eq!(
            redact_url("https://u:p@h.example/a@b"),
            "https://xxxxx:xxxxx@h.example/a@b"
        );
        assert_eq!(redact_url("https://h.example/a@b"), "https://h.example/a@b");
        assert_eq!(redact_url("no url"), "no url");
        assert_eq!(redact_url("ssh://me@h:22"), "ssh://me@h:22");
        assert_eq!(redact_url("ssh://me:pw@h"), "ssh://xxxxx:xxxxx@h");
        assert_eq!(redact_url("https://token@h"), "https://xxxxx:xxxxx@h");
    }

    #[test]
    fn the_value_of_a_secret_field_and_the_rest_of_the_text_are_replaced() {
        assert_eq!(
            redact_fields("type=s3,\"Secret_Access_Key=a,b\",region=x"),
            "type=s3,\"Secret_Access_Key=xxxxx"
        );
        assert_eq!(redact_fields("type=local,dest=a,b"), "type=local,dest=a,b");
    }
}
