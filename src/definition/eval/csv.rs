//! Comma-separated values, as strictly as Go reads them.
//!
//! Quotes stand only at the start of a field, and must close it; a lenient reader would take what the reference
//! refuses. Start at [`Reader`] for a table and [`read_record`] for a single line.

/// Text that is no CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// A quote inside a field that does not begin with one.
    #[error("CSV line {line}: bare \" in a field that is not quoted")]
    BareQuote {
        /// Counted from one.
        line: usize,
    },
    /// A quoted field that is not closed, or goes on after its closing quote.
    #[error("CSV line {line}: extraneous or missing \" in a quoted field")]
    Quote {
        /// Counted from one.
        line: usize,
    },
    /// There is no record.
    #[error("CSV without any record")]
    Empty,
}

/// Reads records one by one; empty lines are skipped.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a str,
    delimiter: char,
    line: usize,
}

impl<'a> Reader<'a> {
    /// A reader of text whose fields a delimiter separates.
    pub fn new(text: &'a str, delimiter: char) -> Self {
        Self {
            rest: text,
            delimiter,
            line: 0,
        }
    }

    /// The line that the last record ended on, counted from one.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The next line without its end, and whether a line break ended it.
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

    /// The fields of the next record.
    pub fn next_record(&mut self) -> Result<Option<Vec<String>>, CsvError> {
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
                let (field, rest) = match line.split_once(self.delimiter) {
                    Some((field, rest)) => (field, Some(rest)),
                    None => (line, None),
                };
                if field.contains('"') {
                    return Err(CsvError::BareQuote { line: self.line });
                }
                record.push(field.to_owned());
                match rest {
                    Some(rest) => line = rest,
                    None => return Ok(Some(record)),
                }
                continue;
            };
            let mut field = String::new();
            line = quoted;
            loop {
                if let Some((part, rest)) = line.split_once('"') {
                    field.push_str(part);
                    line = rest;
                    if let Some(rest) = line.strip_prefix('"') {
                        field.push('"');
                        line = rest;
                    } else {
                        break;
                    }
                } else {
                    field.push_str(line);
                    if !ended {
                        return Err(CsvError::Quote { line: self.line });
                    }
                    field.push('\n');
                    (line, ended) = self
                        .next_line()
                        .ok_or(CsvError::Quote { line: self.line })?;
                }
            }
            record.push(field);
            if line.is_empty() {
                return Ok(Some(record));
            }
            line = line
                .strip_prefix(self.delimiter)
                .ok_or(CsvError::Quote { line: self.line })?;
        }
    }
}

/// The fields of a text that is one record; what follows the first record is not read.
pub fn read_record(text: &str, delimiter: char) -> Result<Vec<String>, CsvError> {
    Reader::new(text, delimiter)
        .next_record()?
        .ok_or(CsvError::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Result<Vec<String>, CsvError> {
        read_record(text, ',')
    }

    #[test]
    fn fields_and_quotes() {
        assert_eq!(record("a, b,,c").unwrap(), ["a", " b", "", "c"]);
        assert_eq!(
            record("\"a,\"\"b\"\"\",\"c\r\nd\"").unwrap(),
            ["a,\"b\"", "c\nd"]
        );
        assert_eq!(record("\n\r\na,").unwrap(), ["a", ""]);
        assert_eq!(read_record("k:\"v:w\"", ':').unwrap(), ["k", "v:w"]);
        assert_eq!(record("\"\"").unwrap(), [""]);
    }

    #[test]
    fn misplaced_quotes_are_errors() {
        assert_eq!(record("").unwrap_err(), CsvError::Empty);
        assert_eq!(record("a\"b").unwrap_err(), CsvError::BareQuote { line: 1 });
        assert_eq!(record("x\n").unwrap(), ["x"]);
        for text in ["\"a", "\"a\"b", "\"a\" ,b", "\"a\n"] {
            assert!(
                matches!(record(text), Err(CsvError::Quote { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn records_follow_each_other() {
        let mut reader = Reader::new("a,b\r\n\n1,\"2\n3\"\n", ',');
        assert_eq!(reader.next_record().unwrap().unwrap(), ["a", "b"]);
        assert_eq!(reader.next_record().unwrap().unwrap(), ["1", "2\n3"]);
        assert_eq!(reader.line(), 4);
        assert_eq!(reader.next_record().unwrap(), None);
    }
}
