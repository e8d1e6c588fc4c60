//! Which word is a verb of rbake's own and which is a target.
//!
//! A bake file decides: a verb gives way to a target or group of its name. `+` cannot occur in a target's name, so
//! `rbake +builder` always reaches the verb.

/// A command of rbake beside building.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Build, said explicitly.
    Bake,
    /// Look after builders.
    Builder,
    /// Print the script that makes a shell complete the command line.
    Completion,
    /// Print the version.
    Version,
}

impl Verb {
    /// All verbs, in the order help shows them.
    pub const ALL: [Self; 4] = [Self::Bake, Self::Builder, Self::Completion, Self::Version];

    /// The word that reaches it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bake => "bake",
            Self::Builder => "builder",
            Self::Completion => "completion",
            Self::Version => "version",
        }
    }

    /// One line for the help text.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Bake => "build targets, as without a verb",
            Self::Builder => "status, install, serve and stop of the builder",
            Self::Completion => "print the completion script of bash, zsh or fish",
            Self::Version => "print the version",
        }
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == word)
    }
}

/// What the first word of a command line may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstWord {
    /// Not a verb in any case.
    Other,
    /// A verb unless the definition has a target or group of this name.
    Maybe(Verb),
    /// A verb whatever the definition says.
    Always(Verb),
}

/// Reads the first word after the program's name, apart from flags.
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
