use proptest::prelude::*;

use super::super::tests::{digest, entry, half_done, header, tag};
use super::super::{JournalEvent, lines};
use super::*;

fn now(tags: [(usize, Option<&str>); 2]) -> TagsNow {
    tags.into_iter()
        .map(|(at, text)| (tag(at), text.map(digest)))
        .collect()
}

fn changed(recovery: &Recovery) -> Vec<(&str, Option<&Digest>)> {
    let changes = recovery.changes.iter();
    changes
        .map(|change| (change.tag.tag().as_str(), change.to.as_ref()))
        .collect()
}

#[test]
fn a_run_that_was_interrupted_is_finished_or_taken_back() {
    let journal = half_done();
    let before = now([(0, Some("old")), (1, Some("new"))]);
    assert_eq!(
        changed(&resume(&journal, &before).unwrap()),
        [("t0", Some(&digest("new")))]
    );
    // The tag that the run made is removed. The other one was not moved yet.
    let back = undo(&journal, &before);
    assert_eq!(changed(&back), [("t1", None)]);
    assert_eq!(back.reached, [tag(0)]);
    // The change was made, but not recorded.
    let after = now([(0, Some("new")), (1, Some("new"))]);
    assert_eq!(resume(&journal, &after).unwrap().reached, [tag(0)]);
    // The mutable tag goes back first.
    assert_eq!(
        changed(&undo(&journal, &after)),
        [("t0", Some(&digest("old"))), ("t1", None)]
    );
}

#[test]
fn tags_that_somebody_else_moved_are_reported() {
    let journal = half_done();
    let other = now([(0, Some("other")), (1, None)]);
    let found = resume(&journal, &other).unwrap();
    assert_eq!(found.elsewhere, [(tag(0), Some(digest("other")))]);
    assert!(found.changes.is_empty());
    let found = undo(&journal, &other);
    assert_eq!(found.elsewhere, [(tag(0), Some(digest("other")))]);
    assert_eq!(found.reached, [tag(1)]);
    let found = undo(&journal, &TagsNow::new());
    assert_eq!(found.unknown, [tag(0), tag(1)]);
}

#[test]
fn the_order_of_a_plan_does_not_depend_on_the_order_of_the_journal() {
    let journal = half_done();
    let mut reversed = journal.clone();
    reversed.entries.reverse();
    for journal in [&journal, &reversed] {
        let other = now([(0, Some("other")), (1, Some("another"))]);
        let found = undo(journal, &other);
        let tags: Vec<_> = found.elsewhere.iter().map(|(tag, _)| tag).collect();
        assert_eq!(tags, [&tag(0), &tag(1)]);
    }
}

#[test]
fn a_held_run_is_not_resumed() {
    let mut journal = half_done();
    journal.status = RunStatus::Held;
    let before = now([(0, Some("old")), (1, Some("new"))]);
    assert_eq!(resume(&journal, &before), None);
}

#[test]
fn a_run_without_all_its_changes_written_down_is_taken_back() {
    let mut journal = half_done();
    journal.status = RunStatus::Open;
    let before = now([(0, Some("old")), (1, Some("new"))]);
    let found = resume(&journal, &before).unwrap();
    assert_eq!(found.direction, RecoveryDirection::Back);
    assert_eq!(found, undo(&journal, &before));
}

/// The process was killed.
struct Killed;

/// The file of a journal and a registry, which a process changes step by step until it is killed.
struct World {
    text: Vec<u8>,
    registry: TagsNow,
    steps_left: usize,
    /// How much of a line is written if the process is killed there.
    torn: usize,
}

impl World {
    fn step(&mut self) -> Result<(), Killed> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Killed)?;
        Ok(())
    }

    fn write(&mut self, line: &str) -> Result<(), Killed> {
        let step = self.step();
        let length = if step.is_ok() {
            line.len()
        } else {
            self.torn.min(line.len())
        };
        self.text.extend_from_slice(&line.as_bytes()[..length]);
        step
    }

    fn record(&mut self, event: &JournalEvent) -> Result<(), Killed> {
        self.write(&lines::event_line(event))
    }

    fn set(&mut self, tag: &PublishedTag, to: Option<Digest>) -> Result<(), Killed> {
        self.step()?;
        self.registry.insert(tag.clone(), to);
        Ok(())
    }

    /// Makes the immutable tags one by one, and then moves the mutable ones.
    fn publish(&mut self, plan: &[(JournalEntry, bool)]) -> Result<(), Killed> {
        self.write(&lines::header_line(&header()))?;
        let of_class = |class| {
            plan.iter()
                .enumerate()
                .filter(move |(_, (entry, _))| entry.class == class)
        };
        for (at, (entry, kept)) in of_class(TagClass::Immutable) {
            self.record(&JournalEvent::Planned(tag(at), entry.clone()))?;
            self.make(at, entry, *kept)?;
        }
        for (at, (entry, _)) in of_class(TagClass::Mutable) {
            self.record(&JournalEvent::Planned(tag(at), entry.clone()))?;
        }
        self.record(&JournalEvent::Status(RunStatus::Moving))?;
        for (at, (entry, kept)) in of_class(TagClass::Mutable) {
            self.make(at, entry, *kept)?;
        }
        self.record(&JournalEvent::Status(RunStatus::Complete))
    }

    fn make(&mut self, at: usize, entry: &JournalEntry, kept: bool) -> Result<(), Killed> {
        if kept {
            return self.record(&JournalEvent::Marked(tag(at), EntryState::Kept));
        }
        self.set(&tag(at), Some(entry.to.clone()))?;
        self.record(&JournalEvent::Marked(tag(at), EntryState::Done))
    }

    /// Finishes the run or takes it back. Returns the number of changes.
    fn recover(&mut self, back: bool) -> Result<usize, Killed> {
        let Ok((journal, whole)) = lines::fold(&self.text) else {
            return Ok(0);
        };
        self.text.truncate(whole);
        let recovery = if back {
            Some(undo(&journal, &self.registry))
        } else {
            resume(&journal, &self.registry)
        };
        let Some(recovery) = recovery else {
            return Ok(0);
        };
        let (state, begun, ended) = match recovery.direction {
            RecoveryDirection::Forward => {
                (EntryState::Done, RunStatus::Moving, RunStatus::Complete)
            }
            RecoveryDirection::Back => (EntryState::Undone, RunStatus::Undoing, RunStatus::Undone),
        };
        self.record(&JournalEvent::Status(begun))?;
        for change in &recovery.changes {
            assert_eq!(self.registry[&change.tag], change.now);
            self.set(&change.tag, change.to.clone())?;
            self.record(&JournalEvent::Marked(change.tag.clone(), state))?;
        }
        for tag in &recovery.reached {
            self.record(&JournalEvent::Marked(tag.clone(), state))?;
        }
        if recovery.elsewhere.is_empty() {
            self.record(&JournalEvent::Status(ended))?;
        }
        Ok(recovery.changes.len())
    }
}

fn plans() -> impl Strategy<Value = Vec<(JournalEntry, bool)>> {
    let class = any::<bool>().prop_map(|immutable| {
        if immutable {
            TagClass::Immutable
        } else {
            TagClass::Mutable
        }
    });
    let was = prop::option::of(prop_oneof![Just("old"), Just("older"), Just("new")]);
    let planned = (class, was, prop::bool::weighted(0.1))
        .prop_map(|(class, was, kept)| (entry(class, was, "new"), kept));
    prop::collection::vec(planned, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_killed_run_ends_with_all_tags_new_or_all_old(
        plan in plans(),
        kills in prop::collection::vec((0_usize..30, 0_usize..300, any::<bool>()), 1..4),
        moved in prop::collection::btree_set(0_usize..6, 0..3),
    ) {
        let old: TagsNow = plan.iter().enumerate().map(|(at, (entry, _))| (tag(at), entry.was.clone())).collect();
        let mut world = World { text: Vec::new(), registry: old.clone(), steps_left: kills[0].0, torn: kills[0].1 };
        let _ = world.publish(&plan);
        for at in moved.iter().filter(|at| **at < plan.len()) {
            world.registry.insert(tag(*at), Some(digest("theirs")));
        }
        let theirs: Vec<PublishedTag> = moved.iter().map(|at| tag(*at)).collect();
        let kept: Vec<PublishedTag> =
            plan.iter().enumerate().filter(|(_, (_, kept))| *kept).map(|(at, _)| tag(at)).collect();
        for (steps, torn, back) in &kills[1..] {
            (world.steps_left, world.torn) = (*steps, *torn);
            let _ = world.recover(*back);
        }
        let back = kills[0].2;
        world.steps_left = usize::MAX;
        prop_assert!(world.recover(back).is_ok());

        let ours = || world.registry.iter().filter(|(tag, _)| !theirs.contains(tag) && !kept.contains(tag));
        let all_new = ours().all(|(_, now)| *now == Some(digest("new")));
        let all_old = ours().all(|(tag, now)| *now == old[tag]);
        prop_assert!(all_new || all_old, "{:?}", world.registry);
        if back {
            prop_assert!(all_old);
        }
        for tag in theirs.iter().filter(|tag| old.contains_key(tag)) {
            prop_assert_eq!(&world.registry[tag], &Some(digest("theirs")));
        }
        // A second time, nothing is left to do.
        let registry = world.registry.clone();
        prop_assert_eq!(world.recover(back).ok(), Some(0));
        prop_assert_eq!(world.registry, registry);
    }
}
