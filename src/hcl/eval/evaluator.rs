//! The state of one evaluation: the values known so far, the ones being computed, and the problems found.
//!
//! Everything that a [`Namespace`] declares (variables, attributes of blocks) has a *slot*, which is filled when it
//! is first used, and only once. If a slot is needed while it is being filled, that is a cycle.
//!
//! Problems are kept in two lists. Those found while a slot is filled are *settled*: they are reported even if the
//! expression that used the slot does not need its value. Those of the current expression are *pending*: `try`,
//! `can` and the branches not taken may discard them. Start at [`Evaluator::slot`]; [`super::expr`] walks
//! expressions.

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

/// An expression has no value, and the reason has been reported already. If the type of the missing value is known,
/// it is kept, so that a comparison of types (as between the branches of a conditional) still finds mismatches.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failed(Option<Box<Type>>);

impl Failed {
    /// A failure whose type is not known.
    pub(crate) const UNTYPED: Self = Self(None);

    /// A failure of an expression that would have had the type `ty`.
    pub(crate) fn of(ty: Type) -> Self {
        Self(Some(Box::new(ty)))
    }

    /// The type that the value would have had; [`Type::Dynamic`] if it is not known.
    pub(super) fn ty(&self) -> Type {
        self.0.as_ref().map_or(Type::Dynamic, |ty| (**ty).clone())
    }
}

/// A value, or a failure that has been reported.
pub(crate) type ValueResult = Result<Value, Failed>;

#[derive(Debug)]
struct Slot<S> {
    /// What fills the slot. `None` for a slot that was defined with its value.
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

/// Identifies a slot of one evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotId(u32);

impl SlotId {
    /// The slot `places` after this one, in the order in which they were added.
    pub(crate) fn after(self, places: usize) -> Self {
        Self(
            self.0
                .saturating_add(u32::try_from(places).unwrap_or(u32::MAX)),
        )
    }
}

/// A part of the path shown with problems: something that is being evaluated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frame<'a> {
    /// A slot is being filled.
    Slot(SlotId),
    /// The result of a user-defined function is being computed: its name, and the position of the call.
    Call(&'a str, Span),
    /// Anything else: a description, a name that follows it in the message, and a position. An example of a
    /// description is `the matrix of target`.
    Part(&'static str, &'a str, Span),
}

/// One evaluation.
pub(crate) struct Evaluator<'a, N: Namespace<'a>> {
    /// The file format's own names, beside the slots.
    pub(crate) names: N,
    /// The user-defined functions.
    pub(crate) functions: UserFunctions<'a>,
    /// What library functions may know of the outside: the time, the home directory.
    pub(super) function_context: FunctionContext,
    /// The work and memory that the evaluation may still use.
    pub(super) budget: EvaluationBudget,
    /// A buffer for templates, kept between them to save allocations.
    pub(super) scratch: String,
    named: HashMap<Arc<str>, SlotId>,
    slots: Vec<Slot<N::Source>>,
    frames: Vec<Frame<'a>>,
    /// Problems of the expression that is being evaluated. They may still be discarded.
    pending: Vec<Diagnostic>,
    /// Problems that will be reported in any case.
    settled: Vec<Diagnostic>,
}

impl<'a, N: Namespace<'a>> Evaluator<'a, N> {
    /// An evaluator without names, with memory reserved for `slots` slots.
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

    /// Declares `name`: `source` is evaluated when the name is first used. A later declaration of the same name
    /// replaces this one.
    pub(crate) fn declare(&mut self, name: Arc<str>, source: N::Source) {
        let slot = self.add_slot(source);
        self.named.insert(name, slot);
    }

    /// Defines `name` as `value`.
    pub(crate) fn define(&mut self, name: Arc<str>, value: Value) {
        let slot = self.push(None, State::Filled(value));
        self.named.insert(name, slot);
    }

    /// Adds a slot for `source` without a name. It is reached by the returned identifier only.
    pub(crate) fn add_slot(&mut self, source: N::Source) -> SlotId {
        self.push(Some(source), State::Untouched)
    }

    fn push(&mut self, source: Option<N::Source>, state: State) -> SlotId {
        let id = SlotId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.slots.push(Slot { source, state });
        id
    }

    /// Adds a slot for each of `sources`, in order, and returns the first. [`SlotId::after`] leads to the others.
    pub(crate) fn add_slots(&mut self, sources: impl Iterator<Item = N::Source>) -> SlotId {
        let first = SlotId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        for source in sources {
            self.add_slot(source);
        }
        first
    }

    /// The slot of a declared or defined name. `None` if there is no such name.
    pub(crate) fn named(&self, name: &str) -> Option<SlotId> {
        self.named.get(name).copied()
    }

    /// All declared and defined names, sorted.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = self.named.keys().map(|name| &**name).collect();
        // They are shown to users, and the order of a hash map is random.
        names.sort_unstable();
        names.into_iter()
    }

    /// Returns the value of a slot, and fills it first if needed. `at` is where the value is used. Reports a cycle
    /// if the slot is being filled already.
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
        // Problems of a slot are reported even if the expression that used it discards its own.
        self.settled.append(&mut self.pending);
        self.pending = around;
        self.slots[id.0 as usize].state = match &outcome {
            Ok(value) => State::Filled(value.clone()),
            Err(_) => State::Failed,
        };
        outcome.map_err(|_| Failed::UNTYPED)
    }

    /// Evaluates `expr` as a part of its own, with `frame` in the path of its problems, which cannot be discarded.
    pub(crate) fn evaluate_part(
        &mut self,
        expr: &'a Expr,
        scope: &Scope<'_>,
        frame: Frame<'a>,
    ) -> ValueResult {
        self.in_frame(frame, |evaluator| evaluator.expr(expr, scope))
    }

    /// Runs `work` with `frame` in the path of its problems, which cannot be discarded.
    pub(crate) fn in_frame<T>(&mut self, frame: Frame<'a>, work: impl FnOnce(&mut Self) -> T) -> T {
        let around = std::mem::take(&mut self.pending);
        self.frames.push(frame);
        let result = work(self);
        self.frames.pop();
        self.settled.append(&mut self.pending);
        self.pending = around;
        result
    }

    /// Runs `work` for the call of a user-defined function. Its problems belong to the expression that calls, so
    /// they may be discarded.
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

    /// Goes one level deeper. Returns `false`, and reports the problem, if a limit of the budget is exceeded.
    /// Otherwise the caller must call [`leave`](Self::leave).
    pub(super) fn enter(&mut self, at: Option<Span>) -> bool {
        match self.budget.enter() {
            Ok(()) => true,
            Err(problem) => {
                self.exhausted(problem, at);
                false
            }
        }
    }

    /// Goes one level back, after a successful [`enter`](Self::enter).
    pub(super) fn leave(&mut self) {
        self.budget.leave();
    }

    /// Counts `bytes` of memory for a new value. Fails, and reports the problem, if the values of the evaluation
    /// are too large together.
    pub(super) fn produce(&mut self, bytes: usize, at: Span) -> Result<(), Failed> {
        self.budget.produce(bytes).map_err(|problem| {
            self.exhausted(problem, Some(at));
            Failed::UNTYPED
        })
    }

    /// Returns `value`, which the expression at `at` made. Fails, and reports the problem, if the value is too
    /// large or nested too deeply.
    pub(super) fn made(&mut self, value: Value, at: Span) -> ValueResult {
        match self.budget.check(value.extent()) {
            Ok(()) => Ok(value),
            Err(problem) => {
                self.exhausted(problem, Some(at));
                Err(Failed::UNTYPED)
            }
        }
    }

    /// Reports that a limit of the budget is exceeded. `problem` is `None` if that has been reported before.
    pub(super) fn exhausted(&mut self, problem: Option<&'static str>, at: Option<Span>) {
        if let Some(message) = problem {
            let mut diagnostic =
                Diagnostic::error(Class::Definition, "definition::limit", message)
                    .help("look for a value that grows with each repetition; usual definitions need far less");
            if let Some(at) = at {
                diagnostic = diagnostic.at(at, "");
            }
            let diagnostic = self.with_path(diagnostic);
            self.settled.push(diagnostic);
        }
    }

    /// Reports a problem of the current expression, with the path to it. It is pending: it may still be discarded.
    pub(crate) fn fail(&mut self, problem: Diagnostic) -> Failed {
        let problem = self.with_path(problem);
        self.pending.push(problem);
        Failed::UNTYPED
    }

    /// Reports a problem that cannot be discarded, without a path.
    pub(crate) fn report(&mut self, problem: Diagnostic) {
        self.settled.push(problem);
    }

    /// Runs `work` and returns its problems instead of reporting them. The settled ones are reported all the same.
    pub(super) fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> (T, Vec<Diagnostic>) {
        let mark = self.pending.len();
        let result = work(self);
        let problems = self.pending.split_off(mark);
        (result, problems)
    }

    /// Reports the problems that [`Self::attempt`] returned.
    pub(super) fn restore(&mut self, mut problems: Vec<Diagnostic>) {
        self.pending.append(&mut problems);
    }

    /// All problems, without duplicates. After the first 200, the others are only counted.
    pub(crate) fn into_problems(mut self) -> Diagnostics {
        const SHOWN: usize = 200;
        self.settled.append(&mut self.pending);
        let mut problems: Vec<Diagnostic> = Vec::new();
        let mut more = 0;
        let mut seen = HashSet::default();
        for problem in self.settled {
            // Each combination of a matrix, and each call of a function, finds the same problem in the same
            // expression again.
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
                format!("{more} more problems are not shown"),
            ));
        }
        Diagnostics(problems)
    }

    /// Adds the path to a problem: what was being evaluated, and what needed it, for the innermost four frames.
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

    /// The description of a slot and the position of its name; `None` for a slot that was defined with its value.
    fn describe(&self, id: SlotId) -> Option<(String, Span)> {
        let source = self.slots[id.0 as usize].source?;
        Some(self.names.describe(source))
    }

    /// The problem of a cycle: the slot `id` is needed at `at` while it is being filled.
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
            problem = problem.at(at, "this completes the cycle");
        }
        for (what, span) in steps.iter().take(8) {
            problem = problem.context(*span, what.clone());
        }
        problem.help("replace one of the references with a value")
    }
}
