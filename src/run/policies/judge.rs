//! Decides about the sources of a target by its policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::TargetPolicies;
use super::digests::KnownDigests;
use super::found::{FoundFile, FoundPolicies, FoundPolicy, LIMIT, source};
use super::log::PolicyLog;
use crate::builder::Notice;
use crate::definition::model::LogLevel;
use crate::engine::session::SourceJudge;
use crate::engine::spec::JudgedSources;
use crate::engine::{Engine, Session};
use crate::event::EventSink;
use crate::outcome::{FailureKind, SolveFailure};
use crate::policy::{
    Checked, FileNeed, KnownFiles, Loaded, Policy, PolicyContext, PolicyError, PolicySource,
};
use crate::types::Platform;
use crate::types::blocking::unblock;
use crate::types::build_source::{SourceAnswer, SourceDecision, SourceFacts};

/// How often a policy may ask for files before it decides.
const ROUNDS: usize = 64;

/// Decides about the sources of a target. It is part of the target's session, and is loaded when the session is open.
pub(in crate::run) struct Judge {
    found: Arc<FoundPolicies>,
    active: OnceLock<Active>,
}

/// The loaded policies.
struct Active {
    policies: Vec<ActivePolicy>,
    platform: Option<Platform>,
    files: Mutex<Arc<KnownFiles>>,
    engine: Arc<Engine>,
    session: Weak<Session>,
    log: PolicyLog,
    digests: Mutex<KnownDigests>,
}

struct ActivePolicy {
    policy: Arc<Policy>,
    level: LogLevel,
}

/// Why policies cannot be applied.
enum Unusable {
    Policy(PolicyError),
    Context(Box<SolveFailure>),
    Other(String),
}

impl From<PolicyError> for Unusable {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

impl Unusable {
    fn reason(&self) -> String {
        match self {
            Self::Policy(error) => error.to_string(),
            Self::Context(failure) => failure.message.clone(),
            Self::Other(reason) => reason.clone(),
        }
    }
}

impl Judge {
    /// The judge of a target with these policies. `None` if there are none.
    pub(in crate::run) fn of(policies: &TargetPolicies) -> Option<Arc<Self>> {
        policies.0.as_ref().map(|found| {
            Arc::new(Self {
                found: Arc::clone(found),
                active: OnceLock::new(),
            })
        })
    }

    /// Loads the policies. `session` is the target's. Nothing is decided about if there are none after all, in a remote context.
    ///
    /// # Errors
    /// A policy cannot be loaded, or the builder lacks what it needs.
    pub(in crate::run) async fn load(
        &self,
        engine: &Arc<Engine>,
        session: &Arc<Session>,
        events: &EventSink,
    ) -> Result<JudgedSources, SolveFailure> {
        let failed = |error: Unusable| match error {
            Unusable::Context(failure) => *failure,
            other => self.failure(&other.reason()),
        };
        let mut files = KnownFiles::default();
        let sources = self.all_sources(engine, session, events).await;
        let sources = sources.map_err(failed)?;
        if sources.is_empty() {
            return Ok(JudgedSources::Nothing);
        }
        let capabilities = engine.capabilities().await?;
        let names = sources.iter().flat_map(|(_, sources)| sources);
        let names: Vec<&str> = names.map(|source| source.name.as_str()).collect();
        let log = PolicyLog::new(events.clone(), self.found.target.clone(), &names);
        let (mut policies, mut proxy_network) = (Vec::new(), false);
        for (found, sources) in sources {
            let loaded = self.loaded(&sources, &mut files, engine, session);
            let policy = Arc::new(loaded.await.map_err(failed)?);
            let level = found.options.log_level.unwrap_or(LogLevel::Info);
            if found.has_caps {
                let wants = self.wants_proxy(&policy, &mut files, engine, session);
                let (wants, lines) = wants.await.map_err(failed)?;
                log.add(lines, level);
                if wants && !capabilities.network_proxy() {
                    return Err(
                        self.too_old("wants a proxy for the network (`exec.proxy`)", "0.31")
                    );
                }
                proxy_network |= wants;
            }
            if found.options.strict && !capabilities.policy_sessions() {
                return Err(self.too_old("is strict", "0.27"));
            }
            policies.push(ActivePolicy { policy, level });
        }
        if proxy_network {
            self.found.proxy_network.store(true, Ordering::Relaxed);
            log.line("policy enabled network proxy");
        }
        let active = Active {
            policies,
            platform: capabilities.native_platform().cloned(),
            files: Mutex::new(Arc::new(files)),
            engine: Arc::clone(engine),
            session: Arc::downgrade(session),
            log,
            digests: Mutex::default(),
        };
        let _ = self.active.set(active);
        Ok(if proxy_network {
            JudgedSources::SourcesAndDownloads
        } else {
            JudgedSources::Sources
        })
    }

    /// Ends what the policies of `judge` show, if there are any. `failure` is why the target failed, if it did.
    pub(in crate::run) fn end(judge: Option<&Self>, failure: Option<&SolveFailure>) {
        let Some(active) = judge.and_then(|judge| judge.active.get()) else {
            return;
        };
        let denied = failure.filter(|failure| failure.message.contains("not allowed by policy"));
        active
            .log
            .end(denied.map(|failure| failure.message.as_str()));
    }

    fn failure(&self, reason: &str) -> SolveFailure {
        let message = format!("the policy of target `{}`: {reason}", self.found.target);
        SolveFailure::new(FailureKind::Build, message)
    }

    fn too_old(&self, what: &str, version: &str) -> SolveFailure {
        let mut failure = self.failure(&format!("it {what}, which the builder does not support"));
        let help = format!("BuildKit v{version} and newer support it");
        failure.help.push(help);
        failure
    }

    /// The policies that have files, with these. For those in a remote context, the builder has to fetch it, which may take long.
    async fn all_sources(
        &self,
        engine: &Engine,
        session: &Session,
        events: &EventSink,
    ) -> Result<Vec<(&FoundPolicy, Vec<PolicySource>)>, Unusable> {
        let target = &self.found.target;
        let notice = self.found.remote.as_ref().map(|_| {
            let what = format!("{target}: fetch the context, to look for policies in it");
            Notice::begin(events, &format!("policies of {target}"), &what)
        });
        let found = self.read_sources(engine, session).await;
        if let Some(notice) = notice {
            let reason = found.as_ref().err().map(Unusable::reason);
            notice.end(reason.as_deref());
        }
        found
    }

    async fn read_sources(
        &self,
        engine: &Engine,
        session: &Session,
    ) -> Result<Vec<(&FoundPolicy, Vec<PolicySource>)>, Unusable> {
        let mut found = Vec::new();
        for policy in &self.found.policies {
            let read = self.sources(policy, engine, session).await?;
            if !read.is_empty() {
                found.push((policy, read));
            }
        }
        Ok(found)
    }

    /// The files of `policy`. Those in the context are read.
    async fn sources(
        &self,
        policy: &FoundPolicy,
        engine: &Engine,
        session: &Session,
    ) -> Result<Vec<PolicySource>, Unusable> {
        let mut sources = Vec::new();
        for file in &policy.files {
            let (name, optional) = match file {
                FoundFile::Read(source) => {
                    sources.push(source.clone());
                    continue;
                }
                FoundFile::Remote { name, optional } => (name, *optional),
            };
            let need = FileNeed {
                name: name.clone(),
                limit: LIMIT + 1,
            };
            let read = self.read(BTreeSet::from([need]), engine, session).await?;
            match read.into_values().next().flatten() {
                Some(content) => {
                    sources.push(source(name.clone(), &content).map_err(Unusable::Other)?);
                }
                None if optional => {}
                None => {
                    let reason = format!("there is no file `{name}` in the context");
                    return Err(Unusable::Other(reason));
                }
            }
        }
        Ok(sources)
    }

    /// Reads files, on this machine or in the remote context.
    async fn read(
        &self,
        needs: BTreeSet<FileNeed>,
        engine: &Engine,
        session: &Session,
    ) -> Result<BTreeMap<FileNeed, Option<bytes::Bytes>>, Unusable> {
        let roots = self.found.roots.clone();
        let (mut contents, remote) = unblock(move || {
            let (mut contents, mut remote) = (BTreeMap::new(), Vec::new());
            for need in needs {
                match roots.read(&need.name, need.limit) {
                    Some(content) => {
                        contents.insert(need, content.ok());
                    }
                    None => remote.push(need),
                }
            }
            (contents, remote)
        })
        .await;
        if remote.is_empty() {
            return Ok(contents);
        }
        match &self.found.remote {
            Some((context, access)) => {
                let read = Box::pin(context.read(remote, access, engine, session)).await;
                contents.extend(read.map_err(|failure| Unusable::Context(Box::new(failure)))?);
            }
            None => contents.extend(remote.into_iter().map(|need| (need, None))),
        }
        Ok(contents)
    }

    async fn loaded(
        &self,
        sources: &[PolicySource],
        files: &mut KnownFiles,
        engine: &Engine,
        session: &Session,
    ) -> Result<Policy, Unusable> {
        loop {
            match Policy::load(sources, files)? {
                Loaded::Ready(policy) => return Ok(*policy),
                Loaded::Needs(needs) => {
                    for (need, content) in self.read(needs, engine, session).await? {
                        files.add(need, content);
                    }
                }
            }
        }
    }

    async fn wants_proxy(
        &self,
        policy: &Arc<Policy>,
        files: &mut KnownFiles,
        engine: &Engine,
        session: &Session,
    ) -> Result<(bool, Vec<crate::policy::PolicyLogLine>), Unusable> {
        for _ in 0..ROUNDS {
            let known = Arc::new(files.clone());
            let (policy, found) = (Arc::clone(policy), Arc::clone(&self.found));
            let checked = unblock(move || policy.wants_proxy(&found.environment, &known)).await?;
            match checked {
                Checked::Done(wants, lines) => return Ok((wants, lines)),
                Checked::Needs(needs) => {
                    for (need, content) in self.read(needs, engine, session).await? {
                        files.add(need, content);
                    }
                }
            }
        }
        Err(Unusable::Other("it reads too many files".to_owned()))
    }

    /// What `policy` says about the source of `facts`.
    async fn check(
        &self,
        policy: &ActivePolicy,
        facts: &SourceFacts,
        active: &Active,
    ) -> Result<SourceAnswer, Unusable> {
        for _ in 0..ROUNDS {
            let files = Arc::clone(&active.files.lock().unwrap_or_else(PoisonError::into_inner));
            let (loaded, found) = (Arc::clone(&policy.policy), Arc::clone(&self.found));
            let (facts, platform) = (facts.clone(), active.platform.clone());
            let checked = unblock(move || {
                let context = PolicyContext {
                    environment: &found.environment,
                    platform: platform.as_ref(),
                    files: &files,
                };
                loaded.check(&facts, &context)
            });
            match checked.await? {
                Checked::Done(answer, lines) => {
                    active.log.add(lines, policy.level);
                    return Ok(answer);
                }
                Checked::Needs(needs) => {
                    let session = active.session.upgrade();
                    let session = session
                        .ok_or_else(|| Unusable::Other("the session has ended".to_owned()))?;
                    let read = self.read(needs, &active.engine, &session).await?;
                    let mut files = active.files.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut known = KnownFiles::clone(&files);
                    for (need, content) in read {
                        known.add(need, content);
                    }
                    *files = Arc::new(known);
                }
            }
        }
        Err(Unusable::Other("it reads too many files".to_owned()))
    }
}

#[tonic::async_trait]
impl SourceJudge for Judge {
    async fn judge(&self, mut facts: SourceFacts) -> Result<SourceAnswer, String> {
        let active = self.active.get();
        let active = active.ok_or_else(|| "the policies are not loaded yet".to_owned())?;
        let digests = active.digests.lock();
        digests
            .unwrap_or_else(PoisonError::into_inner)
            .share(&mut facts);
        let mut decision = SourceDecision::Allow;
        for policy in &active.policies {
            let answer = self.check(policy, &facts, active).await;
            let answer = answer.map_err(|error| self.failure(&error.reason()).message)?;
            match answer {
                SourceAnswer::Decided(SourceDecision::Allow) => {}
                SourceAnswer::Ask(_) | SourceAnswer::Decided(SourceDecision::Deny(_)) => {
                    return Ok(answer);
                }
                // The daemon asks again, about the other source.
                SourceAnswer::Decided(converted @ SourceDecision::Convert(_)) => {
                    decision = converted;
                    break;
                }
            }
        }
        self.found.note(&facts, decision.clone());
        Ok(SourceAnswer::Decided(decision))
    }
}
