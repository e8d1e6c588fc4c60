//! Decides whether a word is one of rbake's verbs or a target.
//!
//! A target or group of the same name takes precedence over a verb. `+` cannot occur in the name of a target, so
//! `rbake +builder` always means the verb.

/// A command of rbake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Build targets; the same as without a verb.
    Bake,
    /// Show and manage builders.
    Builder,
    /// Print the completion script of a shell.
    Completion,
    /// Print the digest of an image that was released.
    Digest,
    /// Move the mutable tags of a held run.
    Promote,
    /// Delete from registries what nobody needs any more.
    Prune,
    /// List what was published.
    Releases,
    /// Finish a run that was interrupted while it published.
    Resume,
    /// Move mutable tags back to the images of an earlier run.
    Rollback,
    /// Take back the tags of a run.
    Undo,
    /// Take back the tags of a run that is not published.
    Untag,
    /// Print the version.
    Version,
}

impl Verb {
    /// All verbs, in the order of the help text.
    pub const ALL: [Self; 12] = [
        Self::Bake,
        Self::Builder,
        Self::Completion,
        Self::Digest,
        Self::Promote,
        Self::Prune,
        Self::Releases,
        Self::Resume,
        Self::Rollback,
        Self::Undo,
        Self::Untag,
        Self::Version,
    ];

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bake => "bake",
            Self::Builder => "builder",
            Self::Completion => "completion",
            Self::Digest => "digest",
            Self::Promote => "promote",
            Self::Prune => "prune",
            Self::Releases => "releases",
            Self::Resume => "resume",
            Self::Rollback => "rollback",
            Self::Undo => "undo",
            Self::Untag => "untag",
            Self::Version => "version",
        }
    }

    /// A one-line description for the help text.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Bake => "build targets; the same as without a verb",
            Self::Builder => "show and manage builders",
            Self::Completion => "print the completion script for bash, zsh or fish",
            Self::Digest => "print the digest of an image that was released",
            Self::Promote => "move the mutable tags of a held run",
            Self::Prune => "delete images or caches that nobody needs any more",
            Self::Releases => "list what was published, when, and from which commit",
            Self::Resume => "finish a run that was interrupted while it published",
            Self::Rollback => "move mutable tags back to the images of an earlier run",
            Self::Undo => "take back the tags of a run",
            Self::Untag => "take back the tags of a run that is held, failed or was interrupted",
            Self::Version => "print the version",
        }
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == word)
    }
}

/// What the first word of a command line can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstWord {
    /// Never a verb.
    Other,
    /// A verb, unless the definition has a target or group of this name.
    Maybe(Verb),
    /// A verb, whatever the definition contains.
    Always(Verb),
}

/// Classifies the first positional word after the program's name.
pub(crate) fn first_word(word: Option<&str>) -> FirstWord {
    let Some(word) = word else {
        return FirstWord::Other;
    };
    match word.strip_prefix('+') {
        Some(name) => Verb::named(name).map_or(FirstWord::Other, FirstWord::Always),
        None => Verb::named(word).map_or(FirstWord::Other, FirstWord::Maybe),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_are_verbs() {
        assert_eq!(first_word(Some("builder")), FirstWord::Maybe(Verb::Builder));
        assert_eq!(
            first_word(Some("+builder")),
            FirstWord::Always(Verb::Builder)
        );
        assert_eq!(first_word(Some("web")), FirstWord::Other);
        assert_eq!(first_word(Some("--print")), FirstWord::Other);
        assert_eq!(first_word(None), FirstWord::Other);
    }
}
