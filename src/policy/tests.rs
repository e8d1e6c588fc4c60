//! Compares policies with buildx and OPA, whose answers are in tests/parity/policies.json (made by scripts/policy-vectors).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::input::Described;
use super::openpgp::tests::digest_of;
use super::*;
use crate::types::build_source::{
    AttestationBlob, BuildSource, SourceAnswer, SourceAttestations, SourceCommit, SourceDecision,
    SourceDownload, SourceFacts, SourceImage, SuffixedDigest,
};

const VECTORS: &str = include_str!("../../tests/parity/policies.json");

/// Decisions that are not those of buildx, and what rbake decides.
const OTHER_DECISIONS: &[(&str, &str)] = &[
    // buildx does not ask for fields that only a comprehension looks at, and allows the image although its label is denied.
    ("labels are denied by", "DENY"),
    // buildx knows the time only if the configuration is asked for, and does not ask here.
    ("the time is not asked for", "ALLOW"),
    // buildx asks for fields of a material only if the policy names its position. rbake asks for none, and allows nothing then.
    ("a label of any material", "ERROR"),
    // rbake does not know these.
    ("OpenPGP: brainpoolP256r1", "ERROR"),
    ("OpenPGP: a secret key", "ERROR"),
    ("download: brainpoolP256r1", "ERROR"),
    ("download: dsa2048", "ERROR"),
    ("download: a secret key", "ERROR"),
];

/// Modules of which OPA says something else, and what `regorus` says.
const OTHER_VALUES: &[(&str, &str)] = &[
    // Numbers that are not whole are computed in binary, and have no decimals that are zero.
    ("0.1 + 0.2", "0.30000000000000004"),
    ("0.1 * 3", "0.30000000000000004"),
    ("1 / 3", "0.3333333333333333"),
    ("123456789.123456789", "123456789.1234568"),
    ("bits.lsh(1, 70)", "1.1805916207174112e+21"),
    ("1e3", "1000"),
    ("1.0", "1"),
    ("to_number(\"1e3\")", "1000"),
    ("json.marshal(1.0)", "\"1\""),
    ("json.marshal(1e21)", "\"1e+21\""),
    ("ceil(-0.5)", "0"),
    // Types are not checked before the evaluation.
    ("{\"a\": 1}.b", "undefined"),
    ("[1, 2][5]", "undefined"),
    ("$\"a{[1][3]}b\"", "\"a<undefined>b\""),
    ("a type error", "undefined"),
    ("an object with a set as key", "2"),
    ("-(1)", "-1"),
    // YAML is read by version 1.2.
    (
        "yaml.unmarshal(\"a: [1, b]\\nc: yes\")",
        r#"{"a":[1,"b"],"c":"yes"}"#,
    ),
    ("glob.quote_meta(\"*a?\")", "\"\\\\*a?\""),
    // Errors, which allow nothing.
    ("regex.globs_match(\"a.*\", \"a.b\")", "error"),
    ("strings.render_template(\"{{.a}}\", {\"a\": 1})", "error"),
    ("plus(1, 2)", "error"),
    ("sum([input.list[i] | i > 0])", "error"),
];

fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The files of a case.
fn known_files(
    case: &Value,
    needs: impl IntoIterator<Item = FileNeed>,
    files: &mut Arc<KnownFiles>,
) {
    let contents = strings(&case["files"]);
    let mut known = KnownFiles::clone(files);
    for need in needs {
        let content = contents.get(&need.name).cloned().map(Bytes::from);
        known.add(need, content);
    }
    *files = Arc::new(known);
}

fn load(
    sources: &[PolicySource],
    case: &Value,
    files: &mut Arc<KnownFiles>,
) -> Result<Policy, PolicyError> {
    loop {
        match Policy::load(sources, files)? {
            Loaded::Ready(policy) => return Ok(*policy),
            Loaded::Needs(needs) => known_files(case, needs, files),
        }
    }
}

/// What the builder says of the source if it is asked.
fn answered(
    facts: &mut SourceFacts,
    known: &Value,
    asked: &crate::types::build_source::SourceQuestion,
) {
    let (checksum, identifier) = (text(&known["checksum"]), facts.source.identifier.clone());
    if identifier.starts_with("docker-image://") {
        let image = asked.image.clone().unwrap_or_default();
        let content = !image.predicates.is_empty();
        let blobs = strings(&known["provenance"])
            .into_iter()
            .map(|(kind, data)| {
                let annotations =
                    BTreeMap::from([("in-toto.io/predicate-type".to_owned(), kind.clone())]);
                (
                    kind,
                    AttestationBlob {
                        annotations,
                        data: data.into(),
                    },
                )
            });
        let is_attested = known["attested"] == true;
        facts.image = Some(SourceImage {
            digest: text(&known["digest"]),
            config: image.config.then(|| text(&known["config"]).into()),
            attestations: image.attestations.then(|| SourceAttestations {
                manifest: if is_attested {
                    "sha256:b".to_owned()
                } else {
                    String::new()
                },
                signatures: Vec::new(),
                blobs: blobs.filter(|_| content).collect(),
            }),
        });
    } else if identifier.starts_with("git://") {
        let objects = asked.git.is_some_and(|git| git.objects);
        let object = |name: &str| {
            if objects {
                text(&known[name]).into()
            } else {
                Bytes::new()
            }
        };
        facts.git = Some(SourceCommit {
            checksum,
            reference: text(&known["ref"]),
            commit_checksum: text(&known["commit"]),
            commit: object("commitObject"),
            tag: object("tagObject"),
        });
    } else {
        let suffixed = asked.http.as_ref().map(|http| {
            let digest = digest_of(&text(&known["content"]), http);
            let suffix = http.suffix.clone();
            SuffixedDigest { suffix, digest }
        });
        facts.http = Some(SourceDownload {
            checksum,
            suffixed: suffixed.into_iter().collect(),
        });
    }
}

/// What is decided, and the reasons or the new source.
fn decided(case: &Value) -> (String, Vec<String>) {
    let policy = text(&case["policy"]);
    let source = match policy.as_str() {
        "builtin" => PolicySource {
            name: BUILTIN_NAME.to_owned(),
            text: BUILTIN.into(),
        },
        text => PolicySource {
            name: "policy.rego".to_owned(),
            text: text.into(),
        },
    };
    let environment = PolicyEnvironment {
        args: strings(&case["env"]["args"]),
        labels: strings(&case["env"]["labels"]),
        filename: text(&case["env"]["filename"]),
        target: text(&case["env"]["target"]),
    };
    let mut files = Arc::default();
    let error = |error: PolicyError| ("ERROR".to_owned(), vec![error.to_string()]);
    let policy = match load(&[source], case, &mut files) {
        Ok(policy) => policy,
        Err(wrong) => return error(wrong),
    };
    let source = &case["source"];
    let mut facts = SourceFacts {
        source: BuildSource {
            identifier: text(&source["identifier"]),
            attrs: strings(&source["attrs"]),
        },
        platform: source["platform"]
            .as_str()
            .map(|platform| platform.parse().unwrap()),
        ..SourceFacts::default()
    };
    let platform = "linux/amd64".parse().unwrap();
    for _ in 0..8 {
        let context = PolicyContext {
            environment: &environment,
            platform: Some(&platform),
            files: &files,
        };
        match policy.check(&facts, &context) {
            Err(wrong) => return error(wrong),
            Ok(Checked::Needs(needs)) => known_files(case, needs, &mut files),
            Ok(Checked::Done(SourceAnswer::Ask(asked), _)) => {
                if case["known"].is_null() {
                    return ("ASK".to_owned(), Vec::new());
                }
                answered(&mut facts, &case["known"], &asked);
            }
            Ok(Checked::Done(SourceAnswer::Decided(decision), _)) => {
                return match decision {
                    SourceDecision::Allow => ("ALLOW".to_owned(), Vec::new()),
                    SourceDecision::Deny(mut reasons) => {
                        reasons.sort();
                        ("DENY".to_owned(), reasons)
                    }
                    SourceDecision::Convert(source) => {
                        ("CONVERT".to_owned(), vec![source.identifier])
                    }
                };
            }
        }
    }
    ("ENDLESS".to_owned(), Vec::new())
}

#[test]
fn decisions_are_those_of_buildx() {
    let vectors = vectors();
    let cases = vectors["decisions"].as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let (name, want) = (text(&case["name"]), &case["want"]);
        let other = OTHER_DECISIONS.iter().find(|(case, _)| *case == name);
        let action = match other {
            Some((_, action)) => (*action).to_owned(),
            None if want["error"] == true => "ERROR".to_owned(),
            None if want["asks"] == true => "ASK".to_owned(),
            None => text(&want["action"]),
        };
        let (decision, detail) = decided(case);
        let deny = want["deny"].as_array().into_iter().flatten().map(text);
        let mut expected: Vec<String> = deny.collect();
        expected.extend(want["update"].as_str().map(str::to_owned));
        // The words of buildx's own policy are not repeated.
        let is_same_detail =
            detail == expected || case["policy"] == "builtin" || decision == "ERROR";
        if decision != action || !is_same_detail {
            wrong.push(format!(
                "{name}: {decision} {detail:?}, not {action} {expected:?}"
            ));
        }
    }
    assert_all_right(&wrong, cases.len());
}

#[track_caller]
fn assert_all_right(wrong: &[String], cases: usize) {
    let count = wrong.len();
    assert!(
        wrong.is_empty(),
        "{count} of {cases}:\n{}",
        wrong.join("\n")
    );
}

/// The value of `data.t.x`, `undefined` or `error`.
fn evaluated(case: &Value) -> Result<String, String> {
    let source = PolicySource {
        name: "m.rego".to_owned(),
        text: format!("package t\n{}", text(&case["module"])).into(),
    };
    let mut files = Arc::default();
    let policy = load(&[source], case, &mut files).map_err(|error| error.to_string())?;
    let described = Described {
        input: case["input"].clone(),
        ..Described::default()
    };
    let evaluated = policy.evaluate("data.t.x", described, &files);
    let evaluated = evaluated.map_err(|error| error.to_string())?;
    if evaluated.value == regorus::Value::Undefined {
        return Ok("undefined".to_owned());
    }
    let json: Value = serde_json::from_str(&evaluated.value.to_json_str().unwrap()).unwrap();
    Ok(json.to_string())
}

#[test]
fn modules_have_the_values_of_opa() {
    let vectors = vectors();
    let cases = vectors["rego"].as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let (name, want) = (text(&case["name"]), &case["want"]);
        let expected = if want["error"] == true {
            "error".to_owned()
        } else if want["undefined"] == true {
            "undefined".to_owned()
        } else {
            want["value"].to_string()
        };
        let expected = match OTHER_VALUES.iter().find(|(case, _)| *case == name) {
            Some((_, value)) => (*value).to_owned(),
            None => expected,
        };
        let got = evaluated(case);
        if got.as_deref().unwrap_or("error") != expected {
            wrong.push(format!("{name}: {got:?}, not {expected}"));
        }
    }
    assert_all_right(&wrong, cases.len());
}

fn policy_of(rules: &str) -> Result<Policy, PolicyError> {
    let source = PolicySource {
        name: "policy.rego".to_owned(),
        text: format!("package docker\n\n{rules}\n\ndecision := {{\"allow\": true}} if allow\n")
            .into(),
    };
    load(&[source], &Value::Null, &mut Arc::default())
}

fn checked(policy: &Policy) -> Result<Checked<SourceAnswer>, PolicyError> {
    let facts = SourceFacts {
        source: BuildSource {
            identifier: "local://context".to_owned(),
            ..BuildSource::default()
        },
        ..SourceFacts::default()
    };
    let (environment, files) = (PolicyEnvironment::default(), Arc::default());
    let context = PolicyContext {
        environment: &environment,
        platform: None,
        files: &files,
    };
    policy.check(&facts, &context)
}

#[test]
fn brackets_that_take_long_to_read_are_refused() {
    let rules = format!(
        "x := {}{}\n\nallow if true",
        "[".repeat(200),
        "]".repeat(200)
    );
    let reason = policy_of(&rules).unwrap_err().to_string();
    assert!(reason.contains("nested more than"), "{reason}");
}

#[test]
fn deep_expressions_do_not_overflow_the_stack() {
    for rules in [
        format!("allow if data{} == 1", ".a".repeat(20_000)),
        format!("allow if data.x{} == 1", "[1]".repeat(9_000)),
        format!("allow if {}1 == 1", "-".repeat(20_000)),
        format!("allow if 1{} == 1", " +\n1".repeat(9_000)),
        format!("allow if false{}", " with input.x as 1".repeat(3_000)),
        format!(
            "x := 1 if false{}\n\nallow if x",
            "\nelse := 2 if false".repeat(9_000)
        ),
    ] {
        // Any answer but a crash will do.
        if let Ok(policy) = policy_of(&rules) {
            let _ = checked(&policy);
        }
    }
}

#[test]
fn evaluations_are_limited() {
    let doubled: Vec<String> = (1..40)
        .map(|at| {
            format!(
                "a{at} := concat(\"\", [a{before}, a{before}])",
                before = at - 1
            )
        })
        .collect();
    let doubled = doubled.join("\n\n");
    for rules in [
        "allow if count(numbers.range(1, 1000000000000)) > 0".to_owned(),
        "allow if bits.lsh(1, 1000000000000) > 0".to_owned(),
        format!("a0 := \"aaaaaaaa\"\n\n{doubled}\n\nallow if a39 != \"\""),
    ] {
        let policy = policy_of(&rules).unwrap();
        let reason = checked(&policy).unwrap_err().to_string();
        assert!(reason.contains("cannot be evaluated"), "{reason}");
    }
    let endless = "n := numbers.range(1, 100000)\n\nallow if count([1 | n[_]; n[_]; n[_]]) > 0";
    let policy = policy_of(endless).unwrap();
    let limit = regorus::utils::limits::ExecutionTimerConfig {
        limit: std::time::Duration::from_millis(20),
        check_interval: std::num::NonZeroU32::MIN,
    };
    policy
        .engine
        .lock()
        .unwrap()
        .set_execution_timer_config(limit);
    let reason = checked(&policy).unwrap_err().to_string();
    assert!(reason.contains("time limit"), "{reason}");
}

#[test]
fn errors_name_the_place() {
    for (rules, place) in [
        (
            "allow if http.send({})",
            "policy.rego:3: there is no function `http.send`",
        ),
        (
            "allow if strings.render_template(\"\", {}) == \"\"",
            "rbake does not support the function",
        ),
        ("allow if {", "policy.rego"),
        (
            "import data.nothing\n\nallow if nothing.x",
            "there is no `nothing.rego`",
        ),
    ] {
        let reason = policy_of(rules).unwrap_err().to_string();
        assert!(reason.contains(place), "{reason}");
    }
}

#[test]
fn signatures_that_cannot_be_checked_allow_nothing() {
    let facts = SourceFacts {
        source: BuildSource {
            identifier: "docker-image://docker.io/library/a:1".to_owned(),
            ..BuildSource::default()
        },
        platform: Some("linux/amd64".parse().unwrap()),
        image: Some(SourceImage {
            digest: "sha256:a".to_owned(),
            config: Some("{}".into()),
            attestations: Some(SourceAttestations {
                manifest: "sha256:b".to_owned(),
                signatures: vec!["sha256:c".to_owned()],
                ..SourceAttestations::default()
            }),
        }),
        ..SourceFacts::default()
    };
    let (environment, files) = (PolicyEnvironment::default(), Arc::default());
    let context = PolicyContext {
        environment: &environment,
        platform: None,
        files: &files,
    };
    for rules in [
        "allow if not input.image.signatures",
        "allow if {\n\tsome s in input.image.signatures\n\ts.kind\n}",
    ] {
        let policy = policy_of(rules).unwrap();
        let reason = policy.check(&facts, &context).unwrap_err().to_string();
        assert!(reason.contains("input.image.signatures"), "{reason}");
    }
    assert!(
        policy_of("allow if true")
            .unwrap()
            .check(&facts, &context)
            .is_ok()
    );
}

#[test]
fn capabilities_are_asked_for_without_a_source() {
    let policy = "package docker\n\ndecision := {\"allow\": false, \"caps\": {\"exec.proxy\": input.env.capsRequest}} if input.env.args.MODE == \"prod\"\n";
    let source = PolicySource {
        name: "policy.rego".to_owned(),
        text: policy.into(),
    };
    let mut files = Arc::default();
    let policy = load(&[source], &Value::Null, &mut files).unwrap();
    let mut environment = PolicyEnvironment::default();
    environment
        .args
        .insert("MODE".to_owned(), "prod".to_owned());
    let wants = policy.wants_proxy(&environment, &files).unwrap();
    assert_eq!(wants, Checked::Done(true, Vec::new()));
    environment.args.clear();
    assert!(policy.wants_proxy(&environment, &files).is_err());
}
