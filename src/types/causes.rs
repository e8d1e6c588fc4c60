//! Formats an error together with its causes.

use std::error::Error;
use std::iter::successors;

/// The causes of `error`, outermost first, without `error` itself.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'a),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(error.source(), |&cause| cause.source())
}

/// The messages of `error` and of its causes in one line, with `: ` between them.
pub(crate) fn in_one_line(error: &dyn Error) -> String {
    with_causes(error.to_string(), error)
}

/// Appends the causes of `error` to `text`, which already describes `error` itself.
///
/// Some errors repeat the message of their cause at the end of their own. It is not written twice then.
pub(crate) fn with_causes(mut text: String, error: &dyn Error) -> String {
    for cause in causes(error) {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Told>>,
    }

    fn told(texts: &[&'static str]) -> Option<Box<Told>> {
        let (text, rest) = texts.split_first()?;
        Some(Box::new(Told {
            text,
            source: told(rest),
        }))
    }

    #[test]
    fn every_cause_is_printed_once() {
        let error = told(&["cannot open `a`", "no such file"]).unwrap();
        assert_eq!(in_one_line(&error), "cannot open `a`: no such file");
        let error = told(&["a: b: c", "b: c", "c", "d"]).unwrap();
        assert_eq!(in_one_line(&error), "a: b: c: d");
        assert_eq!(with_causes("x".to_owned(), &error), "x: b: c: d");
        assert_eq!(causes(&error).count(), 3);
    }
}
