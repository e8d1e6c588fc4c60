//! Template strings of Rego, `$"…{expression}…"`, which `regorus` does not know.
//!
//! They are rewritten before the module is parsed, as OPA does: to a call of `internal.template_string` with the parts. An expression
//! is written as a set, which is empty if the expression is undefined.

use regorus::Value;

/// `text` without template strings, and with the same lines.
pub(super) fn rewritten(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut names = 0;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' => string_end(rest),
            '`' => rest[1..].find('`').map_or(rest.len(), |end| end + 2),
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '$' if rest[1..].starts_with(['"', '`']) => {
                match template(&rest[1..], &mut names) {
                    Some((call, taken)) => {
                        out.push_str(&call);
                        rest = &rest[1 + taken..];
                        continue;
                    }
                    // The parser reports it.
                    None => 1,
                }
            }
            other => other.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// The bytes of the string in double quotes at the beginning of `text`.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' | b'\n' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The call in place of the template string without `$` at the beginning of `text`, and the bytes of that string.
fn template(text: &str, names: &mut usize) -> Option<(String, usize)> {
    let quote = text.chars().next()?;
    let mut parts: Vec<String> = Vec::new();
    let mut literal = String::new();
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        let next = rest.chars().next()?;
        if next == quote {
            break;
        }
        match next {
            '\n' if quote == '"' => return None,
            '\\' if rest[1..].starts_with('{') => {
                literal.push('{');
                at += 2;
            }
            '\\' if quote == '"' => {
                let escaped = rest[1..].chars().next()?;
                literal.push('\\');
                literal.push(escaped);
                at += 1 + escaped.len_utf8();
            }
            '{' => {
                parts.push(quoted(&literal, quote));
                literal.clear();
                let length = expression_end(&rest[1..])?;
                let expression = rewritten(&rest[1..=length]);
                *names += 1;
                let name = format!("template_value_{names}__");
                parts.push(format!("{{{name} | {name} := {expression}}}"));
                at += length + 2;
            }
            other => {
                literal.push(other);
                at += other.len_utf8();
            }
        }
    }
    parts.push(quoted(&literal, quote));
    let call = format!("internal.template_string([{}])", parts.join(", "));
    Some((call, at + 1))
}

fn quoted(literal: &str, quote: char) -> String {
    format!("{quote}{literal}{quote}")
}

/// The bytes before the brace that closes the expression at the beginning of `text`.
fn expression_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(next) = text.get(at..)?.chars().next() {
        let rest = &text[at..];
        at += match next {
            '"' => string_end(rest),
            '`' => rest[1..].find('`')? + 2,
            '{' => {
                depth += 1;
                1
            }
            '}' if depth == 0 => return Some(at),
            '}' => {
                depth -= 1;
                1
            }
            other => other.len_utf8(),
        };
    }
    None
}

/// The text of a template string: texts as they are, sets by their only item.
pub(super) fn joined(arguments: &[Value]) -> Option<Value> {
    let parts = arguments.first()?.as_array().ok()?;
    let mut text = String::new();
    for part in parts {
        let value = match part.as_set() {
            Ok(set) => set.iter().next(),
            Err(_) => Some(part),
        };
        match value {
            Some(Value::String(part)) => text.push_str(part),
            Some(value) => text.push_str(&super::format::shown(value)),
            None => text.push_str("<undefined>"),
        }
    }
    Some(Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_strings_are_rewritten_in_place() {
        let plain = "package a\n# $\"{b}\"\nc := \"$\" # \"\nd := `$\"{e}\"`\n";
        assert_eq!(rewritten(plain), plain);
        let call = |text: &str| format!("internal.template_string([{text}])");
        assert_eq!(
            rewritten("x := $\"a {b[\"}\"]}!\""),
            format!(
                "x := {}",
                call("\"a \", {template_value_1__ | template_value_1__ := b[\"}\"]}, \"!\"")
            )
        );
        assert_eq!(rewritten("$`a\\{b`"), call("`a{b`"));
        assert_eq!(rewritten("$\"a"), "$\"a");
    }
}
