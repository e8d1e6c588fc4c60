//! The tags of a repository that begin with a prefix, without reading all others.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use http::{Method, StatusCode};

use super::RemoteRepository;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::tags::{BARREN_PAGES, LARGEST_PAGE, NO_END, PAGE, PAGES, TAGS, parse};
use crate::types::ImageTag;

/// The answers to a request for the tags after one.
#[derive(Debug, PartialEq, Eq)]
enum TagRange {
    /// The wanted tags.
    Found(BTreeSet<ImageTag>),
    /// The repository does not exist.
    NoRepository,
    /// The registry does not list tags in an order that rbake knows, or not only those after one.
    Unordered,
}

impl RemoteRepository {
    /// Returns the tags that begin with `prefix` and are greater than `after`, byte by byte. `after` begins with
    /// `prefix`, too. `None` if the repository does not exist; but some registries have an empty list for it then
    /// (distribution 3).
    ///
    /// A registry that lists tags in order is asked for those near `after` only: two requests are usually enough,
    /// however many other tags there are. Otherwise, all tags are read, as by [`Self::tags`].
    pub(crate) async fn tags_with_prefix(
        &self,
        prefix: &str,
        after: &str,
    ) -> Result<Option<BTreeSet<ImageTag>>, RegistryError> {
        let failed = Self::failed(RegistryAct::ListTags, &self.name);
        self.tags_in_range(prefix, after, PAGE)
            .await
            .map_err(failed)
    }

    /// The same, asking for so many tags at a time.
    pub(super) async fn tags_in_range(
        &self,
        prefix: &str,
        after: &str,
        size: usize,
    ) -> Result<Option<BTreeSet<ImageTag>>, RegistryFault> {
        match self.ordered_tags(prefix, after, size).await? {
            TagRange::Found(tags) => return Ok(Some(tags)),
            TagRange::NoRepository => return Ok(None),
            TagRange::Unordered => {}
        }
        tracing::debug!(
            host = self.connection.address.host(),
            "the registry does not list tags in order, reading all"
        );
        let mut tags = self.tags_in_pages(size).await?;
        if let Some(tags) = &mut tags {
            tags.retain(|tag| is_wanted(tag, prefix, after));
        }
        Ok(tags)
    }

    async fn ordered_tags(
        &self,
        prefix: &str,
        after: &str,
        size: usize,
    ) -> Result<TagRange, RegistryFault> {
        let Some(start) = start_before(prefix, after) else {
            return Ok(TagRange::Unordered);
        };
        // Only characters that are legal in tags reach this line, and they need no encoding.
        let first = format!("tags/list?n={size}&last={start}");
        let mut request = self.request(Method::GET, &first).limit(LARGEST_PAGE);
        let mut sequence = TagSequence::after(start);
        let (mut found, mut read, mut barren) = (BTreeSet::new(), 0, 0);
        for page_number in 0..PAGES {
            let reply = self.connection.perform(&request).await?;
            if page_number == 0 && !reply.status.is_success() {
                // Some registries refuse a start that is not an existing tag (Harbor).
                let is_missing =
                    reply.status == StatusCode::NOT_FOUND && reply.words.code == "NAME_UNKNOWN";
                return Ok(if is_missing {
                    TagRange::NoRepository
                } else {
                    TagRange::Unordered
                });
            }
            if !reply.status.is_success() {
                return Err(reply.fault());
            }
            let page = parse(&reply)?;
            if !page.iter().all(|tag| sequence.continues(tag.as_str())) {
                return Ok(TagRange::Unordered);
            }
            read += page.len();
            if read > TAGS {
                let what = format!("more than {TAGS} tags");
                return Err(RegistryFault::malformed(what));
            }
            let has_prefix = page.iter().any(|tag| tag.as_str().starts_with(prefix));
            let (length, last) = (page.len(), page.last().cloned());
            found.extend(page.into_iter().filter(|tag| is_wanted(tag, prefix, after)));
            let is_past = last
                .as_ref()
                .is_some_and(|last| is_past(last.as_str(), prefix));
            if !has_prefix && is_past {
                return Ok(TagRange::Found(found));
            }
            barren = if length > 0 { 0 } else { barren + 1 };
            let next = match (self.next_page(&reply)?, last) {
                (Some(next), _) if barren < BARREN_PAGES => next,
                (Some(_), _) => return Err(RegistryFault::malformed(NO_END)),
                // Old registries have pages, but do not link them.
                (None, Some(last)) if length >= size => self.page_after(&reply, size, &last),
                (None, _) => return Ok(TagRange::Found(found)),
            };
            request = request.to(next);
        }
        Err(RegistryFault::malformed(NO_END))
    }
}

fn is_wanted(tag: &ImageTag, prefix: &str, after: &str) -> bool {
    tag.as_str().starts_with(prefix) && tag.as_str() > after
}

/// A text before all tags that begin with `prefix` and are greater than `after`, whether the registry distinguishes
/// upper case from lower case or not. `None` if the arguments are not those of a range.
///
/// The specification wants the list in lexical order (OCI distribution specification, "Listing Tags": "not
/// case-sensitive"); distribution sorts bytes. The two orders disagree only after a capital letter or an underscore,
/// which is between the capital and the small letters. So the text ends before the first one of them.
fn start_before<'a>(prefix: &str, after: &'a str) -> Option<&'a str> {
    let rest = after.strip_prefix(prefix)?;
    let is_tag = after.parse::<ImageTag>().is_ok();
    let end = rest
        .find(|c: char| c.is_ascii_uppercase() || c == '_')
        .unwrap_or(rest.len());
    after.get(..prefix.len() + end).filter(|_| is_tag)
}

/// How a registry compares tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagOrder {
    Bytes,
    SmallLetters,
    CapitalLetters,
}

impl TagOrder {
    const ALL: [Self; 3] = [Self::Bytes, Self::SmallLetters, Self::CapitalLetters];

    fn folded(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Bytes => text.into(),
            Self::SmallLetters => text.to_ascii_lowercase().into(),
            Self::CapitalLetters => text.to_ascii_uppercase().into(),
        }
    }

    fn compare(self, one: &str, other: &str) -> Ordering {
        self.folded(one).cmp(&self.folded(other))
    }
}

/// Whether `tag` is after all tags that begin with `prefix`, in all orders.
fn is_past(tag: &str, prefix: &str) -> bool {
    TagOrder::ALL.into_iter().all(|order| {
        let (tag, prefix) = (order.folded(tag), order.folded(prefix));
        tag > prefix && !tag.starts_with(&*prefix)
    })
}

/// Checks that tags come in one of the orders that rbake knows.
struct TagSequence {
    last: String,
    is_at_start: bool,
    /// The orders in which all tags were so far.
    possible: Vec<TagOrder>,
}

impl TagSequence {
    fn after(start: &str) -> Self {
        Self {
            last: start.to_owned(),
            is_at_start: true,
            possible: TagOrder::ALL.into(),
        }
    }

    /// Whether all tags up to `tag` are in one order. Tags that differ only in the case may have any order. The first
    /// one may be the start itself.
    fn continues(&mut self, tag: &str) -> bool {
        let last = std::mem::replace(&mut self.last, tag.to_owned());
        let is_at_start = std::mem::replace(&mut self.is_at_start, false);
        if last == tag {
            return is_at_start;
        }
        self.possible
            .retain(|order| order.compare(&last, tag) != Ordering::Greater);
        !self.possible.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_start_ends_before_characters_whose_order_is_uncertain() {
        for (prefix, after, start) in [
            ("p-", "p-20261128T22", Some("p-20261128")),
            ("p-", "p-20261128", Some("p-20261128")),
            ("P_-", "P_-a_b", Some("P_-a")),
            ("p-", "p-", Some("p-")),
            ("p-", "q-1", None),
            ("p-", "p-&n=1", None),
            ("", "", None),
        ] {
            assert_eq!(start_before(prefix, after), start, "{after}");
        }
    }

    #[test]
    fn a_tag_is_past_a_prefix_only_if_it_is_in_both_orders() {
        for (tag, expected) in [
            ("q", true),
            ("p-1", false),
            ("P-1", false),
            ("a", false),
            ("Q", false),
            ("_", false),
            ("pa", true),
        ] {
            assert_eq!(is_past(tag, "p-"), expected, "{tag}");
        }
    }

    fn in_order(tags: &[&str]) -> bool {
        let mut sequence = TagSequence::after("b");
        tags.iter().all(|tag| sequence.continues(tag))
    }

    #[test]
    fn one_order_must_hold_for_all_tags() {
        assert!(in_order(&["b", "b1", "c", "d"]));
        assert!(in_order(&["B1", "b2", "C", "c", "d"]));
        assert!(!in_order(&["a", "b", "c"]), "before the start");
        assert!(!in_order(&["c", "c"]), "twice");
        assert!(!in_order(&["c", "d", "c"]));
        assert!(!in_order(&["c", "_", "D", "e", "E", "E"]));
    }

    proptest! {
        #[test]
        fn no_wanted_tag_is_before_the_start(after in "[AZaz09_.-]{0,4}", tag in "[AZaz09_.-]{0,4}") {
            let (after, tag) = (format!("p{after}"), format!("p{tag}"));
            prop_assume!(tag > after);
            let start = start_before("p", &after).unwrap();
            for order in TagOrder::ALL {
                prop_assert_eq!(order.compare(start, &tag), Ordering::Less);
            }
        }
    }
}
