//! Signatures of commits and tags.

use ssh_key::{PublicKey, SshSig};

/// Why signatures of PGP verify nothing.
pub(super) const OPENPGP: &str = "rbake cannot check signatures of OpenPGP yet";

/// What is signed with SSH keys for git.
const NAMESPACE: &str = "git";

/// A signature as it stands in a git object.
#[derive(Debug)]
pub(super) enum SignatureBlock {
    Pgp(PgpSignature),
    Ssh(Box<SshSig>),
}

/// What is read of a signature of PGP. It is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PgpSignature {
    pub(super) version: u8,
    issuer: Option<[u8; 8]>,
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotVerified {
    /// There is none, or it is wrong.
    Wrong,
    /// It may be right, but rbake cannot tell.
    Unsupported(&'static str),
}

impl SignatureBlock {
    /// `None` if `armored` is not a signature.
    pub(super) fn parse(armored: &str) -> Option<Self> {
        if armored.starts_with("-----BEGIN SSH SIGNATURE-----") {
            let signature = SshSig::from_pem(armored.trim_end()).ok()?;
            return Some(Self::Ssh(Box::new(signature)));
        }
        let pgp = armored.starts_with("-----BEGIN PGP SIGNATURE-----");
        let packets = pgp.then(|| unarmored(armored)).flatten()?;
        PgpSignature::parse(&packets).map(Self::Pgp)
    }
}

/// The bytes in an armor of PGP.
fn unarmored(armored: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    // Headers end with an empty line.
    let lines = armored.lines().map(str::trim).skip(1);
    let body = lines.skip_while(|line| !line.is_empty());
    let text: String = body
        .take_while(|line| !line.starts_with('=') && !line.starts_with("-----"))
        .collect();
    base64::prelude::BASE64_STANDARD.decode(text).ok()
}

impl PgpSignature {
    /// The id of the key in hexadecimal. `None` if the signature does not name it.
    pub(super) fn key_id(&self) -> Option<String> {
        self.issuer.map(hex::encode)
    }

    /// Reads the first packet that is a signature (RFC 9580, 4.2 and 5.2).
    fn parse(mut packets: &[u8]) -> Option<Self> {
        loop {
            let (tag, body, rest) = packet(packets)?;
            if tag == 2 {
                return Self::of_body(body);
            }
            packets = rest;
        }
    }

    fn of_body(body: &[u8]) -> Option<Self> {
        let version = *body.first()?;
        if !matches!(version, 4..=6) {
            return None;
        }
        let wide = version == 6;
        let (hashed, rest) = sized(body.get(4..)?, wide)?;
        let (unhashed, _) = sized(rest, wide)?;
        let issuer = subpacket(hashed).or_else(|| subpacket(unhashed));
        Some(Self { version, issuer })
    }
}

/// A packet's type, its content, and what follows it.
fn packet(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let header = *data.first()?;
    if header & 0x80 == 0 {
        return None;
    }
    let (tag, length, start) = if header & 0x40 == 0 {
        let bytes = match header & 3 {
            0 => 1,
            1 => 2,
            2 => 4,
            _ => return None,
        };
        ((header >> 2) & 0xf, number(data.get(1..=bytes)?), 1 + bytes)
    } else {
        let (length, bytes) = length(data.get(1..)?)?;
        (header & 0x3f, length, 1 + bytes)
    };
    let rest = data.get(start..)?;
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

/// The length at the beginning of `data`, and the bytes that it takes.
fn length(data: &[u8]) -> Option<(usize, usize)> {
    match *data.first()? {
        first @ 0..=191 => Some((usize::from(first), 1)),
        first @ 192..=223 => {
            let second = usize::from(*data.get(1)?);
            Some(((usize::from(first) - 192) * 256 + second + 192, 2))
        }
        255 => Some((number(data.get(1..5)?), 5)),
        _ => None,
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// The content behind its length, and what follows it.
fn sized(data: &[u8], wide: bool) -> Option<(&[u8], &[u8])> {
    let bytes = if wide { 4 } else { 2 };
    let length = number(data.get(..bytes)?);
    let rest = data.get(bytes..)?;
    Some((rest.get(..length)?, rest.get(length..)?))
}

/// The id of the issuer among subpackets.
fn subpacket(mut data: &[u8]) -> Option<[u8; 8]> {
    const ISSUER: u8 = 16;
    while !data.is_empty() {
        let (size, bytes) = length(data)?;
        let rest = data.get(bytes..)?;
        let content = rest.get(..size)?;
        if content.first()? & 0x7f == ISSUER {
            return content.get(1..)?.try_into().ok();
        }
        data = rest.get(size..)?;
    }
    None
}

/// Checks the `armored` signature of `signed` by the public key in `key`.
pub(super) fn verify(armored: &str, signed: &[u8], key: &[u8]) -> Result<(), NotVerified> {
    match SignatureBlock::parse(armored) {
        None => Err(NotVerified::Wrong),
        Some(SignatureBlock::Pgp(_)) => Err(NotVerified::Unsupported(OPENPGP)),
        Some(SignatureBlock::Ssh(signature)) => {
            let key = public_key(key).ok_or(NotVerified::Wrong)?;
            let verified = key.verify(NAMESPACE, signed, &signature);
            verified.map_err(|error| match error {
                ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
                    NotVerified::Unsupported("rbake does not know the kind of its SSH key")
                }
                _ => NotVerified::Wrong,
            })
        }
    }
}

/// The first key in a file in the form of `authorized_keys`.
fn public_key(file: &[u8]) -> Option<PublicKey> {
    let text = std::str::from_utf8(file).ok()?;
    let lines = text.lines().map(str::trim);
    let mut keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    keys.find_map(|line| PublicKey::from_openssh(line).ok())
}
