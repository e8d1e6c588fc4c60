//! Functions on strings: case, trimming, searching, cutting and joining.

use super::call::check_text_size;
use super::{Function, FunctionCall, FunctionError, Parameter};
use crate::golang::path;
use crate::golang::unicode::{lower, separates_words, title, upper};
use crate::hcl::cty::characters::{grapheme_count, graphemes};
use crate::hcl::cty::{Type, Value};

const STR: &[Parameter] = &[Parameter::string("str")];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("upper", "The text in upper case.", STR, |call| {
        Ok(call.text(0)?.chars().map(upper).collect::<String>().into())
    }),
    Function::new("lower", "The text in lower case.", STR, |call| {
        Ok(call.text(0)?.chars().map(lower).collect::<String>().into())
    }),
    Function::new(
        "title",
        "The text with a capital letter at the start of each word.",
        STR,
        title_case,
    ),
    Function::new(
        "chomp",
        "The text without the line breaks at its end.",
        STR,
        |call| Ok(call.text(0)?.trim_end_matches(['\r', '\n']).into()),
    ),
    Function::new(
        "trim",
        "The text without any of the given characters at its start and end.",
        &[Parameter::string("str"), Parameter::string("cutset")],
        |call| {
            let cutset = call.text(1)?;
            Ok(call
                .text(0)?
                .trim_matches(|char| cutset.contains(char))
                .into())
        },
    ),
    Function::new(
        "trimprefix",
        "The text without the given prefix, if it starts with it.",
        &[Parameter::string("str"), Parameter::string("prefix")],
        |call| {
            let text = call.text(0)?;
            Ok(text.strip_prefix(call.text(1)?).unwrap_or(text).into())
        },
    ),
    Function::new(
        "trimsuffix",
        "The text without the given suffix, if it ends with it.",
        &[Parameter::string("str"), Parameter::string("suffix")],
        |call| {
            let text = call.text(0)?;
            Ok(text.strip_suffix(call.text(1)?).unwrap_or(text).into())
        },
    ),
    Function::new(
        "trimspace",
        "The text without white space at its start and end.",
        STR,
        |call| Ok(call.text(0)?.trim().into()),
    ),
    Function::new(
        "reverse",
        "The characters of the text in reverse order.",
        STR,
        |call| {
            let characters: Vec<&str> = graphemes(call.text(0)?).collect();
            Ok(characters.into_iter().rev().collect::<String>().into())
        },
    ),
    Function::new(
        "strlen",
        "The number of characters in the text.",
        STR,
        |call| Ok(Value::number(grapheme_count(call.text(0)?))),
    ),
    Function::new(
        "substr",
        "The given number of characters from an offset on; a negative length means all, a negative offset counts \
         from the end.",
        &[
            Parameter::string("str"),
            Parameter::number("offset"),
            Parameter::number("length"),
        ],
        substr,
    ),
    Function::new(
        "replace",
        "The text with every occurrence of one text replaced by another.",
        &[
            Parameter::string("str"),
            Parameter::string("substr"),
            Parameter::string("replace"),
        ],
        replace,
    ),
    Function::new(
        "indent",
        "The text with the given number of spaces after each line break.",
        &[Parameter::number("spaces"), Parameter::string("str")],
        indent,
    ),
    Function::new(
        "join",
        "The strings of all lists in one text, with a separator between them.",
        &[Parameter::string("separator")],
        join,
    )
    .and_more(Parameter::new("lists", super::ParameterType::ListOfString)),
    Function::new(
        "split",
        "The parts of a text between separators; its single characters if the separator is empty.",
        &[Parameter::string("separator"), Parameter::string("str")],
        split,
    ),
    Function::new(
        "sort",
        "The strings, sorted by the codes of their characters.",
        &[Parameter::new("list", super::ParameterType::ListOfString)],
        sort,
    ),
    Function::new(
        "sanitize",
        "The text with `_` in place of each character that is not valid in the name of a target.",
        &[Parameter::string("name")],
        |call| {
            let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
            let name = call.text(0)?.chars();
            Ok(name
                .map(|char| if allowed(char) { char } else { '_' })
                .collect::<String>()
                .into())
        },
    ),
    Function::new(
        "basename",
        "The last element of a path with slashes.",
        &[Parameter::string("path")],
        |call| Ok(path::base(call.text(0)?).into()),
    ),
    Function::new(
        "dirname",
        "All but the last element of a path with slashes, in its shortest form.",
        &[Parameter::string("path")],
        |call| Ok(path::dir(call.text(0)?).into()),
    ),
];

fn title_case(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let mut previous = ' ';
    let titled: String = call
        .text(0)?
        .chars()
        .map(|char| {
            let begins = separates_words(previous);
            previous = char;
            if begins { title(char) } else { char }
        })
        .collect();
    Ok(titled.into())
}

fn substr(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let text = call.text(0)?;
    let (mut offset, length) = (call.integer(1)?, call.integer(2)?);
    if offset < 0 {
        offset = offset.saturating_add(i64::try_from(grapheme_count(text)).unwrap_or(i64::MAX));
    } else if length == 0 {
        return Ok("".into());
    }
    let mut characters = graphemes(text);
    for _ in 0..offset {
        if characters.next().is_none() {
            return Ok("".into());
        }
    }
    // As in go-cty, a length of zero after a negative offset takes the whole rest.
    if length <= 0 {
        return Ok(characters.collect::<String>().into());
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(characters.take(length).collect::<String>().into())
}

fn replace(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let (text, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let grows = to.len().saturating_sub(from.len());
    check_text_size(
        text.len()
            .saturating_add(grows.saturating_mul(text.matches(from).count())),
    )?;
    Ok(text.replace(from, to).into())
}

fn indent(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let spaces = usize::try_from(call.integer(0)?)
        .map_err(|_| FunctionError::argument(0, "the number of spaces must not be negative"))?;
    let text = call.text(1)?;
    let breaks = text.matches('\n').count();
    check_text_size(text.len().saturating_add(spaces.saturating_mul(breaks)))?;
    if breaks == 0 {
        return Ok(call.value(1).clone());
    }
    Ok(text
        .replace('\n', &format!("\n{}", " ".repeat(spaces)))
        .into())
}

fn join(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let separator = call.text(0)?;
    let lists = call.rest(1);
    if lists.is_empty() {
        return Err(FunctionError::new("at least one list is required"));
    }
    let mut strings = Vec::new();
    let mut size = 0usize;
    for place in 1..=lists.len() {
        for (item_place, item) in call.items(place)?.iter().enumerate() {
            let Some(text) = item.as_str() else {
                let of_list = if lists.len() > 1 {
                    format!(" of list {place}")
                } else {
                    String::new()
                };
                return Err(FunctionError::argument(
                    place,
                    format!(
                        "element {item_place}{of_list} is null; cannot concatenate null values"
                    ),
                ));
            };
            size = size.saturating_add(text.len() + separator.len());
            strings.push(text);
        }
    }
    check_text_size(size)?;
    Ok(strings.join(separator).into())
}

fn split(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let (separator, text) = (call.text(0)?, call.text(1)?);
    let parts: Vec<Value> = if separator.is_empty() {
        let mut buffer = [0; 4];
        text.chars()
            .map(|char| Value::from(&*char.encode_utf8(&mut buffer)))
            .collect()
    } else {
        text.split(separator).map(Value::from).collect()
    };
    Ok(Value::list(Type::String, parts))
}

fn sort(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let mut items = call.items(0)?.to_vec();
    if let Some(place) = items.iter().position(Value::is_null) {
        return Err(FunctionError::new(format!(
            "given list element {place} is null; a null string cannot be sorted"
        )));
    }
    items.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
    Ok(Value::list(Type::String, items))
}
