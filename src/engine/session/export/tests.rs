use crate::files::Resolved;
use rbake_proto::filesync::file_send_client::FileSendClient;
use rbake_proto::packet::Stat;
use tokio::sync::mpsc;
use tonic::Code;
use tonic::transport::Channel;

use super::*;
use crate::engine::session::peer;

async fn client(exports: &Exports) -> FileSendClient<Channel> {
    FileSendClient::new(peer::channel(exports).await)
}

fn request<S>(exporter: usize, messages: S) -> Request<S> {
    let mut request = Request::new(messages);
    let metadata = request.metadata_mut();
    metadata.insert(EXPORTER_KEY, exporter.to_string().parse().unwrap());
    metadata.insert(
        "exporter-md-containerimage.digest",
        "sha256:1".parse().unwrap(),
    );
    request
}

fn pieces(texts: &[&'static str]) -> impl Stream<Item = Bytes> + Send + 'static {
    let messages: Vec<Bytes> = texts
        .iter()
        .map(|text| {
            let message = BytesMessage {
                data: Bytes::from_static(text.as_bytes()),
            };
            message.encode_to_vec().into()
        })
        .collect();
    tokio_stream::iter(messages)
}

async fn end(response: Result<Response<Streaming<Bytes>>, Status>) -> Result<(), Status> {
    assert_eq!(response?.into_inner().message().await?, None);
    Ok(())
}

struct Present;

impl StreamSink for Present {
    fn open<'a>(
        &'a self,
        metadata: &'a BTreeMap<String, String>,
    ) -> futures_util::future::BoxFuture<'a, Result<Option<Box<dyn StreamWriter>>, SinkError>> {
        assert_eq!(metadata["containerimage.digest"], "sha256:1");
        Box::pin(std::future::ready(Ok(None)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_go_to_the_sink_of_their_exporter() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        ExportSink::Stream(Arc::new(FileSink::new(Resolved::of_path(
            &dir.path().join(name),
        ))))
    };
    let exports = Exports::new([
        (0, file("zero")),
        (2, file("two")),
        (3, ExportSink::Stream(Arc::new(Present))),
        (4, file("no/such/dir")),
    ]);
    let mut client = client(&exports).await;
    end(client.diff_copy(request(2, pieces(&["a", "", "bc"]))).await)
        .await
        .unwrap();
    assert_eq!(std::fs::read(dir.path().join("two")).unwrap(), b"abc");
    assert!(!dir.path().join("zero").exists());
    // A call without the header means the first exporter.
    end(client.diff_copy(Request::new(pieces(&["x"]))).await)
        .await
        .unwrap();
    assert_eq!(std::fs::read(dir.path().join("zero")).unwrap(), b"x");

    let status = end(client.diff_copy(request(3, pieces(&["a"]))).await)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    let status = end(client.diff_copy(request(1, pieces(&["a"]))).await)
        .await
        .unwrap_err();
    assert!(status.message().contains("exporter 1"), "{status}");
    let status = end(client.diff_copy(request(4, pieces(&["a"]))).await)
        .await
        .unwrap_err();
    assert!(
        status.message().contains("no/such/dir`: No such file"),
        "{status}"
    );

    let arrived = exports.arrived();
    let told: Vec<_> = arrived
        .iter()
        .map(|a| (a.exporter, a.bytes, a.skipped))
        .collect();
    assert_eq!(told, [(2, 3, false), (0, 1, false), (3, 0, true)]);
    assert_eq!(arrived[0].metadata["containerimage.digest"], "sha256:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_write_into_one_directory_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let exports = Exports::new([(0, ExportSink::Directory(DirectorySink::new(dir.path())))]);
    let client = client(&exports).await;
    let send = |platform: &'static str| {
        let mut client = client.clone();
        async move {
            let (to, messages) = mpsc::channel(4);
            let packet = |packet: Packet| Bytes::from(packet.encode_to_vec());
            let entry = |path: String, mode: u32| Packet {
                stat: Some(Stat {
                    path: path.into(),
                    mode,
                    ..Stat::default()
                }),
                ..Packet::default()
            };
            let messages = request(0, ReceiverStream::new(messages));
            let mut answers = client.diff_copy(messages).await.unwrap().into_inner();
            to.send(packet(entry(platform.to_owned(), 0x8000_01ed)))
                .await
                .unwrap();
            to.send(packet(entry(format!("{platform}/file"), 0o644)))
                .await
                .unwrap();
            to.send(packet(Packet::default())).await.unwrap();
            loop {
                let answer = answers.message().await.unwrap().unwrap();
                let answer = Packet::decode(answer).unwrap();
                if answer.r#type() == PacketType::PacketFin {
                    to.send(packet(answer)).await.unwrap();
                    break;
                }
                assert_eq!((answer.r#type(), answer.id), (PacketType::PacketReq, 1));
                for data in [platform, ""] {
                    let data = Packet {
                        r#type: PacketType::PacketData.into(),
                        id: 1,
                        data: data.into(),
                        ..Packet::default()
                    };
                    to.send(packet(data)).await.unwrap();
                }
            }
            assert_eq!(answers.message().await.unwrap(), None);
        }
    };
    tokio::join!(send("linux_amd64"), send("linux_arm64"));
    for platform in ["linux_amd64", "linux_arm64"] {
        let file = dir.path().join(platform).join("file");
        assert_eq!(std::fs::read(file).unwrap(), platform.as_bytes());
    }
    assert_eq!(exports.arrived().len(), 2);
}

// Starts a transfer, which writes `name` later, when the test allows it.
async fn begin(
    client: &mut FileSendClient<Channel>,
) -> (mpsc::Sender<Bytes>, impl Future<Output = Streaming<Bytes>>) {
    let (to, messages) = mpsc::channel(4);
    let entry = Packet {
        stat: Some(Stat {
            path: "file".into(),
            mode: 0o644,
            ..Stat::default()
        }),
        ..Packet::default()
    };
    to.send(entry.encode_to_vec().into()).await.unwrap();
    let mut client = client.clone();
    let response = async move {
        let response = client.diff_copy(request(0, ReceiverStream::new(messages)));
        response.await.unwrap().into_inner()
    };
    (to, response)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_transfer_waits_for_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let sink = ExportSink::Directory(DirectorySink::new(dir.path()));
    let exports = Exports::new([(0, sink)]);
    let mut client = client(&exports).await;
    let (to_first, first) = begin(&mut client).await;
    let mut first = first.await;
    assert!(
        first.message().await.unwrap().is_some(),
        "it asks for the file"
    );
    let (_to_second, second) = begin(&mut client).await;
    let mut second = std::pin::pin!(second);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(waited.is_err(), "the second began before the first ended");
    drop((to_first, first));
    let mut second = second.await;
    assert!(second.message().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_transfers_for_one_output_is_limited() {
    let dir = tempfile::tempdir().unwrap();
    let sink = ExportSink::Stream(Arc::new(FileSink::new(Resolved::of_path(
        &dir.path().join("x"),
    ))));
    let exports = Exports::new([(0, sink)]);
    let mut client = client(&exports).await;
    for _ in 0..limits::TRANSFERS {
        end(client.diff_copy(request(0, pieces(&["a"]))).await)
            .await
            .unwrap();
    }
    let status = end(client.diff_copy(request(0, pieces(&["a"]))).await)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_written_fails_the_export() {
    let exports = Exports::new([(0, ExportSink::Directory(DirectorySink::new("/dev/null/x")))]);
    let (_to, messages) = mpsc::channel::<Bytes>(4);
    let mut client = client(&exports).await;
    let response = client
        .diff_copy(request(0, ReceiverStream::new(messages)))
        .await;
    let mut answers = response.unwrap().into_inner();
    let packet = Packet::decode(answers.message().await.unwrap().unwrap()).unwrap();
    assert_eq!(packet.r#type(), PacketType::PacketErr);
    let status = answers.message().await.unwrap_err();
    assert!(status.message().contains("/dev/null/x"), "{status}");
}

// A daemon without the header sends one transfer for each platform, and each would delete the files of the others.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_needs_a_daemon_that_sends_all_platforms_in_one_transfer() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("old"), "").unwrap();
    let sink = DirectorySink {
        others: OtherFiles::Delete { except: Vec::new() },
        ..DirectorySink::new(dir.path())
    };
    let exports = Exports::new([(0, ExportSink::Directory(sink))]);
    let mut client = client(&exports).await;
    let list = || tokio_stream::iter([Bytes::from(Packet::default().encode_to_vec())]);
    let refused = client.diff_copy(request(0, list())).await.unwrap_err();
    assert!(refused.message().contains("too old for `mode=delete`"));
    let mut odd = request(0, list());
    odd.metadata_mut().insert(WHOLE_KEY, "0".parse().unwrap());
    assert!(client.diff_copy(odd).await.is_err());
    assert!(dir.path().join("old").exists());

    let whole = || {
        let packets = [Packet::default(), fin()];
        let packets = packets.map(|packet| Bytes::from(packet.encode_to_vec()));
        let mut whole = request(0, tokio_stream::iter(packets));
        whole.metadata_mut().insert(WHOLE_KEY, "1".parse().unwrap());
        whole
    };
    let mut answers = client.diff_copy(whole()).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    assert!(dir.path().is_dir() && !dir.path().join("old").exists());
    let again = client.diff_copy(whole()).await.unwrap_err();
    assert_eq!(again.code(), Code::ResourceExhausted);
}

fn fin() -> Packet {
    Packet {
        r#type: PacketType::PacketFin.into(),
        ..Packet::default()
    }
}
