//! Functions for equality, order and logic: the operators by name.

use super::{Function, FunctionCall, FunctionError, Parameter, ParameterType};
use crate::hcl::cty::convert::{Safety, convert};
use crate::hcl::cty::unify::unify;
use crate::hcl::cty::{Number, Type, Value};

const TWO_VALUES: &[Parameter] = &[Parameter::any("a").or_null(), Parameter::any("b").or_null()];
const TWO_NUMBERS: &[Parameter] = &[Parameter::number("a"), Parameter::number("b")];
const TWO_BOOLS: &[Parameter] = &[Parameter::bool("a"), Parameter::bool("b")];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "equal",
        "Whether two values are equal; types are not converted.",
        TWO_VALUES,
        |call| Ok(call.value(0).equals(call.value(1)).into()),
    ),
    Function::new(
        "notequal",
        "Whether two values differ; types are not converted.",
        TWO_VALUES,
        |call| Ok((!call.value(0).equals(call.value(1))).into()),
    ),
    Function::new(
        "greaterthan",
        "Whether the first number is greater than the second.",
        TWO_NUMBERS,
        |call| compare(call, |left, right| left > right),
    ),
    Function::new(
        "greaterthanorequalto",
        "Whether the first number is greater than the second, or equal to it.",
        TWO_NUMBERS,
        |call| compare(call, |left, right| left >= right),
    ),
    Function::new(
        "lessthan",
        "Whether the first number is less than the second.",
        TWO_NUMBERS,
        |call| compare(call, |left, right| left < right),
    ),
    Function::new(
        "lessthanorequalto",
        "Whether the first number is less than the second, or equal to it.",
        TWO_NUMBERS,
        |call| compare(call, |left, right| left <= right),
    ),
    Function::new("and", "Whether both values are true.", TWO_BOOLS, |call| {
        Ok((call.bool(0)? && call.bool(1)?).into())
    }),
    Function::new(
        "or",
        "Whether at least one of two values is true.",
        TWO_BOOLS,
        |call| Ok((call.bool(0)? || call.bool(1)?).into()),
    ),
    Function::new(
        "not",
        "True if the value is false, and false if it is true.",
        &[Parameter::new("val", ParameterType::Bool)],
        |call| Ok((!call.bool(0)?).into()),
    ),
    Function::new(
        "coalesce",
        "The first value that is not null, converted to the common type of all values.",
        &[],
        coalesce,
    )
    .and_more(Parameter::any("vals").or_null()),
];

fn compare(
    call: &FunctionCall<'_>,
    holds: fn(&Number, &Number) -> bool,
) -> Result<Value, FunctionError> {
    Ok(holds(call.number(0)?, call.number(1)?).into())
}

fn coalesce(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let types: Vec<Type> = call.arguments().iter().map(Value::ty).collect();
    let ty = unify(&types, Safety::Unsafe)
        .ok_or_else(|| FunctionError::new("all arguments must have the same type"))?;
    let first = call
        .arguments()
        .iter()
        .find(|value| !value.is_null())
        .ok_or_else(|| FunctionError::new("no non-null arguments"))?;
    convert(first, &ty).map_err(|error| FunctionError::new(error.to_string()))
}
