//! `rbake promote --to`: copies images to another repository or registry, and sets their tags there.

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use sources::{CopySources, CopyTarget, TaggedSource, of_image, of_run};

use super::confirm::Confirmation;
use super::copying::CopyMeter;
use super::find::Places;
use super::moves::{is_change, tag_fields, tag_lines};
use super::session::failed;
use crate::cli::commands::publishing;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::definition::source::{self, SourceRequest};
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::publish::class::TagClass;
use crate::publish::journal::{PublishedTag, RunOrigin};
use crate::publish::settings::{PublishFlags, PublishSettings};
use crate::publisher::{
    CopiedImages, JournalTemplate, PlannedTag, PublishError, PublishForce, Publisher, Record,
    TagEnd, WholeImage,
};
use crate::run;
use crate::types::causes::in_one_line;
use crate::types::{ImageRepository, ImageTag};

/// The repositories from which images come. The key is the one that gets the image.
type Copies = BTreeMap<ImageRepository, ImageRepository>;

/// What the user wants to copy.
pub(super) struct CopyWish<'a> {
    /// A run, a commit or an image. `None` for the only run that is held.
    pub(super) what: Option<&'a str>,
    /// Where it goes.
    pub(super) to: &'a str,
    pub(super) backwards: bool,
    pub(super) json: bool,
    pub(super) confirmation: Confirmation,
}

/// Copies what `wish` says.
pub(super) async fn copy(
    wish: &CopyWish<'_>,
    places: &Places<'_>,
    screen: &mut Screen,
) -> Result<Exit, Diagnostics> {
    let target = CopyTarget::parse(wish.to)?;
    let sources = match wish.what.filter(|what| what.contains(['/', ':', '@'])) {
        Some(image) => of_image(image, places).await?,
        None => of_run(wish.what, places).await?,
    };
    let settings = settings(places, screen)?;
    let (copies, images) = images(&sources, &target, &settings, places).await?;
    let origin = RunOrigin::Copy(copies.clone());
    let publisher = publisher(wish, &sources, &images, &origin, places).await;
    let planned = publisher.plan_copy(&images).await;
    let planned = planned.map_err(|error| cannot_copy(&error))?;
    taken(&planned)?;
    if wish.json {
        screen.data(&format!("{:#}\n", as_json(&copies, &images, &planned)));
    } else {
        screen.message(&as_text(&sources.heading, &copies, &images, &planned));
    }
    // Content is copied although all tags are right, because referrers may be missing. That replaces nothing.
    let confirmation = Confirmation {
        agreed: wish.confirmation.agreed || !planned.iter().any(is_change),
        ..wish.confirmation
    };
    if let Err(exit) = confirmation.ask(&places.interruption, screen)? {
        return Ok(exit);
    }
    sources.check_still_copyable(places).await?;
    let meter = CopyMeter::default();
    let progress = |progress| meter.note(&progress);
    let work = publisher.copy(&images, &origin, &planned, &progress);
    let copied = meter.watch(work, screen).await;
    let copied = copied.map_err(|error| match publisher.record().run() {
        Some(run) if error.is_transient() => {
            failed(&run, &error).help(format!("`rbake resume {run}` continues it"))
        }
        _ => cannot_copy(&error),
    })?;
    show_done(&publisher, &copied, screen);
    Ok(Exit::Success)
}

/// What copies `images`. Their commit decides whether mutable tags move forward.
async fn publisher(
    wish: &CopyWish<'_>,
    sources: &CopySources,
    images: &[WholeImage],
    origin: &RunOrigin,
    places: &Places<'_>,
) -> Publisher {
    let recorded = || images.iter().find_map(WholeImage::revision);
    let revision = sources.revision.clone().or_else(recorded);
    let record = Record::new(JournalTemplate {
        directory: crate::publish::journal::file::directory(places.environment),
        revision: revision.clone(),
        origin: origin.clone(),
        backwards: wish.backwards,
        clock: places.clock.clone(),
    });
    let force = PublishForce {
        backwards: wish.backwards,
        replace: false,
    };
    let history = run::history(places.environment).await;
    Publisher::new(places.registries.clone(), record, revision, history, force)
}

/// The settings that say which tags are immutable: those of the definition of the working directory, if there is one.
fn settings(places: &Places<'_>, screen: &mut Screen) -> Result<PublishSettings, Diagnostics> {
    let request = SourceRequest {
        files: &places.args.files,
        fetched: None,
        environment: places.environment,
    };
    let file = publishing::read(&source::folder(&request), places.environment, screen)?;
    PublishSettings::resolve(file, places.environment, &PublishFlags::default())
}

/// The images as they will be at the target, and from where each repository gets them.
async fn images(
    sources: &CopySources,
    target: &CopyTarget,
    settings: &PublishSettings,
    places: &Places<'_>,
) -> Result<(Copies, Vec<WholeImage>), Diagnostics> {
    let mut copies = Copies::new();
    let mut images = Vec::new();
    let mut named = BTreeSet::new();
    for TaggedSource { image, tags } in &sources.images {
        let to = target.of(&image.repository)?;
        let from = copies.entry(to.clone());
        if *from.or_insert_with(|| image.repository.clone()) != image.repository {
            let message = format!("several images would go to `{}`", to.familiar());
            let problem = Diagnostic::error(Class::Usage, "cli::usage", message);
            return Err(problem
                .help("with a `/` at the end of `--to`, each image goes to a repository with its name below it")
                .into());
        }
        let whole = image.whole(places.registries, places.security, to, Vec::new());
        let mut whole = whole.await.map_err(|error| cannot_copy(&error))?;
        let revision = sources.revision.clone().or_else(|| whole.revision());
        let head = revision.as_ref().map(|commit| &commit.id);
        let class = |tag: &ImageTag| TagClass::of(tag.as_str(), settings, head);
        whole.image.tags = if let CopyTarget::One(_, Some(tag)) = target {
            vec![(tag.clone(), class(tag))]
        } else {
            let tags = tags.iter();
            tags.map(|(tag, known)| (tag.clone(), known.unwrap_or_else(|| class(tag))))
                .collect()
        };
        for (tag, _) in &whole.image.tags {
            let tag = PublishedTag::new(whole.image.repository.clone(), tag.clone());
            if !named.insert(tag.clone()) {
                let message = format!("several images would get the tag `{}`", tag.familiar());
                let code = "publish::claimed-twice";
                return Err(Diagnostic::error(Class::Usage, code, message).into());
            }
        }
        images.push(whole);
    }
    if images.is_empty() {
        let message = "the run has no images to copy";
        return Err(Diagnostic::error(Class::Usage, "publish::run", message).into());
    }
    Ok((copies, images))
}

/// Refuses to replace immutable tags.
fn taken(planned: &[PlannedTag]) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    for one in planned {
        if let TagEnd::KeptComplete { is } = &one.end {
            let message = format!(
                "`{}` is immutable, and points to another image: {is}",
                one.tag.familiar()
            );
            problems.push(
                Diagnostic::error(Class::Publish, "publish::immutable", message)
                    .note("nothing was copied")
                    .help("name another tag: `--to REPOSITORY:TAG`"),
            );
        }
    }
    problems.into_result(())
}

fn as_text(
    heading: &str,
    copies: &Copies,
    images: &[WholeImage],
    planned: &[PlannedTag],
) -> String {
    let mut text = heading.to_owned();
    for whole in images {
        let to = &whole.image.repository;
        let from = copies.get(to).map_or_else(String::new, ToString::to_string);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  copy {from}@{} → {to}", whole.manifest.digest());
    }
    text + &tag_lines(planned)
}

fn as_json(copies: &Copies, images: &[WholeImage], planned: &[PlannedTag]) -> Value {
    let copied = images.iter().map(|whole| {
        let to = &whole.image.repository;
        json!({
            "from": copies.get(to).map(ToString::to_string),
            "to": to.to_string(),
            "digest": whole.manifest.digest().to_string(),
        })
    });
    let mut fields = tag_fields(planned);
    fields["copies"] = copied.collect();
    fields
}

/// Shows what was copied.
fn show_done(publisher: &Publisher, copied: &CopiedImages, screen: &mut Screen) {
    let counts = &copied.counts;
    for tag in &counts.conflicts {
        let message = format!(
            "signatures are not copied: `{tag}` names others at the target, which would be lost"
        );
        screen.diagnostic(&Diagnostic::warning("publish::referrers", message));
    }
    let mut text = format!(
        "copied: {} manifests, {} blobs sent ({} bytes), {} mounted, {} present; {} attached manifests",
        counts.manifests,
        counts.sent_blobs,
        counts.sent_bytes,
        counts.mounted_blobs,
        counts.present_blobs,
        counts.referrers,
    );
    let tags = copied.tags.as_ref();
    let count = tags.map_or(0, |tags| tags.changed.len());
    let word = if count == 1 { "tag" } else { "tags" };
    // Writing to a string cannot fail.
    let _ = write!(text, "; {count} {word} set");
    for (tag, now) in tags.into_iter().flat_map(|tags| &tags.elsewhere) {
        let now = now.as_ref();
        let now = now.map_or("nothing".to_owned(), ToString::to_string);
        let _ = write!(text, "\n  {tag} stays: somebody else has moved it to {now}");
    }
    for (tag, newer) in tags.into_iter().flat_map(|tags| &tags.newer) {
        let _ = write!(
            text,
            "\n  {tag} is set to the image of the newer commit {newer}"
        );
    }
    if let Some(run) = publisher.record().run() {
        let _ = write!(text, " (recorded as run {run})");
    }
    screen.message(&format!("{text}\n"));
}

fn cannot_copy(error: &PublishError) -> Diagnostic {
    let message = format!("the images cannot be copied: {}", in_one_line(error));
    let problem = Diagnostic::error(Class::Publish, "publish::failed", message);
    error.help().into_iter().fold(problem, Diagnostic::help)
}
