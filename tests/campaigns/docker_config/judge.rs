//! The answers of the Go program that reads configurations like buildx, and which differences from them are allowed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::json;

use super::daemon::Shown;
use super::make::{Ask, Case};

const HUB: &str = "registry-1.docker.io";

/// The Go program that reads configurations like buildx.
pub(super) struct Go {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Credential {
    username: String,
    password: String,
    identity_token: String,
    registry_token: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    error: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    pub complaint: String,
    pub variable_complaint: String,
    pub answers: Vec<Vec<Credential>>,
    pub without_variable: Vec<Vec<Credential>>,
    pub entries: Vec<Vec<Credential>>,
    pub variable_entries: Vec<Vec<Credential>>,
    pub helpers: Vec<Option<Credential>>,
    pub current_context: String,
    pub proxies: Vec<BTreeMap<String, String>>,
    pub builders: Vec<Builder>,
    pub contexts: Vec<Context>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Builder {
    pub driver: String,
    pub nodes: Option<Vec<String>>,
    pub error: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Context {
    #[serde(rename = "Host")]
    pub host: String,
    #[serde(rename = "Error")]
    pub error: bool,
}

impl Go {
    pub(super) fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            questions: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub(super) fn ask(&mut self, case: &Case, dir: &Path, path: &str) -> Answer {
        // Ask each question about Docker Hub as well, because some registries use its credential, too.
        let of_hub = |ask: &Ask| json!({ "Host": HUB, "Scopes": ask.scopes });
        let own = |ask: &Ask| json!({ "Host": ask.host, "Scopes": ask.scopes });
        let asks = case.asks.iter();
        let asks: Vec<_> = asks.clone().map(own).chain(asks.map(of_hub)).collect();
        let question = json!({
            "Dir": dir,
            "Path": path,
            "Variable": case.variable,
            "Asks": asks,
            "Engines": [case.engine.unwrap_or("unix:///none")],
            "Builders": ["b"],
            "Contexts": ["far"],
        });
        writeln!(self.questions, "{question}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Credential {
    fn is_empty(&self) -> bool {
        let texts = [
            &self.username,
            &self.password,
            &self.identity_token,
            &self.registry_token,
        ];
        !self.error.is_empty() || texts.iter().all(|text| text.is_empty())
    }

    // What the daemon or a token server receives for this credential, as in BuildKit's `toCredentials` and `FetchToken`.
    fn shown(&self, ask: &Ask) -> Shown {
        if !self.error.is_empty() {
            return Shown::Error;
        }
        let is_token = !ask.scopes.is_empty();
        if is_token && !self.registry_token.is_empty() {
            return Shown::Token(self.registry_token.clone());
        }
        let (user, secret) = if self.identity_token.is_empty() {
            (self.username.clone(), self.password.clone())
        } else {
            (String::new(), self.identity_token.clone())
        };
        if is_token && secret.is_empty() {
            return Shown::Nothing;
        }
        Shown::pair(user, secret)
    }
}

/// Why an answer is correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// buildx answers the same.
    Same,
    /// The answer of buildx is random, and this is one of its possible answers.
    Chance,
    /// The configuration has an error, which affects more entries in buildx.
    Wrong,
    /// There is an entry for a path.
    ByPath,
    /// There is an entry without a credential.
    Empty,
}

/// Judges the answer to the question at `index`. The error says what was expected.
pub(super) fn judge(
    case: &Case,
    answer: &Answer,
    index: usize,
    shown: &Shown,
) -> Result<Verdict, String> {
    let ask = &case.asks[index];
    let go = all(&answer.answers[index], ask);
    let guest = (ask.host == "dhi.io").then_some(index + case.asks.len());
    let places: Vec<usize> = std::iter::once(index).chain(guest).collect();
    let any = |what: &dyn Fn(&[Credential]) -> bool| {
        let mut lists = places
            .iter()
            .flat_map(|at| [&answer.entries[*at], &answer.variable_entries[*at]]);
        lists.any(|entries| what(entries))
    };
    let by_path = any(&has_path);
    let empty = any(&|entries| entries.iter().any(Credential::is_empty));
    // In buildx, a helper that returns an empty credential hides the credential for Docker Hub.
    let silent = places.iter().any(|at| {
        let helper = answer.helpers[*at].as_ref();
        helper.is_some_and(|told| told.error.is_empty() && told.is_empty())
    });
    let empty = empty || silent;
    let wrong = !answer.complaint.is_empty() || !answer.variable_complaint.is_empty();
    let mut expected = model(answer, index, ask);
    if let Some(of_hub) = guest.filter(|_| expected == Shown::Nothing) {
        expected = Some(model(answer, of_hub, ask))
            .filter(|found| *found != Shown::Error)
            .unwrap_or(Shown::Nothing);
    }
    // If a configuration by scope applies, the answer must be that of buildx, except that the variable takes precedence.
    let hosts = [Some(ask.host), guest.map(|_| HUB)];
    let is_scoped = |folder: &str| {
        hosts
            .into_iter()
            .flatten()
            .any(|host| names_host(folder, host))
    };
    let scoped = case.scoped.iter().any(|(folder, _)| is_scoped(folder));
    let from_variable = places.iter().find_map(|at| {
        best(
            &answer.variable_entries[*at],
            key(ask, *at == index),
            ask,
            true,
        )
    });
    if go.contains(shown) && (!by_path || scoped || expected == *shown) {
        return Ok(if go.len() > 1 {
            Verdict::Chance
        } else {
            Verdict::Same
        });
    }
    let expected_here = expected == *shown
        || scoped
            && match from_variable {
                Some(found) => found.shown(ask) == *shown,
                None => places
                    .iter()
                    .any(|at| all(&answer.without_variable[*at], ask).contains(shown)),
            };
    if !expected_here {
        return Err(format!("buildx: {go:?}, expected: {expected:?}"));
    }
    match (wrong, by_path, empty) {
        (_, true, _) => Ok(Verdict::ByPath),
        (_, _, true) => Ok(Verdict::Empty),
        (true, ..) => Ok(Verdict::Wrong),
        _ => Err(format!("buildx: {go:?}, and no rule allows this")),
    }
}

fn all(credentials: &[Credential], ask: &Ask) -> Vec<Shown> {
    credentials.iter().map(|one| one.shown(ask)).collect()
}

// The key of the entry for the requested host, or for Docker Hub.
fn key(ask: &Ask, own: bool) -> &'static str {
    match ask.host {
        host if own && host != HUB => host,
        _ => "https://index.docker.io/v1/",
    }
}

fn names_host(folder: &str, host: &str) -> bool {
    folder.split(['/', '@']).next() == Some(host)
}

// Applies the rules of docs/differences.md to the entries, each of which Go has read separately.
fn model(answer: &Answer, index: usize, ask: &Ask) -> Shown {
    let key = key(ask, index < answer.answers.len() / 2);
    let variable = best(&answer.variable_entries[index], key, ask, true);
    if let Some(found) = variable {
        return found.shown(ask);
    }
    let own = best(&answer.entries[index], key, ask, false);
    let found = match (&answer.helpers[index], own) {
        (Some(helper), own) => {
            let mut told = helper.clone();
            told.registry_token = own.map_or_else(String::new, |own| own.registry_token.clone());
            Some(told)
        }
        (None, own) => own.cloned(),
    };
    found.map_or(Shown::Nothing, |found| found.shown(ask))
}

fn best<'a>(
    entries: &'a [Credential],
    key: &str,
    ask: &Ask,
    exact_only: bool,
) -> Option<&'a Credential> {
    let wanted: Vec<&str> = ask
        .scopes
        .iter()
        .filter_map(|scope| scope.split(':').nth(1))
        .collect();
    let fits = |path: &str| {
        let below = format!("{path}/");
        wanted
            .iter()
            .any(|name| *name == path || name.starts_with(&below))
    };
    let mut paths: Vec<&Credential> = Vec::new();
    let (mut exact, mut spelled, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries.iter().filter(|entry| !entry.is_empty()) {
        match path(&entry.key) {
            _ if entry.key == key => exact.push(entry),
            Some(path) if fits(path) => paths.push(entry),
            Some(_) => others.push(entry),
            None => spelled.push(entry),
        }
    }
    paths.sort_by_key(|entry| std::cmp::Reverse(path(&entry.key).map_or(0, str::len)));
    let certain = paths.into_iter().chain(exact);
    if exact_only {
        return certain.into_iter().next();
    }
    certain.chain(spelled).chain(others).next()
}

fn has_path(entries: &[Credential]) -> bool {
    entries.iter().any(|entry| path(&entry.key).is_some())
}

fn path(key: &str) -> Option<&str> {
    let rest = key.split("://").last()?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/')?.1.trim_matches('/');
    (!["", "v1", "v2"].contains(&path)).then_some(path)
}
