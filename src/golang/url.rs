//! URLs as Go's `net/url` splits them. Unlike the standard of browsers, it leaves hosts, ports and paths as they are written.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

/// The parts of an absolute URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GoUrl {
    /// In lower case.
    pub(crate) scheme: String,
    /// The user and the password, as written. `None` if there are none.
    pub(crate) user: Option<String>,
    /// The host, with its port if there is one.
    pub(crate) host: String,
    /// The path, decoded.
    pub(crate) path: String,
    /// The path as it is sent.
    pub(crate) escaped_path: String,
    /// The query as written, without `?`.
    pub(crate) query: String,
    /// The part after `#`, decoded.
    pub(crate) fragment: String,
}

/// The text is not an absolute URL, or Go refuses it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not a URL")]
pub(crate) struct InvalidUrl;

impl GoUrl {
    /// Parses `text`, which must have a scheme and `//`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(InvalidUrl);
        }
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = rest.split_once("://").ok_or(InvalidUrl)?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(is_scheme)
        {
            return Err(InvalidUrl);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        if !is_host(host) {
            return Err(InvalidUrl);
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user,
            host: host.to_owned(),
            path: decoded(path)?,
            escaped_path: escaped(path),
            query: query.to_owned(),
            fragment: decoded(fragment)?,
        })
    }

    /// The URL without query and fragment.
    pub(crate) fn without_options(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@"));
        let user = user.unwrap_or_default();
        format!("{}://{user}{}{}", self.scheme, self.host, self.escaped_path)
    }

    /// The values of the query by key, in order. Pairs that cannot be decoded are left out, like in Go.
    pub(crate) fn query_values(&self) -> Vec<(String, String)> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.filter(|pair| !pair.contains(';')).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |text: &str| decoded(&text.replace('+', " "));
            Ok::<_, InvalidUrl>((plain(key)?, plain(value)?))
        });
        pairs.filter_map(Result::ok).collect()
    }
}

/// Whether `host` is one that Go accepts: without escapes, and with a number as the port.
fn is_host(host: &str) -> bool {
    let (name, port) = if host.starts_with('[') {
        match host.split_once(']') {
            Some((_, port)) => ("", port),
            None => return false,
        }
    } else {
        host.split_at(host.find(':').unwrap_or(host.len()))
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    port.bytes().all(|byte| byte.is_ascii_digit())
        && !name.contains(['%', ' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}'])
}

/// Decodes the escapes of `text`.
///
/// # Errors
/// An escape has no two digits. What is not UTF-8 is refused, too: no policy could name it.
fn decoded(text: &str) -> Result<String, InvalidUrl> {
    let mut escapes = text.split('%').skip(1);
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !escapes.all(is_escape) {
        return Err(InvalidUrl);
    }
    let text = percent_decode_str(text).decode_utf8();
    text.map(std::borrow::Cow::into_owned)
        .map_err(|_| InvalidUrl)
}

/// `path` as it is sent: as written, or encoded anew if it has characters that must be encoded.
fn escaped(path: &str) -> String {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&byte);
    if path.bytes().all(is_plain) {
        return path.to_owned();
    }
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte);
    let mut text = String::new();
    for byte in percent_decode_str(path) {
        if stays(byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_as_they_are_written() {
        let url = GoUrl::parse("HTTPS://me:pw@Example.com:443/a/../b%20c?x=1&x=%32&bad=%zz#f%3a");
        let url = url.unwrap();
        assert_eq!(
            (&*url.scheme, &*url.host, &*url.path),
            ("https", "Example.com:443", "/a/../b c")
        );
        assert_eq!(
            url.without_options(),
            "https://me:pw@Example.com:443/a/../b%20c"
        );
        let pair = |value: &str| ("x".to_owned(), value.to_owned());
        assert_eq!(url.query_values(), [pair("1"), pair("2")]);
        assert_eq!(url.fragment, "f:");
    }

    #[test]
    fn paths_are_encoded_if_they_must_be() {
        let path = |text: &str| GoUrl::parse(text).unwrap().escaped_path;
        assert_eq!(path("http://h/a b(c)"), "/a%20b%28c%29");
        assert_eq!(path("http://h/a(b)%41"), "/a(b)%41");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "h/a",
            "://h",
            "1a://h",
            "http://h:x/",
            "http://[::1/",
            "http://h/%a",
            "http://h\n/",
        ] {
            assert_eq!(GoUrl::parse(text), Err(InvalidUrl), "{text:?}");
        }
    }
}
