//! A daemon that is an enemy: it asks for what the definition does not offer, sends results that lead out of their folder, and
//! progress and answers that make no sense. Each seed gives another mix.
//!
//! The run must end soon without a panic, must not have read or written anything else than it offers, and must not have taken
//! much memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use rbake_proto::apicaps::ApiCap;
use rbake_proto::control::{
    SolveRequest, SolveResponse, StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning,
};
use rbake_proto::filesync::CredentialsRequest;
use rbake_proto::filesync::auth_client::AuthClient;
use rbake_proto::filesync::file_send_client::FileSendClient;
use rbake_proto::filesync::file_sync_client::FileSyncClient;
use rbake_proto::gateway::{PongResponse, ReturnResponse};
use rbake_proto::packet::{Packet, PacketType, Stat, Xattr};
use rbake_proto::pb::{Position, Range, SourceInfo};
use rbake_proto::secrets::GetSecretRequest;
use rbake_proto::secrets::secrets_client::SecretsClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{report, seeds};
use crate::support::fake_buildkit::{Answer, Call, ClientSession, FakeBuildkit};
use crate::support::interrupted::{Run, with_folder_for_temporary_files};
use crate::support::project::TestProject;
use crate::support::splitmix::SplitMix;

const RUNS: u64 = 600;
/// The most time of a run. The daemon answers within a second.
const LIMIT: Duration = Duration::from_secs(20);
/// The most memory of a run, in KiB. A debug build of the program needs about 60 MiB for nothing.
const MEMORY: u64 = 300 << 10;

/// What must never leave the machine.
const CANARIES: [&str; 3] = ["canary-outside", "canary-undeclared", "canary-login"];

fn project(fake: &FakeBuildkit) -> TestProject {
    let project = with_folder_for_temporary_files(TestProject::new())
        .file(
            "docker-bake.hcl",
            r#"
            target "default" {
              context  = "ctx"
              contexts = { more = "more" }
              secret   = ["id=declared,env=DECLARED"]
              output   = ["type=local,dest=out", "type=oci,dest=image.tar"]
            }
            "#,
        )
        .file("ctx/Dockerfile", "FROM scratch\nCOPY a /\n")
        .file("ctx/a", "a")
        .file("more/b", "b")
        .file("outside", CANARIES[0])
        .env("DECLARED", "declared")
        .env("UNDECLARED", CANARIES[1])
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", fake.endpoint())
        .docker_config(
            r#"{"auths": {"registry.example": {"username": "u", "password": "canary-login"}}}"#,
        );
    for (link, to) in [("ctx/up", "../outside"), ("ctx/etc", "/etc")] {
        std::os::unix::fs::symlink(to, project.path().join(link)).unwrap();
    }
    project
}

/// What the daemon got although it must not, and what it tried.
#[derive(Default)]
struct Loot {
    taken: Vec<String>,
    tried: BTreeMap<&'static str, u32>,
}

type Shared = Arc<Mutex<Loot>>;

fn tried(loot: &Shared, what: &'static str) {
    *loot.lock().unwrap().tried.entry(what).or_default() += 1;
}

fn check(loot: &Shared, what: &str, data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if CANARIES.iter().any(|canary| text.contains(canary)) {
        loot.lock().unwrap().taken.push(format!("{what}: {text}"));
    }
}

// Asks for directories and files that were not offered.
async fn read_files(channel: Channel, random: &mut SplitMix, loot: &Shared) {
    let name = *random.pick(&[
        "context",
        "dockerfile",
        "more",
        "..",
        "/",
        "",
        "other",
        "ctx/..",
    ]);
    let (send, packets) = mpsc::channel(8);
    let mut request = Request::new(ReceiverStream::new(packets));
    let metadata = request.metadata_mut();
    metadata.insert("dir-name", name.parse().unwrap());
    for key in ["followpaths", "include-patterns", "exclude-patterns"] {
        for _ in 0..random.below(0..4) {
            let value = *random.pick(&[
                "../outside",
                "up",
                "etc/passwd",
                "/etc/passwd",
                "**",
                "!**",
                "[",
                "a",
                "../../**",
                "up/../../outside",
                "%00",
                "\\",
                "{a,b}",
                "a/../../outside",
            ]);
            metadata.append(key, value.parse().unwrap());
        }
    }
    let mut client = FileSyncClient::new(channel);
    let Ok(Ok(response)) = tokio::time::timeout(LIMIT / 4, client.diff_copy(request)).await else {
        tried(loot, "refused directory");
        return;
    };
    tried(loot, "directory");
    let is_offered = ["context", "dockerfile", "more"].contains(&name);
    let mut receive = response.into_inner();
    let mut listed = 0;
    while let Ok(Ok(Some(packet))) =
        tokio::time::timeout(Duration::from_millis(400), receive.message()).await
    {
        check(loot, "content", &packet.data);
        if let Some(stat) = &packet.stat {
            let path = String::from_utf8_lossy(&stat.path).into_owned();
            if !is_offered || path.starts_with('/') || path.split('/').any(|part| part == "..") {
                loot.lock()
                    .unwrap()
                    .taken
                    .push(format!("entry {path} of {name}"));
            }
            // Asks for every entry, also for links and directories, and for some that do not exist.
            for id in [listed, listed + random.below(0..1_000_000)] {
                let packet = Packet {
                    r#type: PacketType::PacketReq.into(),
                    id: u32::try_from(id).unwrap(),
                    ..Packet::default()
                };
                let _ = send.try_send(packet);
            }
            listed += 1;
        }
    }
}

async fn read_secrets(channel: Channel, random: &mut SplitMix, loot: &Shared) {
    let mut client = SecretsClient::new(channel.clone());
    for id in [
        "UNDECLARED",
        "",
        "../declared",
        "declared\0",
        "HOME",
        "GIT_AUTH_TOKEN",
    ] {
        let id = if random.below(0..4) == 0 {
            id.repeat(20_000)
        } else {
            id.to_owned()
        };
        let request = GetSecretRequest {
            id,
            ..GetSecretRequest::default()
        };
        tried(loot, "secret");
        let asked = tokio::time::timeout(LIMIT / 4, client.get_secret(request)).await;
        if let Ok(Ok(secret)) = asked {
            let text = format!("{:?}", secret.into_inner().data);
            loot.lock().unwrap().taken.push(format!("secret {text}"));
        }
    }
    let mut client = AuthClient::new(channel);
    for host in [
        "",
        "registry.example.evil",
        "evil/registry.example",
        "registry.example\n",
    ] {
        tried(loot, "login");
        let request = CredentialsRequest {
            host: host.to_owned(),
        };
        let asked = tokio::time::timeout(LIMIT / 4, client.credentials(request)).await;
        if let Ok(Ok(answer)) = asked {
            check(loot, "login", answer.into_inner().secret.as_bytes());
        }
    }
}

// Entries of a result that lead out of its folder.
fn entries(random: &mut SplitMix) -> Vec<Packet> {
    const DIR: u32 = 0x8000_01ed;
    const LINK: u32 = 0x0800_01ff;
    const KINDS: [u32; 8] = [
        0o644,
        DIR,
        LINK,
        0x0200_01ff,
        0x0400_01ff,
        0x0100_01ff,
        0,
        u32::MAX,
    ];
    let names = [
        "../evil",
        "/evil",
        "a/../../evil",
        "a",
        "a/evil",
        "l",
        "l/evil",
        "..",
        ".",
        "",
        "a\0b",
        "c/d/e",
        "l/../evil",
        "\u{1b}[2J",
    ];
    (0..random.below(1..12))
        .map(|_| {
            let long = random.below(0..12) == 0;
            let name = *random.pick(&names);
            let path = if long {
                "x/".repeat(5_000) + name
            } else {
                name.to_owned()
            };
            let stat = Stat {
                path: path.into_bytes().into(),
                mode: *random.pick(&KINDS),
                size: *random.pick(&[0, 1, -1, i64::MAX]),
                mod_time: *random.pick(&[0, -1, i64::MAX, i64::MIN]),
                linkname: random
                    .pick(&["", "../..", "/etc", "/etc/passwd", "a", "../outside"])
                    .as_bytes()
                    .to_vec()
                    .into(),
                devmajor: *random.pick(&[0, -1, i64::MAX]),
                xattrs: vec![Xattr {
                    name: Bytes::from_static(b"user.x"),
                    value: Bytes::from_static(b"y"),
                }],
                ..Stat::default()
            };
            Packet {
                stat: Some(stat),
                ..Packet::default()
            }
        })
        .collect()
}

// Messages that do not belong there.
fn endings(random: &mut SplitMix) -> Vec<Packet> {
    (0..random.below(0..6))
        .map(|_| Packet {
            r#type: *random.pick(&[0, 1, 2, 3, 4, 99, -1]),
            id: *random.pick(&[0, 1, 7, u32::MAX]),
            data: Bytes::from_static(b"evil"),
            ..Packet::default()
        })
        .collect()
}

// Sends a result that leads out of its folder, or none that makes sense.
async fn write_files(channel: Channel, random: &mut SplitMix, loot: &Shared) {
    let (send, packets) = mpsc::channel::<Bytes>(64);
    let mut request = Request::new(ReceiverStream::new(packets));
    let exporter = *random.pick(&["0", "0", "0", "1", "2", "-1", "x", "99999999999999999999"]);
    let metadata = request.metadata_mut();
    metadata.insert("buildkit-attachable-exporter-id", exporter.parse().unwrap());
    let mut client = FileSendClient::new(channel);
    let receive = async {
        let Ok(answers) = client.diff_copy(request).await else {
            return;
        };
        let mut answers = answers.into_inner();
        while let Ok(Some(_)) = answers.message().await {}
    };
    let (entries, endings) = (entries(random), endings(random));
    tried(loot, "result");
    let junk = random.below(0..5) == 0;
    let feed = async move {
        if junk {
            let _ = send.send(Bytes::from_static(&[0xff; 700])).await;
        }
        for packet in entries
            .into_iter()
            .chain([Packet::default()])
            .chain(endings)
        {
            if send.send(packet.encode_to_vec().into()).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let both = async { tokio::join!(receive, feed) };
    let _ = tokio::time::timeout(Duration::from_secs(2), both).await;
}

fn time(random: &mut SplitMix) -> Option<prost_types::Timestamp> {
    let seconds = *random.pick(&[0, 1_700_000_000, i64::MAX, i64::MIN, -1]);
    let nanos = *random.pick(&[0, 999_999_999, i32::MIN, i32::MAX]);
    (random.below(0..4) != 0).then_some(prost_types::Timestamp { seconds, nanos })
}

fn digest(random: &mut SplitMix) -> String {
    let hex = "ab".repeat(32);
    let shown = random.below(0..4);
    match random.below(0..6) {
        0 => String::new(),
        1 => "../../evil".to_owned(),
        2 => format!("sha256:{hex}"),
        3 => "\u{1b}]0;evil\u{7}".to_owned(),
        4 => format!("sha256:{shown:064x}"),
        _ => "x".repeat(40_000),
    }
}

fn text(random: &mut SplitMix) -> String {
    let text = *random.pick(&[
        "",
        "RUN x",
        "[a 1/2] RUN y",
        "[internal] load",
        "\u{1b}[31mred",
        "a\nb\r\nc",
        "\u{202e}evil",
    ]);
    if random.below(0..10) == 0 {
        format!("{text}x").repeat(20_000)
    } else {
        text.to_owned()
    }
}

fn progress(random: &mut SplitMix) -> StatusResponse {
    let (digests, texts): (Vec<String>, Vec<String>) =
        (0..8).map(|_| (digest(random), text(random))).unzip();
    let some = |random: &mut SplitMix, from: &[String]| random.pick(from).clone();
    let vertexes = (0..random.below(0..6))
        .map(|_| Vertex {
            digest: some(random, &digests),
            inputs: vec![some(random, &digests)],
            name: some(random, &texts),
            cached: random.below(0..2) == 0,
            started: time(random),
            completed: time(random),
            error: some(random, &texts),
            ..Vertex::default()
        })
        .collect();
    let statuses = (0..random.below(0..4))
        .map(|_| VertexStatus {
            id: some(random, &texts),
            vertex: some(random, &digests),
            name: some(random, &texts),
            current: *random.pick(&[0, -1, i64::MAX, i64::MIN]),
            total: *random.pick(&[0, -1, i64::MAX, i64::MIN]),
            timestamp: time(random),
            started: time(random),
            completed: time(random),
        })
        .collect();
    let logs = (0..random.below(0..4))
        .map(|_| VertexLog {
            vertex: some(random, &digests),
            timestamp: time(random),
            stream: *random.pick(&[1, 2, 0, -1, i64::MAX]),
            msg: Bytes::from(some(random, &texts)),
        })
        .collect();
    let line = |random: &mut SplitMix| Position {
        line: *random.pick(&[0, 1, -1, i32::MAX, i32::MIN]),
        character: *random.pick(&[0, i32::MAX]),
    };
    let warnings = (0..random.below(0..3))
        .map(|_| VertexWarning {
            vertex: some(random, &digests),
            level: *random.pick(&[0, 1, -1, i64::MAX]),
            short: Bytes::from(some(random, &texts)),
            detail: vec![Bytes::from(some(random, &texts))],
            url: some(random, &texts),
            info: Some(SourceInfo {
                filename: "../../evil".to_owned(),
                data: Bytes::from(some(random, &texts)),
                ..SourceInfo::default()
            }),
            ranges: vec![Range {
                start: Some(line(random)),
                end: Some(line(random)),
            }],
        })
        .collect();
    StatusResponse {
        vertexes,
        statuses,
        logs,
        warnings,
    }
}

// The whole attack on one solve.
async fn attack(
    seed: u64,
    answer: Answer<SolveResponse>,
    sessions: Vec<(Channel, Vec<String>)>,
    progress_to: &Progress,
    loot: Shared,
) {
    let mut random = SplitMix::new(seed);
    // The stream of progress is asked for at the same time as the solve.
    tokio::time::sleep(Duration::from_millis(30)).await;
    for _ in 0..random.below(1..6) {
        let streams = progress_to.lock().unwrap().clone();
        for to in streams {
            let _ = to.send(Ok(progress(&mut random))).await;
        }
        let Some((channel, methods)) =
            (!sessions.is_empty()).then(|| random.pick(&sessions).clone())
        else {
            continue;
        };
        let offers = |service: &str| methods.iter().any(|method| method.contains(service));
        match random.below(0..3) {
            0 => read_files(channel, &mut random, &loot).await,
            1 => read_secrets(channel, &mut random, &loot).await,
            _ if offers("FileSend") => write_files(channel, &mut random, &loot).await,
            _ => read_files(channel, &mut random, &loot).await,
        }
    }
    if random.below(0..2) == 0 {
        let codes = [
            Code::Unknown,
            Code::Internal,
            Code::Unavailable,
            Code::Aborted,
            Code::Ok,
        ];
        let details = Bytes::from(text(&mut random));
        let status = Status::with_details(*random.pick(&codes), text(&mut random), details);
        let _ = answer.send(Err(status));
        return;
    }
    let keys = [
        "containerimage.digest",
        "containerimage.descriptor",
        "image.name",
        "x",
        "cache.manifest",
    ];
    let response = keys.map(|key| (key.to_owned(), digest(&mut random)));
    let _ = answer.send(Ok(SolveResponse {
        exporter_response: response.into(),
    }));
}

fn pong() -> PongResponse {
    let can = |id: &str| ApiCap {
        id: id.to_owned(),
        enabled: true,
        ..ApiCap::default()
    };
    PongResponse {
        llb_caps: vec![can("exporter.multiple"), can("\u{1b}[31m")],
        ..PongResponse::default()
    }
}

/// The daemon's side of a run: what it knows so far.
#[derive(Default)]
struct Known {
    probes: Vec<Answer<SolveResponse>>,
    sessions: Arc<Mutex<Vec<ClientSession>>>,
    progress: Progress,
}

/// The streams of progress. They end with the solve: a run waits some time for the rest of its progress.
type Progress = Arc<Mutex<Vec<mpsc::Sender<Result<StatusResponse, Status>>>>>;

impl Known {
    fn answer(&mut self, call: Call, seed: u64, loot: &Shared) {
        match call {
            Call::Solve(request, answer) if is_probe(&request) => self.probes.push(answer),
            Call::Solve(_, answer) => {
                let (sessions, progress) = (Arc::clone(&self.sessions), Arc::clone(&self.progress));
                let loot = Arc::clone(loot);
                tokio::spawn(async move {
                    let open: Vec<(Channel, Vec<String>)> = sessions
                        .lock()
                        .unwrap()
                        .iter()
                        .map(|session| (session.channel.clone(), session.methods.clone()))
                        .collect();
                    attack(seed, answer, open, &progress, loot).await;
                    progress.lock().unwrap().clear();
                    // A daemon ends its side after the client has.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    sessions.lock().unwrap().clear();
                });
            }
            Call::Status(_, to) => self.progress.lock().unwrap().push(to),
            Call::Session(session) => self.sessions.lock().unwrap().push(session),
            Call::Ping(_, answer) => drop(answer.send(Ok(pong()))),
            Call::Return(_, answer) => {
                let _ = answer.send(Ok(ReturnResponse::default()));
                for probe in self.probes.drain(..) {
                    let _ = probe.send(Ok(SolveResponse::default()));
                }
            }
            Call::GatewaySolve(_, answer) => drop(answer.send(Err(Status::internal("no")))),
        }
    }
}

// The client asks for capabilities with an empty build.
fn is_probe(request: &SolveRequest) -> bool {
    request.internal && request.frontend.is_empty()
}

// All paths below `dir`, but not what is in `out`.
fn paths(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.ends_with("project/out") || path.ends_with("project/image.tar") {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

// The most memory that the process has had, in KiB.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}

async fn hostile(seed: u64, all: &Shared) -> (Option<i32>, u64) {
    let loot = Shared::default();
    let mut fake = FakeBuildkit::start();
    let project = project(&fake);
    let whole = project.path().parent().unwrap().to_owned();
    let before = paths(&whole);
    let mut run = Run::start(&project.command(&["--progress", "plain"]));
    let (mut known, mut memory) = (Known::default(), 0);
    let began = std::time::Instant::now();
    while !run.has_ended() {
        memory = memory.max(peak(run.pid()).unwrap_or(0));
        assert!(
            began.elapsed() < LIMIT,
            "seed {seed}: still running: {}",
            run.stderr()
        );
        tokio::select! {
            call = fake.call() => known.answer(call, seed, &loot),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    let ended = run.ended(LIMIT).await;
    let what = format!(
        "seed {seed}: {}",
        ended.stderr.chars().take(3_000).collect::<String>()
    );
    let code = ended.status.code();
    assert!(matches!(code, Some(0 | 1 | 4 | 100)), "{code:?} {what}");
    assert!(!ended.stderr.contains("panicked"), "{what}");
    for canary in CANARIES {
        assert!(!ended.stderr.contains(canary), "{what}");
    }
    let mut after = paths(&whole);
    after.retain(|path| !before.contains(path) && !path.starts_with(whole.join("home")));
    assert!(after.is_empty(), "{after:?} {what}");
    assert!(!Path::new("/evil").exists(), "{what}");
    assert!(memory < MEMORY, "{memory} KiB {what}");
    let loot = loot.lock().unwrap();
    assert!(loot.taken.is_empty(), "{:?} {what}", loot.taken);
    let mut all = all.lock().unwrap();
    for (what, times) in &loot.tried {
        *all.tried.entry(what).or_default() += times;
    }
    (code, memory)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_hostile_daemon_gets_and_changes_nothing_that_was_not_offered() {
    let all = Shared::default();
    let (mut codes, mut most) = (BTreeMap::<Option<i32>, u32>::new(), 0);
    for seed in seeds(RUNS) {
        let (code, memory) = hostile(seed, &all).await;
        *codes.entry(code).or_default() += 1;
        most = most.max(memory);
    }
    let tried = all.lock().unwrap().tried.clone();
    report(
        "hostile",
        &format!(
            "exit codes {codes:?}, tried {tried:?}, at most {most} KiB; nothing was taken or written elsewhere"
        ),
    );
    for what in ["directory", "secret", "login", "result"] {
        assert!(tried.contains_key(what), "never tried: {what}");
    }
}
