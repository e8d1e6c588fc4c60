//! Turns the errors of a solve, gRPC statuses with BuildKit's details, into [`SolveFailure`].
//!
//! The details are JSON inside `Any`, although the type URL suggests protobuf. A type is recognised by the last part
//! of its URL. A detail that cannot be read is left out and never causes another error.

use base64::Engine as _;
use prost::Message as _;
use rbake_proto::rpc;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tonic::{Code, Status};

use super::connection::{ConnectionError, is_from_peer};
use super::session::SessionError;
use crate::event::SourceExcerpt;
use crate::outcome::{FailureKind, SolveFailure};
use crate::types::causes::causes;
use crate::types::secret::redact_urls;

/// Converts an error status that the daemon sent.
pub(super) fn from_status(status: &Status) -> SolveFailure {
    let mut failure = SolveFailure::new(kind(status), message(status));
    if let Ok(details) = rpc::Status::decode(status.details()) {
        for detail in &details.details {
            read_detail(&mut failure, &detail.type_url, &detail.value);
        }
    }
    if failure.exit_code.is_none() {
        failure.exit_code = exit_code(&failure.message);
    }
    failure.help.extend(unsendable(&failure.message));
    if failure.kind == FailureKind::Entitlement {
        failure.help.push(
            "the builder itself must allow the privilege (`buildkitd --allow-insecure-entitlement …`, or `insecure-entitlements` in its configuration)"
                .to_owned(),
        );
    }
    failure
}

/// Help for names that gRPC cannot send. Headers may hold printable ASCII only. The daemon encodes values with
/// non-ASCII characters, but leaves ASCII control characters as they are, so a name with a line break fails.
fn unsendable(message: &str) -> Option<String> {
    let (_, after) = message.split_once("header key \"")?;
    let (key, after) = after.split_once('"')?;
    if !after.contains("non-printable ASCII") {
        return None;
    }
    let what = match key {
        "followpaths" | "include-patterns" => "a source of `COPY`, `ADD` or a bind mount",
        "exclude-patterns" => "a pattern of the ignore file",
        _ => "a name",
    };
    Some(format!(
        "{what} has a control character, such as a line break; write `?` in its place, copy the directory it is in, or rename the file"
    ))
}

/// The method that a frontend does not know, if that is what `status` says, such as `frontend.lint`. Old daemons say it in
/// the message alone.
pub(super) fn refused_method(status: &Status) -> Option<String> {
    let details = rpc::Status::decode(status.details()).unwrap_or_default();
    let named = details.details.iter().find_map(|detail| {
        let is_it = detail_name(&detail.type_url) == "Subrequest";
        json::<Named>(&detail.value).filter(|_| is_it)
    });
    named.map(|named| named.name).or_else(|| {
        let (_, after) = status.message().split_once("unsupported request ")?;
        let method = after
            .split(|c: char| c == ':' || c.is_whitespace())
            .next()?;
        Some(method.to_owned())
    })
}

/// The failure of a solve whose connection was lost.
pub(super) fn from_connection(error: &ConnectionError) -> SolveFailure {
    let mut failure = SolveFailure::new(FailureKind::Engine, error.to_string());
    failure.help.extend(error.help().map(str::to_owned));
    failure.debug.extend(causes(error).map(ToString::to_string));
    failure
}

/// The failure of a solve whose session was lost.
pub(super) fn from_session(error: &SessionError) -> SolveFailure {
    match error {
        SessionError::Connection(error) => from_connection(error),
        error => {
            let mut failure =
                SolveFailure::new(FailureKind::Engine, format!("session lost: {error}"));
            failure.debug.extend(causes(error).map(ToString::to_string));
            failure
        }
    }
}

/// The failure of a solve that was stopped by a signal or because another target failed.
pub(super) fn cancelled() -> SolveFailure {
    SolveFailure::new(FailureKind::Cancelled, "stopped on request")
}

/// Whether the same solve may succeed on a new connection, without any change by the user.
pub fn is_transient(failure: &SolveFailure) -> bool {
    failure.kind == FailureKind::Engine
}

/// An error that was made here, and not by the daemon, means that the connection failed.
fn kind(status: &Status) -> FailureKind {
    if !is_from_peer(status) {
        return FailureKind::Engine;
    }
    match status.code() {
        Code::Unavailable => FailureKind::Engine,
        Code::Cancelled => FailureKind::Cancelled,
        Code::Internal => FailureKind::Internal,
        Code::ResourceExhausted => FailureKind::Exhausted,
        // BuildKit has no status code for missing entitlements (registries' refusals have `PermissionDenied`), so the
        // message decides.
        _ if is_about_privileges(status.message()) => FailureKind::Entitlement,
        _ => FailureKind::Build,
    }
}

/// Whether `message` says that a privilege was not granted. There are two forms: `granting entitlement network.host
/// is not allowed by build daemon configuration`, and, if a Dockerfile uses a privilege that the target did not
/// request, `failed to load LLB: network.host is not allowed`. The whole form must match, because a file's name may
/// contain some of these words.
fn is_about_privileges(message: &str) -> bool {
    let of_llb = message.contains("failed to load LLB: ") && message.ends_with(" is not allowed");
    of_llb || message.contains("granting entitlement ")
}

fn message(status: &Status) -> String {
    let text = clean(status.message());
    if text.is_empty() {
        format!("the builder gave no reason ({})", status.code())
    } else {
        text
    }
}

/// Prefixes that the daemon adds to the actual error.
const PREFIXES: [&str; 4] = [
    "failed to solve: ",
    "failed to solve with frontend dockerfile.v0: ",
    "failed to solve with frontend gateway.v0: ",
    // What rbake itself has told the daemon about an output.
    "error from receiver: ",
];

/// Returns `message` without gRPC's decoration, without control characters (they could steer a terminal) and without
/// passwords in URLs.
pub(super) fn clean(message: &str) -> String {
    let mut text = message;
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("rpc error: code = ") {
        let (before, after) = rest.split_at(at);
        clean.push_str(before);
        let Some(end) = after.find(" desc = ") else {
            rest = after;
            break;
        };
        rest = &after[end + " desc = ".len()..];
    }
    clean.push_str(rest);
    clean.retain(|c| !c.is_control() || c == '\n' || c == '\t');
    redact_urls(clean.trim()).into_owned()
}

/// Reads the exit code from `… did not complete successfully: exit code: 7`. More text may follow, such as the log.
fn exit_code(message: &str) -> Option<i32> {
    let (_, after) = message.split_once("did not complete successfully: exit code: ")?;
    let digits = after
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(after.len());
    after[..digits].parse().ok()
}

/// The type of an error detail: the last part of its URL.
fn detail_name(type_url: &str) -> &str {
    let name = type_url.strip_suffix("+json").unwrap_or(type_url);
    name.rsplit(['/', '.']).next().unwrap_or_default()
}

/// Adds one of BuildKit's error details to `failure`. Unknown types are ignored.
fn read_detail(failure: &mut SolveFailure, type_url: &str, value: &[u8]) {
    match detail_name(type_url) {
        "Source" => {
            if let Some(source) = json::<Source>(value) {
                failure.sources.push(source.into_excerpt());
            }
        }
        "Vertex" => {
            if let Some(vertex) = json::<Vertex>(value) {
                failure.vertex = failure.vertex.take().or_else(|| vertex.digest.parse().ok());
            }
        }
        "ExitMessage" => {
            if let Some(exit) = json::<Exit>(value) {
                failure.exit_code = Some(exit.code);
            }
        }
        "Stack" => {
            if let Some(stack) = json::<Stack>(value) {
                failure.debug.extend(stack.lines());
            }
        }
        "DecisionResponse" => {
            if let Some(decision) = json::<Decision>(value) {
                let denied = decision.messages.into_iter().map(|m| clean(&m.message));
                failure
                    .help
                    .extend(denied.map(|text| format!("policy: {text}")));
            }
        }
        "FrontendCap" => {
            if let Some(cap) = json::<Named>(value) {
                failure.help.push(format!(
                    "the Dockerfile frontend lacks `{}`; name a newer one in a `# syntax=` line",
                    clean(&cap.name)
                ));
            }
        }
        "Subrequest" => {
            if let Some(method) = json::<Named>(value) {
                let method = clean(&method.name);
                let method = method.strip_prefix("frontend.").unwrap_or(&method);
                failure.help.push(format!(
                    "the frontend does not know the method `{method}`; `--call=subrequests.describe` lists those that it knows"
                ));
            }
        }
        "CompatibilityFeature" => {
            if let Some(feature) = json::<Feature>(value) {
                failure
                    .help
                    .push(format!("the builder lacks `{}`", clean(&feature.feature)));
            }
        }
        _ => {}
    }
}

/// `None` if `value` is not the expected JSON.
fn json<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source {
    info: SourceInfo,
    ranges: Vec<Range>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SourceInfo {
    filename: String,
    data: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Position {
    line: u32,
}

impl Source {
    fn into_excerpt(self) -> SourceExcerpt {
        let data = base64::prelude::BASE64_STANDARD
            .decode(self.info.data)
            .unwrap_or_default();
        SourceExcerpt {
            filename: clean(&self.info.filename),
            text: String::from_utf8_lossy(&data).into(),
            lines: self
                .ranges
                .iter()
                .filter(|range| range.start.line > 0)
                .map(|range| (range.start.line, range.end.line.max(range.start.line)))
                .collect(),
        }
    }
}

#[derive(Deserialize)]
struct Vertex {
    digest: String,
}

#[derive(Deserialize)]
struct Exit {
    #[serde(rename = "Code", alias = "code")]
    code: i32,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Feature {
    feature: String,
}

#[derive(Deserialize)]
struct Decision {
    #[serde(rename = "denyMessages", alias = "deny_messages")]
    messages: Vec<Denial>,
}

#[derive(Deserialize)]
struct Denial {
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stack {
    frames: Vec<Frame>,
    version: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Frame {
    #[serde(rename = "Name", alias = "name")]
    name: String,
    #[serde(rename = "File", alias = "file")]
    file: String,
    #[serde(rename = "Line", alias = "line")]
    line: i64,
}

impl Stack {
    fn lines(&self) -> impl Iterator<Item = String> {
        let head = format!("daemon {}", clean(&self.version));
        let frames = self.frames.iter().map(|frame| {
            format!(
                "  {} ({}:{})",
                clean(&frame.name),
                clean(&frame.file),
                frame.line
            )
        });
        std::iter::once(head).chain(frames)
    }
}

#[cfg(test)]
mod tests;
