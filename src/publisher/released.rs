//! Whether the image of a tag was released: whether the run that set the tag was completed.

use futures_util::future::try_join_all;

use super::PublishError;
use super::claims::read_run;
use crate::publish::journal::artifact::{self, TAG_PREFIX};
use crate::publish::journal::{EntryState, Journal, PublishedTag, RunId, RunStatus};
use crate::registry::{Registries, RegistrySecurity, RemoteRepository, TagOrDigest};
use crate::types::Digest;

/// The most runs of a repository that are read.
const SEARCH_LIMIT: usize = 200;
/// The runs that are read at the same time.
const AT_ONCE: usize = 8;

/// What is recorded about a tag that points to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagRelease {
    /// No run that is recorded pointed the tag to the image.
    Unrecorded,
    /// The image was released.
    Released,
    /// The newest run that pointed the tag to the image failed, or is open, held or taken back.
    Unreleased(Box<Journal>),
}

/// The digest to which `tag` points. `None` if it does not exist.
pub(crate) async fn digest_of(
    registries: &Registries,
    security: RegistrySecurity,
    tag: &PublishedTag,
) -> Result<Option<Digest>, PublishError> {
    let repository = registries.repository(tag.repository(), security);
    let found = repository
        .head(&TagOrDigest::Tag(tag.tag().clone()))
        .await?;
    Ok(found.map(|found| found.digest))
}

/// What is recorded about `tag`, which points to `digest`. The newest 200 runs of the repository are read.
pub(crate) async fn release_of(
    registries: &Registries,
    security: RegistrySecurity,
    tag: &PublishedTag,
    digest: &Digest,
) -> Result<TagRelease, PublishError> {
    let repository = registries.repository(tag.repository(), security);
    let tags = repository.tags_with_prefix(TAG_PREFIX, TAG_PREFIX).await?;
    let tags = tags.unwrap_or_default();
    let runs: Vec<RunId> = tags
        .iter()
        .rev()
        .filter_map(|tag| artifact::run_of(tag.as_str()))
        .take(SEARCH_LIMIT)
        .collect();
    for runs in runs.chunks(AT_ONCE) {
        for journal in read(&repository, runs).await? {
            if let Some(found) = says(journal, tag, digest) {
                return Ok(found);
            }
        }
    }
    Ok(TagRelease::Unrecorded)
}

async fn read(
    repository: &RemoteRepository,
    runs: &[RunId],
) -> Result<impl Iterator<Item = Journal>, PublishError> {
    let read = try_join_all(runs.iter().map(|run| read_run(repository, run))).await?;
    Ok(read.into_iter().flatten().map(|read| read.journal))
}

/// What `journal` says about the tag. `None` if it does not decide.
fn says(journal: Journal, tag: &PublishedTag, digest: &Digest) -> Option<TagRelease> {
    let is_here = |of: &PublishedTag| of.repository() == tag.repository();
    let mut here = journal.entries.iter().filter(|(of, _)| is_here(of));
    // A run does not record immutable tags that it found at its image. So one that released the image under any tag
    // counts, although an earlier run, which failed, may have set this one.
    if journal.status == RunStatus::Complete
        && here.any(|(_, entry)| entry.to == *digest && entry.state == EntryState::Done)
    {
        return Some(TagRelease::Released);
    }
    let entry = journal.entries.get(tag)?;
    // A held run also records tags that it does not move.
    let is_moved = entry.was.as_ref() != Some(digest) && entry.state != EntryState::Kept;
    if entry.to != *digest || !is_moved {
        return None;
    }
    Some(match journal.status {
        RunStatus::Complete => TagRelease::Released,
        _ => TagRelease::Unreleased(Box::new(journal)),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use test_case::test_case;

    use super::*;
    use crate::publish::class::TagClass;
    use crate::publish::journal::{JournalEntry, JournalHeader, RunOrigin};
    use crate::types::Clock;

    fn tag(name: &str) -> PublishedTag {
        PublishedTag::parse("r.example/a", name).unwrap()
    }

    fn digest(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    fn run(status: RunStatus, entries: &[(&str, Option<&str>, &str, EntryState)]) -> Journal {
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_905_000));
        let (run, started) = RunId::new(&clock).unwrap();
        let mut journal = Journal::new(JournalHeader {
            run,
            started,
            rbake: "0.1.0".to_owned(),
            revision: None,
            origin: RunOrigin::Build,
            backwards: false,
        });
        journal.status = status;
        for (name, was, to, state) in entries {
            let entry = JournalEntry {
                class: TagClass::Mutable,
                was: was.map(digest),
                to: digest(to),
                state: *state,
            };
            journal.entries.insert(tag(name), entry);
        }
        journal
    }

    fn about(journal: Journal) -> Option<bool> {
        match says(journal, &tag("v1"), &digest("new"))? {
            TagRelease::Released => Some(true),
            _ => Some(false),
        }
    }

    #[test_case(RunStatus::Complete, true)]
    #[test_case(RunStatus::Held, false)]
    #[test_case(RunStatus::Failed, false)]
    #[test_case(RunStatus::Open, false)]
    #[test_case(RunStatus::Moving, false)]
    #[test_case(RunStatus::Undone, false)]
    fn only_a_complete_run_releases_its_image(status: RunStatus, released: bool) {
        let journal = run(status, &[("v1", None, "new", EntryState::Done)]);
        assert_eq!(about(journal), Some(released));
    }

    #[test]
    fn runs_that_did_not_move_the_tag_to_the_image_do_not_decide() {
        let held = RunStatus::Held;
        for entries in [
            &[][..],
            &[("v1", None, "other", EntryState::Done)],
            &[("v2", None, "new", EntryState::Done)],
            &[("v1", Some("new"), "new", EntryState::Planned)],
            &[("v1", Some("old"), "new", EntryState::Kept)],
        ] {
            assert_eq!(about(run(held, entries)), None, "{entries:?}");
        }
    }

    #[test]
    fn a_run_that_released_the_image_under_another_tag_releases_it() {
        let entries = [("latest", Some("old"), "new", EntryState::Done)];
        assert_eq!(about(run(RunStatus::Complete, &entries)), Some(true));
    }
}
