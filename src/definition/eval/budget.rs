//! How much work an evaluation may be.
//!
//! Definitions may come from strangers: a few lines of templates in templates, or of loops in loops, can ask for more
//! than any machine has. The limits are far above what real definitions need.

use super::value::Extent;

/// Levels of evaluation within evaluation, references included. Fits the stack that evaluation runs on.
const MAX_DEPTH: u32 = 40_000;
const MAX_STEPS: u64 = 20_000_000;
const MAX_BYTES: u64 = 512 << 20;
/// Collections within collections. Values are gone through recursively, also on threads with a small stack.
const MAX_VALUE_DEPTH: u32 = 500;
/// Bytes of one value, shared parts counted each time.
const MAX_VALUE_WEIGHT: u64 = 64 << 20;

/// What is left.
#[derive(Debug)]
pub(super) struct Budget {
    depth: u32,
    steps: u64,
    bytes: u64,
    exhausted: bool,
}

impl Default for Budget {
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

impl Budget {
    /// One step, one level deeper.
    pub(super) fn enter(&mut self) -> Result<(), Exhausted> {
        if self.exhausted {
            return Err(None);
        }
        if self.depth == 0 {
            return self.end("the definition is nested too deeply to be evaluated");
        }
        if self.steps == 0 {
            return self.end("the definition takes too much work to be evaluated");
        }
        self.depth -= 1;
        self.steps -= 1;
        Ok(())
    }

    /// One level back.
    pub(super) fn leave(&mut self) {
        self.depth += 1;
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
            None => self.end("the definition makes values too large to be held"),
        }
    }

    /// A value of this extent was made.
    pub(super) fn check(&mut self, extent: Extent) -> Result<(), Exhausted> {
        if extent.depth > MAX_VALUE_DEPTH {
            return self.end("the definition makes values that are nested too deeply");
        }
        if extent.weight > MAX_VALUE_WEIGHT {
            return self.end("the definition makes values too large to be held");
        }
        Ok(())
    }

    fn end(&mut self, message: &'static str) -> Result<(), Exhausted> {
        self.exhausted = true;
        Err(Some(message))
    }
}
