//! The state of one evaluation: what is known already, what is being worked out, and what went wrong.
//!
//! Everything that a [`Namespace`] declares (variables, attributes of blocks) has a *slot*, which is filled at its first use and
//! never again; a slot that is needed while it is being filled is a cycle. Problems found while a slot is filled stay,
//! whoever asked for it; those of an expression may be taken back by `try`, `can` and the branches not taken.
//! Start at [`Evaluator::slot`]; expressions are walked in [`super::expr`].

use std::sync::Arc;

use super::budget::EvaluationBudget;
use super::namespace::Namespace;
use super::scope::Scope;
use super::user_functions::UserFunctions;
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::hcl::cty::{Type, Value};
use crate::hcl::functions::FunctionContext;
use crate::hcl::syntax::Expr;
use crate::types::hash::{HashMap, HashSet};

/// An expression has no value; the reason has been reported. The type is known at times, and then still counts where
/// the types of several expressions are compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failed(Option<Box<Type>>);

impl Failed {
    /// Nothing is known of the value that could not be made.
    pub(crate) const UNTYPED: Self = Self(None);

    /// The value would have been of the type `ty`.
    pub(crate) fn of(ty: Type) -> Self {
        Self(Some(Box::new(ty)))
    }

    /// The type the value would have had, as far as it is known.
    pub(super) fn ty(&self) -> Type {
        self.0.as_ref().map_or(Type::Dynamic, |ty| (**ty).clone())
    }
}

/// The value of an expression.
pub(crate) type ValueResult = Result<Value, Failed>;

#[derive(Debug)]
struct Slot<S> {
    // `None` for what is defined with a value, and therefore never filled.
    source: Option<S>,
    state: State,
}

#[derive(Debug)]
enum State {
    Untouched,
    InProgress,
    Filled(Value),
    Failed,
}

/// Identifies a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotId(u32);

impl SlotId {
    /// The slot that is so many places further on.
    pub(crate) fn after(self, places: usize) -> Self {
        Self(
            self.0
                .saturating_add(u32::try_from(places).unwrap_or(u32::MAX)),
        )
    }
}

/// What is being evaluated, for the path shown with problems.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frame<'a> {
    /// A slot is being filled.
    Slot(SlotId),
    /// A user function's result is being worked out for the call at this place.
    Call(&'a str, Span),
    /// Something else with words for it, the name that follows them, and a place: ``the matrix of target `app` ``.
    Part(&'static str, &'a str, Span),
}

/// One evaluation.
pub(crate) struct Evaluator<'a, N: Namespace<'a>> {
    /// What the file format knows beside the slots.
    pub(crate) names: N,
    /// The functions that the files define.
    pub(crate) functions: UserFunctions<'a>,
    /// What functions may know of the world.
    pub(super) function_context: FunctionContext,
    /// Work and memory left.
    pub(super) budget: EvaluationBudget,
    /// For text being put together.
    pub(super) scratch: String,
    named: HashMap<Arc<str>, SlotId>,
    slots: Vec<Slot<N::Source>>,
    frames: Vec<Frame<'a>>,
    // Of the expression being evaluated; may be taken back.
    pending: Vec<Diagnostic>,
    // For good.
    settled: Vec<Diagnostic>,
}

impl<'a, N: Namespace<'a>> Evaluator<'a, N> {
    /// An evaluation that knows no names yet, with room for `slots` values.
    pub(crate) fn new(names: N, function_context: FunctionContext, slots: usize) -> Self {
        Self {
            names,
            functions: UserFunctions::default(),
            function_context,
            budget: EvaluationBudget::default(),
            scratch: String::new(),
            named: HashMap::default(),
            slots: Vec::with_capacity(slots),
            frames: Vec::new(),
            pending: Vec::new(),
            settled: Vec::new(),
        }
    }

    /// Makes `name` a name for `source`, which is evaluated when the name is used for the first time.
    pub(crate) fn declare(&mut self, name: Arc<str>, source: N::Source) {
        let slot = self.add_slot(source);
        self.named.insert(name, slot);
    }

    /// Makes `name` a name for `value`.
    pub(crate) fn define(&mut self, name: Arc<str>, value: Value) {
        let slot = self.push(None, State::Filled(value));
        self.named.insert(name, slot);
    }

    /// Adds a slot for `source` that no name leads to.
    pub(crate) fn add_slot(&mut self, source: N::Source) -> SlotId {
        self.push(Some(source), State::Untouched)
    }

    fn push(&mut self, source: Option<N::Source>, state: State) -> SlotId {
        let id = SlotId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.slots.push(Slot { source, state });
        id
    }

    /// New slots, one after the other; the first of them.
    pub(crate) fn add_slots(&mut self, sources: impl Iterator<Item = N::Source>) -> SlotId {
        let first = SlotId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        for source in sources {
            self.add_slot(source);
        }
        first
    }

    /// The slot of the name `name`.
    pub(crate) fn named(&self, name: &str) -> Option<SlotId> {
        self.named.get(name).copied()
    }

    /// All declared and defined names, sorted.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = self.named.keys().map(|name| &**name).collect();
        // They are shown, and the map's order is chance.
        names.sort_unstable();
        names.into_iter()
    }

    /// The value of a slot, which is filled now if it is not yet; `at` is where it is needed.
    pub(crate) fn slot(&mut self, id: SlotId, at: Option<Span>) -> ValueResult {
        let slot = &mut self.slots[id.0 as usize];
        match &slot.state {
            State::Filled(value) => return Ok(value.clone()),
            State::Failed => return Err(Failed::UNTYPED),
            State::InProgress => {
                let cycle = self.cycle(id, at);
                self.settled.push(cycle);
                return Err(Failed::UNTYPED);
            }
            State::Untouched => {}
        }
        slot.state = State::InProgress;
        let source = slot.source;
        let around = std::mem::take(&mut self.pending);
        self.frames.push(Frame::Slot(id));
        let outcome = if self.enter(at) {
            let outcome = match source {
                Some(source) => N::fill(self, source),
                None => Err(Failed::UNTYPED),
            };
            self.leave();
            outcome
        } else {
            Err(Failed::UNTYPED)
        };
        self.frames.pop();
        // What went wrong in here is wrong whatever becomes of the expression that asked.
        self.settled.append(&mut self.pending);
        self.pending = around;
        self.slots[id.0 as usize].state = match &outcome {
            Ok(value) => State::Filled(value.clone()),
            Err(_) => State::Failed,
        };
        outcome.map_err(|_| Failed::UNTYPED)
    }

    /// Evaluates `expr` on its own, with `frame` as the path; problems are for good.
    pub(crate) fn evaluate_part(
        &mut self,
        expr: &'a Expr,
        scope: &Scope<'_>,
        frame: Frame<'a>,
    ) -> ValueResult {
        self.in_frame(frame, |evaluator| evaluator.expr(expr, scope))
    }

    /// Does `work` with `frame` as part of the path; problems are for good.
    pub(crate) fn in_frame<T>(&mut self, frame: Frame<'a>, work: impl FnOnce(&mut Self) -> T) -> T {
        let around = std::mem::take(&mut self.pending);
        self.frames.push(frame);
        let result = work(self);
        self.frames.pop();
        self.settled.append(&mut self.pending);
        self.pending = around;
        result
    }

    /// Does `work` for the call of a user function; problems are those of the expression that calls.
    pub(super) fn in_call<T>(
        &mut self,
        name: &'a str,
        at: Span,
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.frames.push(Frame::Call(name, at));
        let result = work(self);
        self.frames.pop();
        result
    }

    /// Goes one level deeper; false, and reported, where that is too deep.
    pub(super) fn enter(&mut self, at: Option<Span>) -> bool {
        match self.budget.enter() {
            Ok(()) => true,
            Err(problem) => {
                self.exhausted(problem, at);
                false
            }
        }
    }

    /// Comes back from one level.
    pub(super) fn leave(&mut self) {
        self.budget.leave();
    }

    /// Takes `bytes` of memory into account that a value takes; fails where that is too much.
    pub(super) fn produce(&mut self, bytes: usize, at: Span) -> Result<(), Failed> {
        self.budget.produce(bytes).map_err(|problem| {
            self.exhausted(problem, Some(at));
            Failed::UNTYPED
        })
    }

    /// `value`, made at `at`, unless it is too large.
    pub(super) fn made(&mut self, value: Value, at: Span) -> ValueResult {
        match self.budget.check(value.extent()) {
            Ok(()) => Ok(value),
            Err(problem) => {
                self.exhausted(problem, Some(at));
                Err(Failed::UNTYPED)
            }
        }
    }

    pub(super) fn exhausted(&mut self, problem: Option<&'static str>, at: Option<Span>) {
        if let Some(message) = problem {
            let mut diagnostic =
                Diagnostic::error(Class::Definition, "definition::limit", message)
                    .help("this is far beyond what definitions need; look for one that grows by repetition");
            if let Some(at) = at {
                diagnostic = diagnostic.at(at, "");
            }
            let diagnostic = self.with_path(diagnostic);
            self.settled.push(diagnostic);
        }
    }

    /// Reports a problem of the expression being evaluated.
    pub(crate) fn fail(&mut self, problem: Diagnostic) -> Failed {
        let problem = self.with_path(problem);
        self.pending.push(problem);
        Failed::UNTYPED
    }

    /// Reports a problem for good, without the path.
    pub(crate) fn report(&mut self, problem: Diagnostic) {
        self.settled.push(problem);
    }

    /// Does `work` and takes the problems found by it out again.
    pub(super) fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> (T, Vec<Diagnostic>) {
        let mark = self.pending.len();
        let result = work(self);
        let problems = self.pending.split_off(mark);
        (result, problems)
    }

    /// Puts problems back that [`Self::attempt`] took out.
    pub(super) fn restore(&mut self, mut problems: Vec<Diagnostic>) {
        self.pending.append(&mut problems);
    }

    /// All problems found, each once, as far as anyone reads.
    pub(crate) fn into_problems(mut self) -> Diagnostics {
        const SHOWN: usize = 200;
        self.settled.append(&mut self.pending);
        let mut problems: Vec<Diagnostic> = Vec::new();
        let mut more = 0;
        let mut seen = HashSet::default();
        for problem in self.settled {
            // The combinations of a matrix, and the calls of a function, repeat what is wrong with one expression.
            let place = problem
                .labels
                .iter()
                .find(|label| label.primary)
                .map(|label| label.span);
            if !seen.insert((place, problem.message.clone())) {
                continue;
            }
            if problems.len() < SHOWN {
                problems.push(problem);
            } else {
                more += 1;
            }
        }
        if more > 0 {
            problems.push(Diagnostic::error(
                Class::Definition,
                "definition::too-many-problems",
                format!("there are {more} more problems, which are not shown"),
            ));
        }
        Diagnostics(problems)
    }

    // The innermost named thing, and what needed it.
    fn with_path(&self, mut problem: Diagnostic) -> Diagnostic {
        const SHOWN: usize = 4;
        let mut needed = false;
        for frame in self.frames.iter().rev().take(SHOWN) {
            let (what, span) = match frame {
                Frame::Slot(id) => match self.describe(*id) {
                    Some((what, span)) => (what, span),
                    None => continue,
                },
                Frame::Part(what, of, span) => (format!("{what} `{of}`"), *span),
                Frame::Call(name, span) => {
                    problem = problem.context(*span, format!("in this call of `{name}`"));
                    continue;
                }
            };
            let words = if needed {
                format!("needed by {what}")
            } else {
                format!("while evaluating {what}")
            };
            problem = problem.context(span, words);
            needed = true;
        }
        problem
    }

    /// What a slot holds, in words, and the place of its name; `None` for what is defined with a value.
    fn describe(&self, id: SlotId) -> Option<(String, Span)> {
        let source = self.slots[id.0 as usize].source?;
        Some(self.names.describe(source))
    }

    fn cycle(&self, id: SlotId, at: Option<Span>) -> Diagnostic {
        let start = self
            .frames
            .iter()
            .position(|frame| matches!(frame, Frame::Slot(slot) if *slot == id))
            .unwrap_or(0);
        let steps: Vec<(String, Span)> = self.frames[start..]
            .iter()
            .filter_map(|frame| match frame {
                Frame::Slot(slot) => self.describe(*slot),
                _ => None,
            })
            .collect();
        let own = steps
            .first()
            .map_or_else(String::new, |(what, _)| what.clone());
        let message = match steps.as_slice() {
            [_] | [] => format!("{own} refers to itself"),
            _ => {
                let mut path: Vec<&str> = steps.iter().map(|(what, _)| what.as_str()).collect();
                path.push(&own);
                format!("{own} refers to itself: {}", path.join(" → "))
            }
        };
        let mut problem = Diagnostic::error(Class::Definition, "definition::cycle", message);
        if let Some(at) = at {
            problem = problem.at(at, "this closes the circle");
        }
        for (what, span) in steps.iter().take(8) {
            problem = problem.context(*span, what.clone());
        }
        problem.help("write one of the values out, so that it refers to none of the others")
    }
}
