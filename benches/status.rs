//! The cost of following a large run: the reducer, a frame of the live view, and the encoding of progress.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rbake::event::{Event, EventKind, StatusUpdate, Vertex, VertexLog, VertexProgress};
use rbake::report::frame::frame;
use rbake::report::status_json::SolveStatus;
use rbake::report::{Look, Model};
use rbake::types::{Digest, TargetName};

const TARGETS: usize = 100;
const EVENTS: usize = 100_000;

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

// A hundred targets of which each reports twenty steps, five of them shared by all: starts, output, pulls, ends.
fn events() -> Vec<Event> {
    let names: Vec<TargetName> = (0..TARGETS)
        .filter_map(|n| format!("service-{n}").parse().ok())
        .collect();
    let mut events = vec![Event {
        at: Duration::ZERO,
        kind: EventKind::RunStarted {
            builder: "bench".into(),
            driver: "remote".into(),
            targets: names.clone(),
        },
    }];
    for n in 0..EVENTS {
        let target = &names[n % TARGETS];
        let step = (n / TARGETS / 50) % 20;
        let phase = (n / TARGETS) % 50;
        let shared = if step < 5 { "shared" } else { target.as_str() };
        let digest = Digest::sha256(format!("{shared} {step}").as_bytes());
        let millis = n as u64;
        let mut update = StatusUpdate::default();
        match phase {
            0 | 49 => update.vertices.push(Vertex {
                digest,
                inputs: Vec::new(),
                name: format!("[{shared} {step}/20] RUN make part-{step} && make install"),
                cached: false,
                started: Some(at(step as u64 * 1000)),
                completed: (phase == 49).then(|| at(step as u64 * 1000 + 900)),
                error: String::new(),
                group: None,
            }),
            n if n % 2 == 0 => update.logs.push(VertexLog {
                vertex: digest,
                timestamp: Some(at(step as u64 * 1000 + phase as u64)),
                stream: 1,
                data: format!("\u{1b}[32mcompiling\u{1b}[0m file-{phase}.c\n").into(),
            }),
            _ => update.progress.push(VertexProgress {
                id: format!("layer-{}", phase % 8),
                vertex: digest,
                name: "downloading".into(),
                current: 1_000_000 * i64::try_from(phase).unwrap_or_default(),
                total: 50_000_000,
                timestamp: Some(at(millis)),
                started: Some(at(0)),
                completed: None,
            }),
        }
        events.push(Event {
            at: Duration::from_millis(millis),
            kind: EventKind::Progress {
                target: target.clone(),
                update: Arc::new(update),
            },
        });
    }
    events
}

fn reduced(events: &[Event]) -> Model {
    let mut model = Model::new();
    for event in events {
        black_box(model.apply(event));
    }
    model
}

fn benches(criterion: &mut Criterion) {
    let events = events();
    let mut group = criterion.benchmark_group("status");
    group.sample_size(20);
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("reduce 100k events of 100 targets", |bencher| {
        bencher.iter(|| reduced(black_box(&events)));
    });
    group.finish();

    let model = reduced(&events);
    let look = Look::default();
    criterion.bench_function("status/frame of 100 targets", |bencher| {
        let now = model.now();
        bencher.iter(|| frame(black_box(&model), now, 120, 50, &look));
    });
    criterion.bench_function("status/totals of 100 targets", |bencher| {
        bencher.iter(|| black_box(&model).totals());
    });
    criterion.bench_function("status/encode 1000 updates", |bencher| {
        bencher.iter(|| {
            let updates = events
                .iter()
                .take(1001)
                .filter_map(|event| match &event.kind {
                    EventKind::Progress { update, .. } => Some(update),
                    _ => None,
                });
            let encode = |update: &Arc<StatusUpdate>| {
                serde_json::to_vec(&SolveStatus::of(update, ToOwned::to_owned))
                    .map_or(0, |json| json.len())
            };
            updates.map(encode).sum::<usize>()
        });
    });
}

criterion_group!(status, benches);
criterion_main!(status);
