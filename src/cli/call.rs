//! The flag `--call`: its value, and what is wrong with it.

use crate::diag::{Class, Diagnostic};
use crate::plan::{CallError, FrontendCall};

/// Methods that the Dockerfile frontend supports, for help texts. Other methods are passed on, too.
const METHODS: [&str; 6] = [
    "build",
    "check",
    "lint",
    "outline",
    "targets",
    "subrequests.describe",
];

/// The call that all targets make. `None` if the targets keep their own.
///
/// # Errors
/// `text` does not have the form `METHOD[,format=…][,ignorestatus=…]`.
pub(super) fn of_flag(text: &str) -> Result<Option<FrontendCall>, Diagnostic> {
    FrontendCall::parse(text).map_err(|error| {
        let message = format!("`--call {text}`: {error}");
        let problem = Diagnostic::error(Class::Usage, "cli::call", message).help(format!(
            "write `--call METHOD[,format=json][,ignorestatus=true]`; methods are {}",
            METHODS.join(", ")
        ));
        match &error {
            CallError::Option(key) => {
                problem.did_you_mean("an option", key, ["format", "ignorestatus"])
            }
            _ => problem,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_option_is_suggested() {
        let problem = of_flag("check,formt=json").unwrap_err();
        let help = problem.help.join("\n");
        assert!(help.contains("format"), "{help}");
    }
}
