//! Explains frequent mistakes. The daemon reports them in its own terms; here, the message says what is missing in
//! the target, and what to do.
//!
//! Reads the daemon's message, which is Go's. An unknown message stays as it is, and a message that is replaced is
//! kept for `--debug`. Problems with registries are in [`super::registries`] and [`super::refusal`].

use std::path::Path;

use super::locate::{DockerfilePlace, SourceTree, TargetPlaces, similar};
use super::{served, sources};
use crate::builder::Driver;
use crate::diag::{closest, names_there_are};
use crate::outcome::SolveFailure;
use crate::plan::{NamedContext, PlannedTarget};
use crate::types::secret::redact_url;

/// What is known about the target that failed.
pub(super) struct Scene<'a> {
    /// The target that failed.
    pub(super) target: &'a PlannedTarget,
    /// The files and directories that it reads.
    pub(super) places: &'a TargetPlaces,
    /// The kind of builder.
    pub(super) driver: Driver,
}

/// A better message, and what to do about the problem.
#[derive(Debug, Default, PartialEq, Eq)]
struct Explained {
    /// The message that replaces the daemon's. `None` keeps the daemon's message.
    message: Option<String>,
    help: Vec<String>,
}

impl Explained {
    fn message(text: impl Into<String>) -> Self {
        Self {
            message: Some(text.into()),
            help: Vec::new(),
        }
    }

    fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }
}

/// Rewrites `failure` if its cause is known. Blocking: may read the Dockerfile and the context.
pub(super) fn explain(failure: &mut SolveFailure, scene: &Scene<'_>) {
    // The message has the command and output of the failed step, which may contain any of the texts below.
    if failure.exit_code.is_some() {
        return;
    }
    let instruction = instruction(failure);
    // The frontend may append a suggestion such as `(did you mean builder?)`. The suggestions made here replace
    // it.
    let message = failure.message.trim_end_matches(')');
    let message = match message.rsplit_once(" (did you mean ") {
        Some((message, meant)) if meant.ends_with('?') => message,
        _ => failure.message.as_str(),
    };
    let explained = missing_stage(message, scene)
        .or_else(|| missing_secret(message, scene))
        .or_else(|| missing_ssh(message, scene))
        .or_else(|| privilege(message))
        .or_else(|| missing_source(message, &instruction, scene))
        .or_else(|| missing_platform(message))
        .or_else(|| missing_image(message, &instruction, failure, scene))
        .or_else(|| no_stage(message, scene))
        .or_else(|| download(message))
        .or_else(|| host_not_found(message))
        .or_else(|| other(message));
    let Some(explained) = explained else { return };
    if let Some(message) = explained.message {
        let original = std::mem::replace(&mut failure.message, message);
        failure.debug.push(original);
    }
    // Help for the mistake comes before other help, such as privileges that the builder must grant.
    failure.help.splice(0..0, explained.help);
}

/// Returns the lines of the Dockerfile that the daemon points at, joined to one line. It may point at each line of an instruction for
/// itself.
fn instruction(failure: &SolveFailure) -> String {
    let Some(source) = failure.sources.first() else {
        return String::new();
    };
    let first = source.lines.iter().map(|(first, _)| *first).min();
    let last = source.lines.iter().map(|(_, last)| *last).max();
    let Some((first, last)) = first.zip(last) else {
        return String::new();
    };
    let (first, last) = (first as usize, last as usize);
    let lines = source.text.lines().skip(first.saturating_sub(1));
    let lines: Vec<&str> = lines.take(last.saturating_sub(first) + 1).collect();
    lines.join(" ")
}

/// Returns the part of `text` between `before` and `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// Explains `target stage "NAME" could not be found`.
fn missing_stage(message: &str, scene: &Scene<'_>) -> Option<Explained> {
    let stage = message
        .strip_prefix("target stage \"")?
        .strip_suffix("\" could not be found")?;
    let told = Explained::message(format!(
        "its `target` names the stage `{stage}`, which the Dockerfile does not have"
    ));
    let Ok(Some((_, text))) = served::dockerfile(scene.places) else {
        return Some(told.help("set `target` to a name that follows `AS` in the Dockerfile"));
    };
    let stages = sources::stage_names(&String::from_utf8_lossy(&text));
    let names = || stages.iter().map(String::as_str);
    Some(match (closest(stage, names()), names_there_are(names())) {
        (Some(name), Some(all)) => told
            .help(format!("a stage with a similar name exists: `{name}`"))
            .help(format!("in the Dockerfile, {all}")),
        (_, Some(all)) => told.help(format!("in the Dockerfile, {all}")),
        _ => told.help("no stage has a name: write `FROM … AS NAME`, or remove `target`"),
    })
}

/// Explains a message that ends with `secret ID: not found`.
fn missing_secret(message: &str, scene: &Scene<'_>) -> Option<Explained> {
    let (_, rest) = message.rsplit_once("secret ")?;
    let id = rest.strip_suffix(": not found")?;
    if id.contains(char::is_whitespace) {
        return None;
    }
    let secrets = &scene.target.attributes.secret;
    let declared = secrets.iter().map(|secret| &*secret.value.id);
    let told = Explained::message(format!(
        "the step needs the secret `{id}`, which the target does not declare"
    ));
    let told = match closest(id, declared) {
        Some(name) => told.help(format!("a secret with a similar id exists: `{name}`")),
        None => told,
    };
    Some(told.help(format!(
        "add it to the target: `secret = [\"id={id},src=FILE\"]`, or `env=VARIABLE` in place of `src`"
    )))
}

/// Explains `no SSH key "ID" forwarded from the client` and `unset ssh forward key ID`.
fn missing_ssh(message: &str, scene: &Scene<'_>) -> Option<Explained> {
    let id = between(message, "no SSH key \"", "\" forwarded from the client")
        .or_else(|| message.strip_prefix("unset ssh forward key "))?;
    let id = if id.is_empty() { "default" } else { id };
    let told = Explained::message(format!(
        "the step needs the SSH agent or key `{id}`, but none is forwarded to it"
    ));
    let how = if id == "default" {
        "forwards your SSH agent; `default=PATH` forwards a key"
    } else {
        "forwards your SSH agent under that name; `ID=PATH` forwards a key"
    };
    let entries = scene.target.attributes.ssh.iter();
    let declared = entries.map(|entry| match &*entry.value.id {
        "" => "default",
        id => id,
    });
    let told = match closest(id, declared) {
        Some(name) => told.help(format!("an entry with a similar id exists: `{name}`")),
        None => told,
    };
    Some(told.help(format!("add it to the target: `ssh = [\"{id}\"]` {how}")))
}

/// Explains `failed to load LLB: PRIVILEGE is not allowed`.
fn privilege(message: &str) -> Option<Explained> {
    let (_, rest) = message.split_once("failed to load LLB: ")?;
    let name = rest.strip_suffix(" is not allowed")?;
    if !["network.host", "security.insecure", "device"].contains(&name) {
        return None;
    }
    Some(
        Explained::message(format!(
            "a step of the Dockerfile needs the privilege `{name}`, which the target does not ask for"
        ))
        .help(format!(
            "add `entitlements = [\"{name}\"]` to the target, and grant it with `--allow={name}`"
        )),
    )
}

/// Explains `failed to calculate checksum of ref …: "/PATH": not found`, the message for a missing source of
/// `COPY`. A file that exists but is ignored gives the same message, so both are looked for.
fn missing_source(message: &str, instruction: &str, scene: &Scene<'_>) -> Option<Explained> {
    if !message.contains("failed to calculate checksum of ref ") {
        return None;
    }
    let path = message.strip_suffix(": not found")?.rsplit(": ").next()?;
    let path = path.strip_prefix('"')?.strip_suffix('"')?;
    if let Some(from) = read_from(instruction, path) {
        return Some(
            Explained::message(format!("there is no `{path}` in `{from}`")).help(format!(
                "check the path, and that a step of `{from}` creates it"
            )),
        );
    }
    let name = path.trim_start_matches('/');
    let SourceTree::Dir(dir) = &scene.places.context else {
        return Some(
            Explained::message(format!("there is no `{name}` in the context"))
                .help("sources are relative to the root of the context"),
        );
    };
    let told = Explained::message(format!("there is no `{name}` in the context"));
    Some(if dir.join(name).symlink_metadata().is_ok() {
        match ignore_file(&scene.places.dockerfile, dir) {
            Some(ignore) => told.help(format!(
                "it is in `{}`, but `{ignore}` excludes it: change the pattern, or add `!{name}` after it",
                dir.display()
            )),
            None => told,
        }
    } else {
        let told = match similar(&dir.join(name)) {
            Some(name) => told.help(format!("a file with a similar name exists: `{name}`")),
            None => told,
        };
        let told = told.help(format!(
            "sources are relative to the context, `{}`",
            dir.display()
        ));
        if instruction.contains("../") {
            told.help("`..` cannot leave the context: add the other directory to `contexts`, and copy with `--from=NAME`")
        } else {
            told
        }
    })
}

/// What `instruction` reads `path` from: a stage or a context by its name. `None` for the main context. An instruction may have several
/// mounts.
fn read_from<'a>(instruction: &'a str, path: &str) -> Option<&'a str> {
    let words = || instruction.split([' ', '\t']);
    let copied = words().find_map(|word| word.strip_prefix("--from="));
    if copied.is_some() {
        return copied;
    }
    let mounts = words().filter_map(|word| word.strip_prefix("--mount="));
    let field = |mount: &'a str, names: &[&str]| {
        let mut fields = mount.split(',').filter_map(|field| field.split_once('='));
        fields.find_map(|(name, value)| names.contains(&name).then_some(value))
    };
    let mounts: Vec<&str> = mounts.collect();
    let has_it = |mount: &&&'a str| {
        let source = field(mount, &["source", "src"]).unwrap_or("/");
        source.trim_matches('/') == path.trim_matches('/')
    };
    match mounts.iter().find(has_it) {
        Some(mount) => field(mount, &["from"]),
        None => mounts.iter().find_map(|mount| field(mount, &["from"])),
    }
}

/// Returns the name of the ignore file that applies to the context `dir`: the Dockerfile's own, or else the
/// general one.
fn ignore_file(dockerfile: &DockerfilePlace, dir: &Path) -> Option<String> {
    if let DockerfilePlace::File { dir, filename } = dockerfile {
        let own = format!("{filename}.dockerignore");
        if dir.join(&own).exists() {
            return Some(own);
        }
    }
    let general = ".dockerignore";
    dir.join(general).exists().then(|| general.to_owned())
}

/// Explains `IMAGE: no match for platform in manifest: not found`.
fn missing_platform(message: &str) -> Option<Explained> {
    let rest = message.strip_suffix(": no match for platform in manifest: not found")?;
    let image = rest.rsplit(": ").next()?;
    // The name becomes part of a command that users paste into a shell, so it must be harmless.
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_/:@".contains(c);
    if !image.chars().all(legal) {
        return None;
    }
    Some(
        Explained::message(format!(
            "the image `{image}` does not exist for the platform that is built"
        ))
        .help(format!("`docker buildx imagetools inspect {image}` lists its platforms; change `platforms`, or the base image")),
    )
}

/// Explains `failed to resolve source metadata for IMAGE: …: not found`. Often, a stage or a named context was
/// meant.
fn missing_image(
    message: &str,
    instruction: &str,
    failure: &SolveFailure,
    scene: &Scene<'_>,
) -> Option<Explained> {
    let (before, rest) = message.split_once("failed to resolve source metadata for ")?;
    let image = rest.strip_suffix(": not found")?.split(": ").next()?;
    let told = Explained::message(format!("the registry has no image `{image}`"));
    if instruction.trim_start().starts_with('#') {
        return Some(told.help(
            "the line `# syntax=…` names the Dockerfile's frontend, as in `docker/dockerfile:1`",
        ));
    }
    let written = before.trim_end_matches(": ");
    if written.is_empty() {
        return Some(told.help(unnamed_image(image, scene)));
    }
    let stages = failure
        .sources
        .first()
        .map(|source| sources::stage_names(&source.text))
        .unwrap_or_default();
    let stages = stages.iter().map(String::as_str);
    let contexts = scene.places.named.keys().map(String::as_str);
    let told = match closest(written, stages.chain(contexts)) {
        Some(name) => told.help(format!(
            "a stage or context with a similar name exists: `{name}`"
        )),
        None => told.help("check its name and its tag"),
    };
    // Users are often surprised by this, because `docker images` lists the image.
    let of_hub = image.starts_with("docker.io/");
    Some(if of_hub && scene.driver != Driver::Docker {
        told.help("this builder cannot use the images of your Docker Engine: push the image to a registry, and write its name with the registry's host")
    } else {
        told
    })
}

/// What to do about the missing `image`, whose name is not written in the Dockerfile.
fn unnamed_image(image: &str, scene: &Scene<'_>) -> String {
    let mut named = scene.target.inputs.named.iter();
    let context = named.find(|(_, context)| match context {
        NamedContext::Image(named) => named.reference().is_some_and(|named| {
            let named = named.to_string();
            image == named || image.strip_suffix(":latest") == Some(&named)
        }),
        _ => false,
    });
    match context {
        Some((name, _)) => {
            format!("the context `{name}` of the target names it; check its name and its tag")
        }
        None => {
            "check its name and its tag, wherever the target names it: it is not in the Dockerfile"
                .to_owned()
        }
    }
}

/// Explains the messages for a Dockerfile without a `FROM`.
fn no_stage(message: &str, scene: &Scene<'_>) -> Option<Explained> {
    let file = match &scene.places.dockerfile {
        DockerfilePlace::Inline(_) => "the inline Dockerfile".to_owned(),
        DockerfilePlace::File { dir, filename } => format!("`{}`", dir.join(filename).display()),
        DockerfilePlace::InContext(path) => format!("`{path}` of the context"),
        DockerfilePlace::Url { url, .. } => format!("`{}`", redact_url(url)),
    };
    let what = match message {
        "the Dockerfile cannot be empty" => "is empty",
        "file with no instructions" => "has no instructions",
        "no build stage in current context" => "has an instruction before the first `FROM`",
        _ => return None,
    };
    Some(Explained::message(format!("{file} {what}")).help(
        "a Dockerfile begins with `FROM` and a base image, or `FROM scratch`; only `ARG` may come before it",
    ))
}

/// Explains `invalid response status STATUS` and `digest mismatch FOUND: WANTED` of downloads.
fn download(message: &str) -> Option<Explained> {
    if let Some((_, status)) = message.split_once("invalid response status ") {
        let legal = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
        return legal.then(|| {
            Explained::message(format!(
                "the server of an `ADD` or a remote context answered with the status {status}"
            ))
            .help("check the address; to fetch a file that needs a login, use a `RUN` step with a `secret`")
        });
    }
    let (found, wanted) = message.strip_prefix("digest mismatch ")?.split_once(": ")?;
    Some(
        Explained::message(format!(
            "the downloaded file has the digest `{found}`, but `{wanted}` was expected"
        ))
        .help("if the new content is right, correct `--checksum`"),
    )
}

/// Explains a message that ends with Go's `lookup HOST …: no such host`. The builder, not this machine, looks up
/// the name.
fn host_not_found(message: &str) -> Option<Explained> {
    let (_, rest) = message.rsplit_once("lookup ")?;
    let host = rest.split_whitespace().next()?.trim_end_matches(':');
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if !rest.ends_with("no such host") || host.is_empty() || !host.chars().all(legal) {
        return None;
    }
    Some(Explained::default().help(format!(
        "the builder cannot find the host `{host}`: check the name, and the DNS and proxy settings of the machine or container that the builder runs in"
    )))
}

/// Explains messages that need no look at the target.
fn other(message: &str) -> Option<Explained> {
    if let Some(value) = message.strip_prefix("invalid SOURCE_DATE_EPOCH: ") {
        return Some(
            Explained::message(format!(
                "`SOURCE_DATE_EPOCH` is `{value}`, which is not a time"
            ))
            .help("set the variable or argument to seconds since 1970, such as `1700000000`, or unset it"),
        );
    }
    if let Some(name) = message.strip_prefix("unknown entitlement ") {
        return Some(
            Explained::message(format!("BuildKit does not know the privilege `{name}`"))
                .help("correct `entitlements` of the target: `network.host`, `security.insecure` and `device` are known"),
        );
    }
    // This is Go's spelling. Errors of this machine are reported with a capital letter, so they do not match.
    if message.contains("no space left on device") {
        return Some(Explained::default().help(
            "the disk that the builder writes to is full: free space there, for example by pruning its cache (`docker buildx prune`, or `buildctl prune` if buildx does not manage the builder)",
        ));
    }
    if message.starts_with("cannot write") && message.contains("No space left on device") {
        return Some(Explained::default().help(
            "the disk of this machine is full where the output is written: free space there, or write it elsewhere",
        ));
    }
    if message.contains("exec format error") {
        return Some(Explained::default().help(
            "the program is for another platform than the builder's machine: install emulators (`docker run --privileged --rm tonistiigi/binfmt --install all`), or correct `platforms`",
        ));
    }
    None
}

#[cfg(test)]
mod tests;
