//! One line of comma-separated values, as flags and bake files write attributes.
//!
//! The rules are those of `go-csvvalue`, which buildx reads all its attribute strings with: RFC 4180 for a single
//! record, quotes only around whole fields, one final line break allowed, and an empty line is no record.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Why a text is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Nothing there.
    #[error("an empty text holds no fields")]
    Empty,
    /// A quote in a field that does not start with one.
    #[error("a `\"` stands inside a field that is not quoted as a whole (column {column})")]
    BareQuote {
        /// Byte column of the quote, from 1.
        column: usize,
    },
    /// A quoted field that does not end, or goes on after its end.
    #[error("a quoted field does not end with `\"` (column {column})")]
    OpenQuote {
        /// Byte column where the end was expected, from 1.
        column: usize,
    },
}

/// The fields of `line`, separated by commas.
pub fn fields(line: &str) -> Result<Vec<Cow<'_, str>>, CsvError> {
    fields_by(line, ',')
}

/// The fields of `line`, separated by `separator`.
pub fn fields_by(line: &str, separator: char) -> Result<Vec<Cow<'_, str>>, CsvError> {
    let line = line
        .strip_suffix('\n')
        .map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(CsvError::Empty);
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let column = |rest: &str| line.len() - rest.len() + 1;
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) =
                quoted_field(quoted).map_err(|at| CsvError::OpenQuote { column: column(at) })?;
            fields.push(field);
            if after.is_empty() {
                return Ok(fields);
            }
            let Some(next) = after.strip_prefix(separator) else {
                return Err(CsvError::OpenQuote {
                    column: column(after),
                });
            };
            rest = next;
        } else {
            let (field, next) = match rest.split_once(separator) {
                Some((field, next)) => (field, Some(next)),
                None => (rest, None),
            };
            if let Some(at) = field.find('"') {
                return Err(CsvError::BareQuote {
                    column: column(rest) + at,
                });
            }
            fields.push(Cow::Borrowed(field));
            match next {
                Some(next) => rest = next,
                None => return Ok(fields),
            }
        }
    }
}

// What follows an opening quote: the field and what comes after its closing quote; the error is where the text ended.
fn quoted_field(text: &str) -> Result<(Cow<'_, str>, &str), &str> {
    let mut field: Cow<'_, str> = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            return Err(&rest[rest.len()..]);
        };
        if field.is_empty() {
            field = Cow::Borrowed(part);
        } else {
            field.to_mut().push_str(part);
        }
        match after.strip_prefix('"') {
            Some(after) => {
                field.to_mut().push('"');
                rest = after;
            }
            None => return Ok((field, after)),
        }
    }
}

/// `value` as the one field of a record.
pub fn field(value: &str) -> Cow<'_, str> {
    if value.is_empty() || value.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", value.replace('"', "\"\"")).into()
    } else {
        value.into()
    }
}

/// `key=value` pairs as one record; pairs that hold commas or quotes are quoted.
pub fn join<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut line = String::new();
    for (key, value) in pairs {
        if !line.is_empty() {
            line.push(',');
        }
        if key.contains([',', '"']) || value.contains([',', '"']) {
            let pair = format!("{key}={value}").replace('"', "\"\"");
            // Writing to a String cannot fail.
            let _ = write!(line, "\"{pair}\"");
        } else {
            let _ = write!(line, "{key}={value}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("a,b", &["a", "b"]; "plain")]
    #[test_case("a,", &["a", ""]; "empty last field")]
    #[test_case(",", &["", ""]; "two empty fields")]
    #[test_case("a\r\n", &["a"]; "final line break")]
    #[test_case(r#""a,b",c"#, &["a,b", "c"]; "quoted comma")]
    #[test_case(r#""a ""b"" c""#, &[r#"a "b" c"#]; "doubled quotes")]
    #[test_case(r#""","#, &["", ""]; "quoted empty field")]
    #[test_case(r#""""""#, &["\""]; "quoted quote")]
    #[test_case(" a , b ", &[" a ", " b "]; "spaces stay")]
    fn records(line: &str, expected: &[&str]) {
        let found = fields(line).map(|fields| fields.into_iter().map(Cow::into_owned).collect());
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(found, Ok(expected));
    }

    #[test_case("", CsvError::Empty)]
    #[test_case("\n", CsvError::Empty)]
    #[test_case("a\"b", CsvError::BareQuote { column: 2 })]
    #[test_case("x,a\"b", CsvError::BareQuote { column: 4 })]
    #[test_case("\"ab", CsvError::OpenQuote { column: 4 })]
    #[test_case("\"a\"b", CsvError::OpenQuote { column: 4 })]
    fn refused(line: &str, expected: CsvError) {
        assert_eq!(fields(line), Err(expected));
    }

    #[test]
    fn one_field_is_read_back() {
        for value in ["", "plain", "a,b", "\"", "a\n", "\r\n", "a \"b\", c"] {
            assert_eq!(fields(&field(value)).unwrap(), [value]);
        }
    }

    #[test]
    fn joined_pairs_are_read_back() {
        let line = join([("type", "x"), ("v", "a,b"), ("w", "say \"hi\"")]);
        assert_eq!(line, r#"type=x,"v=a,b","w=say ""hi""""#);
        let back = fields(&line).unwrap();
        assert_eq!(back, ["type=x", "v=a,b", "w=say \"hi\""]);
    }
}
