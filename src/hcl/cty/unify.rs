//! Finds a common type for several types: for the branches of a conditional, the arguments of `coalesce`, or the
//! elements of a mixed list.
//!
//! The rules are go-cty's. Tuples and objects are unified element by element; if that is impossible, they become
//! lists and maps. Among other types, the first type counts to which all others convert, with string as the most
//! general primitive.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::convert::{Safety, converts};
use super::types::Type;
use super::value::Text;

/// Returns a type to which all of `types` convert. `None` if there is none, or if `types` is empty.
///
/// With [`Safety::Safe`], only conversions that cannot fail are considered.
pub(crate) fn unify<'a>(types: impl IntoIterator<Item = &'a Type>, safety: Safety) -> Option<Type> {
    let mut distinct: Vec<&Type> = Vec::new();
    for ty in types {
        // Long lists mostly repeat one type. Comparing with the latest type first makes this linear for them.
        if !distinct.iter().rev().any(|known| *known == ty) {
            distinct.push(ty);
        }
    }
    unify_distinct(&distinct, safety)
}

/// The number of types of each kind.
#[derive(Default)]
struct Census {
    maps: usize,
    lists: usize,
    sets: usize,
    objects: usize,
    tuples: usize,
    dynamics: usize,
}

impl Census {
    fn of(types: &[&Type]) -> Self {
        let mut census = Self::default();
        for ty in types {
            match ty {
                Type::Map(_) => census.maps += 1,
                Type::List(_) => census.lists += 1,
                Type::Set(_) => census.sets += 1,
                Type::Object(_) => census.objects += 1,
                Type::Tuple(_) => census.tuples += 1,
                Type::Dynamic => census.dynamics += 1,
                _ => {}
            }
        }
        census
    }
}

/// Unifies types without duplicates. Follows the order of cases of go-cty's `unify`, because the first case that
/// applies decides.
fn unify_distinct(types: &[&Type], safety: Safety) -> Option<Type> {
    let [first, rest @ ..] = types else {
        return None;
    };
    if rest.is_empty() {
        return Some((*first).clone());
    }
    let census = Census::of(types);
    let all = |count: usize| count + census.dynamics == types.len();
    if census.maps > 0 && all(census.maps) {
        return unify_collections(types, census.dynamics > 0, Type::map, safety);
    } else if census.maps > 0 && all(census.maps + census.objects) {
        if let Some(ty) = unify_structures_as_collections(types, safety)
            && matches!(ty, Type::Map(_))
        {
            return Some(ty);
        }
    } else if census.lists > 0 && all(census.lists) {
        return unify_collections(types, census.dynamics > 0, Type::list, safety);
    } else if census.lists > 0 && all(census.lists + census.tuples) {
        if let Some(ty) = unify_structures_as_collections(types, safety)
            && matches!(ty, Type::List(_))
        {
            return Some(ty);
        }
    } else if census.sets > 0 && all(census.sets) {
        return unify_collections(types, census.dynamics > 0, Type::set, safety);
    } else if census.objects > 0 && all(census.objects) {
        if census.dynamics > 0 {
            return Some(Type::Dynamic);
        }
        return unify_objects(types, safety);
    } else if census.tuples > 0 && all(census.tuples) {
        if census.dynamics > 0 {
            return Some(Type::Dynamic);
        }
        return unify_tuples(types, safety);
    } else if census.objects > 0 && census.tuples > 0 {
        return None;
    }
    by_preference(types)
        .into_iter()
        .find(|wanted| {
            types
                .iter()
                .all(|ty| ty == wanted || converts(ty, wanted, safety))
        })
        .cloned()
}

/// Unifies lists with tuples, or maps with objects: first turns all structures into one collection type, then
/// unifies that with the collections.
fn unify_structures_as_collections(types: &[&Type], safety: Safety) -> Option<Type> {
    let structures: Vec<&Type> = types
        .iter()
        .copied()
        .filter(|ty| matches!(ty, Type::Tuple(_) | Type::Object(_)))
        .collect();
    let collection = as_collection(&structures, safety)?;
    let replaced = types.iter().map(|ty| match ty {
        Type::Tuple(_) | Type::Object(_) => &collection,
        other => *other,
    });
    unify(replaced, safety)
}

/// Unifies collections of one kind by their element types. With a dynamic type among them, the result is dynamic.
fn unify_collections(
    types: &[&Type],
    has_dynamic: bool,
    collection: impl Fn(Type) -> Type,
    safety: Safety,
) -> Option<Type> {
    if has_dynamic {
        return Some(Type::Dynamic);
    }
    let elements: Vec<&Type> = types.iter().filter_map(|ty| ty.element()).collect();
    let ty = collection(unify(elements, safety)?);
    all_convert(types, &ty, safety).then_some(ty)
}

fn all_convert(types: &[&Type], wanted: &Type, safety: Safety) -> bool {
    types
        .iter()
        .all(|ty| *ty == wanted || converts(ty, wanted, safety))
}

/// Unifies objects attribute by attribute if they have the same attributes, otherwise as a map.
fn unify_objects(types: &[&Type], safety: Safety) -> Option<Type> {
    let objects: Vec<_> = types
        .iter()
        .filter_map(|ty| match ty {
            Type::Object(object) => Some(object.attributes()),
            _ => None,
        })
        .collect();
    let (first, rest) = objects.split_first()?;
    if !rest.iter().all(|object| object.keys().eq(first.keys())) {
        return as_collection(types, safety);
    }
    let mut attributes: BTreeMap<Text, Type> = BTreeMap::new();
    for name in first.keys() {
        let across: Vec<&Type> = objects
            .iter()
            .filter_map(|object| object.get(name))
            .collect();
        attributes.insert(name.clone(), unify(across, safety)?);
    }
    let ty = Type::object(attributes);
    if all_convert(types, &ty, safety) {
        Some(ty)
    } else {
        as_collection(types, safety)
    }
}

/// Unifies tuples element by element if they have the same length, otherwise as a list.
fn unify_tuples(types: &[&Type], safety: Safety) -> Option<Type> {
    let tuples: Vec<&[Type]> = types
        .iter()
        .filter_map(|ty| match ty {
            Type::Tuple(elements) => Some(&**elements),
            _ => None,
        })
        .collect();
    let (first, rest) = tuples.split_first()?;
    if rest.iter().any(|tuple| tuple.len() != first.len()) {
        return as_collection(types, safety);
    }
    let mut elements = Vec::with_capacity(first.len());
    for place in 0..first.len() {
        let across: Vec<&Type> = tuples.iter().filter_map(|tuple| tuple.get(place)).collect();
        elements.push(unify(across, safety)?);
    }
    let ty = Type::tuple(elements);
    if all_convert(types, &ty, safety) {
        Some(ty)
    } else {
        as_collection(types, safety)
    }
}

/// The list type to which all tuples of `types` convert, or the map type to which all objects do.
fn as_collection(types: &[&Type], safety: Safety) -> Option<Type> {
    let mut elements: Vec<&Type> = Vec::new();
    let mut objects = false;
    for ty in types {
        match ty {
            Type::Tuple(tuple) => elements.extend(tuple.iter()),
            Type::Object(object) => {
                objects = true;
                elements.extend(object.attributes().values());
            }
            _ => {}
        }
    }
    let element = unify(elements, safety)?;
    let ty = if objects {
        Type::map(element)
    } else {
        Type::list(element)
    };
    all_convert(types, &ty, safety).then_some(ty)
}

/// Sorts the types into the order in which to try them as the result: a topological sort by [`preference`].
fn by_preference<'a>(types: &[&'a Type]) -> Vec<&'a Type> {
    let mut less_general: Vec<Vec<usize>> = vec![Vec::new(); types.len()];
    let mut blockers = vec![0usize; types.len()];
    for left in 0..types.len() {
        for right in left + 1..types.len() {
            let (above, below) = match preference(types[left], types[right]) {
                Ordering::Less => (left, right),
                Ordering::Greater => (right, left),
                Ordering::Equal => continue,
            };
            less_general[above].push(below);
            blockers[below] += 1;
        }
    }
    let mut order: Vec<usize> = (0..types.len())
        .filter(|place| blockers[*place] == 0)
        .collect();
    let mut next = 0;
    while let Some(&place) = order.get(next) {
        next += 1;
        for &below in &less_general[place] {
            blockers[below] -= 1;
            if blockers[below] == 0 {
                order.push(below);
            }
        }
    }
    order.into_iter().map(|place| types[place]).collect()
}

/// Returns [`Ordering::Less`] if `left` is the better result of a unification, because it is more general.
fn preference(left: &Type, right: &Type) -> Ordering {
    use Ordering::{Equal, Greater, Less};
    match (left, right) {
        (Type::Dynamic, Type::Dynamic) => Equal,
        (Type::List(left), Type::List(right))
        | (Type::Set(left), Type::Set(right))
        | (Type::Map(left), Type::Map(right)) => preference(left, right),
        (_, Type::Dynamic)
        | (Type::String, Type::Number | Type::Bool)
        | (Type::List(_) | Type::Tuple(_), Type::Set(_))
        | (Type::List(_), Type::Tuple(_))
        | (Type::Map(_), Type::Object(_)) => Less,
        (Type::Dynamic, _)
        | (Type::Number | Type::Bool, Type::String)
        | (Type::Set(_), Type::List(_) | Type::Tuple(_))
        | (Type::Tuple(_), Type::List(_))
        | (Type::Object(_), Type::Map(_)) => Greater,
        (Type::Object(left), Type::Object(right)) => {
            if left.attributes().len() != right.attributes().len() {
                return Equal;
            }
            by_parts(
                left.attributes()
                    .iter()
                    .map(|(name, ty)| right.attribute(name).map(|other| preference(ty, other))),
            )
        }
        (Type::Tuple(left), Type::Tuple(right)) => {
            if left.len() != right.len() {
                return Equal;
            }
            by_parts(
                left.iter()
                    .zip(right.iter())
                    .map(|(left, right)| Some(preference(left, right))),
            )
        }
        _ => Equal,
    }
}

/// Combines the preferences of the parts: [`Ordering::Equal`] if they contradict each other, or if a part is
/// missing on one side.
fn by_parts(parts: impl Iterator<Item = Option<Ordering>>) -> Ordering {
    let mut whole = Ordering::Equal;
    for part in parts {
        match part {
            Some(Ordering::Equal) => {}
            Some(part) if whole == Ordering::Equal || whole == part => whole = part,
            _ => return Ordering::Equal,
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unified(types: &[Type]) -> String {
        unify(types, Safety::Unsafe).map_or_else(|| "none".into(), |ty| ty.to_string())
    }

    #[test]
    fn string_is_the_most_general_primitive() {
        assert_eq!(unified(&[Type::Number, Type::String, Type::Bool]), "string");
        assert_eq!(unify(&[Type::Number, Type::Bool], Safety::Safe), None);
        assert_eq!(unified(&[]), "none");
        assert_eq!(unified(&[Type::Dynamic, Type::Number]), "number");
        assert_eq!(
            unify(&[Type::Dynamic, Type::Number], Safety::Safe),
            Some(Type::Dynamic)
        );
    }

    #[test]
    fn structures_of_the_same_shape_unify_part_by_part() {
        let tuple = |first: Type, second: Type| Type::tuple([first, second]);
        assert_eq!(
            unified(&[
                tuple(Type::Number, Type::Bool),
                tuple(Type::String, Type::Bool)
            ]),
            "tuple([string,bool])"
        );
        assert_eq!(
            unified(&[
                Type::object([("a", Type::Number)]),
                Type::object([("a", Type::String)])
            ]),
            "object({a=string})"
        );
    }

    #[test]
    fn structures_of_different_shapes_become_collections() {
        assert_eq!(
            unified(&[
                Type::tuple([Type::Number]),
                Type::tuple([Type::String, Type::Number])
            ]),
            "list(string)"
        );
        assert_eq!(
            unified(&[
                Type::object([("a", Type::Number)]),
                Type::object([("b", Type::String)])
            ]),
            "map(string)"
        );
        assert_eq!(
            unified(&[Type::list(Type::String), Type::tuple([Type::Number])]),
            "list(string)"
        );
        assert_eq!(
            unified(&[
                Type::tuple([Type::String]),
                Type::object([("a", Type::String)])
            ]),
            "none"
        );
    }

    #[test]
    fn lists_are_preferred_to_sets() {
        assert_eq!(
            unified(&[Type::set(Type::String), Type::list(Type::Number)]),
            "list(number)"
        );
    }
}
