use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use test_case::test_case;

use super::lines::JournalFormatError;
use super::run_id::InvalidRunId;
use super::*;
use crate::types::Clock;

pub(super) fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

pub(super) fn tag(number: usize) -> PublishedTag {
    PublishedTag::parse("docker.io/a/b", &format!("t{number}")).unwrap()
}

pub(super) fn header() -> JournalHeader {
    let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_905_000));
    let (run, started) = RunId::new(&clock).unwrap();
    JournalHeader {
        run,
        started,
        rbake: "0.1.0".to_owned(),
        revision: Some("ab".repeat(20).parse().unwrap()),
        origin: RunOrigin::Build,
        backwards: false,
    }
}

pub(super) fn entry(class: TagClass, was: Option<&str>, to: &str) -> JournalEntry {
    JournalEntry {
        class,
        was: was.map(digest),
        to: digest(to),
        state: EntryState::Planned,
    }
}

/// An immutable tag that is made, and a mutable one that is planned.
pub(super) fn half_done() -> Journal {
    let mut journal = Journal::new(header());
    let events = [
        JournalEvent::Planned(tag(0), entry(TagClass::Mutable, Some("old"), "new")),
        JournalEvent::Planned(tag(1), entry(TagClass::Immutable, None, "new")),
        JournalEvent::Marked(tag(1), EntryState::Done),
        JournalEvent::Status(RunStatus::Moving),
    ];
    for event in events {
        journal.apply(event).unwrap();
    }
    journal
}

#[test]
fn names_of_runs_sort_by_time_and_are_legal_in_tags() {
    let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_905_000));
    let (first, started) = RunId::new(&clock).unwrap();
    assert!(first.as_str().starts_with("20261128T223000Z-"), "{first}");
    assert_eq!(started.to_string(), "2026-11-28T22:30:00Z");
    clock.advance(Duration::from_secs(1));
    assert!(RunId::new(&clock).unwrap().0 > first);
    assert_ne!(RunId::new(&clock).unwrap().0, RunId::new(&clock).unwrap().0);
    assert_eq!(
        first.older_by(jiff::SignedDuration::from_mins(2)),
        "20261128T222800Z"
    );
    clock.advance(Duration::from_millis(1));
    let second = RunId::new(&clock).unwrap().0;
    clock.advance(Duration::from_millis(998));
    assert!(RunId::new(&clock).unwrap().0 > second);
    let tag = artifact::tag_of(&first);
    assert!(crate::types::reference::is_legal_tag(&tag));
    assert_eq!(artifact::run_of(&tag), Some(first));
    for wrong in [
        "",
        "20261128T223000Z",
        "20261128T223000Z-0A1B2C3D",
        "20261128T223000Z-../../ab",
    ] {
        assert_eq!(wrong.parse::<RunId>(), Err(InvalidRunId), "{wrong}");
        assert_eq!(artifact::run_of(&format!("rbake-run-{wrong}")), None);
    }
}

#[test_case("docker.io/a/b", "x", Some("docker.io/a/b:x"); "normal form")]
#[test_case("alpine", "3", Some("docker.io/library/alpine:3"); "short form")]
#[test_case("localhost:5000/a", "x", Some("localhost:5000/a:x"); "with a port")]
#[test_case("a/b", "x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", None; "a digest in the tag")]
#[test_case("a/b:c", "x", None; "a tag in the repository")]
#[test_case("a/b", "../x", None; "a path")]
#[test_case("a/b", "", None; "no tag")]
fn tags_are_parsed_with_their_repository(repository: &str, tag: &str, expected: Option<&str>) {
    let found = PublishedTag::parse(repository, tag).ok();
    assert_eq!(found.map(|found| found.to_string()).as_deref(), expected);
}

#[test]
fn lines_are_plain_json_and_give_the_same_journal() {
    let journal = half_done();
    let mut text = lines::header_line(&journal.header);
    for (tag, entry) in &journal.entries {
        text += &lines::event_line(&JournalEvent::Planned(tag.clone(), entry.clone()));
        if entry.state != EntryState::Planned {
            text += &lines::event_line(&JournalEvent::Marked(tag.clone(), entry.state));
        }
    }
    text += &lines::event_line(&JournalEvent::Status(journal.status));
    let run = &journal.header.run;
    let new = digest("new");
    let first: Vec<&str> = text.lines().collect();
    assert_eq!(
        first[0],
        format!(
            r#"{{"journal":1,"run":"{run}","started":"2026-11-28T22:30:00Z","rbake":"0.1.0","revision":"{}"}}"#,
            "ab".repeat(20)
        )
    );
    assert_eq!(
        first[2],
        format!(
            r#"{{"state":"planned","image":"docker.io/a/b","tag":"t1","class":"immutable","was":null,"to":"{new}"}}"#
        )
    );
    assert_eq!(
        first[3],
        r#"{"state":"done","image":"docker.io/a/b","tag":"t1"}"#
    );
    let (read, length) = lines::fold(text.as_bytes()).unwrap();
    assert_eq!((read, length), (journal, text.len()));
}

#[test_case("" => matches Err(JournalFormatError::Empty); "nothing")]
#[test_case("{\"journal\":1," => matches Err(JournalFormatError::Empty); "half a header")]
#[test_case("{\"journal\":2}\n" => matches Err(JournalFormatError::Version(2)); "a newer version")]
#[test_case("{\"journal\":1}\n" => matches Err(JournalFormatError::Field("run")); "no run")]
#[test_case("HEADER{\"state\":\"lost\"}\n" => matches Err(JournalFormatError::Field("state")); "an unknown state")]
#[test_case("HEADER{\"state\":\"done\",\"image\":\"a\",\"tag\":\"b\"}\n" => matches Err(JournalFormatError::Event(_)); "a change that was not planned")]
#[test_case("HEADERx\n{\"status\":\"open\"}\n" => matches Err(JournalFormatError::Line(2, _)); "a damaged line")]
#[test_case("HEADER{\"status\":\"held\"}\n{\"status\":" => matches Ok(RunStatus::Held); "half a line at the end")]
#[test_case("HEADER{\"status\":\"held\"}\n{\"status\":\"open\"}" => matches Ok(RunStatus::Held); "a line without its end")]
#[test_case("HEADER{\"status\":\"held\"}\n\0\0\0" => matches Ok(RunStatus::Held); "zeros at the end")]
fn damaged_journals_are_errors_but_an_unfinished_line_is_ignored(
    text: &str,
) -> Result<RunStatus, JournalFormatError> {
    let text = text.replace("HEADER", &lines::header_line(&header()));
    let (journal, whole) = lines::fold(text.as_bytes())?;
    assert!(text[..whole].ends_with('\n'));
    Ok(journal.status)
}

#[test]
fn an_artifact_gives_the_same_journal() {
    let mut journal = half_done();
    journal.status = RunStatus::Held;
    let bytes = artifact::encode(&journal, None).unwrap();
    let read = artifact::decode(&bytes).unwrap();
    assert_eq!((&read.journal, &read.settled), (&journal, &None));
    let settled = artifact::encode(&journal, Some(&journal.header.run)).unwrap();
    let read = artifact::decode(&settled).unwrap();
    assert_eq!(read.settled.as_ref(), Some(&journal.header.run));
    assert_eq!(bytes, artifact::encode(&journal, None).unwrap());
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(manifest["artifactType"], artifact::ARTIFACT_TYPE);
    let empty = Digest::sha256(artifact::EMPTY_BLOB);
    assert_eq!(artifact::EMPTY_DIGEST, empty.as_str());
    assert_eq!(manifest["config"]["digest"], artifact::EMPTY_DIGEST);
}

#[test]
fn an_artifact_has_a_limited_size() {
    let mut journal = Journal::new(header());
    for at in 0..3_000 {
        let planned = entry(TagClass::Mutable, Some("old"), "new");
        journal
            .apply(JournalEvent::Planned(tag(at), planned))
            .unwrap();
    }
    assert!(artifact::encode(&journal, None).is_ok());
    for at in 3_000..5_000 {
        let planned = entry(TagClass::Mutable, Some("old"), "new");
        journal
            .apply(JournalEvent::Planned(tag(at), planned))
            .unwrap();
    }
    let error = artifact::encode(&journal, None).unwrap_err();
    assert!(matches!(
        error,
        artifact::ArtifactError::TooLarge { entries: 5_000 }
    ));
    let large = vec![b' '; (4 << 20) + 1];
    assert!(artifact::decode(&large).is_err());
    let many = format!(
        r#"{{"artifactType":"{}","annotations":{{"{}":"{{\"journal\":1,\"entries\":[{}0]}}"}}}}"#,
        artifact::ARTIFACT_TYPE,
        artifact::ANNOTATION,
        "0,".repeat(1_000_000),
    );
    assert!(artifact::decode(many.as_bytes()).is_err());
}

#[test]
fn other_artifacts_are_not_journals() {
    let bytes = artifact::encode(&half_done(), None).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [
        ("vnd.rbake.journal.v1", "vnd.other.v1"),
        ("\"vnd.rbake.journal\"", "\"other\""),
        ("sha256:", "sha255:"),
        (r#"\"moving\""#, r#"\"closed\""#),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(artifact::decode(text.replace(from, to).as_bytes()).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic_of_the_readers(text in "(\\{\"(state|journal|status|entries)\":[{\"a1,\\[\\]]{0,9}\\}?\n?){0,4}") {
        let _ = lines::fold(text.as_bytes());
        let _ = lines::fold(format!("{}{text}", lines::header_line(&header())).as_bytes());
        let manifest = serde_json::json!({
            "artifactType": artifact::ARTIFACT_TYPE,
            "annotations": {artifact::ANNOTATION: text},
        });
        let _ = artifact::decode(manifest.to_string().as_bytes());
        let _ = artifact::decode(text.as_bytes());
    }
}

#[test]
fn the_origin_of_a_run_is_read_as_it_was_written() {
    let run = header().run;
    let repository = |text: &str| ImageRepository::of(&text.parse().unwrap());
    let copies = [
        ("r.example/prod/a", "docker.io/dev/a"),
        ("r.example/prod/b", "localhost:5000/b"),
    ];
    let copies = copies
        .map(|(to, from)| (repository(to), repository(from)))
        .into();
    for (origin, backwards) in [
        (RunOrigin::Build, false),
        (RunOrigin::Promotion(run.clone()), true),
        (RunOrigin::Rollback(run), true),
        (RunOrigin::Copy(copies), false),
    ] {
        let header = JournalHeader {
            origin,
            backwards,
            ..header()
        };
        let (read, _) = lines::fold(lines::header_line(&header).as_bytes()).unwrap();
        assert_eq!(read.header, header);
        let journal = Journal::new(header);
        let bytes = artifact::encode(&journal, None).unwrap();
        assert_eq!(artifact::decode(&bytes).unwrap().journal, journal);
    }
    let line = lines::header_line(&header()).replace("\"rbake\"", "\"promotes\":\"x\",\"rbake\"");
    assert!(lines::fold(line.as_bytes()).is_err());
    for copies in [
        r#"[{"from":"r.example/a:latest","to":"r.example/b"}]"#,
        r#"[{"from":"r.example/a","to":"b"}]"#,
        r#"[{"from":"r.example/a"}]"#,
    ] {
        let with = format!("\"copies\":{copies},\"rbake\"");
        let line = lines::header_line(&header()).replace("\"rbake\"", &with);
        assert!(lines::fold(line.as_bytes()).is_err(), "{copies}");
    }
}
