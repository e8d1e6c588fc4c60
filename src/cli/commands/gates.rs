//! The plan of a run with gates: gate targets are built, but leave nothing, and images for the command of a gate are
//! pushed without their tags.
//!
//! Gates come from flags, or else from `rbake.toml`. Those of the file apply to every run that pushes, and to no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cli::args::BakeArgs;
use crate::cli::output_place;
use crate::definition::model::Definition;
use crate::diag::{Class, Diagnostic, Diagnostics, Spanned};
use crate::files::Resolver;
use crate::plan::entitlements::Allowed;
use crate::plan::{self, Plan, PlanRequest, TargetOverride};
use crate::publish::settings::GateSettings;
use crate::run::{GateWishes, SavedFiles};
use crate::types::TargetName;
use crate::types::terminal::visible;

/// Where files of gates are saved by default, below the working directory.
const SAVE_TO: &str = "gate-files";

/// The plan of a run, and its gates.
pub(super) struct GatedPlan {
    pub(super) plan: Plan,
    pub(super) wishes: GateWishes,
    /// The command of the gate, if it is from `rbake.toml`: then the user must allow it.
    pub(super) consent: Option<Spanned<String>>,
}

/// The gates that the user wants, before they are looked up in the definition.
#[derive(Default)]
struct WantedGates {
    targets: Vec<String>,
    images: Vec<String>,
    command: Option<String>,
    consent: Option<Spanned<String>>,
}

impl WantedGates {
    /// Those of flags, each of which replaces what the file says of the same.
    fn of(args: &BakeArgs, file: &GateSettings) -> Self {
        let list = |flag: &[String], file: &[Spanned<String>]| -> Vec<String> {
            if flag.is_empty() {
                return file.iter().map(|text| text.value.clone()).collect();
            }
            flag.to_vec()
        };
        let consent = match args.gate_run {
            None => file.run.clone(),
            Some(_) => None,
        };
        let flag = args.gate_run.clone();
        let command = flag.or_else(|| consent.as_ref().map(|text| text.value.clone()));
        Self {
            targets: list(&args.gates, &file.targets),
            // Without a command, nothing needs the images of the file.
            images: match command {
                Some(_) => list(&args.gate_images, &file.images),
                None => list(&args.gate_images, &[]),
            },
            command,
            consent,
        }
    }
}

/// The error of a command that does nothing, for example because a variable of a script is not set.
fn empty_command() -> Diagnostic {
    let message = "the command of `--gate-run` is empty, so it would prove nothing";
    Diagnostic::error(Class::Usage, "publish::empty-gate", message)
        .help("leave `--gate-run` out to publish without this gate")
}

/// Makes the plan of `request` with the gates of `args`, or else of `file`.
pub(super) fn plan(
    definition: &Definition,
    request: &PlanRequest<'_>,
    args: &BakeArgs,
    file: &GateSettings,
) -> Result<GatedPlan, Diagnostics> {
    let untags = untags(args)?;
    let main = plan::build(definition, request)?;
    let nothing = GateSettings::default();
    let applies = args.no_gates != Some(true) && pushes(&main);
    let file = if applies { file } else { &nothing };
    let wanted = WantedGates::of(args, file);
    if !wanted.targets.is_empty() || wanted.command.is_some() {
        check_names(file, definition)?;
    }
    if wanted
        .command
        .as_ref()
        .is_some_and(|command| command.trim().is_empty())
    {
        return Err(empty_command().into());
    }
    if !wanted.images.is_empty() && wanted.command.is_none() {
        let message =
            "`--gate-image` makes an image for the command of `--gate-run`, which is not given";
        return Err(usage(message).into());
    }
    if wanted.targets.is_empty() && wanted.images.is_empty() {
        return Ok(GatedPlan {
            plan: main,
            wishes: GateWishes {
                command: wanted.command,
                untags,
                ..GateWishes::default()
            },
            consent: wanted.consent,
        });
    }
    let names = |targets: &[String]| {
        if targets.is_empty() {
            return Ok(BTreeSet::new());
        }
        let plan = plan::build(
            definition,
            &PlanRequest {
                targets,
                ..*request
            },
        )?;
        Ok::<_, Diagnostics>(own(&plan))
    };
    let main = own(&main);
    let gates = names(&wanted.targets)?;
    let images: BTreeSet<TargetName> = &names(&wanted.images)? - &main;
    let mut overrides = request.overrides.to_vec();
    let only_gates = gates
        .difference(&main)
        .filter(|name| !images.contains(*name));
    let outputs = only_gates
        .map(|name| (name, "type=cacheonly"))
        .chain(images.iter().map(|name| (name, "type=image,push=true")));
    for (name, output) in outputs {
        let text = format!("{name}.output={output}");
        let change = TargetOverride::parse(&text, request.environment)?;
        overrides.push(change);
    }
    let mut targets = request.targets.to_vec();
    if targets.is_empty() {
        targets.push("default".to_owned());
    }
    targets.extend(wanted.targets.iter().chain(&wanted.images).cloned());
    let plan = plan::build(
        definition,
        &PlanRequest {
            targets: &targets,
            overrides: &overrides,
            ..*request
        },
    )?;
    Ok(GatedPlan {
        plan,
        wishes: GateWishes {
            targets: gates,
            images,
            command: wanted.command,
            untags,
            saved: None,
        },
        consent: wanted.consent,
    })
}

/// The files that are saved of the gates `wishes`. `None` if there are none.
///
/// # Errors
/// The directory for them cannot be used. One that `rbake.toml` names must be in the working directory, unless the user
/// allows another.
pub(super) fn saved(
    wishes: &GateWishes,
    file: &GateSettings,
    args: &BakeArgs,
    allowed: &Allowed,
    paths: &Resolver,
) -> Result<Option<Arc<SavedFiles>>, Diagnostics> {
    let targets: BTreeMap<_, _> = file
        .save
        .iter()
        .filter_map(|(name, patterns)| {
            let target = wishes
                .targets
                .iter()
                .find(|target| target.as_str() == name)?;
            Some((target.clone(), patterns.value.clone()))
        })
        .filter(|(_, patterns)| !patterns.is_empty())
        .collect();
    if targets.is_empty() {
        return Ok(None);
    }
    let in_file = file.save_to.as_ref();
    let directory = match (&args.gate_save_to, in_file) {
        (Some(flag), _) => flag.as_str(),
        (None, Some(text)) => text.value.as_str(),
        (None, None) => SAVE_TO,
    };
    let span = in_file.filter(|_| args.gate_save_to.is_none());
    let span = span.and_then(|text| text.span);
    let shown = visible(directory);
    let problem = |reason: &str| {
        let message = format!("files of gates cannot be saved in `{shown}`: {reason}");
        Diagnostic::error(Class::Usage, "cli::gate-files", message).at(span, "")
    };
    let place = output_place::resolve(directory, paths).map_err(|reason| problem(&reason))?;
    if place.exists() && !place.path().is_dir() {
        return Err(problem("it is not a directory").into());
    }
    if args.gate_save_to.is_none() {
        let may_write = allowed.may_write(&place, paths);
        if !may_write.map_err(|error| problem(&error.reason()))? {
            let path = place.path().display().to_string();
            let reason = "it is not in the working directory";
            return Err(problem(reason)
                .help(format!(
                    "pass `--allow=fs.write={}` to allow it, or name a directory with `--gate-save-to`",
                    visible(&path)
                ))
                .into());
        }
    }
    Ok(Some(Arc::new(SavedFiles {
        directory: place.path().to_owned(),
        shown: directory.trim_end_matches('/').to_owned(),
        targets,
    })))
}

/// Reports names in `rbake.toml` that the definition does not have. Only called for a run with gates: the file may belong to
/// several definitions, not all of which have gates.
fn check_names(file: &GateSettings, definition: &Definition) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    let targets = || definition.targets.keys().map(TargetName::as_str);
    let is_known = |name: &str| {
        // Patterns are matched by the plan.
        name.contains(['*', '?', '['])
            || definition.targets.contains_key(name)
            || definition.groups.contains_key(name)
    };
    let named = file.targets.iter().chain(&file.images);
    let unknown = named.filter(|name| !is_known(&name.value));
    let unknown = unknown.map(|name| (name.value.as_str(), name.span));
    let saved = file.save.iter();
    let saved = saved.filter(|(name, _)| !definition.targets.contains_key(name.as_str()));
    let saved = saved.map(|(name, patterns)| (name.as_str(), patterns.span));
    for (name, span) in unknown.chain(saved) {
        let message = format!(
            "the gate `{}` is not a target of the definition",
            visible(name)
        );
        let problem = Diagnostic::error(Class::Definition, "settings::unknown-target", message)
            .did_you_mean("a target", name, targets());
        problems.push(problem.at(span, ""));
    }
    problems.into_result(())
}

fn untags(args: &BakeArgs) -> Result<bool, Diagnostic> {
    match args.on_failure.as_deref() {
        None | Some("keep") => Ok(false),
        Some("untag") => Ok(true),
        Some(other) => {
            let message = format!("`--on-failure {other}` is neither `keep` nor `untag`");
            Err(usage(&message).did_you_mean("a value", other, ["keep", "untag"]))
        }
    }
}

/// Whether a target of `plan` pushes.
fn pushes(plan: &Plan) -> bool {
    let mut targets = plan.targets.values();
    targets.any(|target| {
        let mut outputs = target.attributes.output.iter();
        !target.is_called() && outputs.any(|output| output.value.pushes())
    })
}

/// The targets of `plan` that were asked for, without those that they link to.
fn own(plan: &Plan) -> BTreeSet<TargetName> {
    let targets = plan.targets.values();
    let own = targets.filter(|target| !target.is_linked());
    own.map(|target| target.name.clone()).collect()
}

fn usage(message: &str) -> Diagnostic {
    Diagnostic::error(Class::Usage, "cli::usage", message)
}
