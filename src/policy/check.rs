//! Evaluates a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use regorus::Value;

use super::files::{FileNeed, KnownFiles};
use super::functions::{self, CallScene, Calls, InputValue};
use super::input::{self, Described, GitObject, PolicyEnvironment, pinned};
use super::rego::{Policy, PolicyError, deeply};
use super::unknown::{ReachedLines, fields_mentioned, mentioned, question};
use crate::definition::model::LogLevel;
use crate::types::Platform;
use crate::types::build_source::{SourceAnswer, SourceDecision, SourceFacts};

/// The fields of an image that come from its attestations.
const ATTESTATIONS: [&str; 3] = [
    "image.hasProvenance",
    "image.provenance",
    "image.signatures",
];

/// The rule that decides.
const QUERY: &str = "data.docker.decision";

/// The only capability that a policy can ask for: steps reach the network through the builder's proxy, so that policies see what
/// they download.
const EXEC_PROXY: &str = "exec.proxy";

/// What a policy is evaluated with, beside the source.
#[derive(Debug, Clone)]
pub(crate) struct PolicyContext<'c> {
    pub(crate) environment: &'c PolicyEnvironment,
    /// The platform of sources for which the daemon names none: that of the builder.
    pub(crate) platform: Option<&'c Platform>,
    pub(crate) files: &'c Arc<KnownFiles>,
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checked<T> {
    /// These files must be read first.
    Needs(BTreeSet<FileNeed>),
    /// The result, and what the policy has logged.
    Done(T, Vec<PolicyLogLine>),
}

/// A line that a policy logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyLogLine {
    pub(crate) level: LogLevel,
    pub(crate) text: String,
}

impl Policy {
    /// Decides about the source of `facts`, or says what else must be known of it.
    ///
    /// # Errors
    /// The policy cannot be evaluated, or does not decide. Then the source must not be used.
    pub(crate) fn check(
        &self,
        facts: &SourceFacts,
        context: &PolicyContext<'_>,
    ) -> Result<Checked<SourceAnswer>, PolicyError> {
        let described = input::describe(facts, context.environment, context.platform);
        let mut described = described
            .map_err(|error| PolicyError::Evaluation(crate::types::causes::in_one_line(&error)))?;
        let mut log = Log::default();
        let name = source_name(facts);
        log.add(LogLevel::Info, format!("checking policy for source {name}"));
        let shown = serde_json::to_string_pretty(&described.input).unwrap_or_default();
        log.add(LogLevel::Debug, format!("policy input: {shown}"));
        let unknown = std::mem::take(&mut described.unknown);
        let of_materials = std::mem::take(&mut described.unknown_of_materials);
        let has_signatures = described.has_signatures;
        let evaluated = self.evaluate(QUERY, described, context.files)?;
        if !evaluated.calls.missing.is_empty() {
            return Ok(Checked::Needs(evaluated.calls.missing));
        }
        log.prints(evaluated.prints);
        let mut wanted = mentioned(&unknown, &self.places, Some(&evaluated.reached));
        wanted.extend(&evaluated.calls.wanted);
        let mut asked = self.ask(&wanted, facts);
        if let Some(digest) = evaluated.calls.digest {
            wanted.push("http.digest");
            asked.get_or_insert_default().http = Some(digest);
        }
        if let Some(asked) = asked {
            log.add(
                LogLevel::Info,
                format!("policy for source {name}: resolve missing fields {wanted:?}"),
            );
            return Ok(Checked::Done(SourceAnswer::Ask(asked), log.lines));
        }
        if let Some(reason) = evaluated.calls.impossible {
            return Err(PolicyError::Evaluation(reason));
        }
        let signatures = ["image.signatures".to_owned()];
        if has_signatures
            && !mentioned(&signatures, &self.places, Some(&evaluated.reached)).is_empty()
        {
            let reason = "the policy looks at `input.image.signatures`, but rbake cannot check signatures of images yet";
            return Err(PolicyError::Evaluation(reason.to_owned()));
        }
        if let Some(field) = fields_mentioned(&of_materials, &self.places, &evaluated.reached) {
            let reason = format!(
                "the policy looks at `{field}` of a material of the image, which rbake cannot find out yet"
            );
            return Err(PolicyError::Evaluation(reason));
        }
        let decision = Decision::of(&evaluated.value)?;
        let decided = if decision.allows {
            // Nothing is allowed before everything is known that the policy may look at. Attestations are left out: BuildKit v0.32
            // crashes if it is asked for those of an image without an index, so they are asked for only when a policy needs them.
            let mut wanted = mentioned(&unknown, &self.used_places, None);
            wanted.retain(|field| !ATTESTATIONS.contains(field));
            if let Some(asked) = self.ask(&wanted, facts) {
                return Ok(Checked::Done(SourceAnswer::Ask(asked), log.lines));
            }
            allowed(facts, evaluated.calls.pins)?
        } else {
            SourceDecision::Deny(decision.messages)
        };
        log.decision(&name, &decided);
        Ok(Checked::Done(SourceAnswer::Decided(decided), log.lines))
    }

    /// Whether the policy wants steps to reach the network through the builder's proxy.
    ///
    /// # Errors
    /// The policy cannot be evaluated without a source, or does not decide.
    pub(crate) fn wants_proxy(
        &self,
        environment: &PolicyEnvironment,
        files: &Arc<KnownFiles>,
    ) -> Result<Checked<bool>, PolicyError> {
        let described = Described {
            input: environment.caps_request(),
            ..Described::default()
        };
        let evaluated = self.evaluate(QUERY, described, files)?;
        let calls = evaluated.calls;
        if !calls.missing.is_empty() {
            return Ok(Checked::Needs(calls.missing));
        }
        if let Some(reason) = calls.impossible {
            return Err(PolicyError::Evaluation(reason));
        }
        let decision = Decision::of(&evaluated.value)?;
        let wants = decision.caps.get(EXEC_PROXY).copied().unwrap_or(false);
        let mut log = Log::default();
        log.prints(evaluated.prints);
        Ok(Checked::Done(wants, log.lines))
    }

    /// The question about the unknown fields `wanted`. `None` if there is none.
    fn ask(
        &self,
        wanted: &[&str],
        facts: &SourceFacts,
    ) -> Option<crate::types::build_source::SourceQuestion> {
        let mut wanted = wanted.to_vec();
        let asks_attestations = wanted
            .iter()
            .any(|field| ["image.hasProvenance", "image.signatures"].contains(field));
        // They come with the same answer, and are not asked for again.
        let provenance = ["image.provenance".to_owned()];
        if asks_attestations && !mentioned(&provenance, &self.places, None).is_empty() {
            wanted.push("image.provenance");
        }
        question(&wanted, facts)
    }

    pub(super) fn evaluate(
        &self,
        query: &str,
        described: Described,
        files: &Arc<KnownFiles>,
    ) -> Result<EvaluatedPolicy, PolicyError> {
        deeply(|| self.evaluate_here(query, described, files))
    }

    fn evaluate_here(
        &self,
        query: &str,
        described: Described,
        files: &Arc<KnownFiles>,
    ) -> Result<EvaluatedPolicy, PolicyError> {
        let mut engine = self
            .engine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let document = Value::from_json_str(&described.input.to_string()).map_err(failed)?;
        let scene = scene(&document, described, files);
        engine.set_input(document);
        let calls = functions::add(&mut engine, scene);
        let results = engine.eval_query(query.to_owned(), false);
        let results = results.map_err(failed);
        let prints = engine.take_prints().unwrap_or_default();
        let report = engine.get_coverage_report().map_err(failed)?;
        let reached = report
            .files
            .into_iter()
            .map(|file| (file.path, file.covered));
        let reached: ReachedLines = reached.collect();
        let calls = std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
        // What is missing may be the reason.
        let value = match results {
            Ok(results) => {
                let first = results.result.into_iter().next();
                let first = first.and_then(|result| result.expressions.into_iter().next());
                first.map_or(Value::Undefined, |expression| expression.value)
            }
            Err(_) if !calls.missing.is_empty() => Value::Undefined,
            Err(error) => return Err(error),
        };
        Ok(EvaluatedPolicy {
            value,
            prints,
            reached,
            calls,
        })
    }
}

pub(super) struct EvaluatedPolicy {
    pub(super) value: Value,
    prints: Vec<String>,
    reached: ReachedLines,
    calls: Calls,
}

fn failed(error: impl std::fmt::Display) -> PolicyError {
    PolicyError::Evaluation(error.to_string().trim().to_owned())
}

fn scene(document: &Value, described: Described, files: &Arc<KnownFiles>) -> CallScene {
    let part = |path: &[&str]| {
        let mut value = document.clone();
        for name in path {
            let inner = value
                .as_object()
                .ok()
                .and_then(|fields| fields.get(&Value::from(*name)).cloned());
            value = inner.unwrap_or(Value::Undefined);
        }
        InputValue(value)
    };
    let object = |name: &str, object: Option<GitObject>| Some((part(&["git", name]), object?));
    CallScene {
        image: part(&["image"]),
        http: part(&["http"]),
        is_git: part(&["git"]).0 != Value::Undefined,
        commit: object("commit", described.commit),
        tag: object("tag", described.tag),
        suffixed: described.suffixed,
        files: Arc::clone(files),
    }
}

fn allowed(facts: &SourceFacts, pins: BTreeSet<String>) -> Result<SourceDecision, PolicyError> {
    let mut pins = pins.into_iter();
    match (pins.next(), pins.next()) {
        (None, _) => Ok(SourceDecision::Allow),
        (Some(pin), None) => {
            let source = pinned(&facts.source, &pin);
            let source = source.ok_or_else(|| {
                PolicyError::Decision(format!("the source cannot be pinned to `{pin}`"))
            })?;
            Ok(SourceDecision::Convert(source))
        }
        (Some(a), Some(b)) => Err(PolicyError::Decision(format!(
            "the policy pins the image to several digests, `{a}` and `{b}`"
        ))),
    }
}

/// The source as messages name it.
fn source_name(facts: &SourceFacts) -> String {
    let name = &facts.source.identifier;
    match &facts.platform {
        Some(platform) => format!("{name} ({platform})"),
        None => name.clone(),
    }
}

/// What a policy has decided.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decision {
    allows: bool,
    messages: Vec<String>,
    caps: BTreeMap<String, bool>,
}

impl Decision {
    fn of(value: &Value) -> Result<Self, PolicyError> {
        let wrong = |text: String| PolicyError::Decision(text);
        if *value == Value::Undefined {
            return Err(wrong(
                "the policy does not decide: `data.docker.decision` is undefined".to_owned(),
            ));
        }
        let fields = value
            .as_object()
            .map_err(|_| wrong("`data.docker.decision` is not an object".to_owned()))?;
        let get = |name: &str| fields.get(&Value::from(name));
        let mut decision = Self::default();
        if let Some(allow) = get("allow") {
            let allow = allow.as_bool();
            decision.allows =
                *allow.map_err(|_| wrong("`allow` of the decision is not a boolean".to_owned()))?;
        }
        decision.messages = match get("deny_msg") {
            Some(Value::Array(items)) => items.iter().filter_map(message).collect(),
            Some(Value::Set(items)) => items.iter().filter_map(message).collect(),
            _ => Vec::new(),
        };
        if let Some(caps) = get("caps") {
            let caps = caps.as_object();
            let caps =
                caps.map_err(|_| wrong("`caps` of the decision is not an object".to_owned()))?;
            for (name, wanted) in caps.iter() {
                let name = name
                    .as_string()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                if name != EXEC_PROXY {
                    return Err(wrong(format!(
                        "the decision has the unknown capability `{name}`"
                    )));
                }
                let wanted = wanted.as_bool();
                let wanted = wanted.map_err(|_| {
                    wrong(format!("`caps.{name}` of the decision is not a boolean"))
                })?;
                decision.caps.insert(name, *wanted);
            }
        }
        Ok(decision)
    }
}

fn message(value: &Value) -> Option<String> {
    value.as_string().ok().map(ToString::to_string)
}

#[derive(Default)]
struct Log {
    lines: Vec<PolicyLogLine>,
}

impl Log {
    fn add(&mut self, level: LogLevel, text: String) {
        self.lines.push(PolicyLogLine { level, text });
    }

    fn prints(&mut self, prints: Vec<String>) {
        for text in prints {
            self.add(LogLevel::Info, text);
        }
    }

    fn decision(&mut self, source: &str, decision: &SourceDecision) {
        let (what, messages): (String, &[String]) = match decision {
            SourceDecision::Allow => ("ALLOW".to_owned(), &[]),
            SourceDecision::Deny(messages) => ("DENY".to_owned(), messages),
            SourceDecision::Convert(to) => (format!("convert to {}", to.identifier), &[]),
        };
        self.add(
            LogLevel::Info,
            format!("policy decision for source {source}: {what}"),
        );
        for message in messages {
            self.add(LogLevel::Info, format!(" - {message}"));
        }
    }
}
