//! Who gets a slot, and when.

use std::sync::{Arc, Mutex};

use super::*;
use crate::types::Clock;
use futures_util::FutureExt as _;

fn name(text: &str) -> TargetName {
    text.parse().unwrap()
}

/// The slots of a run with a limit, and what they have sent: `?a` if `a` waits, `a` if it starts.
fn slots(limit: u32, targets: &[(&str, &[&str])]) -> (Slots, Arc<Mutex<Vec<String>>>) {
    let sent: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = Arc::clone(&sent);
    let events = EventSink::new(Clock::system(), move |event| {
        let text = match event.kind {
            EventKind::TargetQueued { target, .. } => format!("?{target}"),
            EventKind::TargetStarted { target } => target.to_string(),
            other => panic!("{other:?}"),
        };
        keep.lock().unwrap().push(text);
    });
    let graph = TargetGraph::of(targets);
    let slots = Slots::new(NonZeroU32::new(limit), &graph, graph.order(), events);
    (slots, sent)
}

/// Whether `target` has or gets a slot at once.
fn gets(slots: &Slots, target: &str) -> bool {
    slots.take(&name(target)).now_or_never().is_some()
}

#[test]
fn without_a_limit_every_target_goes_on_and_nothing_is_sent() {
    let (slots, sent) = slots(0, &[("a", &[]), ("b", &["a"])]);
    assert!(!slots.are_limited());
    assert!(gets(&slots, "b") && gets(&slots, "a") && gets(&slots, "unknown"));
    slots.had_by(&[name("a")]).now_or_never().unwrap();
    slots.close();
    assert!(sent.lock().unwrap().is_empty());
}

#[test]
fn slots_go_to_the_first_targets_of_the_graph_whichever_asks_first() {
    let (slots, sent) = slots(2, &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])]);
    assert!(!gets(&slots, "d") && !gets(&slots, "c"));
    assert!(gets(&slots, "b") && gets(&slots, "a"));
    slots.end(&name("b"));
    assert!(!gets(&slots, "d") && gets(&slots, "c"));
    let sent = sent.lock().unwrap().clone();
    assert_eq!(sent, ["?d", "?c", "b", "a", "?d", "c"]);
}

#[test]
fn a_child_can_use_a_slot_when_all_its_parents_have_answered() {
    let graph: [(&str, &[&str]); 4] = [("a", &[]), ("b", &[]), ("ab", &["a", "b"]), ("x", &[])];
    let (slots, _) = slots(2, &graph);
    slots.answered(&name("a"));
    slots.end(&name("a"));
    // `b` has not answered, so the slot goes to a target that comes later.
    assert!(gets(&slots, "x") && !gets(&slots, "ab"));
    slots.answered(&name("b"));
    assert!(!gets(&slots, "ab"));
    slots.end(&name("b"));
    assert!(gets(&slots, "ab"));
}

#[test]
fn a_child_comes_before_later_targets_although_its_task_has_not_asked() {
    let (slots, _) = slots(1, &[("a", &[]), ("child", &["a"]), ("x", &[])]);
    slots.answered(&name("a"));
    assert!(!gets(&slots, "x"));
    slots.end(&name("a"));
    assert!(!gets(&slots, "x") && gets(&slots, "child"));
}

#[tokio::test]
async fn a_target_that_only_waits_gives_its_slot_to_others_and_waits_for_it_again() {
    let (slots, sent) = slots(1, &[("a", &[]), ("b", &[])]);
    assert!(gets(&slots, "a") && !gets(&slots, "b"));
    let a = name("a");
    let had = [name("b")];
    let mut waiting = Box::pin(slots.without(&a, slots.had_by(&had)));
    assert!(waiting.as_mut().now_or_never().is_none());
    // `b` has the slot now, and `a` waits for it.
    assert!(gets(&slots, "b"));
    assert!(waiting.as_mut().now_or_never().is_none());
    slots.end(&name("b"));
    waiting.await;
    let sent = sent.lock().unwrap().clone();
    assert_eq!(sent, ["a", "?b", "?a", "b", "a"]);
}

#[test]
fn a_run_that_is_being_stopped_gives_no_slot() {
    let (slots, sent) = slots(1, &[("a", &[]), ("b", &[])]);
    assert!(gets(&slots, "a"));
    slots.close();
    slots.end(&name("a"));
    // Its work goes on, and ends because the run was stopped.
    assert!(gets(&slots, "b"));
    assert_eq!(*sent.lock().unwrap(), ["a"]);
}

#[test]
fn targets_of_the_graph_that_the_run_does_not_build_take_no_slot() {
    let graph = TargetGraph::of(&[("left-out", &[]), ("a", &["left-out"])]);
    let a = name("a");
    let slots = Slots::new(NonZeroU32::new(1), &graph, [&a], EventSink::none());
    assert!(gets(&slots, "a"));
}
