//! `--list`: prints the targets and groups, or the variables of a definition, as a table or as JSON.

use std::borrow::Cow;

use super::json::Json;
use super::table;
use super::value_json::value_json;
use crate::definition::evaluated::VariableInfo;
use crate::definition::model::Definition;
use crate::diag::{Class, Diagnostic};
use crate::golang::csv;
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::{Type, Value};

/// The parsed value of `--list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListSpec {
    /// What to list.
    pub kind: ListKind,
    /// The output format.
    pub(crate) format: ListFormat,
}

/// What to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// Targets and groups.
    Targets,
    /// Variables.
    Variables,
}

/// The output format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListFormat {
    /// A table with aligned columns.
    Table,
    /// JSON, as buildx prints it.
    Json,
}

impl ListSpec {
    /// Parses the value of `--list`: `targets`, `variables`, or `type=…,format=table|json`.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        let (kind, format) = fields(text)?;
        let kind = match kind.as_deref() {
            Some("targets") => ListKind::Targets,
            Some("variables") => ListKind::Variables,
            other => return Err(unknown("type", other, &["targets", "variables"])),
        };
        let format = match format.as_deref() {
            None | Some("" | "table") => ListFormat::Table,
            Some("json") => ListFormat::Json,
            other => return Err(unknown("format", other, &["table", "json"])),
        };
        Ok(Self { kind, format })
    }
}

type Fields<'a> = (Option<Cow<'a, str>>, Option<Cow<'a, str>>);

/// The type and the format in the value of `--list`. A single word is the type.
fn fields(text: &str) -> Result<Fields<'_>, Diagnostic> {
    let fields = csv::fields(text).map_err(|error| invalid(&format!("`{text}`: {error}")))?;
    if let [only] = fields.as_slice()
        && only == text
        && !text.starts_with("type=")
    {
        return Ok((Some(Cow::Borrowed(text)), None));
    }
    let (mut kind, mut format) = (None, None);
    for field in fields {
        let Some((key, value)) = field.split_once('=') else {
            return Err(
                invalid(&format!("`{field}` must have the form `key=value`"))
                    .help("write `type=targets,format=json`"),
            );
        };
        match key.trim().to_lowercase().as_str() {
            "type" => kind = Some(Cow::Owned(value.to_owned())),
            "format" => format = Some(Cow::Owned(value.to_owned())),
            key => return Err(unknown("key", Some(key), &["type", "format"])),
        }
    }
    Ok((kind, format))
}

fn invalid(reason: &str) -> Diagnostic {
    Diagnostic::error(
        Class::Usage,
        "plan::invalid-list",
        format!("`--list`: {reason}"),
    )
}

fn unknown(what: &str, found: Option<&str>, known: &'static [&'static str]) -> Diagnostic {
    let found = found.unwrap_or_default();
    invalid(&format!(
        "`{found}` is not a known {what}: there are `{}`",
        known.join("`, `")
    ))
    .similar("a value", found, known.iter().copied())
}

/// Formats the list. It ends with a line break only if buildx's list does.
pub fn list(definition: &Definition, spec: ListSpec) -> String {
    match spec.kind {
        ListKind::Targets => targets(definition, spec.format),
        ListKind::Variables => variables(&definition.variables, spec.format),
    }
}

struct TargetRow<'a> {
    name: &'a str,
    description: String,
    group: bool,
}

/// Targets and groups by name. Names that start with `_` are private and left out.
fn target_rows(definition: &Definition) -> Vec<TargetRow<'_>> {
    let targets = definition.targets.iter().map(|(name, target)| TargetRow {
        name: name.as_str(),
        description: target
            .description
            .as_ref()
            .map(|text| text.value.to_string())
            .unwrap_or_default(),
        group: false,
    });
    let groups = definition.groups.iter().map(|(name, group)| {
        let mut members: Vec<&str> = group.members.iter().map(|member| &*member.value).collect();
        members.sort_unstable();
        let members = members.join(", ");
        let description = match &group.description {
            Some(text) if !text.is_empty() && members.is_empty() => text.value.to_string(),
            Some(text) if !text.is_empty() => format!("{} ({members})", text.value),
            _ => members,
        };
        TargetRow {
            name: name.as_str(),
            description,
            group: true,
        }
    });
    let mut rows: Vec<TargetRow<'_>> = targets
        .chain(groups)
        .filter(|row| !row.name.starts_with('_'))
        .collect();
    rows.sort_by_key(|row| row.name);
    rows
}

fn targets(definition: &Definition, format: ListFormat) -> String {
    let rows = target_rows(definition);
    match format {
        ListFormat::Table => {
            let mut text = String::from("TARGET\tDESCRIPTION\n");
            for row in &rows {
                text.push_str(row.name);
                text.push('\t');
                text.push_str(&row.description);
                text.push('\n');
            }
            table::align(&text)
        }
        ListFormat::Json if rows.is_empty() => "null\n".to_owned(),
        ListFormat::Json => document(&rows, |json, row| {
            json.text_field("name", row.name);
            if !row.description.is_empty() {
                json.text_field("description", &row.description);
            }
            if row.group {
                json.field("group", |json| json.word(true));
            }
        }),
    }
}

fn document<T>(rows: &[T], write: impl Fn(&mut Json, &T)) -> String {
    let mut json = Json::default();
    json.array(rows, |json, row| json.object(|json| write(json, row)));
    let mut text = json.finish();
    text.push('\n');
    text
}

/// The value of a variable in the list: JSON of its declared type, or plain text if no type is declared. `None`
/// for null.
fn shown_value(variable: &VariableInfo) -> Option<String> {
    let value = &variable.value;
    if value.is_null() {
        return None;
    }
    Some(match &variable.ty {
        // As in buildx, this also removes quotes that belong to the text itself, if they are at its start or end.
        Some(Type::String) => value_json(value, &Type::String)
            .trim_matches('"')
            .to_owned(),
        Some(ty) => value_json(value, ty),
        None => match convert(value, &Type::String) {
            Ok(Value::String(text)) => text.to_string(),
            _ => value_json(value, &value.ty()),
        },
    })
}

fn variables(variables: &[VariableInfo], format: ListFormat) -> String {
    let mut sorted: Vec<&VariableInfo> = variables.iter().collect();
    sorted.sort_by_key(|variable| &variable.name);
    let type_name = |variable: &VariableInfo| {
        let ty = variable.ty.as_ref();
        ty.map(Type::constraint_name).unwrap_or_default()
    };
    match format {
        ListFormat::Table => {
            let mut text = String::from("VARIABLE\tTYPE\tVALUE\tDESCRIPTION\n");
            for variable in sorted {
                let value = shown_value(variable).unwrap_or_else(|| "<null>".to_owned());
                let ty = type_name(variable);
                let cells = [&*variable.name, &ty, &value, &variable.description];
                text.push_str(&cells.join("\t"));
                text.push('\n');
            }
            table::align(&text)
        }
        ListFormat::Json => document(&sorted, |json, variable| {
            json.text_field("name", &variable.name);
            if !variable.description.is_empty() {
                json.text_field("description", &variable.description);
            }
            if variable.ty.is_some() {
                json.text_field("type", &type_name(variable));
            }
            if let Some(value) = shown_value(variable) {
                json.text_field("value", &value);
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("targets", ListKind::Targets, ListFormat::Table)]
    #[test_case("type=variables", ListKind::Variables, ListFormat::Table; "fields")]
    #[test_case("Format=json,type=targets", ListKind::Targets, ListFormat::Json; "any case")]
    #[test_case("type=targets,format=", ListKind::Targets, ListFormat::Table; "empty format")]
    fn values_of_list_are_parsed(text: &str, kind: ListKind, format: ListFormat) {
        assert_eq!(ListSpec::parse(text), Ok(ListSpec { kind, format }));
    }

    #[test_case("foo"; "unknown word")]
    #[test_case(""; "nothing")]
    #[test_case("type=foo"; "unknown type")]
    #[test_case("type=targets,format=x"; "unknown format")]
    #[test_case("format=json"; "no type")]
    #[test_case("type=targets,zz=1"; "unknown key")]
    #[test_case("targets,format=json"; "word among fields")]
    #[test_case("TYPE=targets"; "case of a word")]
    fn invalid_values_of_list_are_refused(text: &str) {
        assert!(ListSpec::parse(text).is_err());
    }
}
