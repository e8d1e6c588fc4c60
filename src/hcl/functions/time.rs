//! Functions for dates and times, and for the environment that rbake runs in.

use std::collections::BTreeMap;

use super::{Function, FunctionCall, FunctionError, Parameter};
use crate::golang::quote::quote;
use crate::golang::time::{MONTHS, Timestamp, WEEKDAYS, parse_duration, year_text};
use crate::hcl::cty::{Number, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "timestamp",
        "The current time in UTC, in RFC 3339 format.",
        &[],
        |call| Ok(Timestamp::from_system(call.context().now).rfc3339().into()),
    ),
    Function::new("homedir", "The user's home directory.", &[], |call| {
        Ok(call.context().home.as_str().into())
    }),
    Function::new(
        "timeadd",
        "The sum of a time and a duration such as `1h30m`.",
        &[
            Parameter::string("timestamp"),
            Parameter::string("duration"),
        ],
        |call| {
            let timestamp = Timestamp::parse(call.text(0)?).map_err(FunctionError::new)?;
            let duration = parse_duration(call.text(1)?).map_err(FunctionError::new)?;
            timestamp
                .after(duration)
                .map(|later| later.rfc3339().into())
                .ok_or_else(|| FunctionError::new("the time is out of range"))
        },
    ),
    Function::new(
        "formatdate",
        "A time in RFC 3339 format, converted to another format; `formattimestamp` can do more.",
        &[Parameter::string("format"), Parameter::string("time")],
        |call| format_text(call.text(0)?, call.text(1)?),
    ),
    Function::new(
        "formattimestamp",
        "A time, in RFC 3339 format or as seconds since 1970, in another format; `X` means the seconds.",
        &[Parameter::string("format"), Parameter::any("time")],
        format_timestamp,
    ),
    Function::new(
        "unixtimestampparse",
        "The parts of the date and time of a Unix timestamp (seconds since 1970).",
        &[Parameter::number("unix_timestamp")],
        |call| Ok(parts(unix(call.number(0)?, 0)?)),
    ),
];

fn unix(number: &Number, place: usize) -> Result<Timestamp, FunctionError> {
    number
        .to_i64()
        .map(Timestamp::from_unix)
        .ok_or_else(|| FunctionError::argument(place, "unix timestamp must be an integer"))
}

fn parts(timestamp: Timestamp) -> Value {
    let civil = timestamp.civil();
    let (iso_year, iso_week) = timestamp.iso_week();
    let number = |value: i64| Value::number(value);
    let name = |names: &[&str], place: u8| {
        Value::from(names.get(usize::from(place)).copied().unwrap_or_default())
    };
    let entries: [(&str, Value); 13] = [
        ("year", number(civil.year)),
        ("year_day", number(civil.year_day.into())),
        ("day", number(civil.day.into())),
        ("month", number(civil.month.into())),
        ("month_name", name(&MONTHS, civil.month - 1)),
        ("weekday", number(civil.weekday.into())),
        ("weekday_name", name(&WEEKDAYS, civil.weekday)),
        ("hour", number(civil.hour.into())),
        ("minute", number(civil.minute.into())),
        ("second", number(civil.second.into())),
        ("rfc3339", timestamp.rfc3339().into()),
        ("iso_year", number(iso_year)),
        ("iso_week", number(iso_week)),
    ];
    let entries: BTreeMap<Text, Value> = entries
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect();
    Value::object(entries)
}

fn format_timestamp(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let form = call.text(0)?;
    let timestamp = match call.value(1) {
        Value::String(text) if form == "X" => Timestamp::parse(text)
            .map_err(|_| FunctionError::argument(1, "timestamp string must be RFC3339"))?,
        Value::String(text) => return format_text(form, text),
        Value::Number(number) => unix(number, 1)?,
        _ => {
            return Err(FunctionError::argument(
                1,
                "must be a string timestamp or a unix timestamp number",
            ));
        }
    };
    if form == "X" {
        return Ok(timestamp.seconds.to_string().into());
    }
    if !(0..=9999).contains(&timestamp.civil().year) {
        return Err(FunctionError::argument(
            1,
            "the year does not fit into RFC 3339's four digits",
        ));
    }
    format(form, timestamp)
}

fn format_text(form: &str, text: &str) -> Result<Value, FunctionError> {
    let timestamp = Timestamp::parse(text).map_err(|reason| FunctionError::argument(1, reason))?;
    format(form, timestamp)
}

/// Formats a time by a pattern, as go-cty's `formatdate`. Runs of one letter are verbs, `'…'` is literal, and all
/// other characters are literal, too.
fn format(form: &str, timestamp: Timestamp) -> Result<Value, FunctionError> {
    let mut out = String::new();
    let mut rest = form;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            rest = write_literal(rest, &mut out)?;
        } else if first.is_ascii_alphabetic() {
            let length = rest.chars().take_while(|char| *char == first).count();
            let (verb, tail) = rest.split_at(length);
            write_verb(verb, timestamp, &mut out)?;
            rest = tail;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(out.into())
}

/// Writes a quoted part of the pattern, in which two quotes mean one, and returns the rest. An empty quoted part
/// (`''`) means one quote, too.
fn write_literal<'a>(quoted: &'a str, out: &mut String) -> Result<&'a str, FunctionError> {
    let mut rest = &quoted[1..];
    if let Some(tail) = rest.strip_prefix('\'') {
        out.push('\'');
        return Ok(tail);
    }
    loop {
        let (part, tail) = rest
            .split_once('\'')
            .ok_or_else(|| FunctionError::argument(0, "unterminated literal '"))?;
        out.push_str(part);
        match tail.strip_prefix('\'') {
            Some(tail) => {
                out.push('\'');
                rest = tail;
            }
            None => return Ok(tail),
        }
    }
}

fn write_verb(verb: &str, timestamp: Timestamp, out: &mut String) -> Result<(), FunctionError> {
    let civil = timestamp.civil();
    let name = |names: &[&'static str], place: u8| {
        names.get(usize::from(place)).copied().unwrap_or_default()
    };
    let month = name(&MONTHS, civil.month - 1);
    let weekday = name(&WEEKDAYS, civil.weekday);
    let afternoon = civil.hour >= 12;
    let twelve = match civil.hour % 12 {
        0 => 12,
        hour => hour,
    };
    let text = match verb {
        "YY" => format!("{:02}", civil.year % 100),
        "YYYY" => year_text(civil.year),
        "M" => civil.month.to_string(),
        "MM" => format!("{:02}", civil.month),
        "MMM" => month[..3].to_owned(),
        "MMMM" => month.to_owned(),
        "D" => civil.day.to_string(),
        "DD" => format!("{:02}", civil.day),
        "EEE" => weekday[..3].to_owned(),
        "EEEE" => weekday.to_owned(),
        "h" => civil.hour.to_string(),
        "hh" => format!("{:02}", civil.hour),
        "H" => twelve.to_string(),
        "HH" => format!("{twelve:02}"),
        "AA" => if afternoon { "PM" } else { "AM" }.to_owned(),
        "aa" => if afternoon { "pm" } else { "am" }.to_owned(),
        "m" => civil.minute.to_string(),
        "mm" => format!("{:02}", civil.minute),
        "s" => civil.second.to_string(),
        "ss" => format!("{:02}", civil.second),
        "Z" => timestamp.zone(":", true),
        "ZZZ" if timestamp.offset == 0 => "UTC".to_owned(),
        "ZZZ" | "ZZZZ" => timestamp.zone("", false),
        "ZZZZZ" => timestamp.zone(":", false),
        _ => {
            let known = match verb.chars().next() {
                Some('Y') => ": year must either be \"YY\" or \"YYYY\"",
                Some('M') => ": month must be \"M\", \"MM\", \"MMM\", or \"MMMM\"",
                Some('D') => ": day of month must either be \"D\" or \"DD\"",
                Some('E') => ": day of week must either be \"EEE\" or \"EEEE\"",
                Some('h') => ": 24-hour must either be \"h\" or \"hh\"",
                Some('H') => ": 12-hour must either be \"H\" or \"HH\"",
                Some('A') => ": must be \"AA\"",
                Some('a') => ": must be \"aa\"",
                Some('m') => ": minute must either be \"m\" or \"mm\"",
                Some('s') => ": second must either be \"s\" or \"ss\"",
                Some('Z') => ": timezone must be Z, ZZZ, ZZZZ, or ZZZZZ",
                _ => "",
            };
            return Err(FunctionError::argument(
                0,
                format!("invalid date format verb {}{known}", quote(verb)),
            ));
        }
    };
    out.push_str(&text);
    Ok(())
}
