//! Exit codes. They are buildx's where buildx has a special one, and more detailed where buildx returns 1.

use std::num::NonZeroU8;
use std::process::ExitCode;

use crate::diag::Class;
use crate::outcome::{CancelReason, FailureKind, Outcome, TargetOutcome};

const SIGHUP: i32 = 1;

/// How the process ends. `docs/exit-codes.md` documents the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Success,
    /// One or more targets failed, or the output could not be written.
    Failed,
    /// The command line is wrong.
    Usage,
    /// A definition, or the plan made from it, is wrong.
    Definition,
    /// No builder could be reached, or the connection to it was lost.
    Engine,
    /// Images were built, but publishing them failed.
    Publish,
    /// The run took longer than `--timeout` allows. The code is that of `timeout(1)`.
    TimedOut,
    /// The engine answered with the gRPC status `Internal`. The code is buildx's.
    Internal,
    /// The engine answered with the gRPC status `ResourceExhausted`. The code is buildx's.
    Exhausted,
    /// The terminal was closed (SIGHUP).
    HungUp,
    /// Interrupted by the user.
    Interrupted,
    /// A frontend that was asked something (`--call`) answered with this status.
    Answered(NonZeroU8),
}

impl Exit {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Definition => 3,
            Self::Engine => 4,
            Self::Publish => 5,
            Self::TimedOut => 124,
            Self::Internal => 100,
            Self::Exhausted => 102,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Answered(status) => status.get(),
        }
    }

    /// The exit code for a problem of this class.
    pub(crate) const fn for_class(class: Class) -> Self {
        match class {
            Class::Usage => Self::Usage,
            Class::Definition => Self::Definition,
            Class::Engine => Self::Engine,
            Class::Build | Class::Internal => Self::Failed,
            Class::Publish => Self::Publish,
        }
    }

    /// The exit code for a run that the signal `number` stopped. As in buildx, it is 130 for SIGTERM, too.
    pub(crate) const fn for_signal(number: i32) -> Self {
        match number {
            SIGHUP => Self::HungUp,
            _ => Self::Interrupted,
        }
    }

    /// The exit code for a run that was stopped.
    pub(crate) const fn for_stop(reason: &CancelReason) -> Self {
        match reason {
            CancelReason::Signal(number) => Self::for_signal(*number),
            CancelReason::TimedOut(_) => Self::TimedOut,
            CancelReason::FirstFailure(_) | CancelReason::ReporterBroken => Self::Failed,
        }
    }

    /// The exit code for a finished run: an interruption takes precedence, then the first failure decides.
    pub(crate) fn for_outcome(outcome: &Outcome) -> Self {
        let ends = || outcome.targets.iter().map(|(_, end)| end.as_ref());
        let stopped = ends().find_map(|end| match end {
            TargetOutcome::Cancelled(reason) if reason.is_of_the_whole_run() => Some(reason),
            _ => None,
        });
        let later = outcome.interrupted.as_ref();
        let later = later.filter(|reason| reason.is_of_the_whole_run());
        if let Some(reason) = stopped.or(later) {
            return Self::for_stop(reason);
        }
        let failure = ends().find_map(|end| match end {
            TargetOutcome::Failed(failure) => Some(failure.kind),
            _ => None,
        });
        match failure {
            Some(FailureKind::Engine) => Self::Engine,
            Some(FailureKind::Internal) => Self::Internal,
            Some(FailureKind::Exhausted) => Self::Exhausted,
            Some(FailureKind::Cancelled) => Self::Interrupted,
            None if ends().all(|end| matches!(end, TargetOutcome::Succeeded(_))) => {
                let error = outcome.problems.iter().find(|problem| problem.is_error());
                error.map_or(Self::Success, |problem| Self::for_class(problem.class))
            }
            Some(FailureKind::Build | FailureKind::Entitlement) | None => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Diagnostic;
    use crate::outcome::{SolveFailure, Solved};
    use std::sync::Arc;

    fn outcome(ends: Vec<TargetOutcome>) -> Outcome {
        let targets = ends
            .into_iter()
            .map(|end| ("t".parse().unwrap(), Arc::new(end)))
            .collect();
        Outcome {
            targets,
            ..Outcome::default()
        }
    }

    #[test]
    fn the_first_failure_decides_unless_the_user_stopped_the_run() {
        let failed = || TargetOutcome::Failed(SolveFailure::new(FailureKind::Engine, "gone"));
        let stopped = || TargetOutcome::Cancelled(CancelReason::Signal(2));
        let fine = || TargetOutcome::Succeeded(Solved::default());
        assert_eq!(
            Exit::for_outcome(&outcome(vec![fine(), fine()])),
            Exit::Success
        );
        assert_eq!(
            Exit::for_outcome(&outcome(vec![fine(), failed()])),
            Exit::Engine
        );
        assert_eq!(
            Exit::for_outcome(&outcome(vec![failed(), stopped()])),
            Exit::Interrupted
        );
        let limit = CancelReason::TimedOut(std::time::Duration::from_secs(1));
        let late = TargetOutcome::Cancelled(limit);
        assert_eq!(
            Exit::for_outcome(&outcome(vec![failed(), late])),
            Exit::TimedOut
        );
        let hung_up = TargetOutcome::Cancelled(CancelReason::Signal(SIGHUP));
        assert_eq!(
            Exit::for_outcome(&outcome(vec![fine(), hung_up])),
            Exit::HungUp
        );
    }

    #[test]
    fn problems_and_interruptions_after_the_targets_count() {
        let fine = || vec![TargetOutcome::Succeeded(Solved::default())];
        let mut later = outcome(fine());
        later.problems = vec![Diagnostic::error(Class::Build, "run::cache-export", "x")];
        assert_eq!(Exit::for_outcome(&later), Exit::Failed);
        later.problems = vec![Diagnostic::warning("run::cache-export", "x")];
        assert_eq!(Exit::for_outcome(&later), Exit::Success);
        later.interrupted = Some(CancelReason::Signal(15));
        assert_eq!(Exit::for_outcome(&later), Exit::Interrupted);
    }
}
