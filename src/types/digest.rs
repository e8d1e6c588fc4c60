//! Content digests in the form `algorithm:hex`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A content digest such as `sha256:9f86d0…`. Its form was checked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

/// The text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid digest (expected `sha256:` and 64 hexadecimal digits)")]
pub struct InvalidDigest(String);

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))).into())
    }

    /// The digest with the bytes `hash`, for data that was hashed in pieces.
    pub(crate) fn from_sha256(hash: [u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(hash)).into())
    }

    /// The digest of `bytes`, by the same algorithm as this one.
    pub(crate) fn of_same_algorithm(&self, bytes: &[u8]) -> Self {
        let hex = match self.algorithm() {
            "sha512" => hex::encode(Sha512::digest(bytes)),
            "sha384" => hex::encode(Sha384::digest(bytes)),
            _ => return Self::sha256(bytes),
        };
        Self(format!("{}:{hex}", self.algorithm()).into())
    }

    /// Computes a digest by the same algorithm as this one, of data that comes in pieces.
    pub(crate) fn hasher(&self) -> DigestHasher {
        match self.algorithm() {
            "sha512" => DigestHasher::Sha512(Sha512::new()),
            "sha384" => DigestHasher::Sha384(Sha384::new()),
            _ => DigestHasher::Sha256(Sha256::new()),
        }
    }

    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the colon, such as `sha256`.
    pub(crate) fn algorithm(&self) -> &str {
        self.0
            .split_once(':')
            .map_or("", |(algorithm, _)| algorithm)
    }

    /// The part after the colon: hexadecimal digits.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first twelve hexadecimal digits, the short form for people.
    pub(crate) fn short(&self) -> &str {
        let hex = self.hex();
        &hex[..hex.len().min(12)]
    }
}

/// Computes a [`Digest`] of data that comes in pieces.
#[derive(Debug, Clone)]
pub(crate) enum DigestHasher {
    /// By SHA-256.
    Sha256(Sha256),
    /// By SHA-384.
    Sha384(Sha384),
    /// By SHA-512.
    Sha512(Sha512),
}

impl DigestHasher {
    /// Adds the next piece.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(piece),
            Self::Sha384(hasher) => hasher.update(piece),
            Self::Sha512(hasher) => hasher.update(piece),
        }
    }

    /// The digest of all pieces.
    pub(crate) fn finish(self) -> Digest {
        let (algorithm, hex) = match self {
            Self::Sha256(hasher) => ("sha256", hex::encode(hasher.finalize())),
            Self::Sha384(hasher) => ("sha384", hex::encode(hasher.finalize())),
            Self::Sha512(hasher) => ("sha512", hex::encode(hasher.finalize())),
        };
        Digest(format!("{algorithm}:{hex}").into())
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = match text.split_once(':') {
            Some(("sha256", hex)) => (hex, 64),
            Some(("sha384", hex)) => (hex, 96),
            Some(("sha512", hex)) => (hex, 128),
            _ => return Err(InvalidDigest(text.to_owned())),
        };
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if wanted.0.len() == wanted.1 && wanted.0.bytes().all(lower_hex) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDigest(text.to_owned()))
        }
    }
}

#[cfg(any(test, feature = "recording"))]
impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_the_empty_string() {
        let digest = Digest::sha256(b"");
        assert_eq!(digest.short(), "e3b0c44298fc");
        assert_eq!(digest.as_str().parse::<Digest>().as_ref(), Ok(&digest));
    }

    #[test]
    fn a_digest_is_compared_with_one_of_the_same_algorithm() {
        for (text, length) in [("sha256:", 64), ("sha384:", 96), ("sha512:", 128)] {
            let other: Digest = format!("{text}{}", "0".repeat(length)).parse().unwrap();
            let digest = other.of_same_algorithm(b"abc");
            assert_eq!(digest.algorithm(), other.algorithm());
            let mut hasher = other.hasher();
            for piece in [&b"a"[..], b"", b"bc"] {
                hasher.update(piece);
            }
            assert_eq!(hasher.finish(), digest);
            assert_eq!(digest.as_str().parse::<Digest>().as_ref(), Ok(&digest));
        }
        let sha256 = Digest::sha256(b"");
        assert_eq!(sha256.of_same_algorithm(b""), sha256);
    }

    #[test]
    fn malformed_digests_are_refused() {
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:AB",
            "md5:00",
            "sha256:../../etc",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
