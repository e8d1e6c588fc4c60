//! A half-typed command line, read by the rules of the flags.

use clap::{Arg, Command};

/// What the word under the cursor is.
#[derive(Debug)]
pub(super) enum WantedWord<'c> {
    /// The name of a flag.
    Flag,
    /// The value of this flag.
    Value(&'c Arg),
    /// A word that belongs to no flag.
    Word,
}

/// A command line up to the cursor.
#[derive(Debug)]
pub(super) struct Line<'c, 'w> {
    /// Flags with their values, in order; those without one have an empty value.
    pub(super) flags: Vec<(&'c str, &'w str)>,
    /// The other words before the cursor.
    pub(super) words: Vec<&'w str>,
    /// What is to be completed.
    pub(super) wanted: WantedWord<'c>,
    /// The word under the cursor; of `--flag=value`, the value.
    pub(super) current: &'w str,
}

impl<'c, 'w> Line<'c, 'w> {
    /// Reads `typed`, the words of `command` before the cursor, and `current`, the one under it.
    ///
    /// `command` has been built, so that it knows its arguments.
    pub(super) fn read<'t: 'w>(
        command: &'c Command,
        typed: &'t [String],
        current: &'w str,
    ) -> Self {
        let mut line = Line {
            flags: Vec::new(),
            words: Vec::new(),
            wanted: WantedWord::Word,
            current,
        };
        let mut open: Option<&'c Arg> = None;
        let mut only_words = false;
        for word in typed {
            let word: &'w str = word;
            if let Some(arg) = open.take() {
                line.flags.push((name(arg), word));
            } else if only_words {
                line.words.push(word);
            } else if word == "--" {
                only_words = true;
            } else if let Some(long) = word.strip_prefix("--") {
                match (long.split_once('='), find(command, word)) {
                    (Some((_, value)), Some(arg)) => line.flags.push((name(arg), value)),
                    (None, Some(arg)) if takes_word(arg) => open = Some(arg),
                    (None, Some(arg)) => line.flags.push((name(arg), "")),
                    (_, None) => {}
                }
            } else if word.len() > 1 && word.starts_with('-') {
                open = line.shorts(command, &word[1..]);
            } else {
                line.words.push(word);
            }
        }
        line.wanted = match open {
            Some(arg) => WantedWord::Value(arg),
            None if only_words || !current.starts_with('-') => WantedWord::Word,
            None => match (current.split_once('='), find(command, current)) {
                (Some((_, value)), Some(arg)) => {
                    line.current = value;
                    WantedWord::Value(arg)
                }
                _ => WantedWord::Flag,
            },
        };
        line
    }

    /// The values of the flag `name`.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'w str> {
        let flags = self.flags.iter();
        flags
            .filter(move |(flag, _)| *flag == name)
            .map(|(_, value)| *value)
    }

    // `-Df FILE`, `-fFILE`, `-f=FILE`: the flag that still wants its value, if one does.
    fn shorts(&mut self, command: &'c Command, mut letters: &'w str) -> Option<&'c Arg> {
        while let Some(letter) = letters.chars().next() {
            letters = &letters[letter.len_utf8()..];
            let Some(arg) = command
                .get_arguments()
                .find(|arg| arg.get_short() == Some(letter))
            else {
                continue;
            };
            if let Some(value) = letters.strip_prefix('=') {
                self.flags.push((name(arg), value));
                return None;
            }
            if takes_word(arg) {
                if letters.is_empty() {
                    return Some(arg);
                }
                self.flags.push((name(arg), letters));
                return None;
            }
            self.flags.push((name(arg), ""));
        }
        None
    }
}

/// The place of the first of `words` that is no flag of `command` and no value of one; `None` where `--` comes first.
///
/// `command` has been built.
pub(super) fn first_operand(command: &Command, words: &[String]) -> Option<usize> {
    let is_operand = |at: &usize| !Line::read(command, &words[..=*at], "").words.is_empty();
    let at = (0..words.len()).find(is_operand)?;
    let ended = words[..at].iter().any(|word| word == "--");
    (!ended).then_some(at)
}

fn name(arg: &Arg) -> &str {
    arg.get_id().as_str()
}

// The flag that `word`, `--name`, `--name=value` or `-n=value`, names.
fn find<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let name = word.split('=').next().unwrap_or_default();
    command.get_arguments().find(|arg| {
        let long = arg
            .get_long()
            .is_some_and(|long| name.strip_prefix("--") == Some(long));
        let short = || {
            let mut letters = name.strip_prefix('-').unwrap_or_default().chars();
            arg.get_short().is_some()
                && letters.next() == arg.get_short()
                && letters.next().is_none()
        };
        long || short()
    })
}

// Whether the flag takes the next word as its value.
fn takes_word(arg: &Arg) -> bool {
    arg.get_num_args()
        .is_some_and(|values| values.min_values() > 0)
}
