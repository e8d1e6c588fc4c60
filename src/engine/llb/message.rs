//! Parts of BuildKit's definitions (`solver/pb/ops.proto`) that several modules read or write.

use std::collections::BTreeMap;

use bytes::{BufMut as _, BytesMut};
use prost::encoding::{WireType, encode_varint};

/// The tags of the fields of a definition: its operations, and what is known about them.
pub(in crate::engine) const OPERATIONS: u32 = 1;
pub(in crate::engine) const METADATA: u32 = 2;

/// The key of an operation's name in its description (`client/llb`).
pub(in crate::engine) const NAME: &str = "llb.customname";

/// A result that an operation uses.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub(in crate::engine) struct OperationInput {
    #[prost(string, tag = "1")]
    pub(in crate::engine) digest: String,
    #[prost(int64, tag = "2")]
    pub(in crate::engine) index: i64,
}

/// What is known about an operation.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::engine) struct OperationMetadata {
    #[prost(btree_map = "string, string", tag = "2")]
    pub(in crate::engine) description: BTreeMap<String, String>,
}

/// The metadata of one operation.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::engine) struct MetadataEntry {
    #[prost(string, tag = "1")]
    pub(in crate::engine) digest: String,
    #[prost(message, optional, tag = "2")]
    pub(in crate::engine) metadata: Option<OperationMetadata>,
}

/// An operation that brings files from outside.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::engine) struct LlbSource {
    #[prost(string, tag = "1")]
    pub(in crate::engine) identifier: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(in crate::engine) attrs: BTreeMap<String, String>,
}

/// Adds a field to an encoded message.
pub(in crate::engine) fn put(to: &mut BytesMut, tag: u32, value: &[u8]) {
    prost::encoding::encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(value.len() as u64, to);
    to.put_slice(value);
}
