//! Encodes the packets of a transfer, several to a buffer.
//!
//! A context has tens of thousands of packets of about eighty bytes. Each packet is appended to the same buffer
//! together with the five bytes that gRPC puts before a message, so a whole buffer costs one allocation and one send.
//! The tests decode the result with the generated code of the `proto` crate.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::context::Entry;

/// The length of the gRPC prefix of each message: a flag for compression, and the length.
const PREFIX: usize = 5;
/// The most bytes that come before the data in a data packet.
pub(super) const DATA_HEADER: usize = PREFIX + 2 + 6 + 6;

const TYPE: u8 = 1;
const STAT: u8 = 2;
const ID: u8 = 3;
const DATA: u8 = 4;

const TYPE_DATA: u64 = 2;
const TYPE_FIN: u64 = 3;
const TYPE_ERR: u64 = 4;

fn varint(out: &mut Vec<u8>, value: u64) {
    prost::encoding::encode_varint(value, out);
}

fn varint_len(value: u64) -> usize {
    prost::encoding::encoded_len_varint(value)
}

fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        out.push(field << 3);
        varint(out, value);
    }
}

fn number_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

fn bytes_header(out: &mut Vec<u8>, field: u8, len: usize) {
    out.push(field << 3 | 2);
    varint(out, len as u64);
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    if !value.is_empty() {
        bytes_header(out, field, value.len());
        out.extend_from_slice(value);
    }
}

fn bytes_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn some_bytes_len(value: &[u8]) -> usize {
    if value.is_empty() {
        0
    } else {
        bytes_len(value.len())
    }
}

fn prefix(out: &mut Vec<u8>, compressed: bool, len: usize) {
    out.push(u8::from(compressed));
    // Messages are always far shorter than 4 GiB.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
}

/// Appends the packet that lists `entry`. `link` is the target of a symbolic link, or the first name of a hard-linked
/// file.
pub(super) fn stat(out: &mut Vec<u8>, entry: &Entry<'_>, link: &[u8]) {
    // Protobuf encodes a negative number as its two's complement.
    let size = entry.size.cast_unsigned();
    let mtime = entry.mtime.cast_unsigned();
    let major = entry.device.0.cast_unsigned();
    let minor = entry.device.1.cast_unsigned();
    let pair_len = |name: &[u8], value: &[u8]| bytes_len(name.len()) + bytes_len(value.len());
    let xattrs_len: usize = entry
        .xattrs
        .iter()
        .map(|(name, value)| bytes_len(pair_len(name, value)))
        .sum();
    // Owner and group are 0, so they are not written: the owner on this machine has no meaning for the daemon.
    let stat_len = some_bytes_len(entry.path)
        + number_len(entry.mode.into())
        + number_len(size)
        + number_len(mtime)
        + some_bytes_len(link)
        + number_len(major)
        + number_len(minor)
        + xattrs_len;
    prefix(out, false, bytes_len(stat_len));
    bytes_header(out, STAT, stat_len);
    bytes(out, 1, entry.path);
    number(out, 2, entry.mode.into());
    number(out, 5, size);
    number(out, 6, mtime);
    bytes(out, 7, link);
    number(out, 8, major);
    number(out, 9, minor);
    for (name, value) in entry.xattrs.iter() {
        bytes_header(out, 10, pair_len(name, value));
        bytes_header(out, 1, name.len());
        out.extend_from_slice(name);
        bytes_header(out, 2, value.len());
        out.extend_from_slice(value);
    }
}

/// Appends the packet that ends the list of entries.
pub(super) fn end_of_list(out: &mut Vec<u8>) {
    prefix(out, false, 0);
}

/// Appends the beginning of a packet with `len` bytes of the content of `id`; the caller appends the bytes. If `len`
/// is 0, the packet marks the end of the content.
pub(super) fn data_header(out: &mut Vec<u8>, id: u32, len: usize) {
    let data_len = if len == 0 { 0 } else { bytes_len(len) };
    let message_len = number_len(TYPE_DATA) + number_len(id.into()) + data_len;
    prefix(out, false, message_len);
    number(out, TYPE, TYPE_DATA);
    number(out, ID, id.into());
    if len > 0 {
        bytes_header(out, DATA, len);
    }
}

/// Compresses the message that begins at `start` and extends to the end of `out`, if that makes it smaller.
pub(super) fn compress(out: &mut Vec<u8>, start: usize) -> std::io::Result<()> {
    let message = start + PREFIX;
    let plain_len = out.len() - message;
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain_len / 2), Compression::fast());
    encoder.write_all(&out[message..])?;
    let compressed = encoder.finish()?;
    if compressed.len() < plain_len {
        out.truncate(start);
        prefix(out, true, compressed.len());
        out.extend_from_slice(&compressed);
    }
    Ok(())
}

/// The packet that confirms the end of the transfer.
pub(super) fn fin() -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    prefix(&mut out, false, number_len(TYPE_FIN));
    number(&mut out, TYPE, TYPE_FIN);
    out
}

/// The packet that ends the transfer with an error.
pub(super) fn error(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let len = number_len(TYPE_ERR) + some_bytes_len(text.as_bytes());
    prefix(&mut out, false, len);
    number(&mut out, TYPE, TYPE_ERR);
    bytes(&mut out, DATA, text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::stat::Xattrs;
    use crate::context::{Context, Filter, LinkTarget};
    use prost::Message as _;
    use rbake_proto::packet::{Packet, PacketType, Stat};

    // Decodes the messages in `bytes`, which must be uncompressed.
    fn decode(mut bytes: &[u8]) -> Vec<Packet> {
        let mut packets = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(bytes[0], 0);
            let len = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
            packets.push(Packet::decode(&bytes[5..5 + len]).unwrap());
            bytes = &bytes[5 + len..];
        }
        packets
    }

    #[test]
    fn encoded_entries_decode_to_the_same_entries() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        let no_flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&file, "user.one", b"1", no_flags).unwrap();
        rustix::fs::setxattr(&file, "user.none", b"", no_flags).unwrap();
        let context = Context::open(dir.path()).unwrap();
        let mut out = Vec::new();
        let _ = context
            .walk(&Filter::default(), |entry| {
                stat(&mut out, entry, b"");
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        let told = decode(&out).remove(0);
        assert_eq!(told.r#type(), PacketType::PacketStat);
        let mut told = told.stat.unwrap();
        assert_eq!(told.path, "file");
        assert_eq!(told.size, 5);
        told.xattrs.retain(|pair| pair.name.starts_with(b"user."));
        told.xattrs.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(told.xattrs.len(), 2);
        assert_eq!(
            (&told.xattrs[0].name[..], &told.xattrs[0].value[..]),
            (&b"user.none"[..], &b""[..])
        );
        assert_eq!(
            (&told.xattrs[1].name[..], &told.xattrs[1].value[..]),
            (&b"user.one"[..], &b"1"[..])
        );
    }

    #[test]
    fn every_number_survives_encoding() {
        let xattrs = Xattrs::new();
        let entry = Entry {
            id: 7,
            parent: None,
            path: b"dev/null",
            mode: 0x8420_01ff,
            size: i64::MAX,
            mtime: -1,
            ctime: 0,
            inode: 0,
            link: LinkTarget::None,
            device: (1, 3),
            xattrs: &xattrs,
            has_content: false,
        };
        let mut out = Vec::new();
        stat(&mut out, &entry, b"first");
        end_of_list(&mut out);
        let packets = decode(&out);
        let expected = Stat {
            path: "dev/null".into(),
            mode: 0x8420_01ff,
            size: i64::MAX,
            mod_time: -1,
            linkname: "first".into(),
            devmajor: 1,
            devminor: 3,
            ..Stat::default()
        };
        assert_eq!(packets[0].stat, Some(expected));
        assert_eq!(packets[1], Packet::default());
    }

    #[test]
    fn encoded_content_and_its_end_can_be_decoded() {
        for id in [0, 1, 300, u32::MAX] {
            let mut out = Vec::new();
            data_header(&mut out, id, 3);
            assert!(out.len() <= DATA_HEADER);
            out.extend_from_slice(b"abc");
            data_header(&mut out, id, 0);
            let packets = decode(&out);
            for (packet, data) in packets.iter().zip(["abc", ""]) {
                assert_eq!(packet.r#type(), PacketType::PacketData);
                assert_eq!((packet.id, &packet.data[..]), (id, data.as_bytes()));
            }
        }
        assert_eq!(decode(&fin())[0].r#type(), PacketType::PacketFin);
        let failed = &decode(&error("why"))[0];
        assert_eq!(
            (failed.r#type(), &failed.data[..]),
            (PacketType::PacketErr, &b"why"[..])
        );
    }

    #[test]
    fn data_that_does_not_shrink_stays_uncompressed() {
        let mut out = b"before".to_vec();
        data_header(&mut out, 1, 1);
        out.push(b'x');
        let plain = out.clone();
        compress(&mut out, 6).unwrap();
        assert_eq!(out, plain);

        out.truncate(6);
        data_header(&mut out, 1, 10_000);
        out.resize(out.len() + 10_000, b'x');
        compress(&mut out, 6).unwrap();
        assert_eq!(out[6], 1);
        let mut plain = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&out[6 + PREFIX..]);
        std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
        let packet = Packet::decode(&plain[..]).unwrap();
        assert_eq!(packet.data.len(), 10_000);
    }
}
