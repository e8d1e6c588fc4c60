use std::num::NonZeroU32;

use proptest::prelude::*;
use test_case::test_case;

use super::*;
use crate::diag::{Spanned, Style, render_all};

fn parse(text: &str) -> Result<SettingsFile, Diagnostics> {
    let mut sources = SourceMap::default();
    let id = sources.add(FILE_NAME, text);
    SettingsFile::parse(text, id)
}

fn settings(text: &str, environment: &Environment, flags: &PublishFlags) -> PublishSettings {
    PublishSettings::resolve(parse(text).unwrap(), environment, flags).unwrap()
}

fn unset() -> Environment {
    Environment::of([], "/")
}

fn texts(patterns: &[TagPattern]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

const WHOLE: &str = "[publish]\nimmutable = [\"build-*\", \"v*.*.*\"]\nmutable = [\"build-latest\"]\nmode = \"buildx\"\nupload = \"builder\"\n";

#[test]
fn all_settings_are_read() {
    let found = settings(WHOLE, &unset(), &PublishFlags::default());
    assert_eq!(texts(&found.immutable), ["build-*", "v*.*.*"]);
    assert_eq!(texts(&found.mutable), ["build-latest"]);
    assert_eq!(found.mode, PublishMode::Buildx);
    assert_eq!(found.upload, UploadMode::Builder);
}

#[test_case(""; "an empty file")]
#[test_case("# a comment\n"; "a comment")]
#[test_case("[publish]\n"; "an empty table")]
#[test_case("publish = {}\n"; "an empty inline table")]
fn the_defaults_apply_to_missing_keys(text: &str) {
    let found = settings(text, &unset(), &PublishFlags::default());
    assert_eq!(found, PublishSettings::default());
}

#[test]
fn variables_replace_the_file_and_flags_replace_both() {
    let environment = Environment::of(
        [
            ("RBAKE_IMMUTABLE_TAGS", " sha-*, ,r-* "),
            ("RBAKE_MUTABLE_TAGS", ""),
            ("RBAKE_PUBLISH", "rbake"),
            ("RBAKE_UPLOAD", " rbake "),
        ],
        "/",
    );
    let found = settings(WHOLE, &environment, &PublishFlags::default());
    assert_eq!(texts(&found.immutable), ["sha-*", "r-*"]);
    assert_eq!(texts(&found.mutable), ["build-latest"]);
    assert_eq!(found.mode, PublishMode::Rbake);
    assert_eq!(found.upload, UploadMode::Rbake);
    let flags = PublishFlags {
        immutable: Some(vec!["a,b".to_owned(), "c".to_owned()]),
        mutable: Some(Vec::new()),
        mode: Some("buildx".to_owned()),
    };
    let found = settings(WHOLE, &environment, &flags);
    assert_eq!(texts(&found.immutable), ["a", "b", "c"]);
    assert!(found.mutable.is_empty());
    assert_eq!(found.mode, PublishMode::Buildx);
}

#[test]
fn all_wrong_variables_and_flags_are_reported_as_usage() {
    let environment = Environment::of([("RBAKE_IMMUTABLE_TAGS", "a/b")], "/");
    let flags = PublishFlags {
        mode: Some("bildx".to_owned()),
        ..PublishFlags::default()
    };
    let problems =
        PublishSettings::resolve(SettingsFile::default(), &environment, &flags).unwrap_err();
    let [pattern, mode] = problems.0.as_slice() else {
        panic!("{problems:?}")
    };
    assert!(pattern.message.starts_with("`RBAKE_IMMUTABLE_TAGS`: `a/b`"));
    assert!(mode.message.starts_with("`--publish` is `bildx`"));
    assert_eq!(mode.help, ["a mode with a similar name exists: `buildx`"]);
    assert!(
        problems
            .0
            .iter()
            .all(|problem| problem.class == Class::Usage)
    );
}

#[test]
fn all_problems_of_a_file_are_shown_at_their_places() {
    let text = "[publish]\nimutable = [\"a\"]\nimmutable = [\"a:b\", 7]\nmutable = \"x\"\nmode = \"docker\"\n[gates]\n";
    let mut sources = SourceMap::default();
    let id = sources.add(FILE_NAME, text);
    let problems = SettingsFile::parse(text, id).unwrap_err();
    let lines: Vec<(&str, usize)> = problems
        .0
        .iter()
        .map(|problem| {
            let span = problem.labels[0].span;
            (problem.code, sources.position(id, span.start).unwrap().0)
        })
        .collect();
    let expected = [
        ("settings::unknown-key", 6),
        ("settings::unknown-key", 2),
        ("settings::wrong-type", 3),
        ("settings::invalid-value", 3),
        ("settings::wrong-type", 4),
        ("settings::invalid-value", 5),
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        problems.0[1].help,
        ["a setting with a similar name exists: `immutable`"]
    );
    let shown = render_all(&problems, &sources, Style::default());
    assert!(shown.contains("rbake.toml:2:1"), "{shown}");
}

const GATE: &str = "[gate]\ntargets = [\"check\"]\nimages = [\"test\"]\nrun = \"make test\"\nsave-to = \"reports\"\n[gate.save]\ncheck = [\"/tmp/*.xml\", \"/app/html\"]\n";

#[test]
fn gates_are_read_with_their_places() {
    let gate = parse(GATE).unwrap().gate;
    let texts = |list: &[Spanned<String>]| -> Vec<String> {
        list.iter().map(|text| text.value.clone()).collect()
    };
    assert_eq!(texts(&gate.targets), ["check"]);
    assert_eq!(texts(&gate.images), ["test"]);
    let run = gate.run.unwrap();
    assert_eq!(run.value, "make test");
    assert_eq!(&GATE[run.span.unwrap().range()], "\"make test\"");
    assert_eq!(gate.save_to.unwrap().value, "reports");
    let patterns: Vec<String> = gate.save["check"].iter().map(ToString::to_string).collect();
    assert_eq!(patterns, ["/tmp/*.xml", "/app/html"]);
}

#[test_case("target = [\"a\"]", "settings::unknown-key", "a setting with a similar name exists: `targets`"; "an unknown key")]
#[test_case("run = 7", "settings::wrong-type", ""; "a command that is a number")]
#[test_case("run = [\"a\"]", "settings::wrong-type", ""; "a command that is a list")]
#[test_case("run = \" \"", "settings::invalid-value", ""; "an empty command")]
#[test_case("save = [\"/a\"]", "settings::wrong-type", ""; "files without a target")]
#[test_case("save = { check = \"/a\" }", "settings::wrong-type", ""; "a text instead of a list")]
#[test_case("save = { check = [\"a/b\"] }", "settings::invalid-value", ""; "a relative path")]
fn wrong_gates_are_errors_at_their_places(text: &str, code: &str, help: &str) {
    let text = format!("[gate]\n{text}\n");
    let mut sources = SourceMap::default();
    let id = sources.add(FILE_NAME, text.as_str());
    let problem = SettingsFile::parse(&text, id).unwrap_err().0.remove(0);
    assert_eq!(problem.code, code);
    assert_eq!(
        sources
            .position(id, problem.labels[0].span.start)
            .unwrap()
            .0,
        2
    );
    assert_eq!(problem.help.first().map_or("", |help| help), help);
}

#[test]
fn a_file_may_limit_the_targets_that_are_solved_at_once() {
    let found = |text| parse(text).unwrap().build.jobs.map(NonZeroU32::get);
    assert_eq!(found("[build]\njobs = 4\n"), Some(4));
    assert_eq!(found("build = { jobs = 1 }\n"), Some(1));
    assert_eq!(found("[build]\n"), None);
    let keeps = |text| parse(text).unwrap().build.keeps_going;
    assert_eq!(keeps("[build]\nkeep-going = true\n"), Some(true));
    assert_eq!(keeps("[build]\njobs = 1\n"), None);
    let verifies = |text| parse(text).unwrap().build.verifies_context;
    assert_eq!(verifies("[build]\nverify-context = false\n"), Some(false));
    assert_eq!(verifies("[build]\njobs = 1\n"), None);
    for text in ["", "0", "+1", "-1", "1.5", "4294967296", "many"] {
        assert!(parse_jobs(text).is_err(), "{text}");
    }
}

#[test]
fn a_file_may_say_that_nothing_is_salvaged() {
    let found = |text| parse(text).unwrap().salvages;
    assert_eq!(found("[cache]\nsalvage = false\n"), Some(false));
    assert_eq!(found("cache = { salvage = true }\n"), Some(true));
    assert_eq!(found("[cache]\n"), None);
}

#[test_case("cache = 3\n", "settings::wrong-type"; "the cache is not a table")]
#[test_case("[cache]\nsalvage = \"no\"\n", "settings::wrong-type"; "a text")]
#[test_case("[cache]\nsalvages = true\n", "settings::unknown-key"; "an unknown key of the cache")]
#[test_case("build = 3\n", "settings::wrong-type"; "the build is not a table")]
#[test_case("[build]\njobs = 0\n", "settings::invalid-value"; "no job")]
#[test_case("[build]\njobs = -1\n", "settings::invalid-value"; "a negative number of jobs")]
#[test_case("[build]\njobs = 4294967296\n", "settings::invalid-value"; "too many jobs")]
#[test_case("[build]\njobs = \"4\"\n", "settings::wrong-type"; "jobs as a text")]
#[test_case("[build]\nkeep-going = 1\n", "settings::wrong-type"; "keep-going as a number")]
#[test_case("[build]\nverify-context = \"yes\"\n", "settings::wrong-type"; "verify-context as a text")]
#[test_case("[build]\njob = 4\n", "settings::unknown-key"; "an unknown key of the build")]
#[test_case("publish = 3\n", "settings::wrong-type"; "not a table")]
#[test_case("[[publish]]\n", "settings::wrong-type"; "an array of tables")]
#[test_case("[publish]\nupload = \"bilder\"\n", "settings::invalid-value"; "an unknown uploader")]
#[test_case("[publish]\nmode = [\"rbake\"]\n", "settings::wrong-type"; "mode is a list")]
#[test_case("[publish\n", "settings::syntax"; "not TOML")]
#[test_case("[publish]\nmode = \"rbake\"\nmode = \"rbake\"\n", "settings::syntax"; "a key twice")]
fn wrong_files_are_errors(text: &str, code: &str) {
    let problems = parse(text).unwrap_err();
    assert_eq!(problems.0[0].code, code);
    assert!(!problems.0[0].labels.is_empty());
}

#[test]
fn the_numbers_of_patterns_and_problems_are_limited() {
    let list = |count: usize| format!("[publish]\nimmutable = [{}]\n", "\"a\",".repeat(count));
    assert!(parse(&list(PATTERN_LIMIT)).is_ok());
    let problems = parse(&list(PATTERN_LIMIT + 1)).unwrap_err();
    assert_eq!(problems.0[0].code, "settings::limit");
    let numbers = format!("[publish]\nimmutable = [{}]\n", "1,".repeat(PATTERN_LIMIT));
    assert_eq!(parse(&numbers).unwrap_err().0.len(), PROBLEM_LIMIT);
    let flags = PublishFlags {
        mutable: Some(vec!["a,".repeat(PATTERN_LIMIT + 1)]),
        ..PublishFlags::default()
    };
    let problems = PublishSettings::resolve(SettingsFile::default(), &unset(), &flags);
    assert_eq!(problems.unwrap_err().0[0].code, "settings::limit");
}

#[test]
fn only_small_regular_text_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let read = || SettingsFile::read(&path, FILE_NAME, &mut SourceMap::default());
    assert_eq!(read(), Ok(SettingsFile::default()));
    std::fs::write(&path, format!("\u{feff}{WHOLE}")).unwrap();
    assert_eq!(read(), parse(WHOLE));
    for content in [
        b"\xff\xfe[\0".to_vec(),
        b"\xff".to_vec(),
        vec![b'#'; 65_537],
    ] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(read().unwrap_err().0[0].code, "settings::unreadable");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(read().unwrap_err().0[0].code, "settings::unreadable");
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in "(\\[(publish|gate|gate.save)\\]\n)?[a-z\"'=\\[\\]{}., \n0-9\u{1b}]{0,80}") {
        if let Err(problems) = parse(&text) {
            let raw = problems.0.iter().any(|problem| problem.message.contains('\u{1b}'));
            prop_assert!(!raw);
        }
    }
}
