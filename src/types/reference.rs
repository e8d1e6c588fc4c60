//! Image references: `[domain/]path[:tag][@digest]`, with Docker's short forms.

use std::fmt;
use std::str::FromStr;

use super::Digest;

/// The domain of Docker Hub in the normal form.
pub(crate) const DOCKER_HUB: &str = "docker.io";

/// An image reference in its normal form: it always has a domain, and `library/` for Docker Hub's official images.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The text is not a valid image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// The text is empty.
    #[error("an image reference cannot be empty")]
    Empty,
    /// The repository name has upper-case letters.
    #[error("`{0}`: a repository name must be lower case")]
    UpperCase(String),
    /// The tag is not valid.
    #[error(
        "`{tag}` is not a valid tag (letters, digits, `_`, `.` and `-`, at most 128, not starting with `.` or `-`)"
    )]
    Tag {
        /// The text after the colon.
        tag: String,
    },
    /// The digest is not valid.
    #[error("`{0}` is not a valid digest")]
    Digest(String),
    /// Any other error.
    #[error("`{0}` is not a valid image reference")]
    Form(String),
}

impl Reference {
    /// The registry's domain, with its port if there is one; `docker.io` for Docker Hub.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// The path of the repository, without the domain.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// `domain/path`.
    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Whether the name has a digest.
    pub(crate) const fn has_digest(&self) -> bool {
        self.digest.is_some()
    }

    /// The tag. `None` if it has none.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest. `None` if it has none.
    pub(crate) const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same name with `digest` in place of its own.
    #[must_use]
    pub(crate) fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The tag; `latest` if there is neither a tag nor a digest. `None` if there is only a digest.
    pub(crate) fn tag_or_latest(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }

    /// The short form of the name: without `docker.io/` and `library/`, and without tag and digest.
    pub(crate) fn familiar_name(&self) -> String {
        if self.domain == DOCKER_HUB {
            self.path
                .strip_prefix("library/")
                .unwrap_or(&self.path)
                .to_owned()
        } else {
            self.repository()
        }
    }

    /// The short form of the name, with tag and digest as they were written.
    pub(crate) fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_suffix(&mut text);
        text
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

/// Whether `tag` is a valid tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
pub(crate) fn is_legal_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Whether `component` is a valid part of a path: groups of `[a-z0-9]`, joined by `.`, `_`, `__` or any number of
/// `-`.
fn is_legal_component(component: &str) -> bool {
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(alnum) || !bytes.last().is_some_and(alnum) {
        return false;
    }
    bytes.split(alnum).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
    })
}

fn is_legal_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, after)) => {
                let legal = !v6.is_empty()
                    && v6
                        .bytes()
                        .all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
                return legal && (after.is_empty() || after.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidReference::Empty);
        }
        let form = || InvalidReference::Form(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| InvalidReference::Digest(digest.to_owned()))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (domain, remainder) = match rest.split_once('/') {
            Some((first, remainder))
                if first.contains(['.', ':'])
                    || first == "localhost"
                    || first.bytes().any(|b| b.is_ascii_uppercase()) =>
            {
                (first, remainder)
            }
            _ => (DOCKER_HUB, rest),
        };
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (remainder, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_legal_tag(tag)) {
            return Err(InvalidReference::Tag {
                tag: tag.to_owned(),
            });
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidReference::UpperCase(path.to_owned()));
        }
        if path.len() > 255 || !path.split('/').all(is_legal_component) || !is_legal_domain(domain)
        {
            return Err(form());
        }
        let domain = if domain == "index.docker.io" {
            DOCKER_HUB
        } else {
            domain
        };
        let path = if domain == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        Ok(Self {
            domain: domain.to_owned(),
            path,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.repository();
        self.push_suffix(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("alpine", "docker.io/library/alpine"; "official image")]
    #[test_case("a/b:1", "docker.io/a/b:1"; "hub image")]
    #[test_case("localhost:5000/x:y", "localhost:5000/x:y"; "port")]
    #[test_case("localhost/x", "localhost/x"; "localhost")]
    #[test_case("ghcr.io/a/b--c__d.e:V1.0", "ghcr.io/a/b--c__d.e:V1.0"; "separators")]
    #[test_case("[::1]:5000/x", "[::1]:5000/x"; "ipv6")]
    fn references_are_normalised(text: &str, expected: &str) {
        assert_eq!(
            text.parse::<Reference>().map(|r| r.to_string()),
            Ok(expected.to_owned())
        );
    }

    #[test_case(""; "nothing")]
    #[test_case("UPPER/x"; "upper domain without dot")]
    #[test_case("a/Upper"; "upper path")]
    #[test_case("x:feature/a"; "slash in tag")]
    #[test_case("x:.y"; "dot first")]
    #[test_case("x:"; "empty tag")]
    #[test_case("a..b"; "two dots")]
    #[test_case("a/-b"; "dash first")]
    #[test_case("x@sha256:00"; "short digest")]
    fn invalid_references_are_refused(text: &str) {
        // The exception in this list is `UPPER/x`: `UPPER` is its domain, which may have upper-case letters.
        assert_eq!(text.parse::<Reference>().is_err(), text != "UPPER/x");
    }

    #[test]
    fn short_forms_leave_out_docker_hub() {
        let reference: Reference = "docker.io/library/alpine:3".parse().unwrap();
        assert_eq!(
            (reference.familiar_name(), reference.familiar()),
            ("alpine".into(), "alpine:3".into())
        );
    }
}
