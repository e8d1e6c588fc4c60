//! Loads a policy: its modules, those that they import, and the functions that every policy may use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use regorus::unstable::{BUILTINS, Module, Ref};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, PolicyLengthConfig};

use super::BUILTIN_NAME;
use super::files::{FileNeed, KnownFiles};
use super::functions::{OWN, PERMITTED};
use super::nesting;
use super::reading::{self, Mention, Place};
use super::template;
use crate::hcl::on_deep_stack;

/// The name of the module with the functions that every policy may use.
const HELPERS_NAME: &str = "builtin/buildx_defaults.rego";
const HELPERS: &str = include_str!("helpers.rego");

/// The largest module, in bytes.
const MODULE_LIMIT: u64 = 1 << 20;
/// The most modules of a policy.
const MODULES: usize = 256;
/// The deepest nesting of brackets.
const DEEPEST: usize = 16;
/// The most time for one evaluation, and for reading one module.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How many steps of an evaluation are made between two looks at the clock.
const STEPS: NonZeroU32 = NonZeroU32::new(128).unwrap();
const WIDEST_LINE: NonZeroU32 = NonZeroU32::new(1 << 16).unwrap();

/// A file of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicySource {
    /// The name by which it was found, for messages.
    pub(crate) name: String,
    pub(crate) text: Arc<str>,
}

/// The result of loading a policy.
#[derive(Debug)]
pub(crate) enum Loaded {
    Ready(Box<Policy>),
    /// These files must be read first.
    Needs(BTreeSet<FileNeed>),
}

/// A policy that can be evaluated.
pub(crate) struct Policy {
    pub(super) engine: Mutex<Engine>,
    /// The places in all modules.
    pub(super) places: Vec<Place>,
    /// The places in the modules that count if it is not known what an evaluation reaches: not those of functions that are not called.
    pub(super) used_places: Vec<Place>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").finish_non_exhaustive()
    }
}

/// Why a policy cannot be loaded or evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PolicyError {
    /// It is not Rego. The text has the place.
    #[error("{0}")]
    Syntax(String),
    /// A module that it imports cannot be read.
    #[error("`{module}` imports `{path}`, but there is no `{file}`")]
    Import {
        module: String,
        path: String,
        file: String,
    },
    /// It imports too much.
    #[error("it imports more than {MODULES} modules")]
    TooManyModules,
    /// It calls a function that policies do not have.
    #[error("{file}:{line}: there is no function `{name}` in policies")]
    NoFunction {
        file: String,
        line: u32,
        name: String,
    },
    /// It calls a function that rbake does not have.
    #[error("{file}:{line}: rbake does not support the function `{name}` yet")]
    UnsupportedFunction {
        file: String,
        line: u32,
        name: String,
    },
    /// It cannot be evaluated.
    #[error("{0}")]
    Evaluation(String),
    /// What it decides is not a decision.
    #[error("{0}")]
    Decision(String),
}

/// Expressions may be as deep as a module is long, and so is the recursion that drops them.
impl Drop for Policy {
    fn drop(&mut self) {
        let engine = self.engine.get_mut();
        let engine = std::mem::take(engine.unwrap_or_else(PoisonError::into_inner));
        // Without a thread, it is dropped here.
        let _ = on_deep_stack(move || drop(engine));
    }
}

/// Runs `work`, which may recurse as deep as a module is long.
pub(super) fn deeply<T: Send>(
    work: impl FnOnce() -> Result<T, PolicyError> + Send,
) -> Result<T, PolicyError> {
    on_deep_stack(work).unwrap_or_else(|error| {
        let reason = format!("cannot start a thread: {error}");
        Err(PolicyError::Evaluation(reason))
    })
}

impl Policy {
    /// Loads a policy whose modules are in `sources`. The modules that it imports are in `files`. Blocking.
    pub(crate) fn load(
        sources: &[PolicySource],
        files: &KnownFiles,
    ) -> Result<Loaded, PolicyError> {
        deeply(|| Self::load_here(sources, files))
    }

    fn load_here(sources: &[PolicySource], files: &KnownFiles) -> Result<Loaded, PolicyError> {
        let mut modules = Modules::default();
        modules.add(HELPERS_NAME, HELPERS, None)?;
        for source in sources {
            modules.add(&source.name, &source.text, None)?;
        }
        let mut missing = BTreeSet::new();
        while let Some((module, path)) = modules.imports.pop_front() {
            let file = format!("{}.rego", path.join("/"));
            if modules.texts.contains_key(&file) {
                continue;
            }
            let need = FileNeed {
                name: file.clone(),
                limit: MODULE_LIMIT,
            };
            let known = missing.len();
            match files.content(&need, &mut missing) {
                Some(content) => {
                    let text = std::str::from_utf8(&content).map_err(|_| {
                        PolicyError::Syntax(format!("{file}: the text is not UTF-8"))
                    })?;
                    modules.add(&file, text, Some(&path))?;
                }
                None if missing.len() > known => {}
                None => {
                    let path = format!("data.{}", path.join("."));
                    return Err(PolicyError::Import { module, path, file });
                }
            }
        }
        if !missing.is_empty() {
            return Ok(Loaded::Needs(missing));
        }
        modules
            .finish()
            .map(|policy| Loaded::Ready(Box::new(policy)))
    }
}

/// The modules that have been read so far.
#[derive(Default)]
struct Modules {
    /// The texts by name, in the form in which they are evaluated.
    texts: BTreeMap<String, String>,
    /// Imports to follow, with the module that has them.
    imports: VecDeque<(String, Vec<String>)>,
    places: Vec<Place>,
    functions: BTreeSet<String>,
    helpers: BTreeSet<String>,
    /// The names of imported modules.
    libraries: BTreeSet<String>,
}

impl Modules {
    /// Adds the module `text`. A module that is imported is in the package `package`, whatever it says.
    fn add(
        &mut self,
        name: &str,
        text: &str,
        package: Option<&[String]>,
    ) -> Result<(), PolicyError> {
        if self.texts.len() >= MODULES {
            return Err(PolicyError::TooManyModules);
        }
        let mut text = template::rewritten(text);
        let mut module = parsed(name, &text)?;
        if let Some(package) = package {
            let span = module.package.refr.span();
            let place = span.start as usize..span.end as usize;
            let package = package.join(".");
            if text.get(place.clone()) != Some(&*package) {
                text.replace_range(place, &package);
                module = parsed(name, &text)?;
            }
        }
        let contents = reading::read(&module);
        if name == HELPERS_NAME {
            self.helpers.extend(contents.functions.iter().cloned());
        }
        self.places.extend(contents.places);
        self.functions.extend(contents.functions);
        self.libraries.extend(contents.libraries);
        for path in reading::imports(&module) {
            let path = path.ok_or_else(|| {
                PolicyError::Syntax(format!("{name}: an import is not a path of names"))
            })?;
            if let [root, rest @ ..] = path.as_slice()
                && root == "data"
                && !rest.is_empty()
            {
                self.imports.push_back((name.to_owned(), rest.to_vec()));
            }
        }
        self.texts.insert(name.to_owned(), text);
        Ok(())
    }

    fn finish(self) -> Result<Policy, PolicyError> {
        self.check_calls()?;
        let mut engine = engine();
        engine.set_enable_coverage(true);
        engine.set_gather_prints(true);
        engine.set_strict_builtin_errors(false);
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: TIME_LIMIT,
            check_interval: STEPS,
        });
        for (name, text) in &self.texts {
            let added = engine.add_policy(name.clone(), text.clone());
            added.map_err(|error| PolicyError::Syntax(error.to_string()))?;
        }
        let is_helper = |place: &Place| place.file == HELPERS_NAME;
        let calls_helper = self.places.iter().any(|place| {
            !is_helper(place)
                && matches!(&place.what, Mention::Call(name) if self.helpers.contains(name))
        });
        let used = self.places.iter().cloned();
        // buildx's own policy mentions attestations, but needs them for few images only.
        let used = used.filter(|place| place.file != BUILTIN_NAME);
        let used = used.filter(|place| calls_helper || !is_helper(place));
        Ok(Policy {
            engine: Mutex::new(engine),
            used_places: used.collect(),
            places: self.places,
        })
    }

    /// Checks that all functions exist. Otherwise the error would come only when a source makes the policy call one.
    fn check_calls(&self) -> Result<(), PolicyError> {
        for place in &self.places {
            let Mention::Call(name) = &place.what else {
                continue;
            };
            let (file, line, name) = (place.file.clone(), place.line, name.clone());
            let root = name.split('.').next().unwrap_or_default();
            let is_library =
                name.contains('.') && (root == "data" || self.libraries.contains(root));
            if self.functions.contains(&name) || is_library {
                continue;
            }
            let is_own = OWN.contains(&&*name);
            if !is_own && !PERMITTED.contains(&&*name) {
                return Err(PolicyError::NoFunction { file, line, name });
            }
            if !is_own && name != "print" && !BUILTINS.contains_key(&*name) {
                return Err(PolicyError::UnsupportedFunction { file, line, name });
            }
        }
        Ok(())
    }
}

fn engine() -> Engine {
    let mut engine = Engine::new();
    let defaults = PolicyLengthConfig::default();
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: WIDEST_LINE,
        max_file_bytes: NonZeroUsize::new(2 << 20).unwrap_or(defaults.max_file_bytes),
        ..defaults
    });
    engine
}

/// Parses a module. `regorus` reads what is in brackets twice, so that the time doubles with each level of them: neither deep nor many
/// brackets may hold up a run.
fn parsed(name: &str, text: &str) -> Result<Ref<Module>, PolicyError> {
    if nesting::depth(text) > DEEPEST {
        let reason = format!("{name}: brackets are nested more than {DEEPEST} deep");
        return Err(PolicyError::Syntax(reason));
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let (owned_name, owned_text) = (name.to_owned(), text.to_owned());
    let parse = move || {
        let mut engine = engine();
        let added = engine.add_policy(owned_name, owned_text);
        let module = added.map(|_| engine.get_modules().first().cloned());
        // Nobody waits any more if it took too long.
        let _ = sender.send(module.map_err(|error| error.to_string().trim().to_owned()));
    };
    let thread = std::thread::Builder::new().name("policy".to_owned());
    let cannot = |reason: &str| PolicyError::Syntax(format!("{name}: {reason}"));
    thread
        .spawn(|| on_deep_stack(parse))
        .map_err(|error| cannot(&error.to_string()))?;
    let parsed = receiver.recv_timeout(TIME_LIMIT);
    let parsed = parsed.map_err(|_| cannot("it takes too long to read"))?;
    let module = parsed.map_err(PolicyError::Syntax)?;
    module.ok_or_else(|| cannot("there is no module"))
}
