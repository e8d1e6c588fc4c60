//! How much work an evaluation may be.
//!
//! Definitions may come from strangers: a few lines of templates in templates, or of loops in loops, can ask for more
//! than any machine has. The limits are far above what real definitions need.

use crate::hcl::cty::value::Extent;

// The numbers are in the messages and in docs/limits.md as well.

/// Levels of evaluation within evaluation, references included. Fits the stack that evaluation runs on.
const MAX_DEPTH: u32 = 40_000;
/// Expressions that are evaluated, and what functions do that takes as long.
const MAX_STEPS: u64 = 20_000_000;
/// Bytes of all values.
const MAX_BYTES: u64 = 512 << 20;
/// Collections within collections. Values are gone through recursively, also on threads with a small stack.
const MAX_VALUE_DEPTH: u32 = 500;
/// Bytes of one value, shared parts counted each time.
const MAX_VALUE_WEIGHT: u64 = 64 << 20;
/// Bytes that a function goes through in the time of a step.
const BYTES_PER_STEP: u64 = 64;

const TOO_DEEP: &str =
    "the definition is nested too deeply to be evaluated: in more than 40,000 levels";
const TOO_MUCH_WORK: &str =
    "the definition takes too much work to be evaluated: more than 20,000,000 steps";
const TOO_LARGE: &str =
    "the definition makes values too large to be held: more than 512 MiB in all";
const VALUE_TOO_DEEP: &str =
    "the definition makes values that are nested too deeply: in more than 500 levels";
const VALUE_TOO_LARGE: &str =
    "the definition makes values too large to be held: more than 64 MiB in one";

/// What is left.
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

// The message is there the first time only; what follows is the same problem.
type Exhausted = Option<&'static str>;

impl EvaluationBudget {
    /// One step, one level deeper.
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

    /// One level back.
    pub(super) fn leave(&mut self) {
        self.depth += 1;
    }

    /// A function went through `bytes` of arguments, and did work that takes as long as `steps`.
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

    /// `bytes` more are held by values.
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

    /// A value of this extent was made.
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
