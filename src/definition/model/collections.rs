//! Lists and maps for attributes. Copies share memory until one is changed, and "not set" differs from "empty".

use std::cmp::Ordering;
use std::hash::Hash;
use std::sync::Arc;

use crate::diag::Spanned;
use crate::types::hash::{HashMap, HashSet, RandomState};

/// A string that many targets may share.
pub(crate) type SharedText = Arc<str>;

/// A list attribute. Copies share their elements until one of them is changed.
///
/// An empty list differs from an unset list: an empty one replaces the inherited elements, an unset one keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<T>(Option<Arc<Vec<Spanned<T>>>>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> List<T> {
    /// A list that is set to `elements`, which may be empty.
    pub(crate) fn of(elements: Vec<Spanned<T>>) -> Self {
        Self(Some(Arc::new(elements)))
    }

    /// Whether the list is set, even if it is empty.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the list is empty or unset.
    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// The number of elements. 0 if the list is unset.
    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// How many elements no other copy shares, and how many there are. Used to measure memory.
    pub(super) fn elements(&self) -> (usize, usize) {
        match &self.0 {
            Some(elements) if Arc::strong_count(elements) == 1 => (elements.len(), elements.len()),
            Some(elements) => (0, elements.len()),
            None => (0, 0),
        }
    }

    /// The elements. Empty if the list is unset.
    pub(crate) fn as_slice(&self) -> &[Spanned<T>] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Iterates over the elements. Empty if the list is unset.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Spanned<T>> {
        self.as_slice().iter()
    }

    /// Replaces the list with `later` if that is set.
    pub(crate) fn replace(&mut self, later: &Self) {
        if later.is_set() {
            self.0.clone_from(&later.0);
        }
    }

    /// Makes the list unset, as if the attribute was never given.
    pub(crate) fn unset(&mut self) {
        self.0 = None;
    }
}

impl<T: Clone> List<T> {
    /// Appends the elements of `later`. If this list is unset, it becomes the same as `later`.
    pub(crate) fn append(&mut self, later: &Self) {
        match &mut self.0 {
            None => self.0.clone_from(&later.0),
            Some(own) if !later.is_empty() => {
                Arc::make_mut(own).extend(later.iter().cloned());
            }
            Some(_) => {}
        }
    }

    /// Appends one element. The list is set afterwards.
    pub(crate) fn push(&mut self, element: Spanned<T>) {
        self.make_mut().push(element);
    }

    /// The elements for changing. Copies that share them do not see the change. The list is set afterwards.
    pub(crate) fn make_mut(&mut self) -> &mut Vec<Spanned<T>> {
        Arc::make_mut(self.0.get_or_insert_with(Arc::default))
    }
}

impl<T: AsRef<str> + Clone + Eq + Hash> List<T> {
    /// Removes empty strings, and all but the first of equal strings.
    pub(crate) fn dedupe_texts(&mut self) {
        if self.is_empty() {
            return;
        }
        let filled = self.iter().all(|text| !text.value.as_ref().is_empty());
        if filled && all_differ(self.iter().map(|text| &text.value)) {
            return;
        }
        let mut kept: Vec<Spanned<T>> = Vec::with_capacity(self.len());
        let mut seen = HashSet::default();
        for text in self.iter() {
            if !text.value.as_ref().is_empty() && seen.insert(text.value.clone()) {
                kept.push(text.clone());
            }
        }
        *self = Self::of(kept);
    }
}

impl<T: Clone + Eq + Hash> List<T> {
    /// Removes duplicates in the same way as buildx does for outputs and caches. The resulting order depends on
    /// the algorithm, so this copies it. A list that becomes empty is unset.
    ///
    /// The scan goes from the end to the start. If an element also occurs further on, that later copy is swapped
    /// with the last element of the list, which is then removed. The scanned element keeps its place.
    pub(crate) fn dedupe_swapping(&mut self) {
        if self.is_empty() {
            self.0 = None;
            return;
        }
        if self.len() == 1 {
            return;
        }
        if all_differ(self.iter().map(|element| &element.value)) {
            return;
        }
        let elements = self.make_mut();
        let mut place: HashMap<T, usize> = HashMap::default();
        for at in (0..elements.len()).rev() {
            let value = elements[at].value.clone();
            if let Some(later) = place.insert(value, at) {
                let last = elements.len() - 1;
                elements.swap(later, last);
                elements.pop();
                if later < last {
                    place.insert(elements[later].value.clone(), later);
                }
            }
        }
    }
}

impl<T: Clone> List<T> {
    /// Removes all but the last of the elements with equal keys. The last one moves to the place of the first. A
    /// list that becomes empty is unset.
    pub(crate) fn dedupe_by_key<K: Eq + Hash>(&mut self, key: impl Fn(&T) -> K) {
        if self.is_empty() {
            self.0 = None;
            return;
        }
        if self.len() == 1 {
            return;
        }
        if all_differ(self.iter().map(|element| key(&element.value))) {
            return;
        }
        let mut place = HashMap::default();
        let mut kept: Vec<Spanned<T>> = Vec::with_capacity(self.len());
        for element in self.iter() {
            match place.entry(key(&element.value)) {
                std::collections::hash_map::Entry::Occupied(at) => {
                    kept[*at.get()] = element.clone();
                }
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(kept.len());
                    kept.push(element.clone());
                }
            }
        }
        *self = Self::of(kept);
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a Spanned<T>;
    type IntoIter = std::slice::Iter<'a, Spanned<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn all_differ<T: Eq + Hash>(values: impl ExactSizeIterator<Item = T> + Clone) -> bool {
    // For a few values, comparing all pairs is cheaper than building a hash set.
    const FEW: usize = 6;
    if values.len() <= FEW {
        let mut rest = values.clone();
        return values.into_iter().all(|value| {
            rest.next();
            rest.clone().all(|other| other != value)
        });
    }
    let mut seen = HashSet::with_capacity_and_hasher(values.len(), RandomState::default());
    values.into_iter().all(|value| seen.insert(value))
}

/// A map attribute, sorted by key. Copies share their entries until one of them is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Map(Option<Arc<Entries>>);

/// Sorted, each key once. Most maps have only a few entries, for which a `BTreeMap` takes several times the memory.
type Entries = Vec<(SharedText, Spanned<SharedText>)>;

/// The index of `key`, or the index to insert it at, as `binary_search` returns them.
fn place(entries: &Entries, key: &str) -> Result<usize, usize> {
    entries.binary_search_by(|(known, _)| (**known).cmp(key))
}

fn set(entries: &mut Entries, key: SharedText, value: Spanned<SharedText>) {
    match place(entries, &key) {
        Ok(at) => entries[at].1 = value,
        Err(at) => entries.insert(at, (key, value)),
    }
}

/// All entries of `own` and `later`. If both have a key, the value of `later` counts.
fn merged(own: &Entries, later: &Entries) -> Entries {
    let mut all = Vec::with_capacity(own.len() + later.len());
    let (mut own, mut later) = (own.iter().peekable(), later.iter().peekable());
    loop {
        let order = match (own.peek(), later.peek()) {
            (Some((mine, _)), Some((theirs, _))) => mine.cmp(theirs),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return all,
        };
        if order.is_eq() {
            own.next();
        }
        let next = if order.is_lt() {
            own.next()
        } else {
            later.next()
        };
        all.extend(next.cloned());
    }
}

impl Map {
    /// Creates a map from `entries`, which must be sorted by key without duplicates. No entries make an unset map.
    pub(in crate::definition) fn of_sorted(
        entries: Vec<(SharedText, Spanned<SharedText>)>,
    ) -> Self {
        debug_assert!(entries.is_sorted_by(|(one, _), (next, _)| one < next));
        Self((!entries.is_empty()).then(|| Arc::new(entries)))
    }

    /// Whether the map has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|entries| entries.is_empty())
    }

    /// The number of entries.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |entries| entries.len())
    }

    /// How many entries no other copy shares, and how many there are. Used to measure memory.
    pub(super) fn elements(&self) -> (usize, usize) {
        match &self.0 {
            Some(entries) if Arc::strong_count(entries) == 1 => (entries.len(), entries.len()),
            Some(entries) => (0, entries.len()),
            None => (0, 0),
        }
    }

    /// The value of `key`, if there is one.
    pub(crate) fn get(&self, key: &str) -> Option<&Spanned<SharedText>> {
        let entries = self.0.as_ref()?;
        let at = place(entries, key).ok()?;
        entries.get(at).map(|(_, value)| value)
    }

    /// The entries, sorted by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SharedText, &Spanned<SharedText>)> {
        let entries = self.0.as_deref().map_or(&[][..], Vec::as_slice);
        entries.iter().map(|(key, value)| (key, value))
    }

    /// Adds the entries of `later`. If both have a key, the value of `later` counts.
    pub(crate) fn merge(&mut self, later: &Self) {
        let Some(entries) = &later.0 else { return };
        match &mut self.0 {
            None => self.0 = Some(Arc::clone(entries)),
            Some(own) if Arc::ptr_eq(own, entries) => {}
            Some(own) => {
                *own = Arc::new(merged(own, entries));
            }
        }
    }

    /// Sets the value of `key`, replacing an earlier one.
    pub(crate) fn insert(&mut self, key: SharedText, value: Spanned<SharedText>) {
        let entries = Arc::make_mut(self.0.get_or_insert_with(Arc::default));
        set(entries, key, value);
    }

    /// Removes entries whose value is empty.
    pub(crate) fn drop_empty_values(&mut self) {
        if self.iter().any(|(_, value)| value.is_empty())
            && let Some(entries) = &mut self.0
        {
            Arc::make_mut(entries).retain(|(_, value)| !value.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn list(texts: &[&str]) -> List<SharedText> {
        List::of(
            texts
                .iter()
                .map(|text| Spanned::without_span(SharedText::from(*text)))
                .collect(),
        )
    }

    fn texts(list: &List<SharedText>) -> Vec<&str> {
        list.iter().map(|text| &*text.value).collect()
    }

    // The expected orders are those that buildx printed.
    #[test_case(&["a", "b", "a", "c", "b", "d"], &["a", "b", "d", "c"])]
    #[test_case(&["a", "b", "c", "b", "d", "a"], &["a", "b", "c", "d"])]
    #[test_case(&["a", "a", "a"], &["a"])]
    #[test_case(&["a", "b"], &["a", "b"])]
    fn dedupe_swapping_leaves_the_order_of_buildx(before: &[&str], after: &[&str]) {
        let mut list = list(before);
        list.dedupe_swapping();
        assert_eq!(texts(&list), after);
    }

    #[test]
    fn swapping_agrees_with_the_quadratic_algorithm_of_buildx() {
        // The algorithm of buildx, tried on all words of up to seven letters from an alphabet of three.
        fn original(list: &mut Vec<u32>) {
            let mut i = list.len();
            while i > 0 {
                i -= 1;
                if let Some(j) = (i + 1..list.len()).find(|j| list[*j] == list[i]) {
                    let last = list.len() - 1;
                    list.swap(j, last);
                    list.pop();
                }
            }
        }
        for length in 1..=7u32 {
            for word in 0..3u32.pow(length) {
                let letters: Vec<u32> = (0..length).map(|at| word / 3u32.pow(at) % 3).collect();
                let mut ours =
                    List::of(letters.iter().copied().map(Spanned::without_span).collect());
                ours.dedupe_swapping();
                let mut theirs = letters.clone();
                original(&mut theirs);
                let ours: Vec<u32> = ours.iter().map(|value| value.value).collect();
                assert_eq!(ours, theirs, "{letters:?}");
            }
        }
    }

    #[test]
    fn duplicate_texts_keep_the_first_place_and_empty_ones_are_removed() {
        let mut list = list(&["b", "", "a", "b"]);
        list.dedupe_texts();
        assert_eq!(texts(&list), ["b", "a"]);
        let mut list = self::list(&[""]);
        list.dedupe_texts();
        assert!(list.is_set() && list.is_empty());
    }

    #[test]
    fn a_later_duplicate_replaces_the_first_one_at_its_place() {
        let mut list = list(&["a=1", "b=1", "a=2"]);
        list.dedupe_by_key(|text| text.split('=').next().map(str::to_owned));
        assert_eq!(texts(&list), ["a=2", "b=1"]);
    }

    #[test]
    fn changes_do_not_affect_copies() {
        let mut one = list(&["a"]);
        let two = one.clone();
        one.push(Spanned::without_span("b".into()));
        assert_eq!((one.len(), two.len()), (2, 1));

        let mut first = Map::default();
        first.insert("k".into(), Spanned::without_span("1".into()));
        let second = first.clone();
        first.insert("k".into(), Spanned::without_span("2".into()));
        assert_eq!(second.get("k").map(|value| &*value.value), Some("1"));
    }
}
