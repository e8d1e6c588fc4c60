//! `format` and `formatlist`: formatting with verbs such as `%s`, `%05d` and `%[2]q`.

use std::fmt::Write as _;

use num_bigint::{BigInt, Sign};

use super::call::check_text_size;
use super::collections::check_elements;
use super::{Function, FunctionCall, FunctionError, Parameter};
use crate::golang::quote::quote;
use crate::hcl::cty::characters::{grapheme_count, graphemes};
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::number::{Notation, Number};
use crate::hcl::cty::{Type, Value};
use crate::hcl::json::value as json;

const FORMAT: &[Parameter] = &[Parameter::string("format")];
const ARGS: Parameter = Parameter::any("args").or_null();

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "format",
        "The text with its verbs, such as `%s`, replaced by values.",
        FORMAT,
        |call| {
            let arguments: Vec<&Value> = call.rest(1).iter().collect();
            format(call.text(0)?, &arguments).map(Value::from)
        },
    )
    .and_more(ARGS),
    Function::new(
        "formatlist",
        "A list of texts made as by `format`, one for each element of the lists among the arguments.",
        FORMAT,
        format_list,
    )
    .and_more(ARGS),
];

fn format_list(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let (text, arguments) = (call.text(0)?, call.rest(1));
    let mut chosen: Option<(usize, usize)> = None;
    for (place, value) in arguments.iter().enumerate() {
        let Some(items) = value.items() else { continue };
        match chosen {
            None => chosen = Some((place, items.len())),
            Some((first, length)) if length != items.len() => {
                return Err(FunctionError::argument(
                    place + 1,
                    format!(
                        "argument {} has length {}, which is inconsistent with argument {} of length {length}",
                        place + 1,
                        items.len(),
                        first + 1,
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    let count = chosen.map_or(1, |(_, length)| length);
    check_elements(count)?;
    let mut texts = Vec::with_capacity(count);
    let mut size = 0usize;
    for turn in 0..count {
        let these: Vec<&Value> = arguments
            .iter()
            .map(|value| {
                value
                    .items()
                    .and_then(|items| items.get(turn))
                    .unwrap_or(value)
            })
            .collect();
        let made = format(text, &these).map_err(|error| {
            FunctionError::new(format!("error on format iteration {turn}: {error}"))
        })?;
        size = size.saturating_add(made.len());
        check_text_size(size)?;
        texts.push(made.into());
    }
    Ok(Value::list(Type::String, texts))
}

/// One verb, such as `%-8.3[2]f`.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each flag of the syntax, in any combination"
)]
struct Verb<'a> {
    raw: &'a str,
    offset: usize,
    /// The number of the argument that the verb formats, from 1.
    argument: usize,
    mode: char,
    zero: bool,
    sharp: bool,
    plus: bool,
    minus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn format(text: &str, arguments: &[&Value]) -> Result<String, FunctionError> {
    let mut out = String::new();
    let mut rest = text;
    let mut next = 1;
    let mut highest = 0;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let start = text.len() - after.len() - 1;
        let verb = scan(text, start, next)?;
        highest = highest.max(verb.argument);
        next = verb.argument + 1;
        write_verb(&verb, arguments, &mut out)?;
        check_text_size(out.len())?;
        rest = &text[start + verb.raw.len()..];
    }
    out.push_str(rest);
    check_text_size(out.len())?;
    if highest < arguments.len() {
        let used = if highest == 0 {
            "no verbs in format string".to_owned()
        } else {
            format!("only {highest} used by format string")
        };
        return Err(FunctionError::argument(
            highest + 1,
            format!("too many arguments; {used}"),
        ));
    }
    Ok(out)
}

/// Parses the verb at `start`. It takes the argument `next` unless it names one.
fn scan(text: &str, start: usize, next: usize) -> Result<Verb<'_>, FunctionError> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    let mut verb = Verb {
        offset: start,
        argument: next,
        ..Verb::default()
    };
    let failure = |at: usize| {
        let message = match text.get(at..).and_then(|rest| rest.chars().next()) {
            Some(char) => format!("unrecognized format character '{char}' at offset {at}"),
            None => format!("invalid format string starting at offset {at}"),
        };
        FunctionError::new(message)
    };
    while let Some(flag) = bytes.get(at) {
        match flag {
            b'0' => verb.zero = true,
            b'#' => verb.sharp = true,
            b'-' => verb.minus = true,
            b'+' => verb.plus = true,
            b' ' => verb.space = true,
            _ => break,
        }
        at += 1;
    }
    let number = |at: &mut usize| {
        let from = *at;
        while bytes.get(*at).is_some_and(u8::is_ascii_digit) {
            *at += 1;
        }
        // A number that overflows is too large for any text. Its use is refused later.
        text.get(from..*at)
            .filter(|digits| !digits.is_empty())
            .map(|digits| digits.parse().unwrap_or(usize::MAX))
    };
    verb.width = number(&mut at);
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        verb.precision = Some(number(&mut at).unwrap_or(0));
    }
    if bytes.get(at) == Some(&b'[') {
        at += 1;
        if !matches!(bytes.get(at), Some(b'1'..=b'9')) {
            return Err(failure(at));
        }
        verb.argument = number(&mut at)
            .unwrap_or(usize::MAX - 1)
            .min(usize::MAX - 1);
        if bytes.get(at) != Some(&b']') {
            return Err(failure(at));
        }
        at += 1;
    }
    match bytes.get(at) {
        Some(mode) if mode.is_ascii_alphabetic() => verb.mode = char::from(*mode),
        _ => return Err(failure(at)),
    }
    verb.raw = &text[start..=at];
    Ok(verb)
}

fn write_verb(
    verb: &Verb<'_>,
    arguments: &[&Value],
    out: &mut String,
) -> Result<(), FunctionError> {
    let Some(value) = arguments.get(verb.argument - 1).copied() else {
        return Err(FunctionError::new(format!(
            "not enough arguments for {} at {}: need index {} but have {} total",
            quote(verb.raw),
            verb.offset,
            verb.argument,
            arguments.len()
        )));
    };
    let unsupported = |reason: String| {
        FunctionError::new(format!(
            "unsupported value for {} at {}: {reason}",
            quote(verb.raw),
            verb.offset
        ))
    };
    if verb.mode != 'v' && value.is_null() {
        return Err(unsupported("null value cannot be formatted".into()));
    }
    check_text_size(verb.width.unwrap_or(0))?;
    check_text_size(verb.precision.unwrap_or(0))?;
    let as_type = |ty: &Type| convert(value, ty).map_err(|error| unsupported(error.to_string()));
    match verb.mode {
        'v' => {
            let text = match value {
                Value::String(text) if !verb.sharp => text.to_string(),
                Value::Number(number) if !verb.sharp => number.to_text(Notation::General, None),
                other => json::encode(other).map_err(|error| unsupported(error.to_string()))?,
            };
            push_padded(verb, &text, out);
        }
        't' => out.push_str(match as_type(&Type::Bool)? {
            Value::Bool(true) => "true",
            _ => "false",
        }),
        'b' | 'd' | 'o' | 'x' | 'X' | 'e' | 'E' | 'f' | 'g' | 'G' => {
            let converted = as_type(&Type::Number)?;
            let number = converted
                .as_number()
                .ok_or_else(|| unsupported("a number is required".into()))?;
            if matches!(verb.mode, 'e' | 'E' | 'f' | 'g' | 'G') {
                push_float(verb, number, out);
            } else {
                let integer = number
                    .to_bigint()
                    .ok_or_else(|| unsupported("an integer is required".into()))?;
                push_integer(verb, &integer, out);
            }
        }
        's' | 'q' => {
            let converted = as_type(&Type::String)?;
            let text = converted.as_str().unwrap_or_default();
            let cut: String;
            let text = match verb.precision {
                Some(precision) if precision > 0 => {
                    cut = graphemes(text).take(precision).collect();
                    &cut
                }
                _ => text,
            };
            if verb.mode == 's' {
                push_padded(verb, text, out);
            } else {
                let mut quoted = String::new();
                crate::golang::json::quote(&mut quoted, text);
                push_padded(verb, &quoted, out);
            }
        }
        other => {
            return Err(FunctionError::new(format!(
                "unsupported format verb '{other}' in {} at offset {}",
                quote(verb.raw),
                verb.offset
            )));
        }
    }
    Ok(())
}

fn push_repeated(out: &mut String, char: char, count: usize) {
    out.extend(std::iter::repeat_n(char, count));
}

/// Pads text to the width, which counts characters as a reader does, not bytes.
fn push_padded(verb: &Verb<'_>, text: &str, out: &mut String) {
    let padding = verb
        .width
        .map_or(0, |width| width.saturating_sub(grapheme_count(text)));
    let pad = if verb.zero { '0' } else { ' ' };
    if !verb.minus {
        push_repeated(out, pad, padding);
    }
    out.push_str(text);
    if verb.minus {
        push_repeated(out, pad, padding);
    }
}

fn push_float(verb: &Verb<'_>, number: &Number, out: &mut String) {
    let (notation, default_digits) = match verb.mode {
        'e' => (Notation::Exponent, Some(6)),
        'E' => (Notation::UpperExponent, Some(6)),
        'g' => (Notation::General, None),
        'G' => (Notation::UpperGeneral, None),
        _ => (Notation::Fixed, Some(6)),
    };
    let text = number.to_text(notation, verb.precision.or(default_digits));
    let (sign, digits) = if let Some(digits) = text.strip_prefix('-') {
        ("-", digits)
    } else if let Some(digits) = text.strip_prefix('+') {
        // Only infinity has a `+` in its text.
        (if verb.space { " " } else { "+" }, digits)
    } else if verb.plus {
        ("+", text.as_str())
    } else if verb.space {
        (" ", text.as_str())
    } else {
        ("", text.as_str())
    };
    let padding = verb
        .width
        .map_or(0, |width| width.saturating_sub(sign.len() + digits.len()));
    let zeros = verb.zero && !number.is_infinite();
    if !zeros && !verb.minus {
        push_repeated(out, ' ', padding);
    }
    out.push_str(sign);
    if zeros {
        push_repeated(out, '0', padding);
    }
    out.push_str(digits);
    if verb.minus && !zeros {
        push_repeated(out, ' ', padding);
    }
}

fn push_integer(verb: &Verb<'_>, integer: &BigInt, out: &mut String) {
    let sign = match (integer.sign() == Sign::Minus, verb.plus, verb.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    };
    let (radix, prefix) = match verb.mode {
        'b' => (2, "0b"),
        'o' => (8, "0"),
        'x' => (16, "0x"),
        'X' => (16, "0X"),
        _ => (10, ""),
    };
    let prefix = if verb.sharp { prefix } else { "" };
    let mut digits = integer.magnitude().to_str_radix(radix);
    if verb.mode == 'X' {
        digits.make_ascii_uppercase();
    }
    if verb.precision == Some(0) && digits == "0" {
        return;
    }
    let mut zeros = verb
        .precision
        .map_or(0, |precision| precision.saturating_sub(digits.len()));
    let length = sign.len() + prefix.len() + zeros + digits.len();
    let padding = verb.width.map_or(0, |width| width.saturating_sub(length));
    let (mut left, mut right) = (0, 0);
    if verb.minus {
        right = padding;
    } else if verb.zero && verb.precision.is_none() {
        zeros = padding;
    } else {
        left = padding;
    }
    push_repeated(out, ' ', left);
    // Writing to a `String` cannot fail.
    let _ = write!(out, "{sign}{prefix}");
    push_repeated(out, '0', zeros);
    out.push_str(&digits);
    push_repeated(out, ' ', right);
}
