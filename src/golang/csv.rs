//! Comma-separated values, as strict as in Go: only a whole field may be in quotes.
//!
//! [`fields`] reads one record by the rules of `go-csvvalue`, with which buildx reads all attribute strings: one
//! final line break is allowed, and an empty text is an error. [`CsvReader`] reads many records by the rules of
//! `encoding/csv`, which skips empty lines.

use std::borrow::Cow;

/// Why [`fields`] cannot read a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CsvError {
    /// The text is empty, or only a line break.
    #[error("an empty text has no fields")]
    Empty,
    /// A field contains a quote but does not start with one.
    #[error("found `\"` in a field that is not quoted as a whole (column {column})")]
    BareQuote {
        /// Byte column of the quote, from 1.
        column: usize,
    },
    /// A quoted field has no closing quote, or text follows its closing quote.
    #[error("a quoted field does not end with `\"` (column {column})")]
    OpenQuote {
        /// Byte column at which a closing quote or a separator was expected, from 1.
        column: usize,
    },
}

/// Returns the fields of `line`, which are separated by commas, without their quotes.
pub(crate) fn fields(line: &str) -> Result<Vec<Cow<'_, str>>, CsvError> {
    fields_by(line, ',')
}

/// Returns the fields of `line`, which are separated by `separator`, without their quotes.
pub(crate) fn fields_by(line: &str, separator: char) -> Result<Vec<Cow<'_, str>>, CsvError> {
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
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            match until_quote(quoted) {
                (field, Some("")) => (field, None),
                (field, Some(after)) => match after.strip_prefix(separator) {
                    Some(next) => (field, Some(next)),
                    None => {
                        return Err(CsvError::OpenQuote {
                            column: column(after),
                        });
                    }
                },
                (_, None) => {
                    return Err(CsvError::OpenQuote {
                        column: line.len() + 1,
                    });
                }
            }
        } else {
            let (field, next) =
                until_separator(rest, separator).map_err(|at| CsvError::BareQuote {
                    column: column(rest) + at,
                })?;
            (Cow::Borrowed(field), next)
        };
        fields.push(field);
        match after {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// Splits an unquoted field off the start of `text`. Returns the field and the text after the separator, which is
/// `None` if no separator follows. The error is the byte offset of a quote in the field.
fn until_separator(text: &str, separator: char) -> Result<(&str, Option<&str>), usize> {
    let (field, next) = match text.split_once(separator) {
        Some((field, next)) => (field, Some(next)),
        None => (text, None),
    };
    match field.find('"') {
        Some(at) => Err(at),
        None => Ok((field, next)),
    }
}

/// Splits the text after an opening quote. Returns the field, with each doubled quote as one quote, and the text
/// after the closing quote, which is `None` if the closing quote is missing.
fn until_quote(text: &str) -> (Cow<'_, str>, Option<&str>) {
    let mut field: Cow<'_, str> = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let (part, after) = match rest.split_once('"') {
            Some((part, after)) => (part, Some(after)),
            None => (rest, None),
        };
        if field.is_empty() {
            field = Cow::Borrowed(part);
        } else {
            field.to_mut().push_str(part);
        }
        match after.map(|after| after.strip_prefix('"').ok_or(after)) {
            Some(Ok(after)) => {
                field.to_mut().push('"');
                rest = after;
            }
            Some(Err(after)) => return (field, Some(after)),
            None => return (field, None),
        }
    }
}

/// Why [`CsvReader`] cannot read a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TableError {
    /// A field contains a quote but does not start with one.
    #[error("CSV line {line}: bare \" in a field that is not quoted")]
    BareQuote {
        /// Counted from one.
        line: usize,
    },
    /// A quoted field has no closing quote, or text follows its closing quote.
    #[error("CSV line {line}: extraneous or missing \" in a quoted field")]
    Quote {
        /// Counted from one.
        line: usize,
    },
}

/// Reads the records of a text one by one, as Go's `csv.Reader` does. A quoted field may contain line breaks; a
/// `\r\n` in it becomes `\n`.
#[derive(Debug)]
pub(crate) struct CsvReader<'a> {
    rest: &'a str,
    separator: char,
    line: usize,
}

impl<'a> CsvReader<'a> {
    /// Reads `text`, whose fields are separated by `separator`.
    pub(crate) fn new(text: &'a str, separator: char) -> Self {
        Self {
            rest: text,
            separator,
            line: 0,
        }
    }

    /// The last line of the last record, counted from 1; 0 before the first record.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Returns the next line without its line break, and whether it had one. `None` at the end of the text.
    fn next_line(&mut self) -> Option<(&'a str, bool)> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let (line, ended) = match self.rest.split_once('\n') {
            Some((line, rest)) => {
                self.rest = rest;
                (line, true)
            }
            None => (std::mem::take(&mut self.rest), false),
        };
        Some((line.strip_suffix('\r').unwrap_or(line), ended))
    }

    /// Returns the fields of the next record, or `None` after the last one. Empty lines are skipped. Unlike
    /// `encoding/csv`, this does not require all records to have the same number of fields.
    pub(crate) fn next_record(&mut self) -> Result<Option<Vec<String>>, TableError> {
        let (mut line, mut ended) = loop {
            match self.next_line() {
                None => return Ok(None),
                Some(("", _)) => {}
                Some(line) => break line,
            }
        };
        let mut record = Vec::new();
        loop {
            let Some(quoted) = line.strip_prefix('"') else {
                let (field, next) = until_separator(line, self.separator)
                    .map_err(|_at| TableError::BareQuote { line: self.line })?;
                record.push(field.to_owned());
                match next {
                    Some(next) => line = next,
                    None => return Ok(Some(record)),
                }
                continue;
            };
            let (mut field, mut after) = until_quote(quoted);
            while after.is_none() {
                let next = if ended { self.next_line() } else { None };
                let (next, next_ended) = next.ok_or(TableError::Quote { line: self.line })?;
                ended = next_ended;
                let (part, rest) = until_quote(next);
                field.to_mut().push('\n');
                field.to_mut().push_str(&part);
                after = rest;
            }
            record.push(field.into_owned());
            line = match after {
                None | Some("") => return Ok(Some(record)),
                Some(rest) => rest
                    .strip_prefix(self.separator)
                    .ok_or(TableError::Quote { line: self.line })?,
            };
        }
    }
}

/// Returns `value` as a field of a record, in quotes if it is empty or contains a comma, a quote or a line break.
pub(crate) fn field(value: &str) -> Cow<'_, str> {
    if value.is_empty() || value.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", value.replace('"', "\"\"")).into()
    } else {
        value.into()
    }
}

/// Joins `key=value` pairs into one record. Pairs that contain commas or quotes are quoted.
#[cfg(test)]
pub(crate) fn join<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    use std::fmt::Write as _;
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
    #[test_case(" a , b ", &[" a ", " b "]; "spaces are kept")]
    fn lines_are_split_into_fields(line: &str, expected: &[&str]) {
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
    fn malformed_lines_are_refused(line: &str, expected: CsvError) {
        assert_eq!(fields(line), Err(expected));
    }

    #[test]
    fn a_written_field_is_read_back() {
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

    fn record(text: &str) -> Result<Vec<String>, TableError> {
        Ok(CsvReader::new(text, ',').next_record()?.unwrap())
    }

    #[test]
    fn reads_records_of_a_table() {
        assert_eq!(record("a, b,,c").unwrap(), ["a", " b", "", "c"]);
        assert_eq!(
            record("\"a,\"\"b\"\"\",\"c\r\nd\"").unwrap(),
            ["a,\"b\"", "c\nd"]
        );
        assert_eq!(record("\n\r\na,").unwrap(), ["a", ""]);
        assert_eq!(record("\"\"").unwrap(), [""]);
        assert_eq!(record("x\n").unwrap(), ["x"]);
    }

    #[test]
    fn misplaced_quotes_in_a_table_are_refused() {
        let bare = TableError::BareQuote { line: 1 };
        assert_eq!(record("a\"b").unwrap_err(), bare);
        for text in ["\"a", "\"a\"b", "\"a\" ,b", "\"a\n"] {
            let error = record(text).unwrap_err();
            assert!(matches!(error, TableError::Quote { .. }), "{text:?}");
        }
    }

    #[test]
    fn records_are_read_one_after_the_other() {
        let mut table = CsvReader::new("a,b\r\n\n1,\"2\n3\"\n", ',');
        assert_eq!(table.next_record().unwrap().unwrap(), ["a", "b"]);
        assert_eq!(table.next_record().unwrap().unwrap(), ["1", "2\n3"]);
        assert_eq!(table.line(), 4);
        assert_eq!(table.next_record().unwrap(), None);
    }
}
