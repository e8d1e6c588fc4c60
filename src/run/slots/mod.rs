//! Limits how many targets are solved at the same time (`--jobs`).
//!
//! A target needs a slot from its solve until its image is pushed. It has none while it only waits: for the frontends of the
//! targets that it links to, for targets that must begin before it (see [`super::links`]), or for its turn to push a layer. So
//! whatever a target with a slot waits for is done without another slot, and a run ends with any limit.
//!
//! A free slot goes to the first target, in the order of the graph, that can use one. Parents come before their children there.
//! A child can use a slot once all its parents have answered. The table knows that by itself, without waiting for the child's
//! task to run, so the order of the starts does not depend on the order in which tasks run.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use tokio::sync::watch;

use crate::event::{EventKind, EventSink};
use crate::plan::TargetGraph;
use crate::types::TargetName;

/// The slots of a run.
#[derive(Debug)]
pub(super) struct Slots {
    /// `None` if all targets are solved at once. Nothing is written to the table then.
    limit: Option<NonZeroU32>,
    table: watch::Sender<SlotTable>,
    events: EventSink,
}

/// Whether a target has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It has never had one.
    New,
    /// It has one.
    Holds,
    /// It has given its slot back for a while.
    Lends,
    /// It wants a slot again.
    Wants,
    /// It has ended.
    Ended,
}

#[derive(Debug)]
struct Seat {
    target: TargetName,
    /// The positions of the targets that it links to.
    parents: Vec<usize>,
    /// Whether its frontend has answered.
    answered: bool,
    place: Place,
}

#[derive(Debug, Default)]
struct SlotTable {
    free: usize,
    /// Whether the run is being stopped, so that no further slot is given.
    closed: bool,
    /// In the order of the graph.
    seats: Vec<Seat>,
}

impl SlotTable {
    fn at(&self, target: &TargetName) -> Option<usize> {
        self.seats.iter().position(|seat| seat.target == *target)
    }

    fn place(&self, target: &TargetName) -> Option<Place> {
        Some(self.seats.get(self.at(target)?)?.place)
    }

    fn can_use(&self, seat: &Seat) -> bool {
        let answered = |parent: &usize| self.seats.get(*parent).is_none_or(|seat| seat.answered);
        match seat.place {
            Place::New => seat.parents.iter().all(answered),
            Place::Wants => true,
            Place::Holds | Place::Lends | Place::Ended => false,
        }
    }

    /// Gives free slots away.
    fn give(&mut self) {
        while self.free > 0 && !self.closed {
            let first = self.seats.iter().position(|seat| self.can_use(seat));
            let Some(seat) = first.and_then(|at| self.seats.get_mut(at)) else {
                return;
            };
            seat.place = Place::Holds;
            self.free -= 1;
        }
    }

    /// Moves `target` to `place`, which is not [`Place::Holds`].
    fn leave(&mut self, target: &TargetName, place: Place) {
        let at = self.at(target);
        if let Some(seat) = at.and_then(|at| self.seats.get_mut(at)) {
            if seat.place == Place::Holds {
                self.free += 1;
            }
            seat.place = place;
        }
        self.give();
    }
}

impl Slots {
    /// The slots for those `targets` that are in `graph`. If there is a limit, starts and targets that wait are sent to
    /// `events`.
    pub(super) fn new<'t>(
        limit: Option<NonZeroU32>,
        graph: &TargetGraph,
        targets: impl IntoIterator<Item = &'t TargetName>,
        events: EventSink,
    ) -> Self {
        // The graph may have further targets, which would keep their slots forever.
        let targets: BTreeSet<&TargetName> = targets.into_iter().collect();
        let names: Vec<&TargetName> = graph
            .order()
            .filter(|name| targets.contains(name))
            .collect();
        let seat = |target: &&TargetName| {
            let parents = graph.links_of(target).iter();
            let parents =
                parents.filter_map(|link| names.iter().position(|name| **name == link.to));
            Seat {
                target: (*target).clone(),
                parents: parents.collect(),
                answered: false,
                place: Place::New,
            }
        };
        let mut table = SlotTable::default();
        if let Some(limit) = limit {
            table.free = usize::try_from(limit.get()).unwrap_or(usize::MAX);
            table.seats = names.iter().map(seat).collect();
            table.give();
        }
        Self {
            limit,
            table: watch::Sender::new(table),
            events,
        }
    }

    /// Whether the number of targets is limited. If so, [`Slots::take`] sends [`EventKind::TargetStarted`].
    pub(super) const fn are_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Waits for a slot for `target`. Returns at once if there is no limit, if the target has a slot, or if the run is being
    /// stopped. Dropping the future keeps the target's place in the queue until [`Slots::end`].
    pub(super) async fn take(&self, target: &TargetName) {
        let Some(limit) = self.limit else { return };
        let goes_on = |table: &SlotTable| {
            // A target that is not in the table is not counted.
            table.closed || matches!(table.place(target), Some(Place::Holds) | None)
        };
        let mut is_back = false;
        self.change(|table| {
            if table.place(target) == Some(Place::Lends) {
                is_back = true;
                table.leave(target, Place::Wants);
            }
        });
        let waits = !goes_on(&self.table.borrow());
        if waits {
            self.events.send(EventKind::TargetQueued {
                target: target.clone(),
                limit,
            });
            // The sender is in `self`, so waiting does not fail.
            let _ = self.table.subscribe().wait_for(goes_on).await;
        }
        if (waits || !is_back) && !self.table.borrow().closed {
            self.events.send(EventKind::TargetStarted {
                target: target.clone(),
            });
        }
    }

    /// Runs `work`, during which `target` only waits, without its slot. Afterwards, waits for a slot again.
    pub(super) async fn without<T>(&self, target: &TargetName, work: impl Future<Output = T>) -> T {
        self.change(|table| {
            if table.place(target) == Some(Place::Holds) {
                table.leave(target, Place::Lends);
            }
        });
        let done = work.await;
        self.take(target).await;
        done
    }

    /// The frontend of `target` has answered, so its children can use slots.
    pub(super) fn answered(&self, target: &TargetName) {
        self.change(|table| {
            let at = table.at(target);
            if let Some(seat) = at.and_then(|at| table.seats.get_mut(at)) {
                seat.answered = true;
            }
            table.give();
        });
    }

    /// `target` has ended.
    pub(super) fn end(&self, target: &TargetName) {
        self.change(|table| table.leave(target, Place::Ended));
    }

    /// No further target gets a slot, because the run is being stopped.
    pub(super) fn close(&self) {
        self.change(|table| table.closed = true);
    }

    /// Waits until each of `targets` has had a slot or has ended.
    pub(super) async fn had_by(&self, targets: &[TargetName]) {
        let had = |table: &SlotTable| {
            let mut places = targets.iter().map(|target| table.place(target));
            places.all(|place| place != Some(Place::New))
        };
        let _ = self.table.subscribe().wait_for(had).await;
    }

    fn change(&self, change: impl FnOnce(&mut SlotTable)) {
        if self.limit.is_some() {
            self.table.send_modify(change);
        }
    }
}

#[cfg(test)]
mod tests;
