//! Functions for set algebra.

use super::collections::check_elements;
use super::{Function, FunctionCall, FunctionError, Parameter, ParameterType};
use crate::hcl::cty::convert::{Safety, convert};
use crate::hcl::cty::set_order::Members;
use crate::hcl::cty::unify::unify;
use crate::hcl::cty::{Type, Value};

const FIRST: &[Parameter] = &[Parameter::new("first_set", ParameterType::Set)];
const OTHERS: Parameter = Parameter::new("other_sets", ParameterType::Set);

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "sethaselement",
        "Whether a set contains a value; types are not converted.",
        &[Parameter::new("set", ParameterType::Set), Parameter::any("elem")],
        |call| {
            let wanted = call.value(1);
            let items = call.items(0)?;
            let there = Members::of_set(items).contains(wanted);
            Ok((there && items.iter().any(|item| item.same(wanted))).into())
        },
    ),
    Function::new(
        "setunion",
        "The elements that are in at least one of the sets.",
        FIRST,
        |call| {
            combine(call, |mut left, right| {
                left.extend_from_slice(right);
                left
            })
        },
    )
    .and_more(OTHERS),
    Function::new(
        "setintersection",
        "The elements that are in all of the sets.",
        FIRST,
        |call| {
            combine(call, |mut left, right| {
                let right = Members::of_set(right);
 left.retain(|item| right.contains(item));
                left
            })
        },
    )
    .and_more(OTHERS),
    Function::new(
        "setsubtract",
        "The elements of the first set that are not in the second.",
        &[Parameter::new("a", ParameterType::Set), Parameter::new("b", ParameterType::Set)],
        |call| {
            combine(call, |mut left, right| {
                let right = Members::of_set(right);
 left.retain(|item| !right.contains(item));
                left
            })
        },
    ),
    Function::new(
        "setsymmetricdifference",
        "The elements that are in one of two sets but not in both; further sets are combined with the result.",
        FIRST,
        |call| {
            combine(call, |left, right| {
                let in_left = Members::of_set(&left);
                let in_right = Members::of_set(right);
                let only_left = left.iter().filter(|item| !in_right.contains(item));
                let only_right = right.iter().filter(|item| !in_left.contains(item));
                only_left.chain(only_right).cloned().collect()
            })
        },
    )
    .and_more(OTHERS),
    Function::new(
        "setproduct",
        "All combinations of one element from each set or list, as tuples; lists keep their order.",
        &[],
        set_product,
    )
    .and_more(Parameter::any("sets")),
];

/// Converts all arguments to sets of one type, and applies `operation` from left to right.
fn combine(
    call: &FunctionCall<'_>,
    operation: fn(Vec<Value>, &[Value]) -> Vec<Value>,
) -> Result<Value, FunctionError> {
    let mut elements = Vec::new();
    for value in call.arguments() {
        let element = value.ty().element().cloned().unwrap_or(Type::Dynamic);
        // An empty set without an element type fits any other set.
        if value.len() != Some(0) || element != Type::Dynamic {
            elements.push(element);
        }
    }
    let element = if elements.is_empty() {
        Type::Dynamic
    } else {
        unify(&elements, Safety::Unsafe).ok_or_else(|| {
            FunctionError::new("given sets must all have compatible element types")
        })?
    };
    // Untyped nulls unify with strings, for example, but not with objects. buildx crashes then.
    if element == Type::Dynamic && elements.iter().any(|found| *found != Type::Dynamic) {
        return Err(FunctionError::new(
            "given sets must all have compatible element types",
        ));
    }
    let ty = Type::set(element.clone());
    let mut result: Option<Value> = None;
    for (place, value) in call.arguments().iter().enumerate() {
        let set = convert(value, &ty)
            .map_err(|error| FunctionError::argument(place, error.to_string()))?;
        result = Some(match result {
            None => set,
            Some(left) => {
                let left = left.items().unwrap_or_default().to_vec();
                let items = operation(left, set.items().unwrap_or_default());
                check_elements(items.len())?;
                Value::set(element.clone(), items)
            }
        });
    }
    Ok(result.unwrap_or_else(|| Value::set(element, Vec::new())))
}

fn set_product(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let arguments = call.arguments();
    if arguments.len() < 2 {
        return Err(FunctionError::new("at least two arguments are required"));
    }
    let mut element_types = Vec::with_capacity(arguments.len());
    let mut ordered = true;
    for (place, value) in arguments.iter().enumerate() {
        element_types.push(match value {
            Value::Set(set) => {
                ordered = false;
                set.element_type().clone()
            }
            Value::List(list) => list.element_type().clone(),
            Value::Tuple(tuple) if tuple.items().is_empty() => Type::Dynamic,
            Value::Tuple(tuple) => {
                let types: Vec<Type> = tuple.items().iter().map(Value::ty).collect();
                unify(&types, Safety::Unsafe).ok_or_else(|| {
                    FunctionError::argument(place, "all elements must be of the same type")
                })?
            }
            _ => {
                return Err(FunctionError::argument(
                    place,
                    "a set or a list is required",
                ));
            }
        });
    }
    let mut columns = Vec::with_capacity(arguments.len());
    let mut total = 1usize;
    for (place, (value, ty)) in arguments.iter().zip(&element_types).enumerate() {
        let column = value
            .items()
            .unwrap_or_default()
            .iter()
            .map(|item| convert(item, ty))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| FunctionError::argument(place, error.to_string()))?;
        total = total.saturating_mul(column.len());
        columns.push(column);
    }
    check_elements(total.saturating_mul(columns.len()))?;
    let rows = (0..total)
        .map(|row| {
            // The last column varies fastest.
            let mut rest = row;
            let mut items: Vec<Value> = columns
                .iter()
                .rev()
                .map(|column| {
                    let item = column[rest % column.len()].clone();
                    rest /= column.len();
                    item
                })
                .collect();
            items.reverse();
            Value::tuple(items)
        })
        .collect();
    let element = Type::tuple(element_types);
    Ok(if ordered {
        Value::list(element, rows)
    } else {
        Value::set(element, rows)
    })
}
