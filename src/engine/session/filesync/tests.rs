use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rbake_proto::filesync::file_sync_client::FileSyncClient;
use rbake_proto::packet::{Packet, PacketType, Stat};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use super::*;
use crate::engine::connection::MESSAGE_LIMIT;
use crate::event::{EventKind, Transfer};

// The daemon's side of one transfer.
struct Daemon {
    send: mpsc::Sender<Packet>,
    receive: Streaming<Packet>,
}

async fn client(service: &FileSync) -> FileSyncClient<Channel> {
    FileSyncClient::new(super::super::peer::channel(service).await)
        .max_decoding_message_size(MESSAGE_LIMIT)
}

impl Daemon {
    async fn call(
        mut client: FileSyncClient<Channel>,
        local: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Status> {
        let (send, packets) = mpsc::channel(8);
        let mut request = tonic::Request::new(ReceiverStream::new(packets));
        let metadata = request.metadata_mut();
        metadata.insert("dir-name", local.parse().unwrap());
        for (name, value) in headers {
            metadata.append(*name, value.parse().unwrap());
        }
        let receive = client.diff_copy(request).await?.into_inner();
        Ok(Self { send, receive })
    }

    async fn open(service: &FileSync, local: &str) -> Self {
        Self::call(client(service).await, local, &[]).await.unwrap()
    }

    async fn request(&self, id: u32) {
        let packet = Packet {
            r#type: PacketType::PacketReq.into(),
            id,
            ..Packet::default()
        };
        self.send.send(packet).await.unwrap();
    }

    async fn finish(&self) {
        let packet = Packet {
            r#type: PacketType::PacketFin.into(),
            ..Packet::default()
        };
        self.send.send(packet).await.unwrap();
    }

    // Reads the whole list of entries.
    async fn list(&mut self) -> Vec<Stat> {
        let mut stats = Vec::new();
        while let Some(stat) = self.packet().await.stat {
            stats.push(stat);
        }
        stats
    }

    async fn packet(&mut self) -> Packet {
        self.receive.message().await.unwrap().unwrap()
    }

    // Runs a whole transfer. Requests every file that `wants` accepts, while the list is still arriving.
    async fn take(&mut self, wants: impl Fn(&Stat) -> bool) -> (Vec<Stat>, BTreeMap<u32, Vec<u8>>) {
        let mut stats = Vec::new();
        let mut contents: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut open = std::collections::BTreeSet::new();
        let mut listed = false;
        loop {
            if listed && open.is_empty() {
                self.finish().await;
                listed = false;
            }
            let packet = self.packet().await;
            match (packet.r#type(), packet.stat) {
                (PacketType::PacketStat, Some(stat)) => {
                    let id = u32::try_from(stats.len()).unwrap();
                    let regular = stat.mode & crate::context::stat::mode::KIND == 0;
                    if regular && stat.linkname.is_empty() && wants(&stat) {
                        self.request(id).await;
                        open.insert(id);
                        contents.insert(id, Vec::new());
                    }
                    stats.push(stat);
                }
                (PacketType::PacketStat, None) => listed = true,
                (PacketType::PacketData, _) if packet.data.is_empty() => {
                    assert!(open.remove(&packet.id));
                }
                (PacketType::PacketData, _) => {
                    assert!(open.contains(&packet.id));
                    contents
                        .get_mut(&packet.id)
                        .unwrap()
                        .extend_from_slice(&packet.data);
                }
                (PacketType::PacketFin, _) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(self.receive.message().await.unwrap().is_none());
        (stats, contents)
    }
}

fn context(dir: &Path) -> Vec<ServedDirectory> {
    vec![ServedDirectory::directory("context", dir)]
}

fn many(count: usize) -> Vec<ServedDirectory> {
    let content = Bytes::from(vec![b'x'; 3000]);
    let files = (0..count).map(|n| (format!("file-{n:07}"), content.clone()));
    vec![ServedDirectory {
        name: "context".to_owned(),
        source: LocalSource::Files {
            from: PathBuf::new(),
            files: files.collect(),
        },
    }]
}

#[tokio::test(flavor = "multi_thread")]
async fn all_requested_files_arrive() {
    let dir = tempfile::tempdir().unwrap();
    crate::context::fixture::make(
        dir.path(),
        include_str!("../../../../tests/fixtures/context/tree.txt"),
    );
    let large: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(dir.path().join("large"), &large).unwrap();
    let service = FileSync::new(context(dir.path()), EventSink::none());
    let (stats, contents) = Daemon::open(&service, "context").await.take(|_| true).await;
    assert_eq!(stats.len(), 75);
    for (id, content) in &contents {
        let path = std::str::from_utf8(&stats[*id as usize].path).unwrap();
        let expected = match path {
            "sock" => Vec::new(),
            path => std::fs::read(dir.path().join(path)).unwrap(),
        };
        assert!(*content == expected, "{path}");
    }
    let summary = service.transfers().remove(0);
    assert_eq!(summary.state, TransferState::Complete);
    assert_eq!(summary.entries, 75);
    // A socket can be requested too, but has no content.
    assert_eq!(summary.files, contents.len() as u64 - 1);
    let sum: usize = contents.values().map(Vec::len).sum();
    assert_eq!(summary.bytes, sum as u64);
    assert_eq!(service.failure(), None);
}

/// Few and small files are sent by the transfer's own task, others by threads. To wait in that task would be a panic.
#[test_case::test_case(1, 100; "a Dockerfile")]
#[test_case::test_case(8, 32 << 10; "the most without a thread")]
#[test_case::test_case(9, 100; "too many for it")]
#[test_case::test_case(1, 3 << 20; "too large for it")]
#[tokio::test]
async fn files_in_memory_arrive(count: usize, size: usize) {
    let files = (0..count).map(|n| (format!("file-{n}"), Bytes::from(vec![b'a'; size])));
    let served = ServedDirectory {
        name: "context".to_owned(),
        source: LocalSource::Files {
            from: PathBuf::new(),
            files: files.collect(),
        },
    };
    let service = FileSync::new(vec![served], EventSink::none());
    let mut daemon = Daemon::open(&service, "context").await;
    let (stats, contents) = daemon.take(|_| true).await;
    assert_eq!((stats.len(), contents.len()), (count, count));
    assert!(contents.values().all(|content| content.len() == size));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_has_everything_gets_no_content() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("same"), "x").unwrap();
    std::fs::write(dir.path().join("changed"), "xyz").unwrap();
    let service = FileSync::new(context(dir.path()), EventSink::none());
    let _ = Daemon::open(&service, "context")
        .await
        .take(|_| false)
        .await;
    let _ = Daemon::open(&service, "context")
        .await
        .take(|stat| stat.path == "changed")
        .await;
    let [none, one] = &service.transfers()[..] else {
        panic!("two transfers")
    };
    assert_eq!((none.entries, none.files, none.bytes), (2, 0, 0));
    assert_eq!((one.entries, one.files, one.bytes), (2, 1, 3));
    assert_eq!(one.first_files, ["changed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_read_from_the_headers_of_the_call() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("real")).unwrap();
    std::fs::write(dir.path().join("real/a b"), "x").unwrap();
    std::fs::write(dir.path().join("real/c"), "x").unwrap();
    std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
    let service = FileSync::new(context(dir.path()), EventSink::none());
    let headers = [
        ("followpaths", "link%2Fa+b"),
        ("followpaths-encoded", "1"),
        ("exclude-patterns", "nothing,here"),
    ];
    let client = client(&service).await;
    let mut daemon = Daemon::call(client, "context", &headers).await.unwrap();
    let paths: Vec<Bytes> = daemon
        .list()
        .await
        .into_iter()
        .map(|stat| stat.path)
        .collect();
    assert_eq!(paths, ["link", "real", "real/a b"]);
    assert_eq!(service.transfers()[0].paths, ["link/a b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_as_long_as_ignore_files_are_accepted() {
    let service = FileSync::new(many(1), EventSink::none());
    let patterns: Vec<String> = (0..400)
        .map(|n| format!("some/rather/long/directory-{n}/**/*.tmp"))
        .collect();
    let headers: Vec<_> = patterns
        .iter()
        .map(|p| ("exclude-patterns", p.as_str()))
        .collect();
    let mut daemon = Daemon::call(client(&service).await, "context", &headers)
        .await
        .unwrap();
    assert_eq!(daemon.list().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_not_offered_is_not_found() {
    let service = FileSync::new(context(Path::new("/")), EventSink::none());
    let status = Daemon::call(client(&service).await, "dockerfile", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(status.code(), Code::NotFound);
    assert!(service.transfers().is_empty());
}

// Returns the text of the packet that ends a failed transfer, and the status after it.
async fn failure(daemon: &mut Daemon) -> (String, Status) {
    loop {
        let packet = daemon.packet().await;
        if packet.r#type() == PacketType::PacketErr {
            let status = daemon.receive.message().await.unwrap_err();
            return (String::from_utf8(packet.data.to_vec()).unwrap(), status);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanished_or_changed_its_type_fails_the_transfer() {
    for reason in ["No such file", "regular file", "smaller"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "123").unwrap();
        let service = FileSync::new(context(dir.path()), EventSink::none());
        let mut daemon = Daemon::open(&service, "context").await;
        assert_eq!(daemon.list().await.len(), 1);
        std::fs::remove_file(&path).unwrap();
        match reason {
            "regular file" => std::fs::create_dir(&path).unwrap(),
            "smaller" => std::fs::write(&path, "1").unwrap(),
            _ => {}
        }
        daemon.request(0).await;
        let (text, status) = failure(&mut daemon).await;
        assert!(text.contains("`file`") && text.contains(reason), "{text}");
        assert_eq!(status.message(), text);
        let failure = service.failed().await;
        assert_eq!((&*failure.reason, &*failure.local), (&*text, "context"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_after_the_list_are_noted_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in [
        "appended",
        "mode",
        "old",
        "overwritten",
        "replaced",
        "unread",
    ] {
        std::fs::write(path(name), "123").unwrap();
    }
    // Changed before the list: this is not a change while it is read.
    std::fs::write(path("old"), "456").unwrap();
    let service = FileSync::new(context(dir.path()), EventSink::none());
    let mut daemon = Daemon::open(&service, "context").await;
    let names: Vec<Bytes> = daemon.list().await.into_iter().map(|s| s.path).collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    std::fs::write(path("appended"), "12345").unwrap();
    std::fs::write(path("overwritten"), "321").unwrap();
    std::fs::write(path("unread"), "321").unwrap();
    std::fs::write(path("new"), "xyz").unwrap();
    std::fs::rename(path("new"), path("replaced")).unwrap();
    std::fs::set_permissions(
        path("mode"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    for (name, content) in [
        ("appended", "12345"),
        ("mode", "123"),
        ("old", "456"),
        ("overwritten", "321"),
        ("replaced", "xyz"),
    ] {
        let id = names.iter().position(|listed| *listed == name).unwrap();
        daemon.request(id.try_into().unwrap()).await;
        assert_eq!(daemon.packet().await.data, content);
        assert!(daemon.packet().await.data.is_empty());
    }
    daemon.finish().await;
    until(|| service.transfers()[0].state == TransferState::Complete).await;
    let [(directory, changed)] = &service.changed()[..] else {
        panic!("one transfer")
    };
    assert_eq!((&**directory, changed.count), (dir.path(), 4));
    assert_eq!(
        changed.first,
        ["appended", "mode", "overwritten", "replaced"]
    );
    assert_eq!(service.failure(), None);
}

// Reading address 0 of a process's memory fails with EIO; reading a file of a process that has ended fails with
// ESRCH.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_file_system_fails_the_transfer() {
    let path = format!("/proc/{}", std::process::id());
    let service = FileSync::new(context(Path::new(&path)), EventSink::none());
    let headers = [("followpaths", "mem")];
    let mut daemon = Daemon::call(client(&service).await, "context", &headers)
        .await
        .unwrap();
    assert_eq!(daemon.list().await.len(), 1);
    daemon.request(0).await;
    let (text, _) = failure(&mut daemon).await;
    assert!(text.starts_with("cannot read `mem`: "), "{text}");
    let help = service.failed().await.help.unwrap();
    assert!(help.ends_with("the ignore file: `mem`"), "{help}");

    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let path = format!("/proc/{}", child.id());
    let service = FileSync::new(context(Path::new(&path)), EventSink::none());
    let headers = [("followpaths", "status")];
    let mut daemon = Daemon::call(client(&service).await, "context", &headers)
        .await
        .unwrap();
    assert_eq!(daemon.list().await.len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    daemon.request(0).await;
    let (text, _) = failure(&mut daemon).await;
    assert!(text.starts_with("cannot open `status`: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_listed_fails_the_transfer() {
    let service = FileSync::new(context(Path::new("/nonexistent/dir")), EventSink::none());
    let mut daemon = Daemon::open(&service, "context").await;
    let (text, _) = failure(&mut daemon).await;
    assert!(text.contains("/nonexistent/dir"), "{text}");
    assert!(service.failure().is_some());
    assert!(matches!(
        service.transfers()[0].state,
        TransferState::Failed(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_request_ends_the_transfer_and_is_not_our_failure() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("dir")).unwrap();
    let service = FileSync::new(context(dir.path()), EventSink::none());
    for id in [0, 7, u32::MAX] {
        let mut daemon = Daemon::open(&service, "context").await;
        daemon.list().await;
        daemon.request(id).await;
        let status = daemon.receive.message().await.unwrap_err();
        assert!(status.message().contains("may not"), "{status}");
    }
    assert_eq!(service.failure(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_that_the_daemon_reports_is_kept() {
    let service = FileSync::new(many(1), EventSink::none());
    let mut daemon = Daemon::open(&service, "context").await;
    daemon.list().await;
    let packet = Packet {
        r#type: PacketType::PacketErr.into(),
        data: "disk full".into(),
        ..Packet::default()
    };
    daemon.send.send(packet).await.unwrap();
    let status = daemon.receive.message().await.unwrap_err();
    assert!(status.message().contains("disk full"), "{status}");
    assert_eq!(service.failure(), None);
}

// Waits some seconds at most until `found` holds.
async fn until(found: impl Fn() -> bool) {
    let start = Instant::now();
    while !found() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the condition was not met in time"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_pauses_while_the_daemon_does_not_read_and_nothing_is_lost() {
    const FILES: usize = 300_000;
    let service = FileSync::new(many(FILES), EventSink::none());
    let mut daemon = Daemon::open(&service, "context").await;
    until(|| service.transfers()[0].entries > 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let listed = service.transfers()[0].entries;
    // As many as fit into the windows and buffers of a stream.
    assert!(listed < 150_000, "{listed}");
    let (stats, contents) = daemon.take(|stat| stat.path.ends_with(b"7")).await;
    assert_eq!((stats.len(), contents.len()), (FILES, FILES / 10));
    assert!(contents.values().all(|content| content.len() == 3000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_ends_the_transfer() {
    let told: Arc<Mutex<Vec<Transfer>>> = Arc::default();
    let sink = {
        let told = Arc::clone(&told);
        EventSink::new(crate::types::Clock::system(), move |event| {
            if let EventKind::Transfer(transfer) = event.kind {
                told.lock().unwrap().push(transfer);
            }
        })
    };
    let service = FileSync::new(many(200_000), sink);
    let daemon = Daemon::open(&service, "context").await;
    until(|| service.transfers()[0].entries > 0).await;
    daemon.request(0).await;
    drop(daemon);
    until(|| service.transfers()[0].state == TransferState::Abandoned).await;
    until(|| {
        told.lock()
            .unwrap()
            .last()
            .is_some_and(|transfer| transfer.done)
    })
    .await;
    // The walk and the readers hold clones of what they share with the transfer; all must be dropped.
    until(|| Arc::strong_count(&service.0.records.lock().unwrap()[0]) == 1).await;
    assert_eq!(service.failure(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_compressed_if_both_sides_agree() {
    for understood in [true, false] {
        let rules = TransferRules {
            compress: true,
            ..TransferRules::default()
        };
        let service = FileSync::with_rules(many(20), EventSink::none(), rules);
        let mut client = client(&service).await;
        if understood {
            client = client.accept_compressed(tonic::codec::CompressionEncoding::Gzip);
        }
        let mut daemon = Daemon::call(client, "context", &[]).await.unwrap();
        let (_, contents) = daemon.take(|_| true).await;
        assert_eq!(contents.len(), 20);
        assert!(contents.values().all(|content| content == &[b'x'; 3000]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_memory_is_sent_if_its_name_is_requested() {
    let local = ServedDirectory::file(
        "dockerfile",
        "Dockerfile",
        Bytes::from_static(b"FROM scratch\n"),
    );
    let service = FileSync::new(vec![local], EventSink::none());
    let names = ["Dockerfile", "Dockerfile.dockerignore", "dockerfile"];
    let headers = names.map(|name| ("followpaths", name));
    let mut daemon = Daemon::call(client(&service).await, "dockerfile", &headers)
        .await
        .unwrap();
    let (stats, contents) = daemon.take(|_| true).await;
    assert_eq!(stats[0].path, "Dockerfile");
    assert_eq!(contents[&0], b"FROM scratch\n");
}
