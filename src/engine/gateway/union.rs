//! One definition of the results of several: a merge of their file systems.
//!
//! The merge depends on all of the results, so the cache of a job that returns it has one last record. BuildKit (v0.32) loses
//! steps of a cache that has several (`cache/remotecache/v1/cachestorage.go`, `addItemToStorage`).

use std::collections::{BTreeMap, HashSet};

use bytes::{Buf as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::super::llb::message::{
    METADATA, MetadataEntry, NAME, OPERATIONS, OperationInput, OperationMetadata, put,
};
use crate::types::Digest;

/// The largest definition that is made, in bytes. BuildKit accepts requests of at most 16 MiB.
const SIZE_LIMIT: usize = 12 << 20;

/// An operation that merges its inputs. It copies nothing: the layers of the result are those of the inputs.
#[derive(Clone, PartialEq, prost::Message)]
struct MergeOperation {
    #[prost(message, repeated, tag = "1")]
    inputs: Vec<OperationInput>,
    #[prost(message, optional, tag = "6")]
    merge: Option<Merge>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Merge {
    #[prost(message, repeated, tag = "1")]
    inputs: Vec<MergeInput>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MergeInput {
    #[prost(int64, tag = "1")]
    input: i64,
}

/// The name of the merge. The prefix says that it is not a step of the user's.
const MERGE_NAME: &str = "[internal] join the results";

/// Returns a definition whose result depends on the results of all `definitions`. `None` if there are less than two
/// different results, if one of the definitions cannot be read, or if the definition would be too large.
///
/// The operations and their metadata are copied as bytes, each once. If they were encoded again, the daemon would crash
/// because of empty values in maps.
pub(super) fn union(definitions: &[Bytes]) -> Option<Bytes> {
    let mut union = BytesMut::new();
    let mut seen = HashSet::new();
    let mut results: Vec<OperationInput> = Vec::new();
    for definition in definitions {
        let mut last = None;
        for field in Fields(definition.clone()) {
            let (tag, value) = field?;
            if tag == OPERATIONS {
                last = Some(value.clone());
            }
            if [OPERATIONS, METADATA].contains(&tag) && seen.insert((tag, value.clone())) {
                put(&mut union, tag, &value);
            }
            if union.len() > SIZE_LIMIT {
                return None;
            }
        }
        // The last operation only names the result: its input.
        let last = MergeOperation::decode(last?).ok()?;
        let result = last.inputs.into_iter().next()?;
        if !results.contains(&result) {
            results.push(result);
        }
    }
    if results.len() < 2 {
        return None;
    }
    let merge = Merge {
        inputs: (0..)
            .take(results.len())
            .map(|input| MergeInput { input })
            .collect(),
    };
    let merge = MergeOperation {
        inputs: results,
        merge: Some(merge),
    };
    let merge = merge.encode_to_vec();
    let digest = Digest::sha256(&merge).to_string();
    let description = BTreeMap::from([(NAME.to_owned(), MERGE_NAME.to_owned())]);
    let metadata = MetadataEntry {
        digest: digest.clone(),
        metadata: Some(OperationMetadata { description }),
    };
    put(&mut union, METADATA, &metadata.encode_to_vec());
    let result = MergeOperation {
        inputs: vec![OperationInput { digest, index: 0 }],
        merge: None,
    };
    put(&mut union, OPERATIONS, &merge);
    put(&mut union, OPERATIONS, &result.encode_to_vec());
    Some(union.freeze())
}

/// The fields of a message all of whose fields have a length. `None` instead of a field that does not.
struct Fields(Bytes);

impl Fields {
    fn field(&mut self) -> Option<(u32, Bytes)> {
        let (tag, WireType::LengthDelimited) = decode_key(&mut self.0).ok()? else {
            return None;
        };
        let length = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
        (length <= self.0.remaining()).then(|| (tag, self.0.split_to(length)))
    }
}

impl Iterator for Fields {
    type Item = Option<(u32, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.has_remaining().then(|| {
            let field = self.field();
            if field.is_none() {
                self.0.clear();
            }
            field
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(digest: &str) -> OperationInput {
        OperationInput {
            digest: digest.to_owned(),
            index: 0,
        }
    }

    /// A definition of `operations` whose result is `result`. Its metadata has an empty value, as the daemon's may have.
    fn definition(operations: &[&str], result: &str) -> Bytes {
        let mut bytes = BytesMut::new();
        for operation in operations {
            put(&mut bytes, OPERATIONS, operation.as_bytes());
        }
        let last = MergeOperation {
            inputs: vec![input(result)],
            merge: None,
        };
        put(&mut bytes, OPERATIONS, &last.encode_to_vec());
        put(&mut bytes, METADATA, b"\x0a\x01a\x12\x00");
        put(&mut bytes, 3, b"sources");
        bytes.freeze()
    }

    fn operations(definition: &Bytes) -> Vec<Bytes> {
        let fields = Fields(definition.clone()).map(Option::unwrap);
        let operations = fields.filter(|(tag, _)| *tag == OPERATIONS);
        operations.map(|(_, value)| value).collect()
    }

    #[test]
    fn the_result_depends_on_the_results_of_all_definitions() {
        let one = definition(&["base", "web"], "sha256:web");
        let other = definition(&["base", "worker"], "sha256:worker");
        let union = union(&[one.clone(), other, one]).unwrap();
        let operations = operations(&union);
        assert_eq!(operations[0], "base");
        assert_eq!(operations[1], "web");
        assert_eq!(operations[3], "worker");
        let [.., merge, last] = operations.as_slice() else {
            panic!("{operations:?}");
        };
        let parsed = MergeOperation::decode(merge.clone()).unwrap();
        assert_eq!(parsed.inputs, [input("sha256:web"), input("sha256:worker")]);
        let merged: Vec<i64> = parsed
            .merge
            .unwrap()
            .inputs
            .iter()
            .map(|one| one.input)
            .collect();
        assert_eq!(merged, [0, 1]);
        let last = MergeOperation::decode(last.clone()).unwrap();
        assert_eq!(last.inputs[0].digest, Digest::sha256(merge).to_string());
        let metadata = Fields(union).map(Option::unwrap);
        let metadata: Vec<_> = metadata.filter(|(tag, _)| *tag != OPERATIONS).collect();
        let [(METADATA, copied), (METADATA, named)] = metadata.as_slice() else {
            panic!("{metadata:?}");
        };
        assert_eq!(copied, &Bytes::from_static(b"\x0a\x01a\x12\x00"));
        let named = MetadataEntry::decode(named.clone()).unwrap();
        assert_eq!(named.digest, last.inputs[0].digest);
        assert_eq!(named.metadata.unwrap().description[NAME], MERGE_NAME);
    }

    #[test]
    fn one_result_needs_no_union() {
        let one = definition(&["web"], "sha256:web");
        assert_eq!(union(&[]), None);
        assert_eq!(union(std::slice::from_ref(&one)), None);
        assert_eq!(union(&[one.clone(), one]), None);
    }

    #[test]
    fn definitions_that_cannot_be_read_have_no_union() {
        let one = definition(&["web"], "sha256:web");
        for broken in ["", "\x0a\x7f", "\x08\x01", "\x0a", "\x0a\x03abc"] {
            let broken = Bytes::from_static(broken.as_bytes());
            assert_eq!(union(&[one.clone(), broken]), None);
        }
    }

    #[test]
    fn a_definition_that_the_daemon_would_refuse_is_not_made() {
        let large = "x".repeat(SIZE_LIMIT);
        let one = definition(&[&large], "sha256:web");
        let other = definition(&["worker"], "sha256:worker");
        assert_eq!(union(&[one, other]), None);
    }
}
