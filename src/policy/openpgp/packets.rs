//! Packets, as far as keys and signatures consist of them (RFC 9580, 4 and 5).

use pgp::packet::{Packet, PacketParser, PublicKey, PublicSubkey, UserId};
use pgp::types::{EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails as _, PublicParams};

use super::facts::SignatureFacts;

/// The largest key that is read, in bytes. A key for RSA with 8192 bits has about 1 KiB.
const LARGEST_KEY: usize = 2 << 10;

/// A packet of a key or of a signature.
#[derive(Debug)]
pub(super) enum PacketContent {
    Primary(Box<PrimaryPacket>),
    Subkey(Box<PublicSubkey>),
    User(UserId),
    Signature(Box<SignatureFacts>),
    /// Something else that stands between the others.
    Other,
}

/// A primary key.
#[derive(Debug)]
pub(super) struct PrimaryPacket {
    pub(super) key: PublicKey,
    /// The bits of a key for RSA. `None` for other algorithms.
    pub(super) rsa_bits: Option<usize>,
}

/// Why there is no next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketError {
    /// The packet is wrong, and the next one may be read.
    Unreadable,
    /// Nothing can be read behind it.
    Broken,
}

/// Reads packets one after the other. Packets that buildx does not know are left out, as buildx does it.
#[derive(Debug)]
pub(super) struct Packets<'p> {
    left: &'p [u8],
    /// A packet that was read and not used.
    unread: Option<PacketContent>,
    /// Whether there was a packet that buildx reads, and rbake does not.
    pub(super) has_gap: bool,
}

impl<'p> Packets<'p> {
    pub(super) const fn of(left: &'p [u8]) -> Self {
        Self {
            left,
            unread: None,
            has_gap: false,
        }
    }

    /// The next packet, or `None` at the end.
    ///
    /// # Errors
    /// There is something else.
    pub(super) fn next(&mut self) -> Result<Option<PacketContent>, PacketError> {
        if let Some(item) = self.unread.take() {
            return Ok(Some(item));
        }
        while !self.left.is_empty() {
            let raw = RawPacket::first(self.left).ok_or(PacketError::Broken)?;
            self.left = raw.rest;
            if let Some(item) = self.item(&raw)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// Makes `item` the next packet again.
    pub(super) fn put_back(&mut self, item: PacketContent) {
        self.unread = Some(item);
    }

    /// What is in the packet `raw`. `None` if it is left out.
    fn item(&mut self, raw: &RawPacket) -> Result<Option<PacketContent>, PacketError> {
        match raw.tag {
            Tag::SIGNATURE => self.signature(raw),
            Tag::PUBLIC_KEY | Tag::PUBLIC_SUBKEY => self.key(raw),
            // Reading them is work, and they do not belong here.
            Tag::SECRET_KEY | Tag::SECRET_SUBKEY => {
                self.has_gap = true;
                Ok(None)
            }
            Tag::USER_ID => match raw.parsed() {
                Some(Packet::UserId(user)) => Ok(Some(PacketContent::User(user))),
                _ => Err(PacketError::Unreadable),
            },
            Tag::USER_ATTRIBUTE | Tag::PADDING => Ok(Some(PacketContent::Other)),
            // Trust, markers, and what is not known.
            _ => Ok(None),
        }
    }

    fn signature(&mut self, raw: &RawPacket) -> Result<Option<PacketContent>, PacketError> {
        let version = *raw.body.first().ok_or(PacketError::Broken)?;
        match version {
            4 | 6 => {}
            5 => {
                self.has_gap = true;
                return Ok(None);
            }
            _ => return Ok(None),
        }
        let Some(Packet::Signature(signature)) = raw.parsed() else {
            self.has_gap = true;
            return Err(PacketError::Unreadable);
        };
        let facts = SignatureFacts::of(signature, version)?;
        Ok(facts.map(|mut facts| {
            facts.suffix = suffix(raw.body).unwrap_or_default();
            PacketContent::Signature(Box::new(facts))
        }))
    }

    fn key(&mut self, raw: &RawPacket) -> Result<Option<PacketContent>, PacketError> {
        let (version, algorithm) = match (raw.body.first(), raw.body.get(5)) {
            (Some(version), Some(algorithm)) => (*version, *algorithm),
            _ => return Err(PacketError::Broken),
        };
        match (version, algorithm) {
            // Checking a signature of DSA takes a time that the key determines.
            (5, _) | (4 | 6, 17) => {
                self.has_gap = true;
                return Ok(None);
            }
            (4 | 6, 1..=3 | 16 | 18 | 19 | 22 | 25..=28) => {}
            _ => return Ok(None),
        }
        if raw.body.len() > LARGEST_KEY {
            self.has_gap = true;
            return Err(PacketError::Unreadable);
        }
        let item = match raw.parsed() {
            Some(Packet::PublicKey(key)) => primary(key, raw),
            Some(Packet::PublicSubkey(key)) => PacketContent::Subkey(Box::new(key)),
            _ => {
                self.has_gap = true;
                return Err(PacketError::Unreadable);
            }
        };
        let parameters = match &item {
            PacketContent::Primary(primary) => primary.key.public_params(),
            PacketContent::Subkey(key) => key.public_params(),
            _ => return Err(PacketError::Unreadable),
        };
        self.has_gap |= is_other_curve(parameters);
        Ok(Some(item))
    }
}

/// Whether buildx may know the curve of a key, and rbake does not.
fn is_other_curve(parameters: &PublicParams) -> bool {
    matches!(
        parameters,
        PublicParams::ECDSA(EcdsaPublicParams::Unsupported { .. })
            | PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Unsupported { .. })
    )
}

/// What is hashed behind the data that a signature of version 4 is about (RFC 9580, 5.2.4). `None` for other versions.
fn suffix(signature: &[u8]) -> Option<Vec<u8>> {
    const VERSION: u8 = 4;
    // Version, kind, two algorithms, and the length of the hashed subpackets.
    const HEADER: usize = 6;
    if signature.first() != Some(&VERSION) {
        return None;
    }
    let hashed = signature.get(..HEADER + number(signature.get(4..HEADER)?))?;
    let length = u32::try_from(hashed.len()).ok()?;
    Some([hashed, &[VERSION, 0xff], &length.to_be_bytes()].concat())
}

fn primary(key: PublicKey, raw: &RawPacket) -> PacketContent {
    let rsa_bits = matches!(key.public_params(), PublicParams::RSA(_)).then(|| rsa_bits(raw.body));
    PacketContent::Primary(Box::new(PrimaryPacket { key, rsa_bits }))
}

/// The bits of the modulus in a key for RSA.
fn rsa_bits(key: &[u8]) -> usize {
    // Version, time and algorithm, and in version 6 a length.
    let start = if key.first() == Some(&6) { 10 } else { 6 };
    let claimed = key.get(start..start + 2).map_or(0, number);
    let modulus = key.get(start + 2..start + 2 + claimed.div_ceil(8));
    let significant = modulus.and_then(|modulus| {
        let zeros = modulus.iter().position(|byte| *byte != 0)?;
        let first = modulus.get(zeros)?;
        Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
    });
    significant.unwrap_or(0)
}

/// Types of packets (RFC 9580, 5).
struct Tag;

impl Tag {
    const SIGNATURE: u8 = 2;
    const SECRET_KEY: u8 = 5;
    const PUBLIC_KEY: u8 = 6;
    const SECRET_SUBKEY: u8 = 7;
    const USER_ID: u8 = 13;
    const PUBLIC_SUBKEY: u8 = 14;
    const USER_ATTRIBUTE: u8 = 17;
    const PADDING: u8 = 21;
}

/// A packet whose content is not read yet.
struct RawPacket<'p> {
    tag: u8,
    /// With its header.
    whole: &'p [u8],
    body: &'p [u8],
    /// What follows it.
    rest: &'p [u8],
}

impl<'p> RawPacket<'p> {
    /// The first packet in `data`. Packets in parts, which neither keys nor signatures are, are not read.
    fn first(data: &'p [u8]) -> Option<Self> {
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
        let end = start.checked_add(length)?;
        Some(Self {
            tag,
            whole: data.get(..end)?,
            body: data.get(start..end)?,
            rest: data.get(end..)?,
        })
    }

    fn parsed(&self) -> Option<Packet> {
        PacketParser::new(self.whole).next()?.ok()
    }
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
