//! Why a tag stays or goes.

use std::fmt;

use crate::publish::journal::RunId;
use crate::types::terminal::visible;

/// The decision about a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagVerdict {
    /// It stays.
    Keep(TagKeepReason),
    /// It goes.
    Remove(RemovalReason),
    /// It is a companion, which stays or goes with its manifest.
    Follow,
}

/// Why a tag stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagKeepReason {
    /// This pattern of the policy matches it.
    Pattern(String),
    /// Its image is among the newest of a group, so many of which stay.
    Newest(usize),
    /// It is younger than the policy's age.
    Young,
    /// It is younger than the grace time.
    Grace,
    /// Nobody knows when its manifest was made.
    NoTime,
    /// It is younger than this run, which has not ended.
    Lease(RunId),
    /// No rule of the policy is about it.
    NoRule,
    /// The policy is about other things.
    OtherKind,
    /// It is a cache whose owner is not known.
    NoOwner,
    /// It is the cache of this branch, which stays.
    Branch(String),
    /// It is the cache of this pull request, one of the last.
    PullRequest(u64),
    /// The record of a run stays.
    Record,
    /// The manifest to which it belongs stays.
    Companion,
    /// The manifest to which it belongs is not in this repository.
    Elsewhere,
    /// The registry cannot remove it without its manifest, which stays.
    CannotUntag,
    /// The registry would delete the manifest, which stays, with its last tag.
    LastTag,
}

impl fmt::Display for TagKeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => write!(f, "`{}` matches it", visible(pattern)),
            Self::Newest(count) => write!(f, "it is among the newest {count} of its group"),
            Self::Young => f.write_str("it is young"),
            Self::Grace => f.write_str("it is younger than the grace time"),
            Self::NoTime => f.write_str("its age is not known"),
            Self::Lease(run) => {
                write!(f, "it is younger than the run `{run}`, which has not ended")
            }
            Self::NoRule => f.write_str("no rule is about it"),
            Self::OtherKind => f.write_str("this policy does not apply to it"),
            Self::NoOwner => f.write_str("it is a cache that does not say whose it is"),
            Self::Branch(branch) => write!(f, "it is of the branch `{}`", visible(branch)),
            Self::PullRequest(number) => write!(f, "it is of the pull request {number}"),
            Self::Record => f.write_str("it is the record of a recent run"),
            Self::Companion => f.write_str("its image stays"),
            Self::Elsewhere => f.write_str("its image is not in this repository"),
            Self::CannotUntag => {
                f.write_str("the registry cannot remove it without its image, which stays")
            }
            Self::LastTag => {
                f.write_str("the registry would delete its image, which stays, with its last tag")
            }
        }
    }
}

/// Why something is removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RemovalReason {
    /// Its group has so many newer images.
    Superseded(usize),
    /// It is the record of an old run.
    OldRecord,
    /// An earlier prune put it in the place of something and did not end.
    Placeholder,
    /// The manifest to which it belongs is deleted.
    Companion,
    /// It is a cache whose owner is not known.
    NoOwner,
    /// It is the cache of this branch, which no rule keeps.
    Branch(String),
    /// It is the cache of this pull request, which is not among the last.
    PullRequest(u64),
    /// The caches are larger than the policy allows, and it is among the oldest.
    Ceiling,
    /// Nothing that is kept leads to it.
    Unreached,
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superseded(count) => write!(f, "its group keeps the newest {count}"),
            Self::OldRecord => f.write_str("it is the record of an old run"),
            Self::Placeholder => f.write_str("an earlier prune did not end"),
            Self::Companion => f.write_str("its image is deleted"),
            Self::NoOwner => f.write_str("it is a cache that does not say whose it is"),
            Self::Branch(branch) => write!(f, "it is of the branch `{}`", visible(branch)),
            Self::PullRequest(number) => write!(f, "it is of the pull request {number}"),
            Self::Ceiling => f.write_str("the caches are too large, and it is among the oldest"),
            Self::Unreached => f.write_str("nothing that stays leads to it"),
        }
    }
}
