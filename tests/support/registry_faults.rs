//! Hooks for [`super::registry_proxy`]: one that holds a request, and one that makes requests fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::StatusCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::registry_proxy::{Hook, ProxiedRequest, Stage, Verdict};
use super::splitmix::SplitMix;

/// Holds one request until it is released. All others pass.
#[derive(Clone)]
pub(crate) struct Gate(Arc<GateState>);

struct GateState {
    stage: Stage,
    nth: usize,
    matches: Box<dyn Fn(&ProxiedRequest) -> bool + Send + Sync>,
    seen: AtomicUsize,
    reached: CancellationToken,
    verdict: watch::Sender<Option<Verdict>>,
}

impl Gate {
    /// Holds, at `stage`, the request that is the `nth` (from 0) of those that `matches`.
    pub(crate) fn new(
        stage: Stage,
        nth: usize,
        matches: impl Fn(&ProxiedRequest) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(GateState {
            stage,
            nth,
            matches: Box::new(matches),
            seen: AtomicUsize::new(0),
            reached: CancellationToken::new(),
            verdict: watch::Sender::new(None),
        }))
    }

    /// The hook.
    pub(crate) fn hook(&self) -> Hook {
        let gate = self.clone();
        Arc::new(move |stage, request| gate.clone().ask(stage, request).boxed())
    }

    async fn ask(self, stage: Stage, request: ProxiedRequest) -> Verdict {
        let state = &self.0;
        if stage != state.stage
            || !(state.matches)(&request)
            || state.seen.fetch_add(1, Ordering::SeqCst) != state.nth
        {
            return Verdict::Pass;
        }
        let mut verdict = state.verdict.subscribe();
        state.reached.cancel();
        let verdict = verdict.wait_for(Option::is_some).await;
        verdict.map_or(Verdict::Reset, |verdict| verdict.unwrap_or(Verdict::Reset))
    }

    /// Waits until the request is held.
    pub(crate) async fn reached(&self) {
        self.0.reached.cancelled().await;
    }

    /// Whether the request was held.
    pub(crate) fn was_reached(&self) -> bool {
        self.0.reached.is_cancelled()
    }

    /// Lets `verdict` happen to the request, now or when it comes.
    pub(crate) fn release(&self, verdict: Verdict) {
        self.0.verdict.send_replace(Some(verdict));
    }
}

/// Makes a part of the requests fail, in all ways that networks and registries have.
///
/// Which requests fail depends on the seed and on how often the same request was sent before, not on the order of
/// different requests.
pub(crate) struct Faults {
    seed: u64,
    percent: u64,
    state: Mutex<FaultState>,
}

#[derive(Default)]
struct FaultState {
    /// How often each request was sent.
    sent: BTreeMap<String, u64>,
    /// What happens to the requests on their way, by their numbers.
    chosen: BTreeMap<usize, Fault>,
    counts: BTreeMap<&'static str, usize>,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    name: &'static str,
    stage: Stage,
    stall: Duration,
    verdict: Verdict,
}

/// The longest time for which a request stands still.
const STALL: u64 = 400;

impl Faults {
    /// Lets `percent` of rbake's requests fail. Those of the builder, which repeats requests in its own way, pass.
    pub(crate) fn new(seed: u64, percent: u64) -> Arc<Self> {
        Arc::new(Self {
            seed,
            percent,
            state: Mutex::default(),
        })
    }

    /// The hook.
    pub(crate) fn hook(self: &Arc<Self>) -> Hook {
        let faults = Arc::clone(self);
        Arc::new(move |stage, request| {
            let fault = faults.choose(stage, &request);
            async move {
                let Some(fault) = fault else {
                    return Verdict::Pass;
                };
                tokio::time::sleep(fault.stall).await;
                fault.verdict
            }
            .boxed()
        })
    }

    /// How often each kind of failure happened.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.state.lock().unwrap().counts.clone()
    }

    fn choose(&self, stage: Stage, request: &ProxiedRequest) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        if stage == Stage::Before && request.is_from_rbake() {
            let key = key(request);
            let sent = state.sent.entry(key.clone()).or_default();
            *sent += 1;
            if let Some(fault) = self.fault(&key, *sent) {
                *state.counts.entry(fault.name).or_default() += 1;
                state.chosen.insert(request.number, fault);
            }
        }
        let fault = state.chosen.get(&request.number);
        fault.filter(|fault| fault.stage == stage).copied()
    }

    fn fault(&self, key: &str, sent: u64) -> Option<Fault> {
        let mut seed = self.seed ^ sent.wrapping_mul(0xff51_afd7_ed55_8ccd);
        for byte in key.bytes() {
            // FNV-1a.
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut random = SplitMix::new(seed);
        if random.below(0..100) >= self.percent {
            return None;
        }
        let error = *random.pick(&[500, 502, 503, 504]);
        let answer = |status: u16, retry_after| Verdict::Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after,
        };
        let wait = u32::try_from(random.below(0..2)).unwrap();
        let stall = Duration::from_millis(random.below(50..STALL));
        let fault = |name, stage, verdict| Fault {
            name,
            stage,
            stall: Duration::ZERO,
            verdict,
        };
        let slow = |name, stage, verdict| Fault {
            stall,
            ..fault(name, stage, verdict)
        };
        Some(*random.pick(&[
            fault("5xx", Stage::Before, answer(error, None)),
            fault("5xx after it was done", Stage::After, answer(error, None)),
            fault("429", Stage::Before, answer(429, Some(wait))),
            fault("reset", Stage::Before, Verdict::Reset),
            fault("reset after it was done", Stage::After, Verdict::Reset),
            fault("half an answer", Stage::After, Verdict::Cut),
            slow("stall", Stage::Before, Verdict::Pass),
            slow("stall and reset", Stage::After, Verdict::Reset),
        ]))
    }
}

/// What is the same if a request is repeated, and in another run with the same seed: no digests, names of uploads, of
/// commits and of records.
fn key(request: &ProxiedRequest) -> String {
    let path = request.path.split('?').next().unwrap_or_default();
    let path = match request.repository() {
        Some(repository) => &path["/v2/".len() + repository.len()..],
        None => path,
    };
    let is_random = |word: &str| word.len() >= 32;
    let words: Vec<&str> = path
        .split(['/', ':'])
        .map(|word| if is_random(word) { "…" } else { word })
        .collect();
    format!("{} {}", request.method, words.join("/"))
}
