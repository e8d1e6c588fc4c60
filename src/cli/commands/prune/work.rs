//! Plans, shows and carries out a prune of several repositories.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::args::SharedArgs;
use super::signals::StopAtSignal;
use super::waiting::with_notes;
use super::{digests, failures, json, text};
use crate::cli::commands::recovery::find::Places;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::prune::plan::{PrunePlan, plan};
use crate::prune::policy::{PruneRequest, RetentionPolicy};
use crate::pruner::{
    Deleter, DeletionObstacle, PruneApproval, PruneError, PruneStop, PruneWatch, Pruning,
    RepositoryReader, left_by_others, record_directory,
};
use crate::publisher::KeptContents;
use crate::registry::DeletionSettings;
use crate::types::blocking::unblock;
use crate::types::{Digest, ImageRepository};

/// One `rbake prune`.
pub(super) struct PruneJob<'a> {
    pub(super) args: &'a SharedArgs,
    pub(super) policy: RetentionPolicy,
    pub(super) repositories: Vec<ImageRepository>,
    pub(super) places: &'a Places<'a>,
    pub(super) settings: &'a DeletionSettings<'a>,
}

/// The plan for one repository.
pub(super) struct PlannedPrune {
    pub(super) repository: ImageRepository,
    pub(super) plan: PrunePlan,
    /// Whether the registry lists manifests that no tag leads to.
    pub(super) lists_manifests: bool,
    /// Why the registry would refuse the deletions. `None` if it would not.
    pub(super) obstacle: Option<DeletionObstacle>,
    reader: RepositoryReader,
    request: PruneRequest,
    watch: PruneWatch,
}

impl PruneJob<'_> {
    /// Runs it.
    pub(super) async fn run(self, screen: &mut Screen) -> Result<Exit, Diagnostics> {
        if self.repositories.is_empty() {
            let message = "the definition names no repository";
            return Err(Diagnostic::error(Class::Usage, "cli::usage", message)
                .help("name the repositories to prune")
                .into());
        }
        let now = Timestamp::try_from(self.places.clock.now()).unwrap_or(Timestamp::MAX);
        let request = PruneRequest {
            policy: self.policy.clone(),
            grace: self.args.grace(),
            now,
            roots: digests::roots(&self.args.keep_digests, self.places.environment)?,
        };
        let mut planned = Vec::new();
        let mut problems = Vec::new();
        for repository in &self.repositories {
            match self.plan_one(repository, &request, screen).await {
                Ok(one) => planned.push(one),
                Err(problem) => problems.push(problem),
            }
        }
        let digest = digest_of(&planned);
        if self.args.json {
            let all: Vec<_> = planned.iter().map(json::of_plan).collect();
            let value = serde_json::json!({"plan": digest.as_str(), "repositories": all});
            screen.data(&format!("{value:#}\n"));
        } else {
            for one in &planned {
                screen.message(&text::of_plan(one));
            }
        }
        let is_something = planned.iter().any(|one| !one.plan.steps().is_empty());
        let exit = if !is_something {
            Exit::Success
        } else if self.args.dry_run || !self.args.yes {
            if !self.args.json {
                screen.message(&format!("plan {digest}\n"));
            }
            self.warn(&planned, screen);
            screen.note("nothing was deleted; `--yes` deletes");
            Exit::Success
        } else {
            self.check(&planned, &digest)?;
            self.carry_out(planned, screen).await
        };
        if problems.is_empty() {
            return Ok(exit);
        }
        let of_problems = screen.diagnostics(&Diagnostics(problems));
        Ok(if exit == Exit::Success {
            of_problems
        } else {
            exit
        })
    }

    /// Reads a repository and plans what to delete from it.
    async fn plan_one(
        &self,
        name: &ImageRepository,
        request: &PruneRequest,
        screen: &mut Screen,
    ) -> Result<PlannedPrune, Diagnostic> {
        let watch = PruneWatch::default();
        let planning = self.read_and_plan(name, request, &watch);
        with_notes(planning, name.familiar(), &watch, screen)
            .await
            .map_err(|failure| failures::of_plan(name, failure))
    }

    async fn read_and_plan(
        &self,
        name: &ImageRepository,
        request: &PruneRequest,
        watch: &PruneWatch,
    ) -> Result<PlannedPrune, failures::PlanFailure> {
        let places = self.places;
        let deleter = Deleter::of(places.registries, places.security, self.settings, name).await?;
        let roots = request.roots.locked.iter();
        let mut expected: BTreeMap<Digest, Option<Timestamp>> =
            roots.map(|digest| (digest.clone(), None)).collect();
        if let Some(directory) = record_directory(places.environment) {
            let of = name.clone();
            let left = unblock(move || left_by_others(&directory, &of)).await;
            for (digest, time) in left {
                expected.entry(digest).or_insert(Some(time));
            }
        }
        let mut reader = RepositoryReader::new(
            deleter.clone(),
            KeptContents::manifests_of(places.environment),
            watch.clone(),
            expected,
        );
        let read = reader.read().await;
        let read = read.map_err(|error| failures::PlanFailure::Unread {
            error,
            login: deleter.login(),
        })?;
        if !read.state.closed().is_empty() {
            return Err(failures::PlanFailure::Closed(read));
        }
        let plan = plan(&read.state, request, deleter.traits()).map_err(PruneError::Plan)?;
        Ok(PlannedPrune {
            repository: name.clone(),
            plan,
            lists_manifests: reader.lists_manifests(),
            obstacle: deleter.obstacle().cloned(),
            reader,
            request: request.clone(),
            watch: watch.clone(),
        })
    }

    /// Says what would prevent the deletions.
    fn warn(&self, planned: &[PlannedPrune], screen: &mut Screen) {
        for one in planned.iter().filter(|one| !one.plan.steps().is_empty()) {
            if let Some(obstacle) = &one.obstacle {
                screen.diagnostic(&failures::no_deletion(&one.repository, obstacle, true));
            }
            if let Err(error) = one.plan.check_limit(self.args.max_delete) {
                screen.diagnostic(&failures::too_many(&one.repository, &error, true));
            }
        }
    }

    /// Checks, before anything is deleted, that the plans are what the user agreed to.
    fn check(&self, planned: &[PlannedPrune], digest: &Digest) -> Result<(), Diagnostics> {
        if let Some(wanted) = self.args.plan.as_ref().filter(|wanted| *wanted != digest) {
            return Err(failures::other_plan(wanted, digest).into());
        }
        let mut problems = Vec::new();
        for one in planned.iter().filter(|one| !one.plan.steps().is_empty()) {
            if let Some(obstacle) = &one.obstacle {
                problems.push(failures::no_deletion(&one.repository, obstacle, false));
            }
            if let Err(error) = one.plan.check_limit(self.args.max_delete) {
                problems.push(failures::too_many(&one.repository, &error, false));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Diagnostics(problems))
        }
    }

    async fn carry_out(&self, planned: Vec<PlannedPrune>, screen: &mut Screen) -> Exit {
        let Some(directory) = record_directory(self.places.environment) else {
            return screen.diagnostics(&failures::no_record().into());
        };
        let stop = CancellationToken::new();
        self.places.interruption.leave_to_verb();
        let _signals = StopAtSignal::listen(&stop, &self.places.stop);
        let mut exit = Exit::Success;
        for one in planned {
            if stop.is_cancelled() {
                return Exit::Interrupted;
            }
            if one.plan.steps().is_empty() {
                continue;
            }
            let ended = self
                .carry_out_one(one, directory.clone(), &stop, screen)
                .await;
            if ended != Exit::Success {
                exit = ended;
            }
        }
        exit
    }

    async fn carry_out_one(
        &self,
        one: PlannedPrune,
        directory: PathBuf,
        stop: &CancellationToken,
        screen: &mut Screen,
    ) -> Exit {
        let PlannedPrune {
            repository,
            plan,
            reader,
            request,
            watch,
            ..
        } = one;
        let name = repository.familiar().to_owned();
        let approval = PruneApproval {
            request,
            plan,
            is_exact: self.args.plan.is_some(),
        };
        let beginning = Pruning::begin(reader, approval, directory, &self.places.clock);
        let mut pruning = match with_notes(beginning, &name, &watch, screen).await {
            Ok(pruning) => pruning,
            Err(error) => {
                return screen.diagnostics(&failures::of_begin(&repository, &error).into());
            }
        };
        let run = pruning.run().clone();
        let working = pruning.carry_out(stop);
        let (steps, tally, end) = with_notes(working, &name, &watch, screen).await;
        screen.message(&text::of_steps(&repository, &run, &steps, tally));
        let mut exit = Exit::Success;
        if !tally.is_success() {
            exit = screen.diagnostics(&failures::partial(&repository, &run, &end).into());
        }
        if matches!(end, PruneStop::Interrupted) {
            exit = Exit::Interrupted;
        } else {
            let checking = pruning.verify();
            match with_notes(checking, &name, &watch, screen).await {
                Ok(found) if found.is_whole() => {}
                Ok(found) => {
                    let problem = failures::lost(&repository, &run, &found);
                    exit = screen.diagnostics(&problem.into());
                }
                Err(error) => {
                    let problem = failures::unverified(&repository, &error);
                    exit = screen.diagnostics(&problem.into());
                }
            }
        }
        let releasing = pruning.release();
        with_notes(releasing, &name, &watch, screen).await;
        exit
    }
}

/// The digest of all plans together.
fn digest_of(planned: &[PlannedPrune]) -> Digest {
    let plans: BTreeSet<_> = planned
        .iter()
        .map(|one| (one.repository.to_string(), one.plan.digest()))
        .collect();
    let mut text = String::from("rbake prune of several 1\n");
    for (repository, digest) in plans {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{repository} {digest}");
    }
    Digest::sha256(text.as_bytes())
}
