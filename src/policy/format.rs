//! `sprintf`, which `regorus` has only in part, and texts of values, as OPA has them.

use std::fmt::Write as _;

use regorus::Value;

use crate::golang::fmt::float;
use crate::golang::quote::quote;

/// The widest field.
const WIDEST: usize = 1000;

/// A verb that is not understood. The call cannot be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownVerb;

/// `value` as OPA writes it.
pub(super) fn shown(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::String(text) => serde_json::Value::from(&**text).to_string(),
        Value::Array(items) => format!("[{}]", list(items.iter().map(shown).collect())),
        Value::Set(items) if items.is_empty() => "set()".to_owned(),
        Value::Set(items) => format!("{{{}}}", list(items.iter().map(shown).collect())),
        Value::Object(fields) => {
            let fields = fields.iter_sorted();
            let fields = fields.map(|(key, value)| format!("{}: {}", shown(key), shown(value)));
            format!("{{{}}}", list(fields.collect()))
        }
        other => other.to_string(),
    }
}

/// What a verb formats.
enum Operand {
    /// Its digits, with `-` if it is negative.
    Whole(String),
    Float(f64),
    Text(String),
}

impl Operand {
    fn of(value: &Value) -> Self {
        match value {
            Value::Number(number) => {
                let text = number.format_decimal();
                let is_whole = text
                    .trim_start_matches('-')
                    .bytes()
                    .all(|b| b.is_ascii_digit());
                match number.as_f64() {
                    Some(number) if !is_whole => Self::Float(number),
                    _ => Self::Whole(text),
                }
            }
            Value::String(text) => Self::Text(text.to_string()),
            other => Self::Text(shown(other)),
        }
    }

    /// The operand in the complaint about a verb that does not fit.
    fn complaint(&self) -> String {
        match self {
            Self::Whole(digits) => format!("int={digits}"),
            Self::Float(number) => format!("float64={}", float(*number)),
            Self::Text(text) => format!("string={text}"),
        }
    }
}

#[derive(Default)]
struct Field {
    /// What is before a number that is not negative.
    sign: Option<char>,
    minus: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// `values` in the format `format`, as Go's `fmt.Sprintf`.
pub(super) fn sprintf(format: &str, values: &[Value]) -> Result<String, UnknownVerb> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (field, after) = field(rest)?;
        let Some(verb) = after.chars().next() else {
            out.push_str("%!(NOVERB)");
            return Ok(out);
        };
        rest = &after[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        match values.next() {
            None => {
                let _ = write!(out, "%!{verb}(MISSING)");
            }
            Some(value) => out.push_str(&formatted(&field, verb, &Operand::of(value))?),
        }
    }
    out.push_str(rest);
    let extra: Vec<String> = values.map(|value| Operand::of(value).complaint()).collect();
    if !extra.is_empty() {
        let _ = write!(out, "%!(EXTRA {})", extra.join(", "));
    }
    Ok(out)
}

/// The flags, the width and the precision at the beginning of `text`, and what follows.
fn field(text: &str) -> Result<(Field, &str), UnknownVerb> {
    let mut field = Field::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next() {
        match flag {
            '+' => field.sign = Some('+'),
            '-' => field.minus = true,
            ' ' => field.sign = field.sign.or(Some(' ')),
            '0' => field.zero = true,
            '#' | '[' | '*' => return Err(UnknownVerb),
            _ => break,
        }
        rest = &rest[1..];
    }
    let (width, after) = number(rest)?;
    field.width = width.unwrap_or(0);
    rest = after;
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = number(after)?;
        field.precision = Some(precision.unwrap_or(0));
        rest = after;
    }
    if rest.starts_with(['[', '*', '#']) {
        return Err(UnknownVerb);
    }
    Ok((field, rest))
}

fn number(text: &str) -> Result<(Option<usize>, &str), UnknownVerb> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDEST);
    Ok((Some(number.ok_or(UnknownVerb)?), rest))
}

fn formatted(field: &Field, verb: char, operand: &Operand) -> Result<String, UnknownVerb> {
    let text = match (operand, verb) {
        (Operand::Whole(digits), 'd' | 'v') => digits.clone(),
        (Operand::Whole(digits), 'b' | 'o' | 'x' | 'X' | 'c') => based(digits, verb)?,
        (Operand::Float(number), 'v' | 'g') if field.precision.is_none() => float(*number),
        (Operand::Float(number), 'f' | 'F') => {
            format!("{number:.*}", field.precision.unwrap_or(6))
        }
        (Operand::Float(number), 'e') => exponential(*number, field.precision.unwrap_or(6)),
        (Operand::Text(text), 's' | 'v') => match field.precision {
            Some(length) => text.chars().take(length).collect(),
            None => text.clone(),
        },
        (Operand::Text(text), 'q') if field.precision.is_none() => quote(text),
        (Operand::Text(text), 'x') => hex::encode(text),
        (Operand::Text(text), 'X') => hex::encode_upper(text),
        // Verbs of Go that exist, but are rare.
        (Operand::Whole(_), 'q' | 'U' | 'O')
        | (Operand::Float(_), 'g' | 'v' | 'G' | 'E' | 'b' | 'x' | 'X')
        | (Operand::Text(_), 'q')
        | (_, 'T' | 'p' | 'w') => return Err(UnknownVerb),
        _ => return Ok(format!("%!{verb}({})", operand.complaint())),
    };
    let is_number = !matches!(operand, Operand::Text(_)) && verb != 'c';
    if field.precision.is_some() && matches!(operand, Operand::Whole(_)) {
        return Err(UnknownVerb);
    }
    padded(field, text, is_number)
}

fn based(digits: &str, verb: char) -> Result<String, UnknownVerb> {
    let number: i128 = digits.parse().map_err(|_| UnknownVerb)?;
    let sign = if number < 0 { "-" } else { "" };
    let size = number.unsigned_abs();
    Ok(match verb {
        'b' => format!("{sign}{size:b}"),
        'o' => format!("{sign}{size:o}"),
        'x' => format!("{sign}{size:x}"),
        'X' => format!("{sign}{size:X}"),
        _ => {
            let character = u32::try_from(number).ok().and_then(char::from_u32);
            character.unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
        }
    })
}

/// `number` with an exponent of at least two digits.
fn exponential(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn padded(field: &Field, mut text: String, is_number: bool) -> Result<String, UnknownVerb> {
    if field.zero && !is_number {
        return Err(UnknownVerb);
    }
    if let Some(sign) = field.sign.filter(|_| is_number && !text.starts_with('-')) {
        text.insert(0, sign);
    }
    let missing = field.width.saturating_sub(text.chars().count());
    Ok(if field.minus {
        text + &" ".repeat(missing)
    } else if field.zero {
        let sign = usize::from(text.starts_with(['-', '+', ' ']));
        text.insert_str(sign, &"0".repeat(missing));
        text
    } else {
        " ".repeat(missing) + &text
    })
}
