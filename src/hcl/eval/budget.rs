//! Limits the work and memory of an evaluation.
//!
//! Definitions may come from strangers, and a few lines of nested templates or loops can ask for more than any
//! machine has. The limits are far above what real definitions need.

use crate::hcl::cty::value::Extent;

// The messages below and docs/limits.md repeat these numbers.

/// The deepest nesting of evaluations, references to other names included. It fits the stack of
/// [`on_deep_stack`](crate::hcl::on_deep_stack).
const MAX_DEPTH: u32 = 40_000;
/// The most steps. A step is the evaluation of one expression, or work of a function that takes about as long.
const MAX_STEPS: u64 = 20_000_000;
/// The most bytes of all values together.
const MAX_BYTES: u64 = 512 << 20;
/// The deepest nesting of collections in a value. Values are walked recursively, also on threads with a small
/// stack.
const MAX_VALUE_DEPTH: u32 = 500;
/// The most bytes of one value. Shared parts count each time they occur.
const MAX_VALUE_WEIGHT: u64 = 64 << 20;
/// How many bytes of arguments a function can process in the time of one step.
const BYTES_PER_STEP: u64 = 64;

const TOO_DEEP: &str = "the definition is nested too deeply: more than 40,000 levels";
const TOO_MUCH_WORK: &str =
    "evaluating the definition takes too much work: more than 20,000,000 steps";
const TOO_LARGE: &str = "the values of the definition are too large: more than 512 MiB in all";
const VALUE_TOO_DEEP: &str = "a value of the definition is nested too deeply: more than 500 levels";
const VALUE_TOO_LARGE: &str = "a value of the definition is too large: more than 64 MiB";

/// What the evaluation may still use.
#[derive(Debug)]
pub(super) struct EvaluationBudget {
    depth: u32,
    steps: u64,
    bytes: u64,
    exhausted: bool,
}

impl Default for EvaluationBudget {
    fn default() -> Self {
        Self {
            depth: MAX_DEPTH,
            steps: MAX_STEPS,
            bytes: MAX_BYTES,
            exhausted: false,
        }
    }
}

/// The message for the user the first time, and `None` afterwards, because the same problem is reported only once.
type Exhausted = Option<&'static str>;

impl EvaluationBudget {
    /// Counts one step and goes one level deeper.
    pub(super) fn enter(&mut self) -> Result<(), Exhausted> {
        if self.exhausted {
            return Err(None);
        }
        if self.depth == 0 {
            return self.end(TOO_DEEP);
        }
        if self.steps == 0 {
            return self.end(TOO_MUCH_WORK);
        }
        self.depth -= 1;
        self.steps -= 1;
        Ok(())
    }

    /// Goes one level back.
    pub(super) fn leave(&mut self) {
        self.depth += 1;
    }

    /// Counts a function call: `bytes` of arguments, and extra work that takes as long as `steps` steps.
    pub(super) fn work(&mut self, bytes: u64, steps: u64) -> Result<(), Exhausted> {
        if self.exhausted {
            return Err(None);
        }
        let steps = steps.saturating_add(bytes / BYTES_PER_STEP);
        match self.steps.checked_sub(steps) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => self.end(TOO_MUCH_WORK),
        }
    }

    /// Counts `bytes` more of memory for values. They are never given back.
    pub(super) fn produce(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if self.exhausted {
            return Err(None);
        }
        match self.bytes.checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => self.end(TOO_LARGE),
        }
    }

    /// Checks that a new value of this extent is not too large or too deep. Unlike the other methods, this reports
    /// a problem even if the budget was exhausted before.
    pub(super) fn check(&mut self, extent: Extent) -> Result<(), Exhausted> {
        if extent.depth > MAX_VALUE_DEPTH {
            return self.end(VALUE_TOO_DEEP);
        }
        if extent.weight > MAX_VALUE_WEIGHT {
            return self.end(VALUE_TOO_LARGE);
        }
        Ok(())
    }

    fn end(&mut self, message: &'static str) -> Result<(), Exhausted> {
        self.exhausted = true;
        Err(Some(message))
    }
}
