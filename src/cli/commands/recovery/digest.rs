//! `rbake digest`: prints the image of a tag by its digest, if it was released.

use clap::{CommandFactory as _, Parser};

use super::find::Places;
use super::session::{NamedRepositories, PlaceArgs, cannot_look, parse, run_verb};
use crate::cli::args::BakeArgs;
use crate::cli::commands::{definition, publishing};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::usage;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::plan;
use crate::publish::class::TagClass;
use crate::publish::journal::{Journal, PublishedTag, RunStatus};
use crate::publisher::{TagRelease, digest_of, release_of};
use crate::run;
use crate::types::terminal::visible;
use crate::types::{Environment, Reference};

/// Prints the image of a tag by its digest.
#[derive(Debug, Parser)]
#[command(
    name = "rbake digest",
    about = "Print the digest of an image that was released",
    long_about = "Print `REPOSITORY@sha256:…` for the image to which a tag points, and nothing else, for a program that deploys it. If the run that pointed the tag to the image failed, or is open, held or taken back, this is an error. A tag that no run recorded is printed.",
    max_term_width = 100
)]
struct DigestArgs {
    /// A name with a tag, such as `registry.example.com/web:latest`, or a target of the definition, which means its first
    /// immutable tag, or else its first tag
    #[arg(value_name = "NAME")]
    name: String,
    /// Print the digest whatever became of the run
    #[arg(long)]
    even_if_held: bool,
    /// Set a variable of the definition
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    var: Vec<String>,
    #[command(flatten)]
    places: PlaceArgs,
}

/// The clap command, for help and completion.
pub(in crate::cli) fn digest_command() -> clap::Command {
    DigestArgs::command()
}

/// Runs `rbake digest`.
pub(in crate::cli) fn digest(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    match parse::<DigestArgs>(program, "digest", words) {
        Ok(args) => run_verb(
            &args.places,
            NamedRepositories::Never,
            environment,
            screen,
            async |places, screen| print_digest(&args, &places, screen).await,
        ),
        Err(error) => usage(&error, screen),
    }
}

async fn print_digest(
    args: &DigestArgs,
    places: &Places<'_>,
    screen: &mut Screen,
) -> Result<Exit, Diagnostics> {
    let tag = if args.name.contains(['/', ':', '@']) {
        named(&args.name)?
    } else {
        of_target(args, places.environment, screen).await?
    };
    let digest = digest_of(places.registries, places.security, &tag).await;
    let digest = digest.map_err(|error| cannot_look(&error))?;
    let Some(digest) = digest else {
        let message = format!("`{}` does not exist", tag.familiar());
        return Err(Diagnostic::error(Class::Build, "publish::no-image", message).into());
    };
    if !args.even_if_held {
        let release = release_of(places.registries, places.security, &tag, &digest).await;
        if let TagRelease::Unreleased(journal) = release.map_err(|error| cannot_look(&error))? {
            return Err(not_released(&tag, &journal).into());
        }
    }
    Ok(screen.data(&format!("{}@{digest}\n", tag.repository())))
}

fn named(text: &str) -> Result<PublishedTag, Diagnostic> {
    let wrong = |why: String| {
        let message = format!("`{}`: {why}", visible(text));
        Diagnostic::error(Class::Usage, "cli::usage", message)
    };
    let reference: Reference = text
        .parse()
        .map_err(|error: crate::types::reference::InvalidReference| wrong(error.to_string()))?;
    let tag = PublishedTag::of(&reference)
        .filter(|tag| !reference.has_digest() && text.ends_with(&format!(":{}", tag.tag())));
    tag.ok_or_else(|| wrong("not a name with a tag and without a digest".to_owned()))
}

/// The tag by which the image of a target is deployed.
async fn of_target(
    args: &DigestArgs,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<PublishedTag, Diagnostics> {
    let bake = BakeArgs {
        files: args.places.files.clone(),
        var: args.var.clone(),
        targets: vec![args.name.clone()],
        ..BakeArgs::parse_from(["rbake"])
    };
    let loaded = match definition::load(&bake, environment) {
        Ok(loaded) => loaded,
        Err(unreadable) => {
            screen.set_sources(unreadable.sources);
            return Err(unreadable.problems);
        }
    };
    screen.set_sources(loaded.sources.clone());
    let plan = plan::build(
        &loaded.definition,
        &plan::PlanRequest {
            targets: &loaded.targets,
            overrides: &[],
            policies_disabled: false,
            environment,
        },
    )?;
    let gates = run::GateWishes::default();
    let file = publishing::read(&loaded.folder, environment, screen)?;
    let wishes = publishing::wishes(&bake, gates, file, environment)?;
    let settings = wishes.settings;
    let commit = run::current_commit(environment).await;
    let head = commit.as_ref().map(|commit| &commit.id);
    let mut targets = plan.targets.values();
    let target = targets.find(|target| target.name.as_str() == args.name);
    let tags = target
        .into_iter()
        .flat_map(|target| &target.attributes.tags);
    let references = tags.filter_map(|tag| tag.value.parse::<Reference>().ok());
    let tags: Vec<PublishedTag> = references
        .filter_map(|reference| PublishedTag::of(&reference))
        .collect();
    let is_immutable = |tag: &&PublishedTag| {
        TagClass::of(tag.tag().as_str(), &settings, head) == TagClass::Immutable
    };
    let tag = tags.iter().find(is_immutable).or_else(|| tags.first());
    tag.cloned().ok_or_else(|| {
        let message = format!("`{}` is not a target that has tags", visible(&args.name));
        Diagnostic::error(Class::Usage, "cli::usage", message).into()
    })
}

fn not_released(tag: &PublishedTag, journal: &Journal) -> Diagnostic {
    let run = &journal.header.run;
    let (why, help) = match journal.status {
        RunStatus::Held => ("is held", format!("`rbake promote {run}` releases it")),
        RunStatus::Failed => ("failed", format!("`rbake untag {run}` removes it")),
        RunStatus::Undone => (
            "was taken back",
            "build again to publish it again".to_owned(),
        ),
        RunStatus::Open | RunStatus::Moving | RunStatus::Undoing | RunStatus::Complete => (
            "has not ended",
            format!("wait until it has ended, or `rbake resume {run}` ends it"),
        ),
    };
    let message = format!(
        "the image of `{}` is not released: run {run}, which set the tag, {why}",
        tag.familiar()
    );
    Diagnostic::error(Class::Build, "publish::not-released", message)
        .help(help)
        .help("`--even-if-held` prints the digest nevertheless")
}
