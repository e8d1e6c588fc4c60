//! The table entries of the functions that take expressions instead of values. The evaluator implements them.

use super::{Function, Implementation, Lazy, Parameter};

/// An entry of a function that the evaluator implements.
const fn lazy(
    name: &'static str,
    description: &'static str,
    parameters: &'static [Parameter],
    body: Lazy,
) -> Function {
    Function {
        name,
        description,
        parameters,
        variadic: None,
        body: Implementation::Lazy(body),
    }
}

pub(super) const FUNCTIONS: &[Function] = &[
    lazy(
        "try",
        "The value of the first expression that evaluates without an error.",
        &[],
        Lazy::Try,
    )
    .and_more(Parameter::any("expressions").or_null()),
    lazy(
        "can",
        "Whether an expression evaluates without an error.",
        &[Parameter::any("expression").or_null()],
        Lazy::Can,
    ),
    lazy(
        "convert",
        "The value converted to a type such as `list(string)`.",
        &[Parameter::any("value").or_null(), Parameter::any("type")],
        Lazy::Convert,
    ),
];
