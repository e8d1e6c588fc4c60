//! The definition of an empty file system.
//!
//! BuildKit describes an empty result, that of `FROM scratch` with settings only, by no definition at all. It does not accept
//! that as an input: the frontend refuses it (`client/llb`, `NewDefinitionOp`), and older daemons crash. The difference
//! between nothing and nothing is an operation that BuildKit accepts, and whose result is empty and has no layer
//! (`solver/llbsolver/ops/diff.go`). So the settings of the image can be passed on with it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::super::llb::message::{
    METADATA, MetadataEntry, NAME, OPERATIONS, OperationInput, OperationMetadata, put,
};
use crate::types::Digest;

/// The index of an input that is empty.
const NOTHING: i64 = -1;
/// The name of the operation. The prefix says that it is not a step of the user's.
const EMPTY_NAME: &str = "[internal] empty file system";

/// An operation that gives what one input has and the other does not.
#[derive(Clone, PartialEq, prost::Message)]
struct DiffOperation {
    #[prost(message, repeated, tag = "1")]
    inputs: Vec<OperationInput>,
    #[prost(message, optional, tag = "7")]
    diff: Option<Diff>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Diff {
    #[prost(message, optional, tag = "1")]
    lower: Option<DiffInput>,
    #[prost(message, optional, tag = "2")]
    upper: Option<DiffInput>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DiffInput {
    #[prost(int64, tag = "1")]
    input: i64,
}

/// Returns a definition whose result is empty.
pub(in crate::engine) fn empty_file_system() -> Bytes {
    let nothing = Some(DiffInput { input: NOTHING });
    let diff = DiffOperation {
        inputs: Vec::new(),
        diff: Some(Diff {
            lower: nothing.clone(),
            upper: nothing,
        }),
    };
    let diff = diff.encode_to_vec();
    let digest = Digest::sha256(&diff).to_string();
    let description = BTreeMap::from([(NAME.to_owned(), EMPTY_NAME.to_owned())]);
    let metadata = MetadataEntry {
        digest: digest.clone(),
        metadata: Some(OperationMetadata { description }),
    };
    let result = DiffOperation {
        inputs: vec![OperationInput { digest, index: 0 }],
        diff: None,
    };
    let mut definition = BytesMut::new();
    put(&mut definition, OPERATIONS, &diff);
    put(&mut definition, OPERATIONS, &result.encode_to_vec());
    put(&mut definition, METADATA, &metadata.encode_to_vec());
    definition.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operation_has_two_empty_inputs_and_is_the_result() {
        let definition = empty_file_system();
        // Field 7 with fields 1 and 2, each with field 1: the number -1.
        let operation = b"\x3a\x1a\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x12\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let begin = [b"\x0a\x1c", operation.as_slice()].concat();
        assert_eq!(&definition[..begin.len()], begin);
        let digest = Digest::sha256(operation).to_string();
        let result = [b"\x0a\x4b\x0a\x49\x0a\x47", digest.as_bytes()].concat();
        assert_eq!(&definition[begin.len()..begin.len() + result.len()], result);
    }
}
