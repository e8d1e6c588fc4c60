//! The order of a set's elements, and when two of them are the same.
//!
//! go-cty sorts strings, numbers and bools by value, and all other values by the bytes of a text that it uses as
//! their hash. Nulls come last. Users see this order in every list that is made of a set, so it must be the same
//! here.

use std::cmp::Ordering;

use super::number::Notation;
use super::types::Type;
use super::value::Value;
use crate::golang::quote::quote;
use crate::types::hash::HashMap;

/// Sorts `items` in set order and removes duplicates.
pub(crate) fn arrange(element: &Type, items: Vec<Value>) -> Vec<Value> {
    if element.is_primitive() {
        let mut items = items;
        items.sort_by(primitive_order);
        items.dedup_by(|later, earlier| later.equals(earlier) && same_sign(later, earlier));
        return items;
    }
    let mut keyed: Vec<(String, Value)> = items
        .into_iter()
        .map(|item| {
            let mut key = String::new();
            write_key(&item, Zeros::Apart, &mut key);
            (key, item)
        })
        .collect();
    keyed.sort_by(|(left_key, left), (right_key, right)| {
        left.is_null()
            .cmp(&right.is_null())
            .then_with(|| left_key.cmp(right_key))
    });
    let mut arranged: Vec<(String, Value)> = Vec::with_capacity(keyed.len());
    for (key, item) in keyed {
        // A key contains only ten digits of a number, so different values may have the same key. Compare with all
        // values of that key.
        let known = arranged
            .iter()
            .rev()
            .take_while(|(earlier, _)| *earlier == key)
            .any(|(_, earlier)| earlier.equals(&item));
        if !known {
            arranged.push((key, item));
        }
    }
    arranged.into_iter().map(|(_, item)| item).collect()
}

/// Whether two equal numbers have the same sign. Zero and negative zero are equal, but a set may contain both.
fn same_sign(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.is_negative() == right.is_negative(),
        _ => true,
    }
}

fn primitive_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        // A set may contain both zeros; the positive one comes first.
        (Value::Number(left), Value::Number(right)) => left
            .cmp(right)
            .then_with(|| right.is_negative().cmp(&left.is_negative())),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (left, right) => left.is_null().cmp(&right.is_null()),
    }
}

/// A hash set of values of any types.
pub(crate) struct Members<'a> {
    by_key: HashMap<String, Vec<&'a Value>>,
    zeros: Zeros,
}

impl<'a> Members<'a> {
    /// An empty set of values, in which zero and negative zero are equal.
    pub(crate) fn new() -> Self {
        Self {
            by_key: HashMap::default(),
            zeros: Zeros::Equal,
        }
    }

    /// The elements of a set of the language, in which zero and negative zero differ.
    pub(crate) fn of_set(elements: &'a [Value]) -> Self {
        let mut members = Self {
            by_key: HashMap::default(),
            zeros: Zeros::Apart,
        };
        for element in elements {
            members.insert(element);
        }
        members
    }

    /// Adds `value`, and returns whether it was new.
    pub(crate) fn insert(&mut self, value: &'a Value) -> bool {
        let mut key = String::new();
        write_key(value, self.zeros, &mut key);
        let same_key = self.by_key.entry(key).or_default();
        let new = !same_key.iter().any(|known| known.equals(value));
        if new {
            same_key.push(value);
        }
        new
    }

    /// Whether `value` is among the values.
    pub(crate) fn contains(&self, value: &Value) -> bool {
        let mut key = String::new();
        write_key(value, self.zeros, &mut key);
        let same_key = self.by_key.get(&key);
        same_key.is_some_and(|known| known.iter().any(|known| known.equals(value)))
    }
}

impl<'a> FromIterator<&'a Value> for Members<'a> {
    fn from_iter<I: IntoIterator<Item = &'a Value>>(values: I) -> Self {
        let mut members = Self::new();
        for value in values {
            members.insert(value);
        }
        members
    }
}

/// Whether zero and negative zero have the same key. They are equal, but a set of the language may contain both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zeros {
    Equal,
    Apart,
}

/// Appends the text by which go-cty hashes and sorts a value (`makeSetHashBytes`).
fn write_key(value: &Value, zeros: Zeros, out: &mut String) {
    match value {
        Value::Null(_) => out.push('~'),
        Value::Bool(value) => out.push(if *value { 'T' } else { 'F' }),
        Value::Number(number) if number.is_zero() && zeros == Zeros::Equal => out.push('0'),
        Value::Number(number) => out.push_str(&number.to_text(Notation::General, Some(10))),
        Value::String(text) => out.push_str(&quote(text)),
        Value::Map(map) => {
            out.push('{');
            for (name, value) in map.entries() {
                out.push_str(&quote(name));
                out.push(':');
                write_key(value, zeros, out);
                out.push(';');
            }
            out.push('}');
        }
        Value::List(sequence) | Value::Set(sequence) => {
            write_all(('[', ']'), sequence.items(), zeros, out);
        }
        Value::Tuple(tuple) => write_all(('<', '>'), tuple.items(), zeros, out),
        Value::Object(object) => write_all(('<', '>'), object.entries().values(), zeros, out),
        Value::Bytes(_) => out.push_str("«?»"),
    }
}

fn write_all<'a>(
    (open, close): (char, char),
    items: impl IntoIterator<Item = &'a Value>,
    zeros: Zeros,
    out: &mut String,
) {
    out.push(open);
    for item in items {
        write_key(item, zeros, out);
        out.push(';');
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[i64]) -> Vec<Value> {
        values.iter().copied().map(Value::number).collect()
    }

    #[test]
    fn primitives_sort_by_value_and_nulls_last() {
        let set = Value::set(Type::Number, {
            let mut items = numbers(&[10, 9, 10, -1]);
            items.insert(0, Value::null());
            items.push(Value::null());
            items
        });
        assert_eq!(format!("{set:?}"), "set(number)[-1, 9, 10, null(number)]");
    }

    #[test]
    fn compound_values_sort_by_their_key() {
        let tuples = [[10, 1], [9, 1], [10, 1]].map(|pair| Value::tuple(numbers(&pair)));
        let set = Value::set(Type::tuple([Type::Number, Type::Number]), tuples.to_vec());
        assert_eq!(format!("{:?}", set.items().unwrap()), "[[10, 1], [9, 1]]");
    }
}
