//! Parses an unfinished command line with the rules of clap's flags.

use clap::{Arg, Command};

/// What kind of word is under the cursor.
#[derive(Debug)]
pub(super) enum WantedWord<'c> {
    /// The name of a flag.
    Flag,
    /// The value of this flag.
    Value(&'c Arg),
    /// A positional word.
    Word,
}

/// A command line up to and including the word under the cursor.
#[derive(Debug)]
pub(super) struct Line<'c, 'w> {
    /// The flags before the cursor with their values, in order. The value is empty for flags without one.
    pub(super) flags: Vec<(&'c str, &'w str)>,
    /// The positional words before the cursor.
    pub(super) words: Vec<&'w str>,
    /// What is to be completed.
    pub(super) wanted: WantedWord<'c>,
    /// The word under the cursor. For `--flag=value`, only the value.
    pub(super) current: &'w str,
}

impl<'c, 'w> Line<'c, 'w> {
    /// Parses `typed`, the words of `command` before the cursor, and `current`, the word under the cursor.
    ///
    /// `command` must have been built (`Command::build`): before that, it does not know all of its arguments.
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

    /// All values of the flag `name`, in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'w str> {
        let flags = self.flags.iter();
        flags
            .filter(move |(flag, _)| *flag == name)
            .map(|(_, value)| *value)
    }

    /// Parses short flags: `-Df FILE`, `-fFILE`, `-f=FILE`. Returns the flag that needs the next word as its value,
    /// if any.
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

/// The index of the first positional word in `words`. `None` if there is none, or if `--` comes before it.
///
/// `command` must have been built (`Command::build`).
pub(super) fn first_operand(command: &Command, words: &[String]) -> Option<usize> {
    let is_operand = |at: &usize| !Line::read(command, &words[..=*at], "").words.is_empty();
    let at = (0..words.len()).find(is_operand)?;
    let ended = words[..at].iter().any(|word| word == "--");
    (!ended).then_some(at)
}

fn name(arg: &Arg) -> &str {
    arg.get_id().as_str()
}

/// The flag that `word` names; it has the form `--name`, `--name=value` or `-n=value`.
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

/// Whether the flag takes the next word as its value.
fn takes_word(arg: &Arg) -> bool {
    arg.get_num_args()
        .is_some_and(|values| values.min_values() > 0)
}
