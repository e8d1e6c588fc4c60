//! Parses the attribute `call` and the value of `--call`: `METHOD[,format=…][,ignorestatus=…]`.

use crate::golang::csv::{self, CsvError};
use crate::golang::strconv;

/// A method of the frontend that runs instead of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrontendCall {
    /// The method as the frontend knows it: `lint`, not its alias `check`.
    pub(crate) method: String,
    /// The form of the answer, such as `json`. As in buildx, only that of the flag has an effect.
    pub(crate) format: Option<String>,
    /// Whether the status that the frontend reports does not become the exit code. As in buildx, only the flag sets it.
    pub(crate) ignores_status: bool,
}

/// Why a text is not a call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It cannot be split into fields.
    #[error(transparent)]
    Fields(#[from] CsvError),
    /// `ignorestatus` has a value that is not a boolean.
    #[error("`ignorestatus` cannot be `{0}`")]
    Status(String),
    /// There is no such option.
    #[error("there is no option `{0}`")]
    Option(String),
    /// Two fields name a method.
    #[error("it names two methods, `{0}` and `{1}`")]
    TwoMethods(String, String),
    /// No field names a method.
    #[error("it names no method")]
    NoMethod,
}

impl FrontendCall {
    /// The call that `text` asks for. `None` means a build: the text is empty, or its method is `build`.
    ///
    /// # Errors
    /// `text` does not have this form.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, CallError> {
        if text.is_empty() {
            return Ok(None);
        }
        let mut call = Self {
            method: String::new(),
            format: None,
            ignores_status: false,
        };
        for field in &csv::fields(text)? {
            match field.split_once('=') {
                Some(("format", format)) => call.format = Some(format.to_owned()),
                Some(("ignorestatus", value)) => {
                    let parsed = strconv::parse_bool(value);
                    let parsed = parsed.ok_or_else(|| CallError::Status(value.to_owned()))?;
                    call.ignores_status = parsed;
                }
                Some((key, _)) => return Err(CallError::Option(key.to_owned())),
                None if call.method.is_empty() => call.method = field.to_string(),
                None => return Err(CallError::TwoMethods(call.method, field.to_string())),
            }
        }
        match &*call.method {
            "" => Err(CallError::NoMethod),
            "build" => Ok(None),
            "check" => {
                "lint".clone_into(&mut call.method);
                Ok(Some(call))
            }
            _ => Ok(Some(call)),
        }
    }

    /// Whether the answer is printed as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format.as_deref() == Some("json")
    }

    /// The name under which users know the method.
    pub(crate) fn shown(&self) -> &str {
        match &*self.method {
            "lint" => "check",
            method => method,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("", None; "nothing")]
    #[test_case("build,format=json", None; "a build")]
    #[test_case("check", Some(("lint", None, false)))]
    #[test_case("format=json,outline,ignorestatus=1", Some(("outline", Some("json"), true)); "any order")]
    #[test_case("anything", Some(("anything", None, false)); "a method that rbake does not know")]
    fn valid_calls_are_parsed(text: &str, expected: Option<(&str, Option<&str>, bool)>) {
        let call = FrontendCall::parse(text).unwrap();
        let parts = call
            .as_ref()
            .map(|call| (&*call.method, call.format.as_deref(), call.ignores_status));
        assert_eq!(parts, expected);
    }

    #[test_case("a,b", "two methods"; "two")]
    #[test_case("check,zz=1", "no option `zz`"; "unknown option")]
    #[test_case("check,ignorestatus=maybe", "`maybe`"; "not a boolean")]
    #[test_case("format=json", "no method"; "no method")]
    #[test_case("check,ignorestatus", "two methods"; "option without value")]
    fn invalid_calls_are_refused(text: &str, why: &str) {
        let error = FrontendCall::parse(text).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}
