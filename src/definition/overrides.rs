//! Values for variables from outside the definition: `--var` and the environment.

use std::collections::BTreeMap;

use super::declarations::VariableDecl;
use crate::diag::{Diagnostic, Diagnostics};
use crate::golang::{csv, strconv};
use crate::hcl::cty::{Number, Text, Type, Value};
use crate::hcl::eval::expr::problem;
use crate::hcl::json::typed::{self, TypedError};
use crate::types::Environment;
use crate::types::secret::is_secret_name;

/// Whether the environment may set variables. `BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP` forbids it. Fails if its value
/// is not a boolean.
pub(super) fn reads_environment(environment: &Environment) -> Result<bool, Diagnostic> {
    const DISABLE: &str = "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP";
    let Some(text) = environment.non_empty(DISABLE).map(str::trim) else {
        return Ok(true);
    };
    match strconv::parse_bool(text) {
        Some(disabled) => Ok(!disabled),
        None => Err(Diagnostic::error(
            crate::diag::Class::Usage,
            "definition::environment",
            format!("`{text}` in the environment variable `{DISABLE}` is not a boolean"),
        )),
    }
}

/// The values that `--var` and the environment give to variables.
#[derive(Debug, Default)]
pub(super) struct Overrides<'a> {
    vars: BTreeMap<&'a str, &'a str>,
    environment: Option<&'a Environment>,
}

/// An override of one variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VariableOverride<'a> {
    /// The value as text.
    pub(super) text: &'a str,
    /// Whether it was given as `NAME_JSON`, so that the text is JSON.
    pub(super) json: bool,
    /// Whether it was given by `--var`, rather than by the environment.
    pub(super) flag: bool,
}

impl<'a> Overrides<'a> {
    /// Collects the overrides of `vars` and `environment`. If `vars` has a name more than once, the last value counts.
    pub(super) fn new(
        vars: &'a [(String, String)],
        environment: &'a Environment,
    ) -> Result<Self, Diagnostic> {
        let disabled = !reads_environment(environment)?;
        Ok(Self {
            vars: vars.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            environment: (!disabled).then_some(environment),
        })
    }

    /// The value of `name`, and whether it comes from `--var`, which takes precedence over the environment.
    fn lookup(&self, name: &str) -> Option<(&'a str, bool)> {
        match self.vars.get(name) {
            Some(text) => Some((text, true)),
            None => self.environment?.get(name).map(|text| (text, false)),
        }
    }

    /// Returns the override of the variable `name`. `NAME_JSON` counts if there is no `NAME`, or if `prefer_json`
    /// is set. It does not count if `taken` says that `NAME_JSON` is itself the name of a variable.
    pub(super) fn of(
        &self,
        name: &str,
        prefer_json: bool,
        taken: impl Fn(&str) -> bool,
    ) -> Option<VariableOverride<'a>> {
        let plain = self.lookup(name);
        if plain.is_none() || prefer_json {
            let json_name = format!("{name}_JSON");
            if !taken(&json_name)
                && let Some((text, flag)) = self.lookup(&json_name)
            {
                return Some(VariableOverride {
                    text,
                    json: true,
                    flag,
                });
            }
        }
        plain.map(|(text, flag)| VariableOverride {
            text,
            json: false,
            flag,
        })
    }
}

impl VariableOverride<'_> {
    /// Converts the text to the declared type `ty` of the variable.
    pub(super) fn typed(
        &self,
        variable: &VariableDecl<'_>,
        ty: &Type,
    ) -> Result<Value, Diagnostics> {
        if self.json {
            return typed::value(self.text, ty)
                .map_err(|error| self.wrong_json(variable, ty, &error));
        }
        match ty {
            Type::List(_) | Type::Set(_) | Type::Map(_) | Type::Tuple(_) => {
                self.csv(variable, ty).map_err(Diagnostics::from)
            }
            ty if ty.is_primitive() => self.primitive(variable, ty).map_err(Diagnostics::from),
            ty => Err(self
                .problem(
                    variable,
                    format!(
                        "a value of type {} cannot be given as plain text",
                        ty.name()
                    ),
                )
                .help(match ty {
                    Type::Dynamic => "declare a type other than `any`".to_owned(),
                    _ => format!("give it as JSON in `{}_JSON`", variable.name.text),
                })
                .into()),
        }
    }

    /// Converts the text for a variable without a declared type. The type of `default` decides; without a default,
    /// the value is a string.
    pub(super) fn untyped(
        &self,
        variable: &VariableDecl<'_>,
        default: Option<&Value>,
    ) -> Result<Value, Diagnostics> {
        let ty = default.map_or(Type::Dynamic, Value::ty);
        match ty {
            Type::Dynamic => Ok(Value::from(self.text)),
            ty if ty.is_primitive() => self.primitive(variable, &ty).map_err(Diagnostics::from),
            ty => Err(self
                .problem(
                    variable,
                    format!(
                        "its default is of type {}, which cannot be given as plain text",
                        ty.name()
                    ),
                )
                .help("declare its type, such as `type = list(string)`")
                .into()),
        }
    }

    fn primitive(&self, variable: &VariableDecl<'_>, ty: &Type) -> Result<Value, Diagnostic> {
        primitive(self.text, ty).ok_or_else(|| {
            let text = shown(variable, self.text);
            self.problem(variable, format!("`{text}` is not a {}", ty.name()))
        })
    }

    /// Converts a comma-separated text to a list, set, tuple or map of primitive values. Entries of a map are
    /// `key:value`.
    fn csv(&self, variable: &VariableDecl<'_>, ty: &Type) -> Result<Value, Diagnostic> {
        let fields = csv::fields(self.text).map_err(|error| {
            self.problem(
                variable,
                format!("it is not a comma-separated list: {error}"),
            )
            .help(format!("give it as JSON in `{}_JSON`", variable.name.text))
        })?;
        let field = |text: &str, ty: &Type| {
            if !ty.is_primitive() {
                return Err(self
                    .problem(
                        variable,
                        format!(
                            "elements of type {} cannot be given as plain text",
                            ty.name()
                        ),
                    )
                    .help(format!("give it as JSON in `{}_JSON`", variable.name.text)));
            }
            primitive(text, ty).ok_or_else(|| {
                let text = shown(variable, text);
                self.problem(
                    variable,
                    format!("its element `{text}` is not a {}", ty.name()),
                )
            })
        };
        let all = |element: &Type| -> Result<Vec<Value>, Diagnostic> {
            fields.iter().map(|text| field(text, element)).collect()
        };
        match ty {
            Type::List(element) => Ok(Value::list((**element).clone(), all(element)?)),
            Type::Set(element) => Ok(Value::set((**element).clone(), all(element)?)),
            Type::Tuple(elements) => {
                if elements.len() != fields.len() {
                    return Err(self.problem(
                        variable,
                        format!(
                            "its type has {} elements, but {} are given",
                            elements.len(),
                            fields.len()
                        ),
                    ));
                }
                let values: Result<Vec<_>, _> = fields
                    .iter()
                    .zip(elements.iter())
                    .map(|(text, element)| field(text, element))
                    .collect();
                Ok(Value::tuple(values?))
            }
            Type::Map(element) => {
                let mut entries = BTreeMap::new();
                for pair in &fields {
                    let parts = csv::fields_by(pair, ':').unwrap_or_default();
                    let [key, value] = parts.as_slice() else {
                        let pair = shown(variable, pair);
                        return Err(self.problem(
                            variable,
                            format!("its element `{pair}` must have the form `key:value`"),
                        ));
                    };
                    entries.insert(Text::from(&**key), field(value, element)?);
                }
                Ok(Value::map((**element).clone(), entries))
            }
            _ => Err(self.problem(variable, "it cannot be given as plain text")),
        }
    }

    fn wrong_json(
        &self,
        variable: &VariableDecl<'_>,
        ty: &Type,
        error: &TypedError,
    ) -> Diagnostics {
        self.problem(variable, format!("it is not {ty} in JSON: {error}"))
            .into()
    }

    fn problem(&self, variable: &VariableDecl<'_>, why: impl std::fmt::Display) -> Diagnostic {
        let name = &variable.name.text;
        let suffix = if self.json { "_JSON" } else { "" };
        let source = if self.flag {
            format!("`--var {name}{suffix}`")
        } else {
            format!("the environment variable `{name}{suffix}`")
        };
        problem(
            "definition::invalid-override",
            format!("variable `{name}` cannot be set by {source}: {why}"),
        )
        .at(variable.name.span, "declared here")
    }
}

/// A part of a variable's value for messages. Replaced by `xxxxx` if the variable's name suggests a secret.
fn shown<'a>(variable: &VariableDecl<'_>, text: &'a str) -> &'a str {
    if is_secret_name(&variable.name.text) {
        "xxxxx"
    } else {
        text
    }
}

/// Converts the text in the same way as buildx: booleans with Go's spellings, and only numbers that fit a 64-bit
/// float.
fn primitive(text: &str, ty: &Type) -> Option<Value> {
    match ty {
        Type::String => Some(Value::from(text)),
        Type::Bool => strconv::parse_bool(text).map(Value::Bool),
        Type::Number => strconv::parse_float(text)
            .filter(|number| number.is_finite())
            .and_then(Number::from_f64)
            .map(Value::Number),
        _ => None,
    }
}
