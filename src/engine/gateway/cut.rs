//! Definitions of results, cut to the steps that have finished.
//!
//! A definition is the list of its operations, each encoded, and the last one only names the result: its input. So a
//! definition with another result is the same bytes and one more operation at the end (`solver/llbsolver/vertex.go`,
//! `loadLLB`). Nothing is encoded again.

use std::collections::{BTreeMap, HashMap};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;

use super::super::llb::message::{NAME, OperationInput, OperationMetadata};
use super::super::steps::{ReportedSteps, StepState};
use crate::types::Digest;
use crate::types::secret::redact_urls;

/// The most results of one definition. A definition in which more steps wait for finished ones is cut to these.
const RESULT_LIMIT: usize = 256;
/// The most reported steps that may be one operation. With more of them, it does not matter which one it is.
const CANDIDATE_LIMIT: usize = 16;

/// The part of a definition (`solver/pb/ops.proto`) that is read.
#[derive(Clone, PartialEq, prost::Message)]
struct Definition {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    operations: Vec<Bytes>,
    #[prost(btree_map = "string, message", tag = "2")]
    metadata: BTreeMap<String, OperationMetadata>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Operation {
    #[prost(message, repeated, tag = "1")]
    inputs: Vec<OperationInput>,
}

/// The tag of the field `def` of a definition, with its wire type.
const OPERATION_FIELD: u8 = 0x0a;

/// Returns the definitions of all results in `definition` that steps which did not finish wait for. If all steps
/// finished, this is the result of the whole definition. Sources are left out, because no cache holds them.
///
/// The daemon identifies operations by digests, in which the ids of sessions are included, so an operation of a new
/// solve may have another digest than in the one that was reported. Then it is found by its name and its inputs. If
/// several reported steps look like it, all of them must have finished.
pub(in crate::engine) fn cut_to_finished(
    definition: &Bytes,
    reported: &ReportedSteps,
) -> Result<Vec<Bytes>, prost::DecodeError> {
    let parsed = Definition::decode(definition.clone())?;
    let known = KnownSteps::of(reported);
    let mut ended: HashMap<Digest, Ended> = HashMap::new();
    let mut results: Vec<OperationInput> = Vec::new();
    let last = parsed.operations.len().saturating_sub(1);
    for (at, bytes) in parsed.operations.iter().enumerate() {
        let operation = Operation::decode(bytes.clone())?;
        let digest = Digest::sha256(bytes);
        let metadata = parsed.metadata.get(digest.as_str());
        let name = metadata.and_then(|metadata| metadata.description.get(NAME));
        let candidates = if at == last {
            Vec::new()
        } else {
            known.candidates(&digest, name.map(String::as_str), &operation, &ended)
        };
        let is_finished =
            !candidates.is_empty() && candidates.iter().all(|step| known.is_finished(step));
        if !is_finished {
            results.extend(waited_for(&operation, &ended));
        }
        let is_source = operation.inputs.is_empty();
        let step = Ended {
            is_finished: is_finished && !is_source,
            candidates,
        };
        ended.insert(digest, step);
    }
    results.sort();
    results.dedup();
    results.truncate(RESULT_LIMIT);
    let cut = results.into_iter();
    Ok(cut.map(|result| with_result(definition, result)).collect())
}

/// What is known of an operation.
struct Ended<'r> {
    /// Whether it is a step whose result the daemon has.
    is_finished: bool,
    /// The reported steps that it may be.
    candidates: Vec<&'r Digest>,
}

/// The inputs of `operation` that are results of finished steps.
fn waited_for<'o>(
    operation: &'o Operation,
    ended: &'o HashMap<Digest, Ended<'_>>,
) -> impl Iterator<Item = OperationInput> + 'o {
    let is_finished = |input: &&OperationInput| {
        let digest: Option<Digest> = input.digest.parse().ok();
        let step = digest.and_then(|digest| ended.get(&digest));
        step.is_some_and(|step| step.is_finished)
    };
    operation.inputs.iter().filter(is_finished).cloned()
}

/// The definition `definition` with the result `result`.
fn with_result(definition: &Bytes, result: OperationInput) -> Bytes {
    let operation = Operation {
        inputs: vec![result],
    };
    let operation = operation.encode_to_vec();
    let mut cut = BytesMut::with_capacity(definition.len() + operation.len() + 8);
    cut.extend_from_slice(definition);
    cut.put_u8(OPERATION_FIELD);
    prost::encoding::encode_varint(operation.len() as u64, &mut cut);
    cut.extend_from_slice(&operation);
    cut.freeze()
}

/// The reported steps, by name and by number of inputs.
struct KnownSteps<'r> {
    reported: &'r ReportedSteps,
    named: HashMap<&'r str, Vec<&'r Digest>>,
    unnamed: HashMap<usize, Vec<&'r Digest>>,
}

impl<'r> KnownSteps<'r> {
    fn of(reported: &'r ReportedSteps) -> Self {
        let mut named: HashMap<&str, Vec<&Digest>> = HashMap::new();
        let mut unnamed: HashMap<usize, Vec<&Digest>> = HashMap::new();
        for (digest, step) in reported.iter() {
            named.entry(&step.name).or_default().push(digest);
            unnamed.entry(step.inputs.len()).or_default().push(digest);
        }
        Self {
            reported,
            named,
            unnamed,
        }
    }

    fn is_finished(&self, step: &Digest) -> bool {
        let step = self.reported.get(step);
        step.map_or(StepState::Open, |step| step.state)
            .is_finished()
    }

    /// The reported steps that the operation may be. Empty if there is none, or too many.
    fn candidates(
        &self,
        digest: &Digest,
        name: Option<&str>,
        operation: &Operation,
        ended: &HashMap<Digest, Ended<'r>>,
    ) -> Vec<&'r Digest> {
        if let Some(known) = self.reported.known(digest) {
            return vec![known];
        }
        let alike = match name {
            Some(name) => self.named.get(&*redact_urls(name)),
            None => self.unnamed.get(&operation.inputs.len()),
        };
        let inputs: Option<Vec<&[&Digest]>> = operation
            .inputs
            .iter()
            .map(|input| {
                let input: Digest = input.digest.parse().ok()?;
                ended.get(&input).map(|step| step.candidates.as_slice())
            })
            .collect();
        let Some(inputs) = inputs.filter(|inputs| name.is_some() || !inputs.is_empty()) else {
            return Vec::new();
        };
        let fits = |step: &&&Digest| {
            let Some(step) = self.reported.get(step) else {
                return false;
            };
            step.inputs.len() == inputs.len()
                && std::iter::zip(&step.inputs, &inputs)
                    .all(|(input, candidates)| candidates.contains(&input))
        };
        let found = alike.into_iter().flatten().filter(fits).copied();
        let found: Vec<&Digest> = found.take(CANDIDATE_LIMIT + 1).collect();
        if found.len() > CANDIDATE_LIMIT {
            return Vec::new();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::steps::tests::{reported, vertex};
    use super::*;

    /// Makes a definition of operations with a name, an encoding of their own, and the names of their inputs.
    fn definition(operations: &[(&str, &str, &[&str])]) -> Bytes {
        let mut made: HashMap<&str, String> = HashMap::new();
        let mut definition = Definition::default();
        let input = |made: &HashMap<&str, String>, name: &str| OperationInput {
            digest: made[name].clone(),
            index: 0,
        };
        for (name, salt, inputs) in operations {
            let inputs = inputs.iter().map(|name| input(&made, name)).collect();
            let mut bytes = Operation { inputs }.encode_to_vec();
            // Field 3, a source, which the cut does not read.
            bytes.extend([0x1a, u8::try_from(salt.len()).unwrap()]);
            bytes.extend(salt.as_bytes());
            let digest = Digest::sha256(&bytes).to_string();
            let description = BTreeMap::from([(NAME.to_owned(), (*name).to_owned())]);
            definition
                .metadata
                .insert(digest.clone(), OperationMetadata { description });
            definition.operations.push(bytes.into());
            made.insert(name, digest);
        }
        let (last, ..) = operations.last().unwrap();
        let result = Operation {
            inputs: vec![input(&made, last)],
        };
        definition.operations.push(result.encode_to_vec().into());
        definition.encode_to_vec().into()
    }

    /// The names of the results of `cut`.
    fn results(cut: &[Bytes]) -> Vec<String> {
        let name = |bytes: &Bytes| {
            let parsed = Definition::decode(bytes.clone()).unwrap();
            let last = Operation::decode(parsed.operations.last().unwrap().clone()).unwrap();
            let metadata = &parsed.metadata[&last.inputs[0].digest];
            metadata.description[NAME].clone()
        };
        let mut names: Vec<String> = cut.iter().map(name).collect();
        names.sort();
        names
    }

    const BUILD: &[(&str, &str, &[&str])] = &[
        ("base", "", &[]),
        ("context", "session 1", &[]),
        ("tools", "", &["base"]),
        ("copy", "", &["tools", "context"]),
        ("test", "", &["copy"]),
        ("last", "", &["test", "tools"]),
    ];

    fn steps(test: StepState) -> ReportedSteps {
        reported(vec![
            vertex("base", &[], StepState::Executed),
            vertex("context", &[], StepState::Executed),
            vertex("tools", &["base"], StepState::Cached),
            vertex("copy", &["tools", "context"], StepState::Executed),
            vertex("test", &["copy"], test),
            vertex("last", &["test", "tools"], StepState::Open),
        ])
    }

    #[test]
    fn a_definition_is_cut_to_what_unfinished_steps_wait_for() {
        let definition = definition(BUILD);
        let cut = |test| cut_to_finished(&definition, &steps(test)).unwrap();
        assert_eq!(results(&cut(StepState::Failed)), ["copy", "tools"]);
        assert_eq!(results(&cut(StepState::Executed)), ["test", "tools"]);
        assert!(cut(StepState::Failed)[0].starts_with(&definition));
    }

    #[test]
    fn the_result_of_a_whole_build_is_its_own() {
        let all = BUILD
            .iter()
            .map(|(name, _, inputs)| vertex(name, inputs, StepState::Executed));
        let cut = cut_to_finished(&definition(BUILD), &reported(all.collect())).unwrap();
        assert_eq!(results(&cut), ["last"]);
    }

    #[test]
    fn steps_that_look_alike_must_all_have_finished() {
        let twice = |second| {
            let mut other = vertex("tools", &["base"], second);
            other.digest = Digest::sha256(b"other arguments");
            let first = vertex("tools", &["base"], StepState::Executed);
            reported(vec![vertex("base", &[], StepState::Executed), first, other])
        };
        let definition = definition(&BUILD[..3]);
        let cut = |second| cut_to_finished(&definition, &twice(second)).unwrap();
        assert_eq!(results(&cut(StepState::Cached)), ["tools"]);
        assert!(cut(StepState::Open).is_empty());
    }

    #[test]
    fn an_operation_with_other_inputs_is_another_step() {
        let steps = reported(vec![
            vertex("base", &[], StepState::Executed),
            vertex("other", &[], StepState::Executed),
            vertex("tools", &["other"], StepState::Executed),
        ]);
        let cut = cut_to_finished(&definition(&BUILD[..3]), &steps).unwrap();
        assert!(cut.is_empty());
    }

    #[test]
    fn definitions_that_cannot_be_read_are_errors() {
        let cut = |bytes| cut_to_finished(&Bytes::from_static(bytes), &ReportedSteps::default());
        assert!(cut(b"\x0a\xff").is_err());
        assert!(cut(b"").unwrap().is_empty());
    }
}
