//! What is copied, and where it goes.

use std::collections::BTreeMap;

use crate::cli::commands::recovery::find::Places;
use crate::cli::commands::recovery::promote::HELD;
use crate::cli::commands::recovery::session::{cannot_look, internal};
use crate::cli::commands::recovery::text::heading;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::publish::class::TagClass;
use crate::publish::journal::{EntryState, Journal, PublishedTag, RunStatus};
use crate::publish::revision::CommitState;
use crate::publisher::{ImageSource, Record, TagRelease, release_of};
use crate::registry::TagOrDigest;
use crate::types::reference::InvalidReference;
use crate::types::terminal::visible;
use crate::types::{ImageRepository, ImageTag, Reference};

/// Where images go.
pub(super) enum CopyTarget {
    /// All to this repository, which makes sense for one image.
    One(ImageRepository, Option<ImageTag>),
    /// Each to a repository below this name.
    Below(String),
}

/// An image with its tags. The class of a tag is known if a run recorded it.
pub(super) struct TaggedSource {
    pub(super) image: ImageSource,
    pub(super) tags: Vec<(ImageTag, Option<TagClass>)>,
}

/// The images to copy, and what is known of them.
pub(super) struct CopySources {
    pub(super) images: Vec<TaggedSource>,
    /// The commit of the run.
    pub(super) revision: Option<CommitState>,
    /// The first line of the plan.
    pub(super) heading: String,
    /// The record of the run. `None` for an image without one.
    pub(super) record: Option<Record>,
}

impl CopySources {
    /// Checks, after the user was asked, that the run was not taken back in the meantime.
    pub(super) async fn check_still_copyable(
        &self,
        places: &Places<'_>,
    ) -> Result<(), Diagnostics> {
        let Some((record, journal)) = self
            .record
            .as_ref()
            .and_then(|record| Some((record, record.journal()?)))
        else {
            return Ok(());
        };
        places.catch_up(record, &journal.header.run).await?;
        let now = record.journal().unwrap_or(journal);
        Ok(copyable(&now)?)
    }
}

impl CopyTarget {
    pub(super) fn parse(text: &str) -> Result<Self, Diagnostic> {
        let wrong = |why: &str| {
            let message = format!("`--to {}`: {why}", visible(text));
            Diagnostic::error(Class::Usage, "cli::usage", message)
        };
        if let Some(above) = text.strip_suffix('/') {
            // Any name below it must be one of a repository.
            let example: Result<Reference, _> = format!("{above}/x").parse();
            example.map_err(|error| wrong(&error.to_string()))?;
            return Ok(Self::Below(above.to_owned()));
        }
        let reference: Reference = text
            .parse()
            .map_err(|error: InvalidReference| wrong(&error.to_string()))?;
        if reference.has_digest() {
            return Err(wrong(
                "a copy keeps its digest; name only the repository, or a tag",
            ));
        }
        let tag = ImageTag::of(&reference).filter(|tag| text.ends_with(&format!(":{tag}")));
        Ok(Self::One(ImageRepository::of(&reference), tag))
    }

    /// The repository that gets the image of `from`.
    pub(super) fn of(&self, from: &ImageRepository) -> Result<ImageRepository, Diagnostic> {
        match self {
            Self::One(repository, _) => Ok(repository.clone()),
            Self::Below(above) => {
                let name = from.path().rsplit('/').next().unwrap_or_default();
                let reference: Result<Reference, _> = format!("{above}/{name}").parse();
                let reference = reference.map_err(|error| internal(&error.to_string()))?;
                Ok(ImageRepository::of(&reference))
            }
        }
    }
}

/// The image that the user names.
pub(super) async fn of_image(text: &str, places: &Places<'_>) -> Result<CopySources, Diagnostics> {
    let wrong = |why: String| {
        let message = format!("`{}`: {why}", visible(text));
        Diagnostic::error(Class::Usage, "cli::usage", message)
    };
    let reference: Reference = text
        .parse()
        .map_err(|error: InvalidReference| wrong(error.to_string()))?;
    let repository = ImageRepository::of(&reference);
    let tag = PublishedTag::of(&reference).filter(|_| !reference.has_digest());
    let name = match (&tag, text.rsplit_once('@')) {
        (Some(tag), _) => TagOrDigest::Tag(tag.tag().clone()),
        (None, Some((_, digest))) => {
            let digest = digest.parse();
            TagOrDigest::Digest(digest.map_err(|_| wrong("not a valid digest".to_owned()))?)
        }
        (None, None) => return Err(wrong("neither a tag nor a digest".to_owned()).into()),
    };
    let (registries, security) = (places.registries, places.security);
    let found = ImageSource::find(registries, security, &repository, &name).await;
    let Some(image) = found.map_err(|error| cannot_look(&error))? else {
        let message = format!("`{}` does not exist", visible(text));
        return Err(Diagnostic::error(Class::Build, "publish::no-image", message).into());
    };
    let mut record = None;
    if let Some(tag) = &tag {
        let release = release_of(registries, security, tag, &image.digest).await;
        if let TagRelease::Unreleased(journal) = release.map_err(|error| cannot_look(&error))? {
            copyable(&journal)?;
            record = Some(Record::of_journal(*journal));
        }
    }
    let tags = tag.iter().map(|tag| (tag.tag().clone(), None)).collect();
    Ok(CopySources {
        images: vec![TaggedSource { image, tags }],
        revision: None,
        heading: format!("image {}\n", visible(text)),
        record,
    })
}

/// The images of the run that the user names.
pub(super) async fn of_run(
    what: Option<&str>,
    places: &Places<'_>,
) -> Result<CopySources, Diagnostics> {
    let record = places.find(what, &HELD).await?;
    let Some(journal) = record.journal() else {
        return Err(internal("the record of the run is empty").into());
    };
    copyable(&journal)?;
    let mut images: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (tag, entry) in &journal.entries {
        let is_of_run = match entry.state {
            EntryState::Done => true,
            EntryState::Planned | EntryState::Undone => journal.status == RunStatus::Held,
            EntryState::Kept => false,
        };
        if is_of_run {
            let tags = images
                .entry((tag.repository().clone(), entry.to.clone()))
                .or_default();
            tags.push((tag.tag().clone(), Some(entry.class)));
        }
    }
    let images = images
        .into_iter()
        .map(|((repository, digest), tags)| TaggedSource {
            image: ImageSource { repository, digest },
            tags,
        });
    Ok(CopySources {
        images: images.collect(),
        revision: journal.header.revision.clone(),
        heading: heading(&journal),
        record: Some(record),
    })
}

/// Whether the images of a run may be copied: it was completed, or is held.
fn copyable(journal: &Journal) -> Result<(), Diagnostic> {
    let run = &journal.header.run;
    let (why, help) = match journal.status {
        RunStatus::Complete | RunStatus::Held => return Ok(()),
        RunStatus::Failed => ("failed", format!("`rbake untag {run}` takes back its tags")),
        RunStatus::Undone => ("was taken back", "build again".to_owned()),
        RunStatus::Open | RunStatus::Moving | RunStatus::Undoing => (
            "has not ended",
            format!("wait until it has ended, or `rbake resume {run}` ends it"),
        ),
    };
    let message = format!("the images of run {run} are not released, because it {why}");
    Err(Diagnostic::error(Class::Build, "publish::not-released", message).help(help))
}
