use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use test_case::test_case;

use super::*;

/// Commits in a line, numbered by their first digit: `1` is the oldest. `f` is on another branch, and `e` is missing.
#[derive(Default)]
struct Line {
    asked: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl History for Line {
    async fn is_ancestor(&self, older: &Revision, newer: &Revision) -> Ancestry {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        match (older.as_str().as_bytes()[0], newer.as_str().as_bytes()[0]) {
            (b'e', _) | (_, b'e') => Ancestry::Unknown,
            (b'f', _) | (_, b'f') => Ancestry::No,
            (older, newer) if older <= newer => Ancestry::Yes,
            _ => Ancestry::No,
        }
    }
}

fn id(first: char) -> String {
    first.to_string().repeat(40)
}

fn commit(first: char) -> CommitState {
    id(first).parse().unwrap()
}

#[test_case("4", Some("3"), TagMove::Forward; "a newer commit")]
#[test_case("4", Some("4"), TagMove::Same; "the same commit")]
#[test_case("4", Some("5"), TagMove::Kept { newer: commit('5').id }; "an older commit")]
#[test_case("4", Some("f"), TagMove::MovesWithNote(MoveNote::Diverged); "another branch")]
#[test_case("4", Some("e"), TagMove::MovesWithNote(MoveNote::UnknownHistory); "a missing commit")]
#[test_case("4", Some("x"), TagMove::MovesWithNote(MoveNote::InvalidRecord); "not a commit")]
#[test_case("4", None, TagMove::MovesWithNote(MoveNote::NoRecord); "no record")]
#[test_case("", Some("4"), TagMove::MovesWithNote(MoveNote::NoRevision); "no commit of ours")]
#[tokio::test(start_paused = true)]
async fn only_an_older_commit_is_refused(ours: &str, recorded: Option<&str>, expected: TagMove) {
    let ours = ours.chars().next().map(commit);
    let recorded = recorded.map(|first| first.repeat(40));
    let recorded = recorded.as_deref();
    let decide = |force| {
        let history = Line::default();
        let ours = ours.clone();
        async move { decide(recorded, ours.as_ref(), force, &history).await }
    };
    assert_eq!(decide(false).await, expected);
    let forced = match expected {
        TagMove::Kept { .. } => TagMove::MovesWithNote(MoveNote::Forced),
        other => other,
    };
    assert_eq!(decide(true).await, forced);
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_noted_and_do_not_make_a_commit_newer() {
    let ours: CommitState = format!("{}-dirty", id('4')).parse().unwrap();
    assert_eq!(ours.to_string(), format!("{}-dirty", id('4')));
    let over = async |recorded: String| {
        decide(Some(&recorded), Some(&ours), false, &Line::default()).await
    };
    let noted = TagMove::MovesWithNote(MoveNote::Dirty);
    assert_eq!(over(id('3')).await, noted);
    assert_eq!(over(id('4')).await, noted);
    assert_eq!(over(format!("{}-dirty", id('4'))).await, noted);
    let kept = TagMove::Kept {
        newer: commit('5').id,
    };
    assert_eq!(over(id('5')).await, kept);
}

#[test]
fn only_whole_ids_in_lower_case_are_revisions() {
    for text in [id('a'), "0".repeat(64)] {
        assert_eq!(text.parse::<Revision>().unwrap().as_str(), text);
    }
    let wrong = [
        String::new(),
        "a".repeat(39),
        "A".repeat(40),
        format!("--{}", "a".repeat(38)),
        format!("{}\n", "a".repeat(39)),
        "ä".repeat(20),
    ];
    for text in wrong {
        assert_eq!(text.parse::<Revision>(), Err(InvalidRevision), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_question_is_asked_once_and_few_at_a_time() {
    let ids: Vec<String> = "12356789".chars().map(id).collect();
    let recorded: Vec<Option<&str>> = ids.iter().chain(&ids).map(|id| Some(id.as_str())).collect();
    let history = CachedHistory::new(Line::default());
    let ours = commit('4');
    let decisions = recorded
        .iter()
        .map(|recorded| decide(*recorded, Some(&ours), false, &history));
    let decisions = futures_util::future::join_all(decisions).await;
    assert_eq!(decisions.len(), 16);
    assert_eq!(decisions[..8], decisions[8..]);
    assert_eq!(decisions[0], TagMove::Forward);
    assert!(matches!(decisions[3], TagMove::Kept { .. }));
    // Three older commits need two questions each, five newer ones need one.
    assert_eq!(history.inner.asked.load(Ordering::SeqCst), 11);
    assert_eq!(history.inner.most.load(Ordering::SeqCst), AT_ONCE);
}

#[test]
fn each_note_ends_a_sentence() {
    let notes = [
        MoveNote::Diverged,
        MoveNote::UnknownHistory,
        MoveNote::NoRecord,
        MoveNote::InvalidRecord,
        MoveNote::NoRevision,
        MoveNote::Dirty,
        MoveNote::Forced,
    ];
    for note in notes {
        let text = format!("`latest` moves, but {}", note.as_str());
        assert!(!text.ends_with('.') && !text.contains("  "), "{text}");
    }
}
