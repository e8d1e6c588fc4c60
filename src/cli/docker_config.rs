//! Reports problems in Docker's configuration to the user.

use crate::credential::DockerConfig;
use crate::diag::Diagnostic;

/// The most problems of a configuration that are reported.
const MOST: usize = 8;

/// A warning that names the configuration and lists its problems. `None` if there are none.
pub(super) fn warning(configuration: &DockerConfig) -> Option<Diagnostic> {
    let problems = configuration.problems();
    if problems.is_empty() {
        return None;
    }
    let source = configuration.source();
    let (message, consequence) = if configuration.is_unread() {
        (
            format!("Docker's configuration {source} cannot be read"),
            "rbake ignores it, and contacts registries without its credentials",
        )
    } else {
        (
            format!("some of Docker's configuration {source} cannot be read"),
            "rbake ignores wrong entries, and contacts registries with a wrong entry without a credential",
        )
    };
    let told = Diagnostic::warning("cli::docker-config", message);
    let told = problems
        .iter()
        .take(MOST)
        .fold(told, |told, problem| told.note(problem.clone()));
    let told = match problems.len().saturating_sub(MOST) {
        0 => told,
        more => told.note(format!("and {more} more")),
    };
    Some(told.help(consequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{Provider, ProviderOptions};
    use crate::diag::{SourceMap, Style, render};
    use crate::types::Environment;

    fn shown(variable: &str) -> Option<String> {
        let environment = Environment::of([("DOCKER_AUTH_CONFIG", variable)], "/");
        let provider = Provider::new(ProviderOptions::new(&environment));
        let warning = provider.configurations().find_map(warning)?;
        Some(render(&warning, &SourceMap::default(), Style::default()))
    }

    #[test]
    fn the_warning_names_the_configuration_and_its_wrong_entries() {
        insta::assert_snapshot!(shown(r#"{"auths":{"h":"dXNlcjpwYXNz"}}"#).unwrap(), @r"
        warning[cli::docker-config]: some of Docker's configuration `DOCKER_AUTH_CONFIG` cannot be read
         |
         = note: `auths.h` is a string, not an object
         = help: rbake ignores wrong entries, and contacts registries with a wrong entry without a credential
        ");
        insta::assert_snapshot!(shown("dXNlcjpwYXNz").unwrap(), @r"
        warning[cli::docker-config]: Docker's configuration `DOCKER_AUTH_CONFIG` cannot be read
         |
         = note: it is not valid JSON at line 1, column 1
         = help: rbake ignores it, and contacts registries without its credentials
        ");
        assert_eq!(shown(r#"{"auths":{"h":{"auth":"dTpw"}}}"#), None);
        let many: Vec<String> = (0..20).map(|i| format!(r#""h{i}":5"#)).collect();
        let many = shown(&format!(r#"{{"auths":{{{}}}}}"#, many.join(","))).unwrap();
        assert!(many.contains("and 12 more"), "{many}");
    }
}
