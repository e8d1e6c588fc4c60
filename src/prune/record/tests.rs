use super::*;

fn header() -> PruneHeader {
    PruneHeader {
        run: "20261128T223000Z-0a1b2c3d".parse().unwrap(),
        started: "2026-11-28T22:30:00Z".parse().unwrap(),
        repository: ImageRepository::of(&"h.example:5000/a/b".parse().unwrap()),
        plan: Digest::sha256(b"plan"),
        older_than: "2026-11-27T22:30:00Z".parse().unwrap(),
    }
}

fn deletion(bytes: &[u8]) -> RecordedStep {
    RecordedStep {
        act: PruneAct::DeleteManifest,
        digest: Digest::sha256(bytes),
        tags: ["a", "b"].map(|tag| tag.parse().unwrap()).into(),
        manifest: Some(DeletedManifest {
            media_type: "application/vnd.example+json".to_owned(),
            bytes: bytes.to_owned(),
        }),
        outcome: None,
    }
}

fn untagging() -> RecordedStep {
    let tag: ImageTag = "old".parse().unwrap();
    RecordedStep {
        act: PruneAct::RemoveTag(tag.clone()),
        tags: [tag].into(),
        manifest: None,
        ..deletion(b"kept")
    }
}

fn planned() -> Vec<PruneEvent> {
    let steps = [untagging(), deletion(b"index"), deletion(b"child")];
    steps.map(|step| PruneEvent::Planned(Box::new(step))).into()
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let mut record = PruneRecord::new(header());
    let mut text = header_line(&header());
    let later = [
        PruneEvent::Ended(0, StepOutcome::Done),
        PruneEvent::Ended(1, StepOutcome::Failed),
        PruneEvent::Status(PruneStatus::Partial),
    ];
    text += &event_lines(&planned(), 0);
    text += &event_lines(&later, 3);
    for event in planned().into_iter().chain(later) {
        record.apply(event).unwrap();
    }
    assert_eq!(fold(text.as_bytes()).unwrap(), (record, text.len()));
}

#[test]
fn a_line_that_a_crash_cut_is_ignored() {
    let text = header_line(&header()) + &event_lines(&planned(), 0);
    for end in 1..text.len() {
        let cut = fold(&text.as_bytes()[..end]);
        match cut {
            Ok((record, whole)) => {
                assert!(whole <= end);
                assert!(text.as_bytes()[..whole].ends_with(b"\n"));
                assert!(record.steps.len() <= 3);
            }
            Err(error) => assert!(matches!(error, PruneRecordError::Empty), "{error}"),
        }
    }
}

#[test]
fn an_edited_manifest_is_refused() {
    let text = header_line(&header()) + &event_lines(&planned(), 0);
    let edited = text.replace("aW5kZXg=", "aW5kZXk=");
    assert_ne!(text, edited);
    let error = fold(edited.as_bytes()).unwrap_err();
    assert!(
        matches!(error, PruneRecordError::Field("manifest")),
        "{error}"
    );
}

#[test]
fn only_manifests_that_may_still_be_there_are_left() {
    let mut record = PruneRecord::new(header());
    for event in planned() {
        record.apply(event).unwrap();
    }
    let left = |record: &PruneRecord| record.left().cloned().collect::<Vec<_>>();
    let (index, child) = (Digest::sha256(b"index"), Digest::sha256(b"child"));
    assert_eq!(left(&record), [index, child.clone()]);
    record
        .apply(PruneEvent::Ended(1, StepOutcome::Done))
        .unwrap();
    assert_eq!(left(&record), [child]);
    record
        .apply(PruneEvent::Status(PruneStatus::Complete))
        .unwrap();
    assert_eq!(left(&record), []);
}
