//! Parses the value of `--call`: `METHOD[,format=…][,ignorestatus=…]`.

use crate::diag::{Class, Diagnostic};
use crate::golang::{csv, strconv};

/// Methods that the Dockerfile frontend supports, for help texts. Other methods are passed on, too.
const METHODS: [&str; 6] = [
    "build",
    "check",
    "lint",
    "outline",
    "targets",
    "subrequests.describe",
];

/// The method for all targets, in the form of their attribute `call`. `None` if the targets keep their own.
///
/// The options for the output are checked and then ignored: rbake does not call frontends yet, and says so.
///
/// # Errors
/// `text` does not have this form.
pub(super) fn method(text: &str) -> Result<Option<String>, Diagnostic> {
    if text.is_empty() {
        return Ok(None);
    }
    let fields = csv::fields(text).map_err(|error| wrong(text, &error.to_string()))?;
    let mut method: Option<&str> = None;
    for field in &fields {
        match field.split_once('=') {
            Some(("format", _)) => {}
            Some(("ignorestatus", value)) if strconv::parse_bool(value).is_some() => {}
            Some(("ignorestatus", value)) => {
                return Err(wrong(text, &format!("`ignorestatus` cannot be `{value}`")));
            }
            Some((key, _)) => {
                return Err(
                    wrong(text, &format!("there is no option `{key}`")).did_you_mean(
                        "an option",
                        key,
                        ["format", "ignorestatus"],
                    ),
                );
            }
            None => {
                if let Some(method) = method.filter(|method| !method.is_empty()) {
                    return Err(wrong(
                        text,
                        &format!("it names two methods, `{method}` and `{field}`"),
                    ));
                }
                method = Some(field);
            }
        }
    }
    match method {
        None | Some("") => Err(wrong(text, "it names no method")),
        Some("build") => Ok(None),
        Some("check") => Ok(Some("lint".to_owned())),
        Some(method) => Ok(Some(method.to_owned())),
    }
}

fn wrong(text: &str, why: &str) -> Diagnostic {
    Diagnostic::error(Class::Usage, "cli::call", format!("`--call {text}`: {why}")).help(format!(
        "write `--call METHOD[,format=json][,ignorestatus=true]`; methods are {}",
        METHODS.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("", None; "nothing")]
    #[test_case("build,format=json", None; "a build")]
    #[test_case("check", Some("lint"))]
    #[test_case("format=json,outline,ignorestatus=1", Some("outline"); "any order")]
    #[test_case("anything", Some("anything"); "a method that rbake does not know")]
    fn valid_methods_are_parsed(text: &str, expected: Option<&str>) {
        assert_eq!(method(text).unwrap().as_deref(), expected);
    }

    #[test_case("a,b", "two methods"; "two")]
    #[test_case("check,zz=1", "no option `zz`"; "unknown option")]
    #[test_case("check,ignorestatus=maybe", "`maybe`"; "not a boolean")]
    #[test_case("format=json", "no method"; "no method")]
    #[test_case("check,ignorestatus", "two methods"; "option without value")]
    fn invalid_methods_are_refused(text: &str, why: &str) {
        assert!(method(text).unwrap_err().message.contains(why));
    }
}
