//! Runs each credential helper once for each registry, however many requests need the answer.
//!
//! The daemon asks for a token for each repository and action, so forty repositories of one registry are forty
//! requests at the same time. All of them need the same credential.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio_util::task::AbortOnDropHandle;

use super::Credential;
use super::helper::{HelperCall, HelperError};
use super::patience::HELPER;
use crate::diag::{Diagnostic, Notices};
use crate::types::Clock;
use crate::types::processes::ProcessGroups;

/// How long a credential is remembered: slightly less than the shortest lifetime of credentials from the helpers of
/// clouds.
const KEPT: Duration = Duration::from_secs(4 * 60 + 50);

/// How long a failure is remembered. After a failure, the daemon asks several times, and so does each session of a
/// step.
const FAILURE_KEPT: Duration = Duration::from_secs(5);

/// The most answers that are remembered. The daemon chooses the registries, and must not be able to fill the
/// memory.
const REMEMBERED: usize = 1000;

type Answer = Result<Credential, HelperError>;

/// Runs helpers and remembers their answers.
#[derive(Debug)]
pub(super) struct Helpers {
    asking: Arc<Asking>,
    calls: Mutex<HashMap<HelperCall, Slot>>,
}

#[derive(Debug)]
struct Asking {
    clock: Clock,
    limit: Duration,
    withheld: BTreeSet<String>,
    notices: Notices,
    groups: ProcessGroups,
    // Keychains fail if they are asked in parallel (docker/cli#1862), so each program gets one question at a time.
    turns: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

#[derive(Debug)]
struct Slot {
    state: watch::Receiver<CallState>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone)]
enum CallState {
    Queued,
    Running,
    Done { at: Duration, answer: Answer },
}

impl Slot {
    fn is_fresh(&self, now: Duration) -> bool {
        match &*self.state.borrow() {
            CallState::Queued | CallState::Running => true,
            CallState::Done { at, answer } => {
                let kept = match answer {
                    // A helper that did not answer will not answer the next time either, so do not wait for it
                    // again.
                    Ok(_) | Err(HelperError::Hung { .. }) => KEPT,
                    Err(_) => FAILURE_KEPT,
                };
                now.saturating_sub(*at) < kept
            }
        }
    }

    fn is_done(&self) -> bool {
        matches!(&*self.state.borrow(), CallState::Done { .. })
    }
}

impl Helpers {
    /// Creates the store. Helpers do not get the variables in `withheld`. Slow ones are reported to `notices`.
    pub(super) fn new(clock: Clock, withheld: BTreeSet<String>, notices: Notices) -> Self {
        Self::with_limit(clock, withheld, notices, HELPER)
    }

    fn with_limit(
        clock: Clock,
        withheld: BTreeSet<String>,
        notices: Notices,
        limit: Duration,
    ) -> Self {
        Self {
            asking: Arc::new(Asking {
                clock,
                limit,
                withheld,
                notices,
                groups: ProcessGroups::default(),
                turns: Mutex::default(),
            }),
            calls: Mutex::default(),
        }
    }

    /// Returns the answer of the helper, which may be a remembered one.
    pub(super) async fn ask(&self, call: HelperCall) -> Answer {
        let mut state = self.join(&call);
        let limit = self.asking.limit;
        let answered = async {
            let done = state.wait_for(|state| matches!(state, CallState::Done { .. }));
            match done.await.as_deref() {
                Ok(CallState::Done { answer, .. }) => answer.clone(),
                _ => Err(HelperError::Stopped {
                    helper: call.program.clone(),
                }),
            }
        };
        // The helper's own limit begins when its turn comes. This limit includes the wait for the turn. It is
        // slightly longer, so that a helper that was asked at once and hangs is reported by its own limit.
        let answer = tokio::time::timeout(limit + limit / 20, answered).await;
        answer.unwrap_or_else(|_| {
            let queued = matches!(&*state.borrow(), CallState::Queued);
            let (helper, host, seconds) = (call.program, call.key, limit.as_secs());
            Err(if queued {
                HelperError::Busy {
                    helper,
                    host,
                    seconds,
                }
            } else {
                HelperError::Hung {
                    helper,
                    host,
                    seconds,
                }
            })
        })
    }

    /// Returns the state of the call, which is started if there is none or if its answer is too old.
    fn join(&self, call: &HelperCall) -> watch::Receiver<CallState> {
        let now = self.asking.clock.elapsed();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = calls.get(call).filter(|slot| slot.is_fresh(now)) {
            return slot.state.clone();
        }
        if calls.len() >= REMEMBERED {
            calls.retain(|_, slot| !slot.is_done());
        }
        let (tell, state) = watch::channel(CallState::Queued);
        // The call goes on even if the request that started it is cancelled: other requests may be waiting for it.
        let task = tokio::spawn(Arc::clone(&self.asking).call(call.clone(), tell));
        let slot = Slot {
            state: state.clone(),
            _task: AbortOnDropHandle::new(task),
        };
        calls.insert(call.clone(), slot);
        state
    }

    /// Ends all helpers that are still running.
    pub(super) fn end_all(&self) {
        self.asking.groups.end_all();
    }
}

impl Asking {
    /// Waits for the turn of this call, runs the helper, and publishes its answer through `tell`.
    async fn call(self: Arc<Self>, call: HelperCall, tell: watch::Sender<CallState>) {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(call.program.clone()).or_default())
        };
        let _turn = turn.lock().await;
        tell.send_replace(CallState::Running);
        let what = format!(
            "the credential helper `{}` for `{}`",
            call.program, call.key
        );
        let work = call.run(self.limit, &self.withheld, &self.groups);
        let answer = self.notices.watch("credential::waiting", &what, work).await;
        tracing::debug!(
            program = call.program,
            answered = answer.is_ok(),
            "credential helper"
        );
        if let Err(hung @ HelperError::Hung { .. }) = &answer {
            let HelperCall { program, key } = &call;
            let notice =
                Diagnostic::warning("credential::ended", format!("{hung} and was stopped"));
            let help = format!("run `echo {key} | {program} get` to see what it waits for");
            self.notices.tell(notice.help(help));
        }
        tell.send_replace(CallState::Done {
            at: self.clock.elapsed(),
            answer,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::time::SystemTime;

    // A helper that appends each call to the file `calls`.
    fn call(dir: &Path, key: &str, script: &str) -> HelperCall {
        let program = dir.join("docker-credential-x");
        let calls = dir.join("calls");
        let script = format!(
            "#!/bin/sh\nread key\necho $key >> {}\n{script}\n",
            calls.display()
        );
        if !program.exists() {
            std::fs::write(&program, script).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        HelperCall {
            program: program.to_str().unwrap().to_owned(),
            key: key.to_owned(),
        }
    }

    fn calls(dir: &Path) -> usize {
        let text = std::fs::read_to_string(dir.join("calls")).unwrap_or_default();
        text.lines().count()
    }

    const ANSWER: &str = r#"echo '{"Username":"u","Secret":"s"}'"#;

    /// A point at which a helper waits until the test lets it go on.
    struct Gate {
        reached: PathBuf,
        passed: PathBuf,
    }

    impl Gate {
        fn new(dir: &Path) -> Self {
            let pipe = |name| {
                let path = dir.join(name);
                let made = std::process::Command::new("mkfifo").arg(&path).status();
                assert!(made.unwrap().success());
                path
            };
            Self {
                reached: pipe("reached"),
                passed: pipe("passed"),
            }
        }

        fn script(&self) -> String {
            let (reached, passed) = (self.reached.display(), self.passed.display());
            format!("echo >'{reached}'; read -r _ <'{passed}'")
        }

        async fn reached(&self) {
            tokio::fs::read(&self.reached).await.unwrap();
        }

        async fn pass(&self) {
            tokio::fs::write(&self.passed, "\n").await.unwrap();
        }

        async fn open(&self) {
            self.reached().await;
            self.pass().await;
        }
    }

    #[tokio::test]
    async fn many_requests_for_one_registry_cause_one_call() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH);
        let helpers = Helpers::new(clock.clone(), BTreeSet::new(), Notices::default());
        let gate = Gate::new(dir.path());
        let slow = call(dir.path(), "a", &format!("{}; {ANSWER}", gate.script()));
        let asked = (0..40).map(|_| helpers.ask(slow.clone()));
        let asked = futures_util::future::join_all(asked);
        let (answers, ()) = tokio::join!(asked, gate.open());
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(calls(dir.path()), 1);
        let other = call(dir.path(), "b", "");
        let (answer, ()) = tokio::join!(helpers.ask(other), gate.open());
        assert!(answer.is_ok());
        assert_eq!(calls(dir.path()), 2);
        clock.advance(KEPT);
        let (answer, ()) = tokio::join!(helpers.ask(slow), gate.open());
        assert!(answer.is_ok());
        assert_eq!(calls(dir.path()), 3);
    }

    #[tokio::test]
    async fn a_call_continues_after_its_first_caller_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let helpers = Helpers::new(Clock::system(), BTreeSet::new(), Notices::default());
        let gate = Gate::new(dir.path());
        let slow = call(dir.path(), "a", &format!("{}; {ANSWER}", gate.script()));
        tokio::select! {
            answer = helpers.ask(slow.clone()) => panic!("{answer:?}"),
            () = gate.reached() => {}
        }
        let (answer, ()) = tokio::join!(helpers.ask(slow), gate.pass());
        assert!(answer.is_ok());
        assert_eq!(calls(dir.path()), 1);
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_not_called_again() {
        let dir = tempfile::tempdir().unwrap();
        let second = Duration::from_secs(1);
        let helpers =
            Helpers::with_limit(Clock::system(), BTreeSet::new(), Notices::default(), second);
        let hanging = call(dir.path(), "a", "sleep 100");
        let started = std::time::Instant::now();
        for _ in 0..3 {
            let error = helpers.ask(hanging.clone()).await.unwrap_err();
            assert!(error.to_string().contains("no answer for `a`"), "{error}");
        }
        assert!(started.elapsed() < Duration::from_secs(10));
        assert_eq!(calls(dir.path()), 1);
    }

    #[tokio::test]
    async fn a_request_that_never_gets_its_turn_is_reported_as_busy() {
        let dir = tempfile::tempdir().unwrap();
        let limit = Duration::from_secs(2);
        let helpers =
            Helpers::with_limit(Clock::system(), BTreeSet::new(), Notices::default(), limit);
        let busy = call(dir.path(), "a", &format!("sleep 1.7; {ANSWER}"));
        let keys = ["b", "c", "d"].map(|key| call(dir.path(), key, ""));
        let later = futures_util::future::join_all(keys.map(|key| helpers.ask(key)));
        let (first, later) = tokio::join!(helpers.ask(busy), later);
        assert!(first.is_ok());
        assert!(
            later
                .iter()
                .any(|answer| matches!(answer, Err(HelperError::Busy { .. }))),
            "{later:?}"
        );
    }
}
