//! Warns about settings of a service's build that a bake target cannot express. buildx ignores them silently.
//!
//! Keys for running a service, such as `ports`, have no effect on a build, so there is no warning for them.

use super::decode::boolean;
use crate::diag::{Diagnostic, Diagnostics};
use crate::yaml::{YamlEntry, YamlMapping, YamlValue};

/// The ignored keys of `build`, and what the user can do instead.
const BUILD: [(&str, &str); 4] = [
    (
        "entitlements",
        "list them in a bake file beside this one: `target \"NAME\" { entitlements = […] }`",
    ),
    (
        "isolation",
        "remove it: it is for Windows containers, and BuildKit does not build in those",
    ),
    (
        "no_cache_filter",
        "write `x-bake: {no-cache-filter: […]}` below `build`",
    ),
    (
        "privileged",
        "write `RUN --security=insecure` in the step that needs it, and in a bake file beside this one \
         `target \"NAME\" { entitlements = [\"security.insecure\"] }`",
    ),
];

/// The ignored keys of a secret below `build`. In a Dockerfile, the mount of the step sets them.
const SECRET: [&str; 4] = ["target", "uid", "gid", "mode"];

/// Adds a warning for each setting of the service `name` that is ignored.
pub(super) fn warn(name: &str, service: &YamlMapping, problems: &mut Diagnostics) {
    let Some(build) = service
        .get("build")
        .and_then(|entry| entry.value.as_mapping())
    else {
        return;
    };
    for (key, way_out) in BUILD {
        if let Some(entry) = build.get(key).filter(|entry| says_something(entry)) {
            problems.push(ignored(&format!("{name}.build.{key}"), entry, way_out));
        }
    }
    let secrets = build
        .get("secrets")
        .and_then(|entry| entry.value.as_sequence());
    for secret in secrets.into_iter().flatten() {
        for (key, entry) in secret.as_mapping().into_iter().flatten() {
            if SECRET.contains(&key.as_str()) {
                let way_out =
                    "set it where the secret is used: `RUN --mount=type=secret,id=…,target=…`";
                problems.push(ignored(
                    &format!("{name}.build.secrets[].{key}"),
                    entry,
                    way_out,
                ));
            }
        }
    }
    if let Some(entry) = service.get("platform").filter(|_| !has_platforms(build))
        && says_something(entry)
    {
        let platform = entry.value.as_str().unwrap_or("linux/amd64");
        let way_out = format!("write `platforms: [\"{platform}\"]` below `build`");
        problems.push(ignored(&format!("{name}.platform"), entry, &way_out));
    }
}

fn ignored(path: &str, entry: &YamlEntry, way_out: &str) -> Diagnostic {
    let message = format!("`services.{path}` is not part of a bake target and is ignored");
    Diagnostic::warning("compose::ignored-key", message)
        .at(entry.key, "")
        .help(way_out)
}

/// Whether the build lists platforms. If so, Compose requires that the platform of the service is among them, so
/// ignoring the latter loses nothing.
fn has_platforms(build: &YamlMapping) -> bool {
    let filled = |entry: &YamlEntry| says_something(entry);
    let own = build.get("platforms").is_some_and(filled);
    let bake = build
        .get("x-bake")
        .and_then(|entry| entry.value.as_mapping());
    own || bake.is_some_and(|bake| bake.get("platforms").is_some_and(filled))
}

/// Whether the entry changes anything. Empty values and `false` are the defaults, so ignoring them loses nothing.
fn says_something(entry: &YamlEntry) -> bool {
    match &entry.value.value {
        YamlValue::Null => false,
        YamlValue::Sequence(items) => !items.is_empty(),
        YamlValue::String(text) => !text.is_empty() && boolean(&entry.value) != Some(false),
        YamlValue::Bool(on) => *on,
        _ => true,
    }
}
