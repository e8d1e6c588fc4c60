//! Changes to targets from the command line: `--set`, and the flags that stand for one.
//!
//! Flags are parsed once, by [`Override::parse`] and its sisters; a plan collects them per target in an [`OverrideSet`],
//! in which repeated keys come together, and applies that after the target's own attributes.

mod outputs;
mod parse;
mod policies;
mod set;

pub use policies::Policies;
pub use set::{Grants, OverrideSet};

use crate::definition::model::{
    Attest, CacheEntry, Export, PolicyEntry, SecretEntry, SshEntry, Text,
};

/// One change to all targets whose name a pattern matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// A target's name, or a pattern of names.
    pub pattern: Text,
    /// What is changed, and to what.
    pub change: Change,
    /// The flag as the user wrote it, for messages.
    pub flag: Text,
}

/// Whether list elements take the place of what is there or join it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `=`.
    Replace,
    /// `+=`.
    Append,
}

/// What an override changes, and to what. Entries that an empty text stands for are absent: they only clear.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each names the attribute it changes; the schema describes those"
)]
pub enum Change {
    Context(Text),
    Dockerfile(Text),
    Stage(Text),
    Call(Text),
    ShmSize(Text),
    Network(Text),
    NoCache(bool),
    Pull(bool),
    Push(bool),
    Load(bool),
    Arg { name: Text, value: Text },
    Label { name: Text, value: Text },
    NamedContext { name: Text, value: Text },
    ExtraHost { name: Text, value: Text },
    Resource { name: Text, value: Text },
    SecretSource(SecretEntry),
    Tags(Op, Text),
    Platforms(Op, Text),
    Ulimits(Op, Text),
    NoCacheFilter(Op, Text),
    Annotation(Text),
    Entitlement(Text),
    Attest(Option<Attest>),
    Output(Op, Option<Export>),
    CacheFrom(Op, Vec<CacheEntry>),
    CacheTo(Op, Vec<CacheEntry>),
    Secrets(Op, Option<SecretEntry>),
    Ssh(Op, Option<SshEntry>),
    Policy(Op, PolicyEntry),
}

impl Override {
    fn everywhere(flag: impl Into<Text>, change: Change) -> Self {
        Self {
            pattern: "*".into(),
            change,
            flag: flag.into(),
        }
    }

    /// What `--push=ON` stands for.
    pub fn push(on: bool) -> Self {
        Self::everywhere("--push", Change::Push(on))
    }

    /// What `--load=ON` stands for.
    pub fn load(on: bool) -> Self {
        Self::everywhere("--load", Change::Load(on))
    }

    /// What `--no-cache=ON` stands for.
    pub fn no_cache(on: bool) -> Self {
        Self::everywhere("--no-cache", Change::NoCache(on))
    }

    /// What `--pull=ON` stands for.
    pub fn pull(on: bool) -> Self {
        Self::everywhere("--pull", Change::Pull(on))
    }

    /// What `--call=NAME` stands for.
    pub fn call(name: impl Into<Text>) -> Self {
        Self::everywhere("--call", Change::Call(name.into()))
    }
}
