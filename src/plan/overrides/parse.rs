//! Parses the value of `--set` (`PATTERN.KEY[.NAME][+]=VALUE`), and of `--sbom` and `--provenance`.

use super::{AttributeChange, Op, TargetOverride};
use crate::definition::model::{
    Attest, CacheEntry, EntryError, Export, PolicyEntry, Resources, SecretEntry, SharedText,
    SshEntry,
};
use crate::definition::schema::{self, SetForm};
use crate::diag::{Class, Diagnostic, Spanned};
use crate::golang::strconv;
use crate::types::Environment;
use crate::types::secret::{is_secret_name, redact_fields};

pub(super) const INVALID: &str = "plan::invalid-override";

impl TargetOverride {
    /// Parses the value of `--set`.
    ///
    /// `args.NAME` without a value takes the value of the environment variable with that name. If there is none,
    /// nothing is changed ([`AttributeChange::Nothing`]), but the target must exist.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, Diagnostic> {
        let flag = match text {
            "" => "--set \"\"".to_owned(),
            text => format!("--set {}", shown(text)),
        };
        let (left, value) = match text.split_once('=') {
            Some((left, value)) => (left, Some(value)),
            None => (text, None),
        };
        let (path, op) = match left.strip_suffix('+') {
            Some(path) => (path, Op::Append),
            None => (left, Op::Replace),
        };
        let mut parts = path.splitn(3, '.');
        let pattern = parts.next().unwrap_or_default();
        let Some(key) = parts
            .next()
            .filter(|key| !key.is_empty() && !pattern.is_empty())
        else {
            return Err(malformed(&flag));
        };
        let name = parts.next();
        let Some(spec) = schema::set_keys().find(|spec| spec.key == key) else {
            let rest = &text[path.len()..];
            return Err(match dotted_target(path) {
                Some((target, path)) => {
                    dots_in_a_name(&flag, key, &target, &format!("{path}{rest}"))
                }
                None => unknown_key(&flag, key),
            });
        };
        let name = match (spec.form, name) {
            (SetForm::Entry, Some(name)) if !name.is_empty() => name,
            (SetForm::Entry, _) => {
                return Err(error(&flag, &format!("`{key}` needs a name"))
                    .help(format!("write `{pattern}.{key}.NAME=VALUE`")));
            }
            (_, None) => "",
            (_, Some("")) => {
                return Err(error(&flag, &format!("`{key}` has no parts"))
                    .help(format!("write `{pattern}.{key}=VALUE`")));
            }
            (_, Some(name)) => {
                return Err(error(
                    &flag,
                    &format!("`{key}` has no parts, such as `{name}`"),
                ));
            }
        };
        let lists = matches!(spec.form, SetForm::List | SetForm::AppendOnly);
        if op == Op::Append && !lists {
            return Err(error(
                &flag,
                &format!("`{key}` is not a list and cannot be appended to"),
            ));
        }
        let value = match value {
            Some(value) => value,
            None if key == "args" => match environment_value(name, environment) {
                Some(value) => value,
                None => {
                    return Ok(Self {
                        pattern: pattern.into(),
                        change: AttributeChange::Nothing,
                        flag: flag.into(),
                        span: None,
                    });
                }
            },
            None => {
                let value = match spec.form {
                    SetForm::Bool => "true",
                    _ => "VALUE",
                };
                return Err(malformed(&flag).help(format!("write `--set {path}={value}`")));
            }
        };
        let change =
            change(key, name, op, value).map_err(|source| entry_error(&flag, value, &source))?;
        Ok(Self {
            pattern: pattern.into(),
            change,
            flag: flag.into(),
            span: None,
        })
    }

    /// The change for `--sbom=VALUE` or `--provenance=VALUE`; `kind` is `sbom` or `provenance`. `None` if the
    /// value is empty.
    pub(crate) fn attest(kind: &str, value: &str) -> Result<Option<Self>, Diagnostic> {
        if value.is_empty() {
            return Ok(None);
        }
        let flag = format!("--{kind}={value}");
        let attest = Attest::from_text(&Attest::flag_text(kind, value))
            .map_err(|source| entry_error(&flag, value, &source))?;
        Ok(Some(Self::everywhere(
            flag,
            AttributeChange::Attest(Some(attest)),
        )))
    }
}

/// The flag's value for messages. Values of arguments and fields whose names suggest a secret are replaced.
fn shown(text: &str) -> String {
    let Some((left, value)) = text.split_once('=') else {
        return text.to_owned();
    };
    let argument = left.splitn(3, '.').skip(1).collect::<Vec<_>>();
    match argument.as_slice() {
        ["args", name] if is_secret_name(name) => format!("{left}=xxxxx"),
        _ => format!("{left}={}", redact_fields(value)),
    }
}

/// The value for an argument that is given without one. If variable lookup is switched off, this is an empty text,
/// as in buildx, and not `None`.
fn environment_value<'e>(name: &str, environment: &'e Environment) -> Option<&'e str> {
    let off = environment
        .get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP")
        .and_then(strconv::parse_bool);
    if off == Some(true) {
        Some("")
    } else {
        environment.get(name)
    }
}

fn change(key: &str, name: &str, op: Op, value: &str) -> Result<AttributeChange, EntryError> {
    let text = || SharedText::from(value);
    let flag = || {
        strconv::parse_bool(value).ok_or_else(|| EntryError::NoBool {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    };
    let named = || (SharedText::from(name), SharedText::from(value));
    Ok(match key {
        "context" => AttributeChange::Context(text()),
        "dockerfile" => AttributeChange::Dockerfile(text()),
        "target" => AttributeChange::Stage(text()),
        "call" => AttributeChange::Call(text()),
        "shm-size" => AttributeChange::ShmSize(text()),
        "network" => AttributeChange::Network(text()),
        "no-cache" => AttributeChange::NoCache(flag()?),
        "pull" => AttributeChange::Pull(flag()?),
        "push" => AttributeChange::Push(flag()?),
        "load" => AttributeChange::Load(flag()?),
        "args" => {
            let (name, value) = named();
            AttributeChange::Arg { name, value }
        }
        "labels" => {
            let (name, value) = named();
            AttributeChange::Label { name, value }
        }
        "contexts" => {
            let (name, value) = named();
            AttributeChange::NamedContext { name, value }
        }
        "extra-hosts" => {
            let (name, value) = named();
            AttributeChange::ExtraHost { name, value }
        }
        "resources" => {
            let (name, value) = named();
            // Only checks that the limit and its value are valid.
            Resources::default().set(&name, Spanned::without_span(SharedText::clone(&value)))?;
            AttributeChange::Resource { name, value }
        }
        "secret" => AttributeChange::SecretSource(secret_source(name, value)?),
        "tags" => AttributeChange::Tags(op, text()),
        "platform" => AttributeChange::Platforms(op, text()),
        "ulimits" => AttributeChange::Ulimits(op, text()),
        "no-cache-filter" => AttributeChange::NoCacheFilter(op, text()),
        "annotations" => AttributeChange::Annotation(text()),
        "entitlements" => AttributeChange::Entitlement(text()),
        "attest" => AttributeChange::Attest(optional(value, Attest::from_text)?),
        "output" => AttributeChange::Output(op, optional(value, Export::from_text)?),
        "cache-from" => AttributeChange::CacheFrom(op, caches(value)?),
        "cache-to" => AttributeChange::CacheTo(op, caches(value)?),
        "secrets" => AttributeChange::Secrets(op, optional(value, SecretEntry::from_text)?),
        "ssh" => AttributeChange::Ssh(op, (!value.is_empty()).then(|| SshEntry::from_text(value))),
        "policy" => AttributeChange::Policy(op, PolicyEntry::from_text(value)?),
        other => {
            return Err(EntryError::UnknownKey {
                key: other.to_owned(),
                known: &[],
            });
        }
    })
}

fn optional<T>(
    value: &str,
    read: impl Fn(&str) -> Result<T, EntryError>,
) -> Result<Option<T>, EntryError> {
    if value.is_empty() {
        Ok(None)
    } else {
        read(value).map(Some)
    }
}

fn caches(value: &str) -> Result<Vec<CacheEntry>, EntryError> {
    if value.is_empty() {
        Ok(Vec::new())
    } else {
        CacheEntry::from_text(value)
    }
}

/// The new source of the declared secret `id`. The value may contain an id only if it is the same.
fn secret_source(id: &str, value: &str) -> Result<SecretEntry, EntryError> {
    let mut secret = SecretEntry::from_text(value)?;
    if !secret.id.is_empty() && &*secret.id != id {
        return Err(EntryError::OtherId {
            declared: id.to_owned(),
            given: secret.id.to_string(),
        });
    }
    secret.id = id.into();
    Ok(secret)
}

fn error(flag: &str, reason: &str) -> Diagnostic {
    Diagnostic::error(Class::Usage, INVALID, format!("`{flag}`: {reason}"))
}

fn malformed(flag: &str) -> Diagnostic {
    error(flag, "the form is `TARGET.KEY=VALUE`")
        .help("`TARGET` may be a pattern such as `*`; `TARGET.KEY+=VALUE` appends to a list")
}

/// Splits a path such as `svc.1.args.A`, in which the target's name contains dots. Returns that name, and the path
/// with underscores in it, which would be valid.
fn dotted_target(path: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = path.split('.').collect();
    let key = (2..parts.len()).find(|at| schema::set_keys().any(|spec| spec.key == parts[*at]))?;
    let target = parts[..key].join("_");
    let path = format!("{target}.{}", parts[key..].join("."));
    Some((parts[..key].join("."), path))
}

fn dots_in_a_name(flag: &str, key: &str, name: &str, instead: &str) -> Diagnostic {
    let target = name.replace('.', "_");
    Diagnostic::error(
        Class::Usage,
        "plan::unknown-override-key",
        format!("`{flag}`: `{key}` cannot be set by `--set`"),
    )
    .note(format!(
        "names of targets contain no dots; a Compose service `{name}` is the target `{target}`"
    ))
    .help(format!("write `--set {instead}`"))
}

fn unknown_key(flag: &str, key: &str) -> Diagnostic {
    let problem = Diagnostic::error(
        Class::Usage,
        "plan::unknown-override-key",
        format!("`{flag}`: `{key}` cannot be set by `--set`"),
    );
    let attribute = schema::ATTRIBUTES.iter().find(|spec| spec.name == key);
    match attribute.and_then(|spec| spec.set) {
        // Some attributes have another name in `--set`, such as `platforms` and `secret`.
        Some(spec) => problem.help(format!(
            "the key for the attribute `{key}` is `{}`",
            spec.key
        )),
        None if attribute.is_some() || schema::EVALUATED.contains(&key) => {
            problem.note(format!("only the definition can set the attribute `{key}`"))
        }
        None => problem.did_you_mean("a key", key, schema::set_keys().map(|spec| spec.key)),
    }
}

pub(super) fn entry_error(flag: &str, value: &str, source: &EntryError) -> Diagnostic {
    let problem = error(flag, &source.to_string());
    match source.misspelling() {
        Some((what, word, known)) => problem.did_you_mean(what, word, known.iter().copied()),
        None if matches!(source, EntryError::BareMode { .. }) => problem.help(format!(
            "write `{}` in place of it",
            source.meant().unwrap_or_default()
        )),
        None if source.meant().is_some() => {
            let key = flag.split_once('=').map_or(flag, |(key, _)| key);
            problem.help(format!(
                "write `{key}={}`",
                source.meant().unwrap_or_default()
            ))
        }
        None if matches!(source, EntryError::NoBool { .. }) => {
            problem.help("write `true` or `false`")
        }
        // `output=/tmp,…` and `cache-to=…` are often written without the required `type`.
        None if matches!(source, EntryError::NoType) => {
            let value = redact_fields(value);
            problem.help(format!("start the value with it: `type=…,{value}`"))
        }
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn parse(text: &str) -> Result<TargetOverride, Diagnostic> {
        TargetOverride::parse(text, &Environment::of([("SET", "from env")], "/"))
    }

    fn change_of(text: &str) -> AttributeChange {
        parse(text).unwrap().change
    }

    #[test]
    fn names_in_overrides_may_have_dots() {
        assert_eq!(
            change_of("t.labels.a.b=c=d"),
            AttributeChange::Label {
                name: "a.b".into(),
                value: "c=d".into()
            }
        );
    }

    #[test]
    fn values_are_replaced_or_appended_by_operator() {
        assert_eq!(
            change_of("*.platform+=linux/arm64"),
            AttributeChange::Platforms(Op::Append, "linux/arm64".into())
        );
        assert_eq!(
            change_of("t.tags=a,b"),
            AttributeChange::Tags(Op::Replace, "a,b".into())
        );
        assert_eq!(
            change_of("t.network=host"),
            AttributeChange::Network("host".into())
        );
        assert_eq!(
            change_of("t.output="),
            AttributeChange::Output(Op::Replace, None)
        );
    }

    #[test]
    fn arguments_can_come_from_the_environment() {
        assert_eq!(
            change_of("t.args.SET"),
            AttributeChange::Arg {
                name: "SET".into(),
                value: "from env".into()
            }
        );
        assert_eq!(change_of("t.args.UNSET"), AttributeChange::Nothing);
        let off = Environment::of(
            [("SET", "x"), ("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", "1")],
            "/",
        );
        assert_eq!(
            TargetOverride::parse("t.args.SET", &off).unwrap().change,
            AttributeChange::Arg {
                name: "SET".into(),
                value: "".into()
            }
        );
    }

    #[test_case("default", INVALID; "no key")]
    #[test_case("t.no-cache", INVALID; "no value")]
    #[test_case("t.args=x", INVALID; "no name")]
    #[test_case("t.labels.=x", INVALID; "empty name")]
    #[test_case("t.context.x=y", INVALID; "a name too many")]
    #[test_case("t.call+=check", INVALID; "appending to a scalar")]
    #[test_case("t.resources.memory+=1g", INVALID; "appending to an entry")]
    #[test_case("t.pull=yes", INVALID; "not a boolean")]
    #[test_case("t.resources.cpu-quota=x", INVALID; "not a number")]
    #[test_case("t.resources.foo=1", INVALID; "unknown resource")]
    #[test_case("t.output=a,b", INVALID; "not a pair")]
    #[test_case("t.attest=mode=max", INVALID; "no type")]
    #[test_case("t.secret.A=id=B,env=C", INVALID; "other id")]
    #[test_case("t.policy=", INVALID; "empty policy")]
    #[test_case("t.platforms=x", "plan::unknown-override-key"; "plural")]
    #[test_case("t.inherits=x", "plan::unknown-override-key"; "not settable")]
    #[test_case("t.tag=x", "plan::unknown-override-key"; "misspelled")]
    #[test_case(".args.A=1", INVALID; "no target")]
    #[test_case("=x", INVALID; "nothing but a value")]
    #[test_case("t.=x", INVALID; "empty key")]
    #[test_case("t.+=x", INVALID; "empty key to append to")]
    #[test_case("t.tags.=x", INVALID; "empty part")]
    #[test_case("svc.1.args.A=1", "plan::unknown-override-key"; "a dot in the target")]
    fn invalid_overrides_are_refused(text: &str, code: &str) {
        assert_eq!(parse(text).unwrap_err().code, code);
    }

    #[test]
    fn every_key_of_the_schema_is_accepted() {
        for spec in schema::set_keys() {
            let name = match (spec.form, spec.key) {
                (SetForm::Entry, "resources") => ".memory",
                (SetForm::Entry, _) => ".name",
                _ => "",
            };
            let value = match spec.key {
                "attest" | "output" | "cache-from" | "cache-to" => "type=x",
                "secrets" | "secret" => "env=X",
                "policy" => "strict=true",
                _ => "1",
            };
            let text = format!("t.{}{name}={value}", spec.key);
            assert!(
                parse(&text).is_ok_and(|set| set.change != AttributeChange::Nothing),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_names_are_explained() {
        let help = |text: &str| parse(text).unwrap_err().help.join("\n");
        assert!(help("t.platforms=x").contains("`platform`"));
        assert!(help("t.tag=x").contains("`tags`"));
        assert!(help("svc.1.args.A=1").contains("`--set svc_1.args.A=1`"));
        assert!(help("a.b.c.tags+=x").contains("`--set a_b_c.tags+=x`"));
        assert!(help("a.b.args.A.B").contains("`--set a_b.args.A.B`"));
        let notes = parse("t.tag=x").unwrap_err().notes.join("\n");
        assert!(
            notes.contains("`args`") && notes.contains("`policy`"),
            "{notes}"
        );
        assert!(help("t.secret=x").contains("t.secret.NAME=VALUE"));
        assert!(help("web*.no-cache").contains("`--set web*.no-cache=true`"));
        assert!(help("t.context").contains("`--set t.context=VALUE`"));
    }

    #[test]
    fn secrets_stay_out_of_messages() {
        let cache = "t.cache-to=type=s3,secret_access_key=hunter2,region";
        for (text, shown) in [
            (cache, "--set t.cache-to=type=s3,secret_access_key=xxxxx"),
            (
                "t.args.NPM_TOKEN.x+=hunter2",
                "--set t.args.NPM_TOKEN.x+=xxxxx",
            ),
            (
                "t.cache-from=type=s3,token=\"hunter2",
                "--set t.cache-from=type=s3,token=xxxxx",
            ),
        ] {
            let error = parse(text).unwrap_err();
            let told = format!("{} {:?} {:?}", error.message, error.notes, error.help);
            assert!(told.contains(shown), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn attestation_flags_become_overrides() {
        let set = TargetOverride::attest("provenance", "false")
            .unwrap()
            .unwrap();
        let AttributeChange::Attest(Some(attest)) = set.change else {
            panic!("no attestation");
        };
        assert!(attest.disabled);
        assert!(TargetOverride::attest("sbom", "foo").is_err());
        assert_eq!(TargetOverride::attest("sbom", ""), Ok(None));
    }
}
