//! Evaluates type expressions: `string`, `list(number)`, `object({a = bool, b = optional(any)})`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::expr::problem;
use crate::diag::{Diagnostic, Span};
use crate::hcl::cty::Text;
use crate::hcl::cty::types::{ObjectType, Type};
use crate::hcl::syntax::{Call, Expr, ExprKind, ObjectKey};

const PRIMITIVES: [&str; 4] = ["string", "number", "bool", "any"];
const CONSTRUCTORS: [&str; 5] = ["list", "set", "map", "tuple", "object"];

/// Returns the type that `expr` means. The error says why it is not a type expression.
pub(crate) fn type_of(expr: &Expr) -> Result<Type, Diagnostic> {
    match &expr.kind {
        ExprKind::Variable(name) => match &**name {
            "string" => Ok(Type::String),
            "number" => Ok(Type::Number),
            "bool" => Ok(Type::Bool),
            "any" => Ok(Type::Dynamic),
            name if CONSTRUCTORS.contains(&name) => Err(not_a_type(expr.span, name).help(format!(
                "add the type of its content, as in {}",
                example(name)
            ))),
            name => Err(not_a_type(expr.span, name).did_you_mean(
                "a type",
                name,
                PRIMITIVES.iter().chain(&CONSTRUCTORS).copied(),
            )),
        },
        ExprKind::Call(call) => constructed(call, expr.span),
        ExprKind::Literal(value) => {
            let wrong = problem(
                "definition::invalid-type",
                "expected a type, found a literal value",
            )
            .at(expr.span, "");
            Err(match value.as_str() {
                Some(text) => wrong.help(format!("write `{text}` without quotes")),
                None => wrong,
            })
        }
        _ => Err(problem("definition::invalid-type", "this is not a type").at(expr.span, "")),
    }
}

fn not_a_type(at: Span, name: &str) -> Diagnostic {
    problem(
        "definition::invalid-type",
        format!("`{name}` is not a valid type"),
    )
    .at(at, "")
}

fn example(constructor: &str) -> &'static str {
    match constructor {
        "tuple" => "`tuple([string, number])`",
        "object" => "`object({name = string})`",
        "set" => "`set(string)`",
        "map" => "`map(string)`",
        _ => "`list(string)`",
    }
}

fn constructed(call: &Call, at: Span) -> Result<Type, Diagnostic> {
    let name = &*call.name.text;
    if name == "optional" {
        return Err(problem(
            "definition::invalid-type",
            "`optional` is allowed for attributes of an object type only",
        )
        .at(at, ""));
    }
    if PRIMITIVES.contains(&name) {
        return Err(not_a_type(at, name).help(format!("write `{name}` without parentheses")));
    }
    if !CONSTRUCTORS.contains(&name) {
        return Err(not_a_type(call.name.span, name).did_you_mean("a type", name, CONSTRUCTORS));
    }
    let [argument] = call.arguments.as_slice() else {
        return Err(problem(
            "definition::invalid-type",
            format!("`{name}` takes one argument"),
        )
        .at(at, "")
        .help(format!("write it as in {}", example(name))));
    };
    match name {
        "list" => type_of(argument).map(Type::list),
        "set" => type_of(argument).map(Type::set),
        "map" => type_of(argument).map(Type::map),
        "tuple" => match &argument.kind {
            ExprKind::Tuple(elements) => elements
                .iter()
                .map(type_of)
                .collect::<Result<Vec<_>, _>>()
                .map(Type::tuple),
            _ => Err(wrong_argument(name, argument.span)),
        },
        _ => object(argument),
    }
}

fn wrong_argument(name: &str, at: Span) -> Diagnostic {
    problem(
        "definition::invalid-type",
        format!("this is not a valid argument of `{name}`"),
    )
    .at(at, "")
    .help(format!("write it as in {}", example(name)))
}

fn object(argument: &Expr) -> Result<Type, Diagnostic> {
    let ExprKind::Object(items) = &argument.kind else {
        return Err(wrong_argument("object", argument.span));
    };
    let mut attributes: BTreeMap<Text, Type> = BTreeMap::new();
    let mut optional: BTreeSet<Text> = BTreeSet::new();
    for item in items {
        let ObjectKey::Name(name) = &item.key else {
            return Err(problem(
                "definition::invalid-type",
                "the key of an attribute in a type must be a name",
            )
            .at(item.key.span(), ""));
        };
        let name_text = Text::from(&*name.text);
        let ty = match &item.value.kind {
            ExprKind::Call(call) if &*call.name.text == "optional" => {
                let [inner] = call.arguments.as_slice() else {
                    let wrong = problem(
                        "definition::invalid-type",
                        "`optional` takes one argument, the type",
                    )
                    .at(item.value.span, "");
                    return Err(if call.arguments.is_empty() {
                        wrong
                    } else {
                        wrong.help("remove the default; attributes cannot have one")
                    });
                };
                optional.insert(name_text.clone());
                type_of(inner)?
            }
            _ => type_of(&item.value)?,
        };
        attributes.insert(name_text, ty);
    }
    Ok(Type::Object(Arc::new(ObjectType::with_optional(
        attributes, optional,
    ))))
}
