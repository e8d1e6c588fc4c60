//! Functions for regular expressions.

use std::collections::BTreeMap;

use super::call::check_text_size;
use super::collections::check_elements;
use super::pattern::{Match, RegexPattern};
use super::{Function, FunctionCall, FunctionError, Parameter};
use crate::hcl::cty::{Text, Type, Value};

const PATTERN_AND_STRING: &[Parameter] =
    &[Parameter::string("pattern"), Parameter::string("string")];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "regex",
        "The first match of a pattern: its text, or a tuple or object of its groups.",
        PATTERN_AND_STRING,
        |call| {
            let (pattern, shape) = compile(call)?;
            let Some(first) = pattern.matches_for(call.text(1)?, call).next() else {
                return Err(FunctionError::new(
                    "pattern did not match any part of the given string",
                ));
            };
            Ok(shape.value(&first?))
        },
    ),
    Function::new(
        "regexall",
        "All matches of a pattern, each as `regex` returns it.",
        PATTERN_AND_STRING,
        |call| {
            let (pattern, shape) = compile(call)?;
            let mut all = Vec::new();
            for found in pattern.matches_for(call.text(1)?, call) {
                all.push(shape.value(&found?));
                check_elements(all.len())?;
            }
            Ok(Value::list(shape.ty(), all))
        },
    ),
    Function::new(
        "regex_replace",
        "The text with all matches of a pattern replaced; `$1` and `${name}` refer to groups.",
        &[
            Parameter::string("str"),
            Parameter::string("pattern"),
            Parameter::string("replace"),
        ],
        replace,
    ),
];

/// The form of a match as a value.
enum Shape {
    Text,
    /// The number of groups, which have no names: a tuple.
    Groups(usize),
    Names(Vec<Text>),
}

impl Shape {
    fn of(pattern: &RegexPattern) -> Result<Self, String> {
        let names: Vec<Text> = pattern.names().iter().flatten().map(Text::from).collect();
        let groups = pattern.names().len();
        match (groups, names.len()) {
            (0, _) => Ok(Self::Text),
            (_, 0) => Ok(Self::Groups(groups)),
            (groups, named) if groups == named => Ok(Self::Names(names)),
            _ => Err("cannot mix both named and unnamed capture groups".into()),
        }
    }

    fn ty(&self) -> Type {
        match self {
            Self::Text => Type::String,
            Self::Groups(count) => Type::tuple(std::iter::repeat_n(Type::String, *count)),
            Self::Names(names) => {
                Type::object(names.iter().map(|name| (name.clone(), Type::String)))
            }
        }
    }

    fn value(&self, found: &Match<'_>) -> Value {
        let group = |group: usize| {
            found
                .group(group)
                .map_or(Value::Null(Type::String), Value::from)
        };
        match self {
            Self::Text => group(0),
            Self::Groups(count) => Value::tuple((1..=*count).map(group).collect()),
            Self::Names(names) => {
                let entries: BTreeMap<Text, Value> = names
                    .iter()
                    .enumerate()
                    .map(|(place, name)| (name.clone(), group(place + 1)))
                    .collect();
                Value::object(entries)
            }
        }
    }
}

fn compile(call: &FunctionCall<'_>) -> Result<(RegexPattern, Shape), FunctionError> {
    let failure = |reason| FunctionError::argument(0, format!("invalid regexp pattern: {reason}"));
    let pattern =
        RegexPattern::compile(call.text(0)?, |steps| call.work(steps)).map_err(failure)?;
    let shape = Shape::of(&pattern).map_err(failure)?;
    Ok((pattern, shape))
}

fn replace(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let text = call.text(0)?;
    let pattern =
        RegexPattern::compile(call.text(1)?, |steps| call.work(steps)).map_err(|reason| {
            FunctionError::argument(1, format!("invalid regexp pattern: {reason}"))
        })?;
    let template = call.text(2)?;
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for found in pattern.matches_for(text, call) {
        let found = found?;
        out.push_str(&text[copied..found.start()]);
        expand(template, &pattern, &found, &mut out);
        copied = found.end();
        check_text_size(out.len())?;
    }
    out.push_str(&text[copied..]);
    check_text_size(out.len())?;
    Ok(out.into())
}

/// Writes a replacement. `$name`, `${name}` and `$1` are replaced by the text of the group, `$$` by a dollar.
fn expand(template: &str, pattern: &RegexPattern, found: &Match<'_>, out: &mut String) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let braced = after.strip_prefix('{');
        let body = braced.unwrap_or(after);
        let length = body
            .find(|char: char| !(char.is_alphanumeric() || char == '_'))
            .unwrap_or(body.len());
        let (reference, tail) = body.split_at(length);
        let tail = if braced.is_some() {
            tail.strip_prefix('}')
        } else {
            Some(tail)
        };
        match tail {
            Some(tail) if !reference.is_empty() => {
                out.push_str(pattern.referenced(reference, found).unwrap_or_default());
                rest = tail;
            }
            // This does not name a group, so the dollar is literal.
            _ => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
}
