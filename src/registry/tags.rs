//! The list of a repository's tags.

use std::collections::BTreeSet;

use http::header::LINK;
use http::{Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;

use super::RemoteRepository;
use super::connection::RegistryConnection;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::exchange::RegistryReply;
use crate::types::ImageTag;

/// The tags that rbake asks for at a time. The registry may send fewer, or all.
pub(super) const PAGE: usize = 1000;

/// The most tags of a repository, the most pages, and the largest page in bytes. A page may hold all tags.
pub(super) const TAGS: usize = 1_000_000;
pub(super) const PAGES: usize = 10_000;
pub(super) const LARGEST_PAGE: usize = 64 << 20;

/// The most pages in a row without a new tag. Registries that filter the list may send empty pages.
pub(super) const BARREN_PAGES: usize = 16;

#[derive(Deserialize)]
struct TagsAnswer {
    // Some registries send null for an empty list.
    tags: Option<Vec<String>>,
}

impl RemoteRepository {
    /// Returns all tags, sorted. `None` if the repository does not exist.
    ///
    /// Tags that are set or deleted meanwhile may be missing. Fails if there are more than a million, or if the list
    /// does not end.
    pub(crate) async fn tags(&self) -> Result<Option<BTreeSet<ImageTag>>, RegistryError> {
        let failed = Self::failed(RegistryAct::ListTags, &self.name);
        self.tags_in_pages(PAGE).await.map_err(failed)
    }

    /// The same, asking for so many tags at a time.
    pub(super) async fn tags_in_pages(
        &self,
        size: usize,
    ) -> Result<Option<BTreeSet<ImageTag>>, RegistryFault> {
        let mut found = BTreeSet::new();
        let mut barren = 0;
        let first = self.request(Method::GET, &format!("tags/list?n={size}"));
        let mut request = first.limit(LARGEST_PAGE);
        for _ in 0..PAGES {
            let reply = self.connection.perform(&request).await?;
            if reply.status == StatusCode::NOT_FOUND && found.is_empty() {
                return Ok(None);
            }
            if !reply.status.is_success() {
                return Err(reply.fault());
            }
            let page = parse(&reply)?;
            let (length, last) = (page.len(), page.last().cloned());
            let before = found.len();
            found.extend(page);
            if found.len() > TAGS {
                let what = format!("more than {TAGS} tags");
                return Err(RegistryFault::malformed(what));
            }
            let has_new = found.len() > before;
            barren = if has_new { 0 } else { barren + 1 };
            let next = match (self.next_page(&reply)?, last) {
                (Some(next), _) if barren < BARREN_PAGES => next,
                (Some(_), _) => return Err(RegistryFault::malformed(NO_END)),
                // Old registries have pages, but do not link them. Others ignore `n` and `last`; then nothing is new.
                (None, Some(last)) if length >= size && has_new => {
                    self.page_after(&reply, size, &last)
                }
                (None, _) => return Ok(Some(found)),
            };
            request = request.to(next);
        }
        Err(RegistryFault::malformed(NO_END))
    }

    /// The next page's address, which must be at the registry itself. `None` if this is the last page.
    pub(super) fn next_page(&self, reply: &RegistryReply) -> Result<Option<Url>, RegistryFault> {
        self.connection.next_page(reply)
    }

    pub(super) fn page_after(&self, reply: &RegistryReply, size: usize, last: &ImageTag) -> Url {
        let mut url = reply.url.clone();
        url.set_path(&format!("/v2/{}/tags/list", self.path));
        url.query_pairs_mut()
            .clear()
            .append_pair("n", &size.to_string())
            .append_pair("last", last.as_str());
        url
    }
}

impl RegistryConnection {
    /// The next page's address, which must be at the same server. `None` if this is the last page.
    pub(super) fn next_page(&self, reply: &RegistryReply) -> Result<Option<Url>, RegistryFault> {
        let Some(target) = next_link(reply)? else {
            return Ok(None);
        };
        let next = self.resolve(&reply.url, target)?;
        if self.is_ours(&next) {
            Ok(Some(next))
        } else {
            Err(RegistryFault::malformed(
                "the next page is at another server",
            ))
        }
    }
}

pub(super) const NO_END: &str = "the list of tags does not end";

pub(super) fn parse(reply: &RegistryReply) -> Result<Vec<ImageTag>, RegistryFault> {
    let malformed = |_| RegistryFault::malformed("not a valid list of tags");
    let answer: TagsAnswer = serde_json::from_slice(&reply.body).map_err(malformed)?;
    let tags = answer.tags.unwrap_or_default();
    // A tag that is left out would look as if it did not exist, so an invalid one is an error.
    tags.iter()
        .map(|tag| tag.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| RegistryFault::malformed("an invalid tag in the list"))
}

/// The target of the first `Link: <…>; rel="next"` (RFC 8288). `None` if there is none.
fn next_link(reply: &RegistryReply) -> Result<Option<&str>, RegistryFault> {
    let malformed = || RegistryFault::malformed("the `Link` to the next page");
    for value in reply.headers.get_all(LINK) {
        let value = value.to_str().map_err(|_| malformed())?;
        let (target, parameters) = value
            .trim_start()
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .ok_or_else(malformed)?;
        let mut parameters = parameters.split(';').map(str::trim);
        let is_next = parameters.any(|parameter| {
            let parameter = parameter.to_ascii_lowercase();
            parameter
                .strip_prefix("rel=")
                .is_some_and(|rel| rel.trim_matches('"') == "next")
        });
        if is_next {
            return Ok(Some(target));
        }
    }
    Ok(None)
}
