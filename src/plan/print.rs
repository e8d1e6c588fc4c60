//! Prints the plan as JSON, identical to the output of `docker buildx bake --print`.
//!
//! Maps are sorted by key, attributes are in the order of [`crate::definition::schema::ATTRIBUTES`], and empty
//! values are left out. `${` and `%{` are escaped in some attributes but not in others, because buildx does so,
//! and tests compare the outputs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::json::Json;
use super::model::Plan;
use super::select::PlannedGroup;
use crate::definition::model::{
    Attest, CacheEntry, Export, List, Map, PolicyEntry, Resources, SecretEntry, SharedText,
    SshEntry, Target,
};
use crate::diag::Spanned;
use crate::types::TargetName;

/// The JSON of `plan`, with a line break at the end.
pub fn print(plan: &Plan) -> String {
    let mut text = String::new();
    print_in_pieces(plan, &mut |piece| {
        text.push_str(piece);
        true
    });
    text
}

/// Passes the JSON of `plan` to `sink` in pieces, with a line break at the end. Stops if `sink` returns false.
///
/// The text of a large plan takes more memory than the plan itself, and getting new memory from the system takes
/// longer than filling it. So the memory of one piece is reused.
pub(crate) fn print_in_pieces(plan: &Plan, sink: &mut dyn FnMut(&str) -> bool) {
    const PIECE: usize = 64 << 10;
    let mut targets: Vec<_> = plan.targets.iter().collect();
    targets.sort_unstable_by_key(|(name, _)| *name);
    // A piece is only passed on when it is complete, so it can become somewhat larger.
    let mut json = Json::with_capacity(PIECE + PIECE / 4);
    json.object(|json| {
        print_groups(json, plan, |json| json.hand_out(PIECE, sink));
        json.field("target", |json| {
            json.object(|json| {
                for (name, target) in targets {
                    json.field(name.as_str(), |json| {
                        print_target(json, &target.attributes);
                    });
                    if !json.hand_out(PIECE, sink) {
                        return;
                    }
                }
            });
        });
    });
    let mut rest = json.finish();
    rest.push('\n');
    sink(&rest);
}

/// The answer of a frontend, as [`print_called`] prints it.
#[derive(Debug)]
pub(crate) struct PrintedAnswer {
    /// The name of the method, as users know it.
    pub(crate) method: String,
    /// The fields of the answer, each with its value as JSON.
    pub(crate) fields: BTreeMap<String, Box<RawValue>>,
}

/// The JSON of `plan` and of the answers of its targets' frontends, as `docker buildx bake --call …,format=json` prints
/// it: each target has its attributes as `build`, and its answer under the name of the method.
pub(crate) fn print_called(plan: &Plan, answers: &BTreeMap<TargetName, PrintedAnswer>) -> String {
    let mut targets: Vec<_> = plan.targets.iter().collect();
    targets.sort_unstable_by_key(|(name, _)| *name);
    let mut json = Json::default();
    json.object(|json| {
        print_groups(json, plan, |_| true);
        json.field("target", |json| {
            json.object(|json| {
                for (name, target) in targets {
                    let answer = answers.get(name);
                    json.field(name.as_str(), |json| {
                        print_with_answer(json, &target.attributes, answer);
                    });
                }
            });
        });
    });
    let mut text = json.finish();
    text.push('\n');
    text
}

/// Prints the attributes of a target and its answer, in the order of their names.
fn print_with_answer(json: &mut Json, target: &Target, answer: Option<&PrintedAnswer>) {
    const BUILD: &str = "build";
    let print_answer = |json: &mut Json, answer: &PrintedAnswer| {
        json.field(&answer.method, |json| {
            json.object(|json| {
                for (key, value) in &answer.fields {
                    json.field(key, |json| json.raw(value));
                }
            });
        });
    };
    json.object(|json| {
        let before = answer.filter(|answer| *answer.method < *BUILD);
        let after = answer.filter(|answer| *answer.method >= *BUILD);
        if let Some(answer) = before {
            print_answer(json, answer);
        }
        json.field(BUILD, |json| print_target(json, target));
        if let Some(answer) = after {
            print_answer(json, answer);
        }
    });
}

/// Prints the groups, if there are any. Ends early if `goes_on` returns false after one.
fn print_groups(json: &mut Json, plan: &Plan, mut goes_on: impl FnMut(&mut Json) -> bool) {
    if plan.groups.is_empty() {
        return;
    }
    json.field("group", |json| {
        json.object(|json| {
            for (name, group) in &plan.groups {
                json.field(name.as_str(), |json| print_group(json, group));
                if !goes_on(json) {
                    return;
                }
            }
        });
    });
}

fn print_group(json: &mut Json, group: &PlannedGroup) {
    json.object(|json| {
        if let Some(description) = group.description.as_ref().filter(|text| !text.is_empty()) {
            json.text_field("description", description);
        }
        json.field("targets", |json| match &group.members {
            Some(members) => json.array(members, |json, member| json.string(member)),
            None => json.word("null"),
        });
    });
}

fn print_target(json: &mut Json, target: &Target) {
    // Destructure without `..`, so that the compiler reports a new attribute that is not printed.
    let Target {
        name: _,
        description,
        inherits: _,
        annotations,
        attest,
        context,
        implicit_context: _,
        contexts,
        dockerfile,
        dockerfile_inline,
        args,
        labels,
        tags,
        cache_from,
        cache_to,
        stage,
        secret,
        ssh,
        platforms,
        output,
        pull,
        no_cache,
        network,
        no_cache_filter,
        shm_size,
        ulimits,
        resources,
        call,
        entitlements,
        extra_hosts,
        policy,
        deferred: _,
    } = target;
    json.object(|json| {
        let description = description.as_ref();
        text(
            json,
            "description",
            description.filter(|text| !text.is_empty()),
        );
        texts(json, "annotations", annotations, escaped);
        entries(json, "attest", attest, print_attest);
        text(json, "context", context.as_ref());
        map(json, "contexts", contexts, plain);
        text(json, "dockerfile", dockerfile.as_ref());
        if let Some(inline) = dockerfile_inline {
            json.text_field("dockerfile-inline", &escaped(inline));
        }
        map(json, "args", args, escaped);
        map(json, "labels", labels, escaped);
        texts(json, "tags", tags, plain);
        entries(json, "cache-from", cache_from, print_cache);
        entries(json, "cache-to", cache_to, print_cache);
        text(json, "target", stage.as_ref());
        entries(json, "secret", secret, print_secret);
        entries(json, "ssh", ssh, print_ssh);
        texts(json, "platforms", platforms, plain);
        entries(json, "output", output, print_export);
        flag(json, "pull", pull.as_ref());
        flag(json, "no-cache", no_cache.as_ref());
        text(json, "network", network.as_ref());
        texts(json, "no-cache-filter", no_cache_filter, plain);
        text(json, "shm-size", shm_size.as_ref());
        texts(json, "ulimits", ulimits, plain);
        if let Some(resources) = resources {
            json.field("resources", |json| print_resources(json, resources));
        }
        text(json, "call", call.as_ref());
        texts(json, "entitlements", entitlements, plain);
        map(json, "extra-hosts", extra_hosts, escaped);
        entries(json, "policy", policy, print_policy);
    });
}

fn plain(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// Escapes template sequences as a definition would need them.
fn escaped(text: &str) -> Cow<'_, str> {
    let sequence = text.bytes().any(|byte| matches!(byte, b'$' | b'%'));
    if sequence && (text.contains("${") || text.contains("%{")) {
        Cow::Owned(text.replace("${", "$${").replace("%{", "%%{"))
    } else {
        Cow::Borrowed(text)
    }
}

fn text(json: &mut Json, name: &'static str, value: Option<&Spanned<SharedText>>) {
    if let Some(value) = value {
        json.plain_field(name, |json| json.string(value));
    }
}

fn flag(json: &mut Json, name: &'static str, value: Option<&Spanned<bool>>) {
    if let Some(value) = value {
        json.plain_field(name, |json| json.word(value.value));
    }
}

fn texts(
    json: &mut Json,
    name: &'static str,
    list: &List<SharedText>,
    write: fn(&str) -> Cow<'_, str>,
) {
    entries(json, name, list, |json, text| json.string(&write(text)));
}

fn map(json: &mut Json, name: &'static str, map: &Map, write: fn(&str) -> Cow<'_, str>) {
    if map.is_empty() {
        return;
    }
    json.plain_field(name, |json| {
        json.object(|json| {
            for (key, value) in map.iter() {
                json.text_field(key, &write(value));
            }
        });
    });
}

fn entries<T>(json: &mut Json, name: &'static str, list: &List<T>, each: impl Fn(&mut Json, &T)) {
    if !list.is_empty() {
        json.plain_field(name, |json| {
            json.array(list, |json, entry| each(json, &entry.value));
        });
    }
}

/// Prints the fields of an entry, sorted by key. The fields in `own` replace those in `attrs` with the same key.
fn fields(json: &mut Json, own: &[(&str, &str)], attrs: &BTreeMap<SharedText, SharedText>) {
    let others = attrs.iter().map(|(key, value)| (&**key, &**value));
    let sorted: BTreeMap<&str, &str> = others.chain(own.iter().copied()).collect();
    json.object(|json| {
        for (key, value) in sorted {
            json.text_field(key, value);
        }
    });
}

/// Prints an attestation. As in buildx, `disabled` is a boolean, and all other fields are strings.
fn print_attest(json: &mut Json, attest: &Attest) {
    let attrs = attest.attrs.iter();
    let attrs = attrs.map(|(key, value)| (&**key, Some(&**value)));
    let mut sorted: BTreeMap<&str, Option<&str>> = attrs.collect();
    sorted.insert("type", Some(&attest.kind));
    if attest.disabled {
        sorted.insert("disabled", None);
    }
    json.object(|json| {
        for (key, value) in sorted {
            match value {
                Some(value) => json.text_field(key, value),
                None => json.field(key, |json| json.word(true)),
            }
        }
    });
}

fn print_cache(json: &mut Json, cache: &CacheEntry) {
    fields(json, &[("type", cache.kind.name())], &cache.attrs);
}

fn print_export(json: &mut Json, export: &Export) {
    let kind = ("type", export.kind.name());
    match &export.dest {
        Some(dest) => fields(json, &[kind, ("dest", dest)], &export.attrs),
        None => fields(json, &[kind], &export.attrs),
    }
}

fn print_secret(json: &mut Json, secret: &SecretEntry) {
    json.object(|json| {
        if !secret.id.is_empty() {
            json.text_field("id", &secret.id);
        }
        if let Some(src) = &secret.src {
            json.text_field("src", src);
        }
        if let Some(env) = &secret.env {
            json.text_field("env", env);
        }
    });
}

fn print_ssh(json: &mut Json, ssh: &SshEntry) {
    json.object(|json| {
        if !ssh.id.is_empty() {
            json.text_field("id", &ssh.id);
        }
        if !ssh.paths.is_empty() {
            json.field("paths", |json| {
                json.array(&ssh.paths, |json, path| json.string(path));
            });
        }
    });
}

fn print_resources(json: &mut Json, resources: &Resources) {
    fn number(json: &mut Json, name: &str, value: Option<&Spanned<i64>>) {
        if let Some(value) = value {
            json.field(name, |json| json.word(value.value));
        }
    }
    json.object(|json| {
        text(json, "memory", resources.memory.as_ref());
        text(json, "memory-swap", resources.memory_swap.as_ref());
        number(json, "cpu-shares", resources.cpu_shares.as_ref());
        number(json, "cpu-period", resources.cpu_period.as_ref());
        number(json, "cpu-quota", resources.cpu_quota.as_ref());
        text(json, "cpuset-cpus", resources.cpuset_cpus.as_ref());
        text(json, "cpuset-mems", resources.cpuset_mems.as_ref());
    });
}

/// Prints a policy. buildx uses the names of its Go fields here, so a definition could not read this output.
fn print_policy(json: &mut Json, policy: &PolicyEntry) {
    json.object(|json| {
        json.field("Files", |json| {
            if policy.files.is_empty() {
                json.word("null");
                return;
            }
            json.array(&policy.files, |json, file| {
                json.object(|json| {
                    json.text_field("Filename", file);
                    json.field("Data", |json| json.word("null"));
                });
            });
        });
        json.field("Reset", |json| json.word(policy.reset));
        json.field("Disabled", |json| json.word(policy.disabled));
        json.field("Strict", |json| match policy.strict {
            Some(strict) => json.word(strict),
            None => json.word("null"),
        });
        json.field("LogLevel", |json| match policy.log_level {
            Some(level) => json.string(level.name()),
            None => json.word("null"),
        });
    });
}
