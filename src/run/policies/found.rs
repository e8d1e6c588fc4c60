//! Which policies a target has, and those of their files that are on this machine.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use super::TargetPolicies;
use super::local::{LocalRoots, read_file};
use super::remote::{Access, RemoteContext, RemoteContexts};
use crate::definition::model::{PolicyEntry, SharedText};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::golang::{path, strconv};
use crate::plan::PlannedTarget;
use crate::policy::{
    self, BUILTIN, BUILTIN_NAME, DefaultFile, KnownFiles, Loaded, Policy, PolicyEnvironment,
    PolicyError, PolicyOptions, PolicySource,
};
use crate::run::locate::{DockerfilePlace, SourceTree, TargetPlaces};
use crate::types::build_source::{BuildSource, SourceDecision, SourceFacts};
use crate::types::{Environment, Platform, TargetName};

/// What is added to the name of a Dockerfile for the policy beside it.
const ENDING: &str = ".rego";
/// The largest file of a policy, in bytes.
pub(super) const LIMIT: u64 = 1 << 20;
/// The variable that switches on buildx's own policy.
const DEFAULT_POLICY: &str = "BUILDX_DEFAULT_POLICY";

/// The policies of a target, in the order in which they decide.
#[derive(Debug)]
pub(super) struct FoundPolicies {
    pub(super) target: TargetName,
    pub(super) policies: Vec<FoundPolicy>,
    pub(super) environment: PolicyEnvironment,
    pub(super) roots: LocalRoots,
    /// The context, if it is remote, and the credentials for it.
    pub(super) remote: Option<(Arc<RemoteContext>, Access)>,
    /// What was decided about sources that are not denied.
    pub(super) decided: Mutex<BTreeMap<DecidedSource, SourceDecision>>,
    /// Whether steps reach the network through the builder's proxy.
    pub(super) proxy_network: AtomicBool,
}

/// A source, and the platform for which it was asked about.
type DecidedSource = (BuildSource, Option<Platform>);

/// What tells the source of `facts` apart from others. A local directory has attributes that name the session, which differ between solves.
fn source_key(facts: &SourceFacts) -> DecidedSource {
    let mut source = facts.source.clone();
    if source.identifier.starts_with("local://") {
        source.attrs.clear();
    }
    (source, facts.platform.clone())
}

impl FoundPolicies {
    /// Notes what was decided about the source of `facts`.
    pub(super) fn note(&self, facts: &SourceFacts, decision: SourceDecision) {
        let key = source_key(facts);
        let mut decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        decided.insert(key, decision);
    }

    /// What was decided about the source of `facts`. `None` if it was not asked about, or is denied.
    pub(super) fn decided(&self, facts: &SourceFacts) -> Option<SourceDecision> {
        let key = source_key(facts);
        let decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        decided.get(&key).cloned()
    }
}

/// One policy.
#[derive(Debug)]
pub(super) struct FoundPolicy {
    pub(super) files: Vec<FoundFile>,
    pub(super) options: PolicyOptions,
    /// Whether it is asked which capabilities it wants.
    pub(super) has_caps: bool,
}

/// A file of a policy.
#[derive(Debug)]
pub(super) enum FoundFile {
    /// It was read.
    Read(PolicySource),
    /// It is in the remote context.
    Remote {
        name: String,
        /// Whether it need not exist.
        optional: bool,
    },
}

/// Finds the policies of `planned`, whose sources are at `places`. Remote contexts are among `contexts`.
///
/// # Errors
/// An entry of `policy` contradicts another, or a file on this machine cannot be read or is not Rego.
pub(in crate::run) fn find(
    planned: &PlannedTarget,
    places: &TargetPlaces,
    environment: &Environment,
    contexts: &mut RemoteContexts,
) -> Result<TargetPolicies, Diagnostics> {
    let finder = Finder {
        planned,
        places,
        roots: LocalRoots {
            cwd: environment.current_dir().to_owned(),
            context: places.context_dir().map(Path::to_owned),
        },
    };
    let beside = finder.beside_dockerfile()?;
    let entries: Vec<PolicyEntry> = finder.entries().map(|(entry, _)| entry.clone()).collect();
    let default = match beside {
        Some(_) => DefaultFile::Possible,
        None => DefaultFile::None,
    };
    let composed = policy::compose(default, &entries).map_err(|error| {
        let span = finder.span(Some(error.entry));
        finder
            .problem(span, &error.to_string())
            .help("an entry with `disabled=true` must be the only one of the target")
    })?;
    let Some(composed) = composed else {
        return Ok(TargetPolicies::default());
    };
    let mut policies = Vec::new();
    if wants_default(environment) {
        policies.push(builtin());
    }
    let mut beside = beside;
    let mut problems = Diagnostics::default();
    for composed in composed {
        let span = finder.span(composed.entry);
        let files: Result<Vec<FoundFile>, Diagnostic> = match composed.entry {
            None => Ok(beside.take().into_iter().collect()),
            Some(_) => composed
                .files
                .iter()
                .map(|name| finder.named(name, span))
                .collect(),
        };
        match files {
            Ok(files) => policies.push(FoundPolicy {
                files,
                options: composed.options,
                has_caps: true,
            }),
            Err(problem) => problems.push(problem),
        }
        let last = policies.last().filter(|_| !problems.has_errors());
        if let Some(problem) = last.and_then(|policy| finder.invalid(policy, span)) {
            problems.push(problem);
        }
    }
    if policies.is_empty() && !problems.has_errors() {
        return Ok(TargetPolicies::default());
    }
    let remote = match &places.context {
        SourceTree::Dir(_) => None,
        tree => Some((contexts.at(tree), access(planned))),
    };
    let found = FoundPolicies {
        target: planned.name.clone(),
        policies,
        environment: policy_environment(planned),
        roots: finder.roots,
        remote,
        decided: Mutex::default(),
        proxy_network: AtomicBool::new(false),
    };
    problems.into_result(TargetPolicies(Some(Arc::new(found))))
}

/// Whether the environment switches on buildx's own policy.
fn wants_default(environment: &Environment) -> bool {
    let value = environment.get(DEFAULT_POLICY);
    value.and_then(strconv::parse_bool) == Some(true)
}

fn builtin() -> FoundPolicy {
    FoundPolicy {
        files: vec![FoundFile::Read(PolicySource {
            name: BUILTIN_NAME.to_owned(),
            text: BUILTIN.into(),
        })],
        options: PolicyOptions::default(),
        has_caps: false,
    }
}

fn access(planned: &PlannedTarget) -> Access {
    let target = &planned.attributes;
    let secrets = target.secret.iter().map(|entry| entry.value.clone());
    let ssh = target.ssh.iter().map(|entry| entry.value.clone());
    Access {
        secrets: secrets.collect(),
        ssh: ssh.collect(),
    }
}

fn policy_environment(planned: &PlannedTarget) -> PolicyEnvironment {
    let target = &planned.attributes;
    let strings = |map: &crate::definition::model::Map| {
        map.iter()
            .map(|(key, value)| (key.to_string(), value.value.to_string()))
            .collect()
    };
    let text = |text: Option<&SharedText>| text.map(ToString::to_string).unwrap_or_default();
    let dockerfile = text(target.dockerfile.as_ref().map(|text| &text.value));
    let clean = path::clean(&dockerfile);
    let filename = match path::base(&clean) {
        "." | "/" | "" => "Dockerfile",
        name => name,
    };
    PolicyEnvironment {
        args: strings(&target.args),
        labels: strings(&target.labels),
        filename: filename.to_owned(),
        target: text(target.stage.as_ref().map(|stage| &stage.value)),
    }
}

struct Finder<'f> {
    planned: &'f PlannedTarget,
    places: &'f TargetPlaces,
    roots: LocalRoots,
}

impl Finder<'_> {
    fn entries(&self) -> impl Iterator<Item = (&PolicyEntry, Option<Span>)> {
        let entries = self.planned.attributes.policy.iter();
        entries.map(|entry| (&entry.value, entry.span))
    }

    /// The place of an entry. That of the target for the policy beside the Dockerfile.
    fn span(&self, entry: Option<usize>) -> Option<Span> {
        let span = entry.and_then(|entry| self.entries().nth(entry)?.1);
        span.or(self.planned.span())
    }

    fn problem(&self, span: Option<Span>, what: &str) -> Diagnostic {
        let message = format!("the policy of target `{}`: {what}", self.planned.name);
        Diagnostic::error(Class::Definition, "run::policy", message).at(span, "")
    }

    /// The policy beside the Dockerfile.
    fn beside_dockerfile(&self) -> Result<Option<FoundFile>, Diagnostic> {
        match (&self.places.dockerfile, &self.places.context) {
            (DockerfilePlace::File { dir, filename }, SourceTree::Dir(_)) => {
                let place = dir.join(format!("{filename}{ENDING}"));
                let name = place.to_string_lossy().into_owned();
                match read_file(&place, LIMIT + 1) {
                    Ok(content) => self.source(name, &content, self.span(None)).map(Some),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(self.unreadable(&name, &error, self.span(None))),
                }
            }
            (
                DockerfilePlace::InContext(dockerfile),
                SourceTree::Remote(_) | SourceTree::InTree(_),
            ) => Ok(Some(FoundFile::Remote {
                name: format!("{dockerfile}{ENDING}"),
                optional: true,
            })),
            _ => Ok(None),
        }
    }

    /// The file that an entry at `span` names.
    fn named(&self, name: &str, span: Option<Span>) -> Result<FoundFile, Diagnostic> {
        match self.roots.read(name, LIMIT + 1) {
            Some(Ok(content)) => self.source(name.to_owned(), &content, span),
            Some(Err(error)) => Err(self.unreadable(name, &error, span)),
            None => Ok(FoundFile::Remote {
                name: name.to_owned(),
                optional: false,
            }),
        }
    }

    fn unreadable(&self, name: &str, error: &io::Error, span: Option<Span>) -> Diagnostic {
        let problem = self.problem(span, &format!("`{name}` cannot be read: {error}"));
        problem.help("the name of a policy's file is relative to the context; `cwd://FILE` is one in the working directory")
    }

    fn source(
        &self,
        name: String,
        content: &[u8],
        span: Option<Span>,
    ) -> Result<FoundFile, Diagnostic> {
        source(name, content)
            .map(FoundFile::Read)
            .map_err(|reason| self.problem(span, &reason))
    }

    /// What is wrong in a policy, as far as its files are known.
    fn invalid(&self, policy: &FoundPolicy, span: Option<Span>) -> Option<Diagnostic> {
        let sources: Option<Vec<PolicySource>> =
            policy.files.iter().map(FoundFile::known).collect();
        let sources = sources?;
        let mut files = KnownFiles::default();
        loop {
            match Policy::load(&sources, &files) {
                Ok(Loaded::Ready(_)) => return None,
                Err(error) => return Some(self.rejected(&error, span)),
                Ok(Loaded::Needs(needs)) => {
                    for need in needs {
                        // What is in the remote context is read later.
                        let content = self.roots.read(&need.name, need.limit)?;
                        files.add(need, content.ok());
                    }
                }
            }
        }
    }

    fn rejected(&self, error: &PolicyError, span: Option<Span>) -> Diagnostic {
        let problem = self.problem(span, &error.to_string());
        match error {
            PolicyError::UnsupportedFunction { .. } => problem
                .help("`--policy disabled=true` builds without policies, if that is what you want"),
            _ => problem,
        }
    }
}

impl FoundFile {
    fn known(&self) -> Option<PolicySource> {
        match self {
            Self::Read(source) => Some(source.clone()),
            Self::Remote { .. } => None,
        }
    }
}

/// The file `name` with this `content`.
pub(super) fn source(name: String, content: &[u8]) -> Result<PolicySource, String> {
    if content.len() as u64 > LIMIT {
        return Err(format!("`{name}` is larger than {} KiB", LIMIT >> 10));
    }
    match std::str::from_utf8(content) {
        Ok(text) => Ok(PolicySource {
            name,
            text: text.into(),
        }),
        Err(_) => Err(format!("`{name}` is not text in UTF-8")),
    }
}
