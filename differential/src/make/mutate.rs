//! Almost valid text: tokens of a valid text are removed, repeated, swapped or inserted.

use crate::Random;

const STRAY: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=",
    "==",
    ",",
    ".",
    "\"",
    "${",
    "%{",
    "...",
    "?",
    ":",
    "=>",
    "for",
    "in",
    "if",
    "null",
    "true",
    "1",
    "-",
    "!",
    "&&",
    "/",
    "*",
    "%",
    "\n",
    "\\",
    "#",
    "/*",
    "*/",
    "<<EOT\n",
    "$",
    "~}",
    "'",
    "`",
    ";",
    "|",
    "&",
    "^",
    "\"x\"",
    "target",
    "variable",
    "\u{a0}",
    "é",
    "\0",
    "1.",
    ".5",
    "1e",
    "0x1",
    "[*]",
    ".*",
    "\t",
    "target.a.tags",
    "endif",
    "%{ endif }",
    "//",
    "=\n",
    "x",
    "1..2",
    "\r",
    "\\u12",
    "\u{feff}",
    "+",
    "<",
    ">=",
    "0",
];

/// The text with one to three changes.
pub(super) fn mutate(text: &str, random: &mut Random) -> String {
    let mut tokens = tokens(text);
    for _ in 0..[1, 1, 1, 2, 3][random.below(5)] {
        if tokens.is_empty() {
            break;
        }
        let place = random.below(tokens.len());
        match random.below(6) {
            0 => _ = tokens.remove(place),
            1 => {
                let token = tokens[place].clone();
                tokens.insert(place, token);
            }
            2 => {
                let other = random.below(tokens.len());
                tokens.swap(place, other);
            }
            3 => (*random.pick(STRAY)).clone_into(&mut tokens[place]),
            4 => tokens.insert(place, (*random.pick(STRAY)).to_owned()),
            _ => {
                let end = (place + random.between(1, 6)).min(tokens.len());
                tokens.drain(place..end);
            }
        }
    }
    tokens.concat()
}

/// The words, numbers, spaces and punctuation marks of a text.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let sort = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' || c == '-' => 1,
        '\n' => 0,
        c if c.is_whitespace() => 2,
        _ => 0,
    };
    let mut tokens: Vec<String> = Vec::new();
    let mut last = 0;
    for c in text.chars() {
        let now = sort(c);
        match tokens.last_mut() {
            Some(token) if now == last && now != 0 => token.push(c),
            _ => tokens.push(c.to_string()),
        }
        last = now;
    }
    tokens
}
