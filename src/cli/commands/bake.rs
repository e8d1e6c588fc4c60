//! Builds targets, or prints something instead (`--print`, `--list`).

use std::sync::Arc;
use std::time::SystemTime;

use super::definition::{self, LoadedDefinition};
use super::{build, build_settings, gates, preflight, privileges, publishing, remote};
use crate::cli::args::BakeArgs;
use crate::cli::exit::Exit;
use crate::cli::logs::{self, LogPlace};
use crate::cli::screen::Screen;
use crate::cli::signals::Signals;
use crate::cli::verb::Verb;
use crate::cli::{call, not_text, output_place, progress};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceMap, closest};
use crate::files::{Resolved, Resolver};
use crate::plan::entitlements::Allowed;
use crate::plan::list::ListSpec;
use crate::plan::{self, FrontendCall, Plan, Policies, TargetOverride};
use crate::publish::settings::SettingsFile;
use crate::report::{self, Mode};
use crate::types::{Clock, Environment};

const UNKNOWN_TARGET: &str = "plan::unknown-target";

/// A command line that builds.
pub(in crate::cli) struct Invocation<'a> {
    pub(in crate::cli) args: BakeArgs,
    /// The words before rbake's own (such as `docker`), for advice on what to type.
    pub(in crate::cli) program: &'a [String],
    /// The words from which `args` was parsed, for advice on what to type.
    pub(in crate::cli) words: &'a [String],
    pub(in crate::cli) environment: &'a Environment,
    /// The definition, if it was already read to find out whether a word is a verb.
    pub(in crate::cli) loaded: Option<LoadedDefinition>,
}

/// Runs the command line.
pub(in crate::cli) fn run(invocation: Invocation<'_>, screen: &mut Screen) -> Exit {
    let word = invocation.args.targets.first().cloned();
    let mut log = LogPlace::Nowhere;
    let exit = match try_run(invocation, &mut log, screen) {
        Ok(exit) => exit,
        Err(problems) => screen.diagnostics(&with_verb(problems, &word.unwrap_or_default())),
    };
    log.warn_if_incomplete(screen);
    exit
}

/// Adds the verb that the user may have meant by `word`, which is not the name of a target or of something similar.
fn with_verb(mut problems: Diagnostics, word: &str) -> Diagnostics {
    let is_about_it = |problem: &&mut Diagnostic| {
        problem.code == UNKNOWN_TARGET
            && problem.help.is_empty()
            && problem.message.contains(&format!("`{word}`"))
    };
    let verb = closest(word, Verb::ALL.into_iter().map(Verb::name));
    if let (Some(verb), Some(problem)) = (verb, problems.0.iter_mut().find(is_about_it)) {
        let help = format!("a verb with a similar name exists: `{verb}`");
        *problem = problem.clone().help(help);
    }
    problems
}

/// Runs the command. `log` becomes the place of its log.
fn try_run(
    invocation: Invocation<'_>,
    log: &mut LogPlace,
    screen: &mut Screen,
) -> Result<Exit, Diagnostics> {
    let Invocation {
        args,
        program,
        words,
        environment,
        loaded,
    } = invocation;
    let list = list_spec(&args, screen)?;
    let only_prints = list.is_some() || args.print == Some(true);
    let signals = take_signals(&args, only_prints, environment)?;
    signals.doing("reading the definition");
    let mut overrides = overrides(&args, list.is_some(), environment)?;
    let allowed = Allowed::parse(&args.allow)?;
    if list.is_some() && args.print == Some(true) {
        return Err(usage("`--print` and `--list` cannot be combined").into());
    }
    let mode = progress::mode(args.progress.as_deref(), environment, screen)?;
    let draws = mode == Mode::Tty && list.is_none() && args.print != Some(true);
    *log = begin_log(&args, draws, environment, &signals)?;
    let loaded = load(loaded, &args, mode, environment, (&signals, &mut *screen))?;
    let sources = overrides.place(&loaded.sources);
    screen.set_sources(sources);
    checked(Diagnostics(not_text::asked_for(environment)), screen)?;
    if let Some(spec) = list {
        return Ok(screen.data(&plan::list::list(&loaded.definition, spec)));
    }
    // Show the warnings before planning: what was ignored in the definition may be the reason why the plan fails.
    screen.diagnostics(&loaded.definition.warnings);
    let request = plan::PlanRequest {
        targets: &loaded.targets,
        overrides: &overrides.sets,
        policies_disabled: overrides.policies_disabled,
        environment,
    };
    let settings = settings(&args, &loaded, environment, screen)?;
    let gated = gates::plan(&loaded.definition, &request, &args, &settings.gate)?;
    let plan = gated.plan;
    checked(Diagnostics(not_text::asked_for(environment)), screen)?;
    screen.diagnostics(&plan.warnings);
    let surroundings = plan::Surroundings {
        environment,
        stdout_is_terminal: screen.streams().out_is_terminal,
    };
    let mut found = plan::check_print(&plan, surroundings);
    if args.print == Some(true) {
        checked(found, screen)?;
        let exit = print(&plan, screen);
        // The process ends soon, and the system then frees all memory at once. Dropping these piece by piece takes
        // time.
        std::mem::forget((plan, loaded));
        return Ok(exit);
    }
    let shown = plan;
    let carried_out = shown.without_results_of_calls();
    let plan = carried_out.as_ref().unwrap_or(&shown);
    let gate_settings = settings.gate.clone();
    let build = build_settings::wishes(&args, environment, settings.build)?;
    let mut publish = publishing::wishes(&args, gated.wishes, settings, environment)?;
    let paths = Resolver::new(environment.current_dir());
    let allowed = allowed.with_grants(&plan.grants);
    let check = preflight::Check {
        plan,
        publish: &publish,
        allowed: &allowed,
        environment,
        paths: &paths,
        folder: &loaded.folder,
        metadata_file: args.metadata_file.as_deref(),
        log_file: args.log_file.as_deref(),
        signals: &signals,
    };
    check.all(&mut found);
    checked(found, screen)?;
    publish.gates.saved = gates::saved(&publish.gates, &gate_settings, &args, &allowed, &paths)?;
    let metadata = metadata_place(&args, plan, &allowed, &paths)?;
    signals.done();
    let asked = privileges::Asked {
        allowed: &allowed,
        program,
        words,
        may_ask: mode != Mode::RawJson,
        fetched: loaded.fetched,
    };
    privileges::check(plan, &asked, environment, &paths, screen)?;
    privileges::check_command(gated.consent.as_ref(), &asked, screen)?;
    Ok(build::run(
        &build::BuildOrder {
            args: &args,
            plan,
            shown: &shown,
            requested: &loaded.targets,
            paths: &paths,
            metadata,
            mode,
            build,
            publish,
            call: overrides.call.as_ref(),
            log,
            environment,
            signals: &signals,
        },
        screen,
    ))
}

/// Takes the signals, and begins to measure the time of the run. Commands that only print have nothing to clean up, so signals keep
/// their default actions.
fn take_signals(
    args: &BakeArgs,
    only_prints: bool,
    environment: &Environment,
) -> Result<Signals, Diagnostic> {
    let signals = if only_prints {
        Signals::left_alone()
    } else {
        Signals::take().map_err(|error| unwatched(&error))?
    };
    if let Some(limit) = build_settings::limit(args, environment)? {
        signals.limit(limit).map_err(|error| unwatched(&error))?;
    }
    Ok(signals)
}

/// Reads the definition, unless it was read already. `screen` can then show the place of what is wrong in it.
fn load(
    loaded: Option<LoadedDefinition>,
    args: &BakeArgs,
    mode: Mode,
    environment: &Environment,
    (signals, screen): (&Signals, &mut Screen),
) -> Result<LoadedDefinition, Diagnostics> {
    let begun = Clock::system().now();
    let loaded = if let Some(loaded) = loaded {
        Ok(loaded)
    } else {
        if definition::remote(args).is_some() {
            signals.doing("fetching the definition");
        }
        let fetched = remote::fetch(args, environment, screen)?;
        signals.doing("reading the definition");
        definition::load_with(args, environment, fetched)
    };
    let loaded = loaded.map_err(|unreadable| {
        screen.set_sources(unreadable.sources);
        unreadable.problems
    })?;
    if mode == Mode::RawJson {
        tell_files(&loaded, begun, screen);
    }
    Ok(loaded)
}

/// Writes the progress of reading the definition, which began at `begun`, for programs.
fn tell_files(loaded: &LoadedDefinition, begun: SystemTime, screen: &mut Screen) {
    let files = loaded.sources.iter();
    let files = files.map(|(_, file)| (file.name.as_str(), file.text.len()));
    let times = (begun, Clock::system().now());
    screen.message(&report::definition_read(files, loaded.fetched, times));
}

/// Prints `plan`, until the output cannot be written.
fn print(plan: &Plan, screen: &mut Screen) -> Exit {
    let mut exit = Exit::Success;
    plan::print_in_pieces(plan, &mut |piece| {
        if exit == Exit::Success {
            exit = screen.data(piece);
        }
        exit == Exit::Success
    });
    exit
}

/// Reads `rbake.toml`. What `--print` shows is what buildx would show of the definition, so it does not need the file.
fn settings(
    args: &BakeArgs,
    loaded: &LoadedDefinition,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<SettingsFile, Diagnostics> {
    if args.print == Some(true) {
        return Ok(SettingsFile::default());
    }
    publishing::read(&loaded.folder, environment, screen)
}

/// Begins to log before the definition is read, which may take its time: the file may be a pipe that waits for a reader.
fn begin_log(
    args: &BakeArgs,
    draws: bool,
    environment: &Environment,
    signals: &Signals,
) -> Result<LogPlace, Diagnostic> {
    signals.doing("opening the log");
    let log = logs::start(args.log_file.as_deref(), draws, environment);
    signals.doing("reading the definition");
    log
}

/// Resolves the path of the metadata file. This is done before the build, because an output of the build may put
/// symbolic links there. A link that exists already is followed only within the folder that the user named, or to a
/// place that the user has allowed: a project that was fetched may contain a link to anywhere.
fn metadata_place(
    args: &BakeArgs,
    plan: &Plan,
    allowed: &Allowed,
    paths: &Resolver,
) -> Result<Option<Resolved>, Diagnostics> {
    let Some(path) = &args.metadata_file else {
        return Ok(None);
    };
    let problem = |reason: String| {
        let message = format!("the metadata file `{path}` cannot be written: {reason}");
        Diagnostic::error(Class::Usage, "cli::metadata-file", message)
    };
    let place = output_place::resolve(path, paths).map_err(problem)?;
    if let Some(reason) = no_file(&place, plan) {
        return Err(problem(reason)
            .help("name a file in an existing directory")
            .into());
    }
    let inside = output_place::is_as_named(&place, path, paths).map_err(problem)?;
    let may_write = allowed.may_write(&place, paths);
    if inside || may_write.map_err(|error| problem(error.reason()))? {
        return Ok(Some(place));
    }
    let target = place.path().display();
    Err(problem(format!("it is a link to `{target}`"))
        .help("if you mean that file, name it directly")
        .into())
}

/// The reason why a file at `place` cannot be written, if that is clear before the build.
fn no_file(place: &Resolved, plan: &Plan) -> Option<String> {
    let path = place.path();
    if place.descriptor().is_some() {
        return None;
    }
    if path.is_dir() {
        return Some("it is a directory".to_owned());
    }
    // The missing directory may be the place of an output, and then the build creates it.
    let mut outputs = plan
        .targets
        .values()
        .flat_map(|target| &target.attributes.output);
    if outputs.any(|output| output.dest.is_some()) {
        return None;
    }
    let above = output_place::missing_directory(path)?;
    Some(format!("there is no directory `{}`", above.display()))
}

/// Returns the problems if there are errors among them; otherwise prints the warnings.
fn checked(found: Diagnostics, screen: &mut Screen) -> Result<(), Diagnostics> {
    if found.has_errors() {
        return Err(found);
    }
    screen.diagnostics(&found);
    Ok(())
}

fn unwatched(error: &std::io::Error) -> Diagnostic {
    let message = format!("cannot watch for signals and the time: {error}");
    Diagnostic::error(Class::Internal, "cli::signals", message)
}

fn usage(message: &str) -> Diagnostic {
    Diagnostic::error(Class::Usage, "cli::usage", message)
}

fn list_spec(args: &BakeArgs, screen: &mut Screen) -> Result<Option<ListSpec>, Diagnostics> {
    for (flag, word) in [
        (args.list_targets, "targets"),
        (args.list_variables, "variables"),
    ] {
        if flag.is_some() {
            screen.note(&format!(
                "`--list-{word}` is deprecated: use `--list={word}`"
            ));
        }
    }
    let text = match &args.list {
        Some(text) => text.as_str(),
        None if args.list_targets == Some(true) => "targets",
        None if args.list_variables == Some(true) => "variables",
        None => return Ok(None),
    };
    Ok(Some(ListSpec::parse(text)?))
}

/// The changes to the plan that flags ask for.
struct Overrides {
    sets: Vec<TargetOverride>,
    /// What `--call` and `--check` ask the frontends.
    call: Option<FrontendCall>,
    policies_disabled: bool,
}

impl Overrides {
    /// Adds the flags to the sources, so that an error in a value can be shown in its flag.
    fn place(&mut self, sources: &Arc<SourceMap>) -> Arc<SourceMap> {
        if self.sets.is_empty() {
            return Arc::clone(sources);
        }
        let mut sources = SourceMap::clone(sources);
        for change in &mut self.sets {
            change.place(&mut sources);
        }
        Arc::new(sources)
    }
}

/// Collects the changes in buildx's order: a later change takes precedence.
fn overrides(
    args: &BakeArgs,
    listing: bool,
    environment: &Environment,
) -> Result<Overrides, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut sets = Vec::new();
    let mut take = |parsed: Result<Option<TargetOverride>, Diagnostic>| match parsed {
        Ok(parsed) => sets.extend(parsed),
        Err(problem) => problems.push(problem),
    };
    // `--list` shows what the definition says, so `--set` has no effect on it, and errors in it are not reported.
    for text in args.set.iter().filter(|_| !listing) {
        take(TargetOverride::parse(text, environment).map(Some));
    }
    take(Ok(args.push.filter(|on| *on).map(TargetOverride::push)));
    take(Ok(args.load.filter(|on| *on).map(TargetOverride::load)));
    let call = match args.method.as_deref().map(call::of_flag) {
        None => None,
        Some(Ok(call)) => call,
        Some(Err(problem)) => {
            take(Err(problem));
            None
        }
    };
    take(Ok(call
        .as_ref()
        .map(|call| TargetOverride::call(call.method.clone()))));
    take(Ok(args.no_cache.map(TargetOverride::no_cache)));
    take(Ok(args.pull.map(TargetOverride::pull)));
    for (kind, value) in [("sbom", &args.sbom), ("provenance", &args.provenance)] {
        if let Some(value) = value.as_ref().filter(|_| !listing) {
            take(TargetOverride::attest(kind, value));
        }
    }
    let policies_disabled = match Policies::parse(&args.policy) {
        Ok(Policies::Disabled) => true,
        Ok(Policies::Added(added)) => {
            sets.extend(added);
            false
        }
        Err(found) => {
            problems.0.extend(found.0);
            false
        }
    };
    problems.into_result(Overrides {
        sets,
        call,
        policies_disabled,
    })
}
