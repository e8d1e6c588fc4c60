//! What a build reads of the main context on this machine, as its definition says.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;

use super::message::LlbSource;
use crate::engine::id::SessionId;
use crate::engine::spec::LocalName;

/// The attributes of a directory on a client (`solver/pb/attr.go`).
pub(super) const SESSION: &str = "local.session";
pub(super) const SHARED_KEY_HINT: &str = "local.sharedkeyhint";
pub(super) const FOLLOW_PATHS: &str = "local.followpaths";
pub(super) const EXCLUDE_PATTERNS: &str = "local.excludepatterns";
/// How the files are compared with those that the daemon has: not at all.
pub(super) const DIFFER: &str = "local.differ";
pub(super) const DIFFER_NONE: &str = "none";
/// It only makes the operations of different builds differ.
const UNIQUE: &str = "local.unique";
/// The beginning of the identifier of a directory on a client.
pub(super) const LOCAL_SCHEME: &str = "local://";

/// The part of the main context that a build reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContextRead {
    /// These paths, without the slash at the beginning. They may have wildcards. `None` for all files.
    pub(crate) paths: Option<BTreeSet<String>>,
    /// The patterns of the ignore file, in order.
    pub(crate) excludes: Vec<String>,
}

/// Why it is not known what a build reads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnknownRead {
    /// The definition is not one.
    #[error("cannot decode the definition")]
    Malformed(#[from] prost::DecodeError),
    /// An attribute is not a list of texts.
    #[error("cannot decode a list of paths")]
    List(#[from] serde_json::Error),
    /// The context is described in a way that is not known here.
    #[error("the context has the attribute `{0}`")]
    Attribute(String),
    /// The context is read several times, without the same patterns.
    #[error("the context is read with different patterns")]
    SeveralFilters,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Definition {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    operations: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SourceOperation {
    #[prost(message, optional, tag = "3")]
    source: Option<LlbSource>,
}

impl ContextRead {
    /// What a build of `definitions`, one for each platform, reads of the main context that `session` serves. `None` if it does not
    /// read it.
    pub(crate) fn of(
        definitions: &[Bytes],
        session: &SessionId,
    ) -> Result<Option<Self>, UnknownRead> {
        let mut all: Option<Self> = None;
        for definition in definitions {
            let definition = Definition::decode(definition.clone())?;
            for operation in definition.operations {
                let source = SourceOperation::decode(operation)?.source;
                let Some(source) = source.filter(|source| is_main_context(source, session)) else {
                    continue;
                };
                let read = Self::of_attributes(&source.attrs)?;
                all = Some(match all {
                    Some(before) if before.excludes == read.excludes => before.and(read),
                    Some(_) => return Err(UnknownRead::SeveralFilters),
                    None => read,
                });
            }
        }
        Ok(all)
    }

    fn of_attributes(attributes: &BTreeMap<String, String>) -> Result<Self, UnknownRead> {
        let mut read = Self {
            paths: None,
            excludes: Vec::new(),
        };
        for (key, value) in attributes {
            match key.as_str() {
                SESSION | SHARED_KEY_HINT | UNIQUE => {}
                FOLLOW_PATHS => read.paths = Some(serde_json::from_str(value)?),
                EXCLUDE_PATTERNS => read.excludes = serde_json::from_str(value)?,
                other => return Err(UnknownRead::Attribute(other.to_owned())),
            }
        }
        Ok(read)
    }

    /// A read of `paths`, or of all files if there are none.
    #[cfg(test)]
    pub(crate) fn of_texts(paths: &[&str], excludes: &[&str]) -> Self {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Self {
            paths: (!paths.is_empty()).then(|| texts(paths).into_iter().collect()),
            excludes: texts(excludes),
        }
    }

    /// What either reads. Both must have the same patterns.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.paths = match (self.paths, other.paths) {
            (Some(mut paths), Some(others)) => {
                paths.extend(others);
                Some(paths)
            }
            _ => None,
        };
        self
    }
}

fn is_main_context(source: &LlbSource, session: &SessionId) -> bool {
    let served_by = source.attrs.get(SESSION).map(String::as_str);
    source.identifier.strip_prefix(LOCAL_SCHEME) == Some(LocalName::CONTEXT.as_str())
        && served_by == Some(session.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::LlbTree;
    use super::*;

    fn definition(read: &ContextRead, session: &SessionId) -> Bytes {
        LlbTree::context(read, session).definition()
    }

    fn of(reads: &[&ContextRead]) -> Result<Option<ContextRead>, UnknownRead> {
        let session = SessionId::new();
        let definitions = reads.iter().map(|read| definition(read, &session));
        ContextRead::of(&definitions.collect::<Vec<_>>(), &session)
    }

    #[test]
    fn a_context_that_is_described_is_read_again() {
        for read in [
            ContextRead::of_texts(&["a", "b/*<c>"], &["*.log", "!x"]),
            ContextRead::of_texts(&[], &[]),
        ] {
            assert_eq!(of(&[&read]).unwrap(), Some(read));
        }
        let session = SessionId::new();
        let other = LlbTree::http("https://example.com/a").definition();
        // A context that another session serves is that of a target whose result is used.
        let of_another = definition(&ContextRead::of_texts(&["a"], &[]), &SessionId::new());
        assert_eq!(
            ContextRead::of(&[other, of_another], &session).unwrap(),
            None
        );
    }

    #[test]
    fn platforms_add_up_if_their_patterns_are_equal() {
        let (one, other) = (
            ContextRead::of_texts(&["a"], &["x"]),
            ContextRead::of_texts(&["b"], &["x"]),
        );
        assert_eq!(
            of(&[&one, &other]).unwrap(),
            Some(ContextRead::of_texts(&["a", "b"], &["x"]))
        );
        let all = of(&[&one, &ContextRead::of_texts(&[], &["x"])]);
        assert_eq!(all.unwrap(), Some(ContextRead::of_texts(&[], &["x"])));
        let different = of(&[&one, &ContextRead::of_texts(&["a"], &[])]);
        assert!(matches!(different, Err(UnknownRead::SeveralFilters)));
    }

    #[test]
    fn unknown_attributes_and_malformed_definitions_are_errors() {
        let attributes = BTreeMap::from([("local.includepattern".to_owned(), "[]".to_owned())]);
        let unknown = ContextRead::of_attributes(&attributes);
        assert!(
            matches!(unknown, Err(UnknownRead::Attribute(key)) if key == "local.includepattern")
        );
        let attributes = BTreeMap::from([(FOLLOW_PATHS.to_owned(), "{}".to_owned())]);
        assert!(matches!(
            ContextRead::of_attributes(&attributes),
            Err(UnknownRead::List(_))
        ));
        let malformed = Bytes::from_static(b"\x0a\x05\x1a\x09x");
        let malformed = ContextRead::of(&[malformed], &SessionId::new());
        assert!(malformed.is_err(), "{malformed:?}");
    }
}
