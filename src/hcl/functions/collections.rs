//! Functions on lists, tuples, maps and objects.

use std::collections::BTreeMap;

use super::call::not_an_integer;
use super::{ELEMENTS_LIMIT, Function, FunctionCall, FunctionError, Parameter, ParameterType};
use crate::golang::quote::quote;
use crate::hcl::cty::convert::{Safety, convert};
use crate::hcl::cty::set_order::Members;
use crate::hcl::cty::unify::unify;
use crate::hcl::cty::{Text, Type, Value};

const COLLECTION_AND_KEY: &[Parameter] = &[Parameter::any("collection"), Parameter::any("key")];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "length",
        "The number of elements of a list, set, tuple or map.",
        &[Parameter::any("collection")],
        |call| match call.value(0) {
            Value::List(_) | Value::Set(_) | Value::Tuple(_) | Value::Map(_) => {
                Ok(Value::number(call.value(0).len().unwrap_or_default()))
            }
            _ => Err(not_a_collection()),
        },
    ),
    Function::new(
        "hasindex",
        "Whether a list, tuple or map has an element with the given key.",
        COLLECTION_AND_KEY,
        |call| match call.value(0) {
            Value::List(_) | Value::Tuple(_) | Value::Map(_) => {
                Ok(element_at(call.value(0), call.value(1)).is_some().into())
            }
            _ => Err(not_a_collection()),
        },
    ),
    Function::new(
        "index",
        "The element with the given key in a list, tuple or map.",
        COLLECTION_AND_KEY,
        index,
    ),
    Function::new(
        "element",
        "The element at the given index of a list or tuple; an index beyond the start or the end wraps around.",
        &[Parameter::any("list"), Parameter::number("index")],
        element,
    ),
    Function::new(
        "indexof",
        "The index of a value in a list or tuple.",
        &[Parameter::any("list"), Parameter::any("value")],
        index_of,
    ),
    Function::new(
        "contains",
        "Whether a list, tuple or set contains a value; types are not converted.",
        &[Parameter::any("list"), Parameter::any("value")],
        |call| {
            let items = call
                .value(0)
                .items()
                .ok_or_else(|| FunctionError::new("argument must be list, tuple, or set"))?;
            Ok(items.iter().any(|item| item.equals(call.value(1))).into())
        },
    ),
    Function::new(
        "coalescelist",
        "The first list or tuple that is not empty.",
        &[],
        coalesce_list,
    )
    .and_more(Parameter::any("vals").or_null()),
    Function::new(
        "compact",
        "The strings that are neither null nor empty.",
        &[Parameter::new("list", ParameterType::ListOfString)],
        |call| {
            let full = |item: &&Value| item.as_str().is_some_and(|text| !text.is_empty());
            Ok(Value::list(
                Type::String,
                call.items(0)?.iter().filter(full).cloned().collect(),
            ))
        },
    ),
    Function::new(
        "concat",
        "The elements of several lists or tuples, one after the other.",
        &[],
        concat,
    )
    .and_more(Parameter::any("seqs")),
    Function::new(
        "distinct",
        "The elements of a list without duplicates; the first of equal elements stays.",
        &[Parameter::new("list", ParameterType::List)],
        distinct,
    ),
    Function::new(
        "chunklist",
        "The elements of a list, split into lists of the given size; size 0 makes a single list.",
        &[
            Parameter::new("list", ParameterType::List),
            Parameter::number("size"),
        ],
        chunk_list,
    ),
    Function::new(
        "flatten",
        "The elements of a list, set or tuple, with each nested list, set or tuple replaced by its elements.",
        &[Parameter::any("list")],
        flatten,
    ),
    Function::new(
        "reverselist",
        "The elements of a list or tuple in reverse order.",
        &[Parameter::any("list")],
        reverse_list,
    ),
    Function::new(
        "slice",
        "The elements of a list or tuple from a start index up to an end index, which is excluded.",
        &[
            Parameter::any("list"),
            Parameter::number("start_index"),
            Parameter::number("end_index"),
        ],
        slice,
    ),
    Function::new(
        "keys",
        "The names in a map or object, sorted.",
        &[Parameter::any("inputMap")],
        |call| {
            let names = |entries: &BTreeMap<Text, Value>| {
                entries.keys().cloned().map(Value::from).collect()
            };
            match call.value(0) {
                Value::Map(map) => Ok(Value::list(Type::String, names(map.entries()))),
                Value::Object(object) => Ok(Value::tuple(names(object.entries()))),
                _ => Err(FunctionError::argument(0, "must have map or object type")),
            }
        },
    ),
    Function::new(
        "values",
        "The values in a map or object, in the order of their names.",
        &[Parameter::any("mapping")],
        |call| match call.value(0) {
            Value::Map(map) => Ok(Value::list(
                map.element_type().clone(),
                map.entries().values().cloned().collect(),
            )),
            Value::Object(object) => Ok(Value::tuple(object.entries().values().cloned().collect())),
            _ => Err(FunctionError::new(
                "values() requires a map as the first argument",
            )),
        },
    ),
    Function::new(
        "lookup",
        "The value of a key in a map or object, or a default if there is none.",
        &[
            Parameter::any("inputMap"),
            Parameter::string("key"),
            Parameter::any("default"),
        ],
        lookup,
    ),
    Function::new(
        "merge",
        "The entries of several maps or objects in one; of entries with the same name, the last one stays.",
        &[],
        merge,
    )
    .and_more(Parameter::any("maps").or_null()),
    Function::new(
        "zipmap",
        "A map or object made from a list of names and a list of their values.",
        &[
            Parameter::new("keys", ParameterType::ListOfString),
            Parameter::any("values"),
        ],
        zip_map,
    ),
];

fn not_a_collection() -> FunctionError {
    FunctionError::new("collection must be a list, a map or a tuple")
}

/// The element for a key: a number for a list or tuple, a string for a map. `None` if there is no such element.
fn element_at<'a>(collection: &'a Value, key: &Value) -> Option<&'a Value> {
    match (collection, key) {
        (Value::List(_) | Value::Tuple(_), Value::Number(place)) => {
            collection.items()?.get(place.to_usize()?)
        }
        (Value::Map(map), Value::String(name)) => map.entries().get(name),
        _ => None,
    }
}

fn index(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let (collection, key) = (call.value(0), call.value(1));
    match (collection, key) {
        (Value::Tuple(tuple), Value::Number(place)) => {
            let place = place.to_i64().ok_or_else(|| {
                FunctionError::new(format!("invalid key for tuple: {}", not_an_integer()))
            })?;
            let items = tuple.items();
            usize::try_from(place)
                .ok()
                .and_then(|place| items.get(place).cloned())
                .ok_or_else(|| {
                    FunctionError::new(format!(
                        "key must be between 0 and {} inclusive",
                        items.len()
                    ))
                })
        }
        (Value::Tuple(_), _) => Err(FunctionError::new("key for tuple must be number")),
        (Value::List(_), Value::Number(_)) | (Value::Map(_), Value::String(_)) => {
            element_at(collection, key)
                .cloned()
                .ok_or_else(|| FunctionError::new("invalid index"))
        }
        (Value::List(_), _) => Err(FunctionError::new("key for list must be number")),
        (Value::Map(_), _) => Err(FunctionError::new("key for map must be string")),
        _ => Err(not_a_collection()),
    }
}

fn element(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let (Value::List(_) | Value::Tuple(_)) = call.value(0) else {
        return Err(FunctionError::new(format!(
            "cannot read elements from {}",
            call.value(0).ty().name()
        )));
    };
    let place = call
        .number(1)?
        .to_i64()
        .ok_or_else(|| FunctionError::new(format!("invalid index: {}", not_an_integer())))?;
    let items = call.items(0)?;
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    place
        .checked_rem_euclid(length)
        .and_then(|place| items.get(usize::try_from(place).ok()?).cloned())
        .ok_or_else(|| FunctionError::new("cannot use element function with an empty list"))
}

fn index_of(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let (Value::List(_) | Value::Tuple(_)) = call.value(0) else {
        return Err(FunctionError::new("argument must be a list or tuple"));
    };
    let items = call.items(0)?;
    if items.is_empty() {
        return Err(FunctionError::new("cannot search an empty list"));
    }
    for (place, item) in items.iter().enumerate() {
        if item.equals(call.value(1)) {
            return Ok(Value::number(place));
        }
    }
    Err(FunctionError::new("item not found"))
}

fn coalesce_list(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    if call.arguments().is_empty() {
        return Err(FunctionError::new("at least one argument is required"));
    }
    if !call
        .arguments()
        .iter()
        .all(|value| matches!(value.ty(), Type::List(_) | Type::Tuple(_)))
    {
        return Err(FunctionError::new(
            "coalescelist arguments must be lists or tuples",
        ));
    }
    call.arguments()
        .iter()
        .find(|value| value.len().is_some_and(|length| length > 0))
        .cloned()
        .ok_or_else(|| FunctionError::new("no non-null arguments"))
}

fn concat(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    if call.arguments().is_empty() {
        return Err(FunctionError::new("at least one argument is required"));
    }
    let count = call.arguments().iter().fold(0usize, |sum, value| {
        sum.saturating_add(value.len().unwrap_or(0))
    });
    check_elements(count)?;
    let types: Vec<Type> = call.arguments().iter().map(Value::ty).collect();
    if types.iter().all(|ty| matches!(ty, Type::List(_)))
        && let Some(ty) = unify(&types, Safety::Unsafe)
    {
        let mut items = Vec::with_capacity(count);
        for (place, list) in call.arguments().iter().enumerate() {
            let list = convert(list, &ty)
                .map_err(|error| FunctionError::argument(place, error.to_string()))?;
            items.extend(list.items().unwrap_or_default().iter().cloned());
        }
        let element = ty.element().cloned().unwrap_or(Type::Dynamic);
        return Ok(Value::list(element, items));
    }
    let mut items = Vec::with_capacity(count);
    for (place, sequence) in call.arguments().iter().enumerate() {
        match sequence {
            Value::List(_) | Value::Tuple(_) => {
                items.extend(sequence.items().unwrap_or_default().iter().cloned());
            }
            other => {
                return Err(FunctionError::argument(
                    place,
                    format!(
                        "all arguments must be lists or tuples; got {}",
                        other.ty().name()
                    ),
                ));
            }
        }
    }
    Ok(Value::tuple(items))
}

/// Refuses a result of `count` elements if that exceeds [`ELEMENTS_LIMIT`]. Call this before making the result.
pub(super) fn check_elements(count: usize) -> Result<(), FunctionError> {
    if count > ELEMENTS_LIMIT {
        return Err(FunctionError::new(format!(
            "the result would have more than {ELEMENTS_LIMIT} elements"
        )));
    }
    Ok(())
}

fn distinct(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let items = call.items(0)?;
    let element = call
        .value(0)
        .ty()
        .element()
        .cloned()
        .unwrap_or(Type::Dynamic);
    let mut members = Members::new();
    let kept = items
        .iter()
        .filter(|item| members.insert(item))
        .cloned()
        .collect();
    Ok(Value::list(element, kept))
}

fn chunk_list(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let size = call
        .number(1)?
        .to_i64()
        .ok_or_else(|| FunctionError::new(format!("invalid size: {}", not_an_integer())))?;
    let size = usize::try_from(size)
        .map_err(|_| FunctionError::new("the size argument must be positive"))?;
    let items = call.items(0)?;
    let list = call.value(0).ty();
    let element = list.element().cloned().unwrap_or(Type::Dynamic);
    let chunks = match size {
        _ if items.is_empty() => Vec::new(),
        0 => vec![call.value(0).clone()],
        size => items
            .chunks(size)
            .map(|chunk| Value::list(element.clone(), chunk.to_vec()))
            .collect(),
    };
    Ok(Value::list(list, chunks))
}

fn flatten(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let items = call
        .value(0)
        .items()
        .ok_or_else(|| FunctionError::new("can only flatten lists, sets and tuples"))?;
    let mut flat = Vec::new();
    flatten_into(items, &mut flat)?;
    Ok(Value::tuple(flat))
}

fn flatten_into(items: &[Value], flat: &mut Vec<Value>) -> Result<(), FunctionError> {
    for item in items {
        match item.items() {
            Some(nested) => flatten_into(nested, flat)?,
            None => flat.push(item.clone()),
        }
    }
    check_elements(flat.len())
}

fn reverse_list(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let value = call.value(0);
    let items = || {
        value
            .items()
            .unwrap_or_default()
            .iter()
            .rev()
            .cloned()
            .collect()
    };
    match value {
        Value::Tuple(_) => Ok(Value::tuple(items())),
        Value::List(sequence) | Value::Set(sequence) => {
            Ok(Value::list(sequence.element_type().clone(), items()))
        }
        other => Err(FunctionError::argument(
            0,
            format!(
                "can only reverse list or tuple values, not {}",
                other.ty().name()
            ),
        )),
    }
}

fn slice(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let value = call.value(0);
    let items = match value {
        Value::List(_) | Value::Tuple(_) => call.items(0)?,
        Value::Set(_) => {
            return Err(FunctionError::argument(
                0,
                "cannot slice a set, because its elements do not have indices; explicitly convert to a list if the \
                 ordering of the result is not important",
            ));
        }
        _ => return Err(FunctionError::argument(0, "must be a list or tuple value")),
    };
    let place = |argument: usize, which: &str| {
        let at = call.number(argument)?.to_i64().ok_or_else(|| {
            FunctionError::argument(
                argument,
                format!("invalid {which} index: {}", not_an_integer()),
            )
        })?;
        let at = usize::try_from(at).map_err(|_| {
            FunctionError::argument(
                argument,
                format!("{which} index must not be less than zero"),
            )
        })?;
        if at > items.len() {
            return Err(FunctionError::argument(
                argument,
                format!("{which} index must not be greater than the length of the list"),
            ));
        }
        Ok(at)
    };
    let (start, end) = (place(1, "start")?, place(2, "end")?);
    let part = items.get(start..end).ok_or_else(|| {
        FunctionError::argument(1, "start index must not be greater than end index")
    })?;
    Ok(match value {
        Value::List(list) => Value::list(list.element_type().clone(), part.to_vec()),
        _ => Value::tuple(part.to_vec()),
    })
}

fn lookup(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let key = call.text(1)?;
    match call.value(0) {
        Value::Object(object) => Ok(object.get(key).unwrap_or(call.value(2)).clone()),
        Value::Map(map) => {
            let default = convert(call.value(2), map.element_type()).map_err(|_| {
                FunctionError::argument(
                    2,
                    "the default value must have the same type as the map elements",
                )
            })?;
            Ok(map.entries().get(key).cloned().unwrap_or(default))
        }
        _ => Err(FunctionError::argument(
            0,
            "lookup() requires a map as the first argument",
        )),
    }
}

fn merge(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let types: Vec<Type> = call.arguments().iter().map(Value::ty).collect();
    // At a plain null, go-cty stops checking the types, and the result is an object.
    let untyped = types.iter().position(|ty| *ty == Type::Dynamic);
    for ty in &types[..untyped.unwrap_or(types.len())] {
        if !matches!(ty, Type::Map(_) | Type::Object(_)) {
            return Err(FunctionError::new(format!(
                "arguments must be maps or objects, got {}",
                quote(&ty.name())
            )));
        }
    }
    let mut entries: BTreeMap<Text, Value> = BTreeMap::new();
    for (place, value) in call.arguments().iter().enumerate() {
        if value.is_null() || value.len() == Some(0) {
            continue;
        }
        let more = value.entries().ok_or_else(|| {
            FunctionError::argument(
                place,
                format!("a map or object is required, not {}", types[place].name()),
            )
        })?;
        entries.extend(
            more.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        check_elements(entries.len())?;
    }
    match types.first() {
        Some(Type::Map(element)) if types.iter().all(|ty| *ty == types[0]) => {
            Ok(Value::map((**element).clone(), entries))
        }
        _ => Ok(Value::object(entries)),
    }
}

fn zip_map(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let keys = call.items(0)?;
    let (Value::List(_) | Value::Tuple(_)) = call.value(1) else {
        return Err(FunctionError::new(
            "values argument must be a list or tuple value",
        ));
    };
    let values = call.items(1)?;
    if keys.len() != values.len() {
        return Err(FunctionError::new(format!(
            "number of keys ({}) does not match number of values ({})",
            keys.len(),
            values.len()
        )));
    }
    let mut entries = BTreeMap::new();
    for (place, (key, value)) in keys.iter().zip(values).enumerate() {
        let Value::String(key) = key else {
            return Err(FunctionError::new(format!(
                "keys list has null value at index {place}"
            )));
        };
        entries.insert(key.clone(), value.clone());
    }
    match call.value(1) {
        Value::List(list) => Ok(Value::map(list.element_type().clone(), entries)),
        _ => Ok(Value::object(entries)),
    }
}
