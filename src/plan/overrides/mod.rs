//! Changes to targets from the command line: `--set`, and the flags that stand for one.
//!
//! Flags are parsed once, by [`TargetOverride::parse`] and its sisters; a plan collects them per target in an [`OverrideSet`],
//! in which repeated keys come together, and applies that after the target's own attributes.

mod outputs;
mod parse;
mod policies;
mod set;

pub(crate) use policies::Policies;
pub(crate) use set::{Grants, OverrideSet};

use std::sync::Arc;

use crate::definition::model::{
    Attest, CacheEntry, Export, PolicyEntry, SecretEntry, SharedText, SshEntry, doubts,
};
use crate::diag::{Diagnostic, SourceMap, Span};

/// One change to all targets whose name a pattern matches.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetOverride {
    /// A target's name, or a pattern of names.
    pub pattern: SharedText,
    /// What is changed, and to what.
    pub(crate) change: AttributeChange,
    /// The flag as the user wrote it, for messages.
    pub flag: SharedText,
    /// The place of the value in the flag's text, once that is among the sources.
    pub(crate) span: Option<Span>,
}

/// Whether list elements take the place of what is there or join it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// `=`.
    Replace,
    /// `+=`.
    Append,
}

/// What an override changes, and to what. Entries that an empty text stands for are absent: they only clear.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AttributeChange {
    /// An argument whose variable is not set: the target must be there all the same.
    Nothing,
    Context(SharedText),
    Dockerfile(SharedText),
    Stage(SharedText),
    Call(SharedText),
    ShmSize(SharedText),
    Network(SharedText),
    NoCache(bool),
    Pull(bool),
    Push(bool),
    Load(bool),
    Arg {
        name: SharedText,
        value: SharedText,
    },
    Label {
        name: SharedText,
        value: SharedText,
    },
    NamedContext {
        name: SharedText,
        value: SharedText,
    },
    ExtraHost {
        name: SharedText,
        value: SharedText,
    },
    Resource {
        name: SharedText,
        value: SharedText,
    },
    SecretSource(SecretEntry),
    Tags(Op, SharedText),
    Platforms(Op, SharedText),
    Ulimits(Op, SharedText),
    NoCacheFilter(Op, SharedText),
    Annotation(SharedText),
    Entitlement(SharedText),
    Attest(Option<Attest>),
    Output(Op, Option<Export>),
    CacheFrom(Op, Vec<CacheEntry>),
    CacheTo(Op, Vec<CacheEntry>),
    Secrets(Op, Option<SecretEntry>),
    Ssh(Op, Option<SshEntry>),
    Policy(Op, PolicyEntry),
}

impl TargetOverride {
    fn everywhere(flag: impl Into<SharedText>, change: AttributeChange) -> Self {
        Self {
            pattern: "*".into(),
            change,
            flag: flag.into(),
            span: None,
        }
    }

    /// What the value stands for against all appearances.
    pub(super) fn doubts(&self) -> Vec<Diagnostic> {
        let attribute = match &self.change {
            AttributeChange::CacheFrom(..) => "cache-from",
            AttributeChange::CacheTo(..) => "cache-to",
            AttributeChange::Output(..) => "output",
            _ => return Vec::new(),
        };
        let value = self.flag.split_once('=').map_or("", |(_, value)| value);
        let doubts = doubts(attribute, value).into_iter();
        doubts
            .map(|doubt| {
                let doubt = doubt.note(format!("in `{}`", self.flag));
                doubt.at(self.span, "")
            })
            .collect()
    }

    /// Adds the flag to `sources`, so that what is wrong with its value is shown there.
    pub fn place(&mut self, sources: &mut SourceMap) {
        let source = sources.add("command line", Arc::clone(&self.flag));
        let flag = &self.flag;
        // `--set` takes the target and the key before the value; the other flags are one word.
        let start = flag.find('=').map_or(0, |at| at + 1);
        let start = if start == flag.len() { 0 } else { start };
        self.span = Some(Span::new(source, start..flag.len()));
    }

    /// What `--push=ON` stands for.
    pub fn push(on: bool) -> Self {
        Self::everywhere("--push", AttributeChange::Push(on))
    }

    /// What `--load=ON` stands for.
    pub fn load(on: bool) -> Self {
        Self::everywhere("--load", AttributeChange::Load(on))
    }

    /// What `--no-cache=ON` stands for.
    pub fn no_cache(on: bool) -> Self {
        Self::everywhere("--no-cache", AttributeChange::NoCache(on))
    }

    /// What `--pull=ON` stands for.
    pub(crate) fn pull(on: bool) -> Self {
        Self::everywhere("--pull", AttributeChange::Pull(on))
    }

    /// What `--call=NAME` stands for.
    pub fn call(name: impl Into<SharedText>) -> Self {
        let name = name.into();
        Self::everywhere(format!("--call={name}"), AttributeChange::Call(name))
    }
}
