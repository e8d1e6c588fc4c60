//! The environment of services: `environment` and `env_file`.

use std::collections::HashMap;

use super::decode::{boolean, pairs};
use super::dotenv;
use super::reader::ProjectReader;
use super::variables::ComposeVariables;
use crate::diag::{Class, Diagnostic};
use crate::types::encoding::{IS_UTF16, SAVE_AS_UTF8};
use crate::yaml::YamlMapping;

/// The environment of `service`. Variables without a value are left out.
pub(super) fn of_service(
    service: &YamlMapping,
    variables: &ComposeVariables,
    reader: &mut ProjectReader<'_>,
) -> HashMap<String, String> {
    let mut own: HashMap<String, Option<String>> = HashMap::new();
    for (name, value) in pairs(service.get("environment").map(|entry| &entry.value)) {
        let value = value
            .value
            .or_else(|| variables.get(&name).map(str::to_owned));
        own.insert(name, value);
    }
    let mut all: HashMap<String, String> = HashMap::new();
    let files = service
        .get("env_file")
        .and_then(|entry| entry.value.as_sequence());
    for file in files.unwrap_or_default() {
        let Some((path, span)) = file
            .get("path")
            .and_then(|path| Some((path.as_str()?, path.span)))
        else {
            continue;
        };
        let required = file.get("required").and_then(boolean).unwrap_or(true);
        if !required && !reader.exists(path) {
            continue;
        }
        if let Some(format) = file
            .get("format")
            .filter(|format| !matches!(format.as_str(), Some("" | ".env")))
        {
            let message = "environment files must have the format `.env`";
            reader.error("compose::invalid-value", message, format.span, "");
            continue;
        }
        let Ok(source) = reader.read(path, "the environment file", Some(span)) else {
            continue;
        };
        if reader.is_utf16(source) {
            let message = format!("cannot read the environment file `{path}`: {IS_UTF16}");
            let problem = Diagnostic::error(Class::Definition, "compose::unreadable", message);
            reader.report(problem.at(span, "").help(SAVE_AS_UTF8));
            continue;
        }
        let lookup = |name: &str| {
            let project = variables.get(name).map(str::to_owned);
            let own = || own.get(name).cloned().flatten();
            project.or_else(own).or_else(|| all.get(name).cloned())
        };
        let text = reader.environment_text(source);
        let found = dotenv::parse(&text, source, &lookup, &mut reader.problems);
        all.extend(found);
    }
    // A variable in `environment` without a value removes the value from an `env_file`.
    for (name, value) in own {
        match value {
            Some(value) => drop(all.insert(name, value)),
            None => drop(all.remove(&name)),
        }
    }
    all
}
