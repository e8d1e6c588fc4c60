//! Changes to targets from the command line: `--set`, and flags with the same effect, such as `--push`.
//!
//! Each flag is parsed once, by [`TargetOverride::parse`] or one of the other constructors. A plan collects the
//! changes of each target in an [`OverrideSet`], which combines repeated keys, and applies it after the target's
//! own attributes.

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

/// One change to all targets that match a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetOverride {
    /// A target name, or a pattern of names.
    pub pattern: SharedText,
    /// The attribute to change, and its value.
    pub(crate) change: AttributeChange,
    /// The flag as the user wrote it, for messages. Secret values are replaced.
    pub flag: SharedText,
    /// The place of the value within the flag. `None` until [`Self::place`] adds the flag to the source map.
    pub(crate) span: Option<Span>,
}

/// Whether list elements replace the existing ones or are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// `KEY=VALUE`.
    Replace,
    /// `KEY+=VALUE`.
    Append,
}

/// The attribute that an override changes, and its value. In lists, `None` or an empty list is the empty text: it adds
/// nothing, so that `KEY=` only clears the list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AttributeChange {
    /// `args.NAME` without a value, for which no variable is set. It changes nothing, but its target must still exist.
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
    /// A change to all targets.
    fn everywhere(flag: impl Into<SharedText>, change: AttributeChange) -> Self {
        Self {
            pattern: "*".into(),
            change,
            flag: flag.into(),
            span: None,
        }
    }

    /// Warnings about a value that probably does not mean what the user intended. See `doubts` in the definition's
    /// model.
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

    /// Adds the flag to `sources`, so that diagnostics can point at its value.
    pub fn place(&mut self, sources: &mut SourceMap) {
        let source = sources.add("command line", Arc::clone(&self.flag));
        let flag = &self.flag;
        // Point at the value after the first `=`. Without a value, point at the whole flag.
        let start = flag.find('=').map_or(0, |at| at + 1);
        let start = if start == flag.len() { 0 } else { start };
        self.span = Some(Span::new(source, start..flag.len()));
    }

    /// The change for `--push=ON`.
    pub fn push(on: bool) -> Self {
        Self::everywhere("--push", AttributeChange::Push(on))
    }

    /// The change for `--load=ON`.
    pub fn load(on: bool) -> Self {
        Self::everywhere("--load", AttributeChange::Load(on))
    }

    /// The change for `--no-cache=ON`.
    pub fn no_cache(on: bool) -> Self {
        Self::everywhere("--no-cache", AttributeChange::NoCache(on))
    }

    /// The change for `--pull=ON`.
    pub(crate) fn pull(on: bool) -> Self {
        Self::everywhere("--pull", AttributeChange::Pull(on))
    }

    /// The change for `--call=NAME`.
    pub fn call(name: impl Into<SharedText>) -> Self {
        let name = name.into();
        Self::everywhere(format!("--call={name}"), AttributeChange::Call(name))
    }
}
