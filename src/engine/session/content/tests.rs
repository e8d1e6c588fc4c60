use rbake_proto::content::WriteAction;
use rbake_proto::content::content_client::ContentClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

use super::*;
use crate::engine::session::peer;

struct Fixture {
    _dir: tempfile::TempDir,
    layout: LayoutDirectory,
    client: ContentClient<Channel>,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let layout = LayoutDirectory::create(dir.path()).unwrap();
    let stores = BTreeMap::from([
        ("local:/a b".to_owned(), StoreAccess::Write(layout.clone())),
        ("oci:read".to_owned(), StoreAccess::Read(layout.clone())),
    ]);
    let channel = peer::channel(&ContentStores::new(stores)).await;
    Fixture {
        _dir: dir,
        layout,
        client: ContentClient::new(channel),
    }
}

fn on<T>(store: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert(STORE_KEY, store.parse().unwrap());
    request
}

const STORE: &str = "local:/a b";

fn message(action: WriteAction, digest: &Digest, offset: i64, data: &[u8]) -> WriteContentRequest {
    WriteContentRequest {
        action: action.into(),
        r#ref: format!("layer-{digest}"),
        total: 6,
        expected: digest.to_string(),
        offset,
        data: Bytes::copy_from_slice(data),
        labels: BTreeMap::new(),
    }
}

impl Fixture {
    // Sends all messages of one write. Returns the answers up to the first error.
    async fn write(
        &mut self,
        messages: Vec<WriteContentRequest>,
    ) -> Result<Vec<WriteContentResponse>, Status> {
        let request = on(STORE, tokio_stream::iter(messages));
        let mut answers = self.client.write(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(answer) = answers.message().await? {
            all.push(answer);
        }
        Ok(all)
    }

    async fn read(&mut self, digest: &Digest, offset: i64, size: i64) -> Result<Vec<u8>, Status> {
        let request = ReadContentRequest {
            digest: digest.to_string(),
            offset,
            size,
        };
        let mut answers = self
            .client
            .read(on("oci:read", request))
            .await?
            .into_inner();
        let mut all = Vec::new();
        while let Some(answer) = answers.message().await? {
            assert_eq!(answer.offset, offset + i64::try_from(all.len()).unwrap());
            all.extend_from_slice(&answer.data);
        }
        Ok(all)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_is_too_long_is_refused() {
    let mut fixture = fixture().await;
    let digest = Digest::sha256(b"");
    let mut first = message(WriteAction::Stat, &digest, 0, b"");
    first.r#ref = "r".repeat(4096);
    fixture.write(vec![first.clone()]).await.unwrap();
    first.r#ref.push('r');
    let status = fixture.write(vec![first]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_written_by_the_messages_that_the_daemon_sends() {
    let mut fixture = fixture().await;
    let digest = Digest::sha256(b"abcdef");
    let messages = vec![
        message(WriteAction::Stat, &digest, 0, b""),
        message(WriteAction::Stat, &digest, 0, b""),
        message(WriteAction::Write, &digest, 0, b"abc"),
        message(WriteAction::Write, &digest, 3, b"def"),
        message(WriteAction::Commit, &digest, 6, b""),
    ];
    let answers = fixture.write(messages.clone()).await.unwrap();
    let offsets: Vec<i64> = answers.iter().map(|answer| answer.offset).collect();
    assert_eq!(offsets, [0, 0, 3, 6, 6]);
    assert_eq!(answers[4].digest, digest.to_string());
    assert_eq!(fixture.read(&digest, 0, 0).await.unwrap(), b"abcdef");
    let status = fixture.write(messages).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    let request = InfoRequest {
        digest: digest.to_string(),
    };
    let info = fixture
        .client
        .info(on(STORE, request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.info.unwrap().size, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_does_not_match_its_announcement_is_refused() {
    let mut fixture = fixture().await;
    let digest = Digest::sha256(b"abcdef");
    for (offset, data, code) in [
        (0, &b"abcdeX"[..], Code::FailedPrecondition),
        (0, b"abc", Code::FailedPrecondition),
        (2, b"abcdef", Code::OutOfRange),
        (-1, b"abcdef", Code::OutOfRange),
    ] {
        let messages = vec![
            message(WriteAction::Write, &digest, offset, data),
            message(WriteAction::Commit, &digest, 0, b""),
        ];
        let status = fixture.write(messages).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert_eq!(fixture.layout.blob(&digest).unwrap(), None);
    }
    let left = std::fs::read_dir(fixture.layout.root().join("ingest")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_blob_are_read() {
    let mut fixture = fixture().await;
    let content: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::sha256(&content);
    let mut ingest = fixture.layout.ingest_blob().unwrap();
    ingest.write(&content).unwrap();
    ingest.commit(None, None).unwrap();
    assert!(fixture.read(&digest, 0, 0).await.unwrap() == content);
    assert_eq!(fixture.read(&digest, 10, 5).await.unwrap(), content[10..15]);
    let size = i64::try_from(content.len()).unwrap();
    assert_eq!(
        fixture.read(&digest, size - 2, 100).await.unwrap(),
        content[content.len() - 2..]
    );
    assert!(fixture.read(&digest, size, 0).await.unwrap().is_empty());
    let status = fixture.read(&digest, size + 1, 0).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let status = fixture
        .read(&Digest::sha256(b"other"), 0, 0)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_stores_and_digests_and_forbidden_writes_are_refused() {
    let mut fixture = fixture().await;
    let digest = Digest::sha256(b"abcdef");
    let info = |text: &str| InfoRequest {
        digest: text.to_owned(),
    };
    let code = |result: Result<Response<InfoResponse>, Status>| result.unwrap_err().code();
    assert_eq!(
        code(fixture.client.info(info(digest.as_str())).await),
        Code::InvalidArgument
    );
    let request = on("local:/a", info(digest.as_str()));
    assert_eq!(
        code(fixture.client.info(request).await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(fixture.client.info(on(STORE, info(digest.as_str()))).await),
        Code::NotFound
    );
    for text in ["", "sha256:../../../../etc/passwd", "sha512:00"] {
        assert_eq!(
            code(fixture.client.info(on(STORE, info(text))).await),
            Code::InvalidArgument
        );
    }
    let messages = tokio_stream::iter([message(WriteAction::Stat, &digest, 0, b"")]);
    let status = fixture
        .client
        .write(on("oci:read", messages))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ref_has_one_writer_at_a_time_and_can_be_aborted() {
    let mut fixture = fixture().await;
    let digest = Digest::sha256(b"abcdef");
    let (send, messages) = mpsc::channel(4);
    send.send(message(WriteAction::Write, &digest, 0, b"abc"))
        .await
        .unwrap();
    let request = on(STORE, ReceiverStream::new(messages));
    let mut answers = fixture.client.write(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().offset, 3);

    let name = format!("layer-{digest}");
    let request = StatusRequest {
        r#ref: name.clone(),
    };
    let status = fixture
        .client
        .status(on(STORE, request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(status.status.unwrap().offset, 3);
    let second = vec![message(WriteAction::Stat, &digest, 0, b"")];
    assert_eq!(
        fixture.write(second).await.unwrap_err().code(),
        Code::Unavailable
    );

    let abort = AbortRequest { r#ref: name };
    fixture
        .client
        .abort(on(STORE, abort.clone()))
        .await
        .unwrap();
    assert_eq!(
        fixture
            .client
            .abort(on(STORE, abort))
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );
    send.send(message(WriteAction::Write, &digest, 3, b"def"))
        .await
        .unwrap();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Aborted);
}
