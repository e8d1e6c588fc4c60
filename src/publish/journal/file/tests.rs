use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use super::super::{EntryState, JournalEntry, PublishedTag, RunOrigin, RunStatus};
use super::*;
use crate::publish::class::TagClass;
use crate::types::{Clock, Digest};

fn header(clock: &Clock) -> JournalHeader {
    let (run, started) = RunId::new(clock).unwrap();
    JournalHeader {
        run,
        started,
        rbake: "0.1.0".to_owned(),
        revision: None,
        origin: RunOrigin::Build,
        backwards: false,
    }
}

fn planned() -> JournalEvent {
    let entry = JournalEntry {
        class: TagClass::Mutable,
        was: None,
        to: Digest::sha256(b"new"),
        state: EntryState::Planned,
    };
    JournalEvent::Planned(latest(), entry)
}

fn latest() -> PublishedTag {
    PublishedTag::of(&"a/b".parse().unwrap()).unwrap()
}

fn clock() -> Clock {
    Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_905_000))
}

#[test]
fn each_step_is_in_the_file_when_it_is_recorded() {
    let state = tempfile::tempdir().unwrap();
    let state_dir = state.path().join("a/b");
    let environment = Environment::of([("RBAKE_STATE_DIR", state_dir.to_str().unwrap())], "/");
    let dir = directory(&environment).unwrap();
    assert_eq!(dir, state_dir.join("journals"));
    assert_eq!(directory(&Environment::of([], "/")), None);
    let mut journal = JournalFile::create(&dir, header(&clock())).unwrap();
    let run = journal.journal().header.run.clone();
    assert_eq!(read(&dir, &run).unwrap(), *journal.journal());
    journal.record([planned()]).unwrap();
    let done = JournalEvent::Marked(latest(), EntryState::Done);
    journal
        .record([done, JournalEvent::Status(RunStatus::Complete)])
        .unwrap();
    let found = read(&dir, &run).unwrap();
    assert_eq!(found, *journal.journal());
    assert_eq!(found.entries[&latest()].state, EntryState::Done);
    assert_eq!(found.status, RunStatus::Complete);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&path_of(&dir, &run)), 0o600);
}

#[test]
fn steps_that_do_not_fit_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalFile::create(dir.path(), header(&clock())).unwrap();
    let before = journal.journal().clone();
    let done = JournalEvent::Marked(latest(), EntryState::Done);
    let error = journal
        .record([JournalEvent::Status(RunStatus::Held), done])
        .unwrap_err();
    assert!(matches!(error, JournalFileError::Event(_)), "{error}");
    assert_eq!(read(dir.path(), &before.header.run).unwrap(), before);
}

#[test]
fn a_journal_is_continued_after_an_unfinished_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalFile::create(dir.path(), header(&clock())).unwrap();
    journal.record([planned()]).unwrap();
    let run = journal.journal().header.run.clone();
    drop(journal);
    let path = path_of(dir.path(), &run);
    let mut text = std::fs::read(&path).unwrap();
    text.extend_from_slice(b"{\"state\":\"do");
    std::fs::write(&path, text).unwrap();
    let mut journal = JournalFile::reopen(dir.path(), &run).unwrap();
    let undone = JournalEvent::Marked(latest(), EntryState::Undone);
    journal.record([undone]).unwrap();
    let found = read(dir.path(), &run).unwrap();
    assert_eq!(found.entries[&latest()].state, EntryState::Undone);
}

#[test]
fn a_journal_without_a_whole_line_counts_as_absent() {
    let dir = tempfile::tempdir().unwrap();
    let journal = JournalFile::create(dir.path(), header(&clock())).unwrap();
    let run = journal.journal().header.run.clone();
    drop(journal);
    for text in ["", "{\"jour"] {
        std::fs::write(path_of(dir.path(), &run), text).unwrap();
        let error = JournalFile::reopen(dir.path(), &run).unwrap_err();
        assert!(error.is_absent(), "{error:?}");
        assert!(all(dir.path()).is_empty());
    }
    std::fs::write(path_of(dir.path(), &run), "{}\n").unwrap();
    let error = JournalFile::reopen(dir.path(), &run).unwrap_err();
    assert!(!error.is_absent(), "{error:?}");
}

#[test]
fn a_run_that_was_killed_is_known_by_its_free_lock() {
    let dir = tempfile::tempdir().unwrap();
    assert!(unfinished(&dir.path().join("missing")).is_empty());
    let clock = clock();
    let killed = JournalFile::create(dir.path(), header(&clock)).unwrap();
    let killed_run = killed.journal().header.run.clone();
    drop(killed);
    clock.advance(Duration::from_secs(1));
    let running = JournalFile::create(dir.path(), header(&clock)).unwrap();
    let running_run = running.journal().header.run.clone();
    let mut complete = JournalFile::create(dir.path(), header(&clock)).unwrap();
    complete
        .record([JournalEvent::Status(RunStatus::Complete)])
        .unwrap();
    std::fs::write(dir.path().join("20261128T223000Z-00000000.jsonl"), "{").unwrap();
    std::fs::write(dir.path().join("20261128T222900Z-00000000.jsonl"), "{}\n").unwrap();
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let found = unfinished(dir.path());
    let states: Vec<(&RunId, bool, bool)> = found
        .iter()
        .map(|found| (&found.run, found.in_use, found.journal.is_ok()))
        .collect();
    let damaged = "20261128T222900Z-00000000".parse().unwrap();
    let expected = [
        (&running_run, true, true),
        (&killed_run, false, true),
        (&damaged, false, false),
    ];
    assert_eq!(states, expected);
    let in_use = JournalFile::reopen(dir.path(), &running_run).unwrap_err();
    assert!(matches!(in_use, JournalFileError::InUse(_)), "{in_use}");
    drop(running);
    assert!(JournalFile::reopen(dir.path(), &running_run).is_ok());
}

#[test]
fn old_journals_are_removed_unless_something_is_left_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let write = |status: &str| {
        let header = header(&clock);
        let text = format!(
            "{}{{\"status\":\"{status}\"}}\n",
            lines::header_line(&header)
        );
        std::fs::write(path_of(dir.path(), &header.run), text).unwrap();
        clock.advance(Duration::from_secs(1));
        header.run
    };
    let kept = ["open", "held", "undoing"].map(write);
    let removed = [write("complete"), write("undone")];
    let last: Vec<RunId> = (0..KEPT_JOURNALS).map(|_| write("complete")).collect();
    prune(dir.path());
    let left = list(dir.path());
    assert_eq!(left.len(), KEPT_JOURNALS + 3);
    assert!(kept.iter().chain(&last).all(|run| left.contains(run)));
    assert!(!removed.iter().any(|run| left.contains(run)));
}

#[test]
fn links_and_other_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let header = header(&clock());
    let target = dir.path().join("target");
    std::fs::write(&target, "theirs").unwrap();
    std::os::unix::fs::symlink(&target, path_of(dir.path(), &header.run)).unwrap();
    assert!(JournalFile::create(dir.path(), header.clone()).is_err());
    assert!(JournalFile::reopen(dir.path(), &header.run).is_err());
    assert_eq!(std::fs::read(&target).unwrap(), b"theirs");
}
