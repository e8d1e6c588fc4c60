//! Serves directories from memory to the daemon, for all tests except those of real directories' transfer.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use rbake::engine::session::{Attachable, SessionServices};
use rbake_proto::filesync::file_sync_server::{FileSync, FileSyncServer};
use rbake_proto::packet::{Packet, PacketType, Stat};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

type Packets = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

/// Files by the name of their directory. There are no subdirectories.
#[derive(Clone, Default)]
pub(crate) struct MemoryFiles(Arc<BTreeMap<String, Files>>);

// Content by file name.
type Files = BTreeMap<String, Bytes>;

const MODE: u32 = 0o755;

impl MemoryFiles {
    /// Serves `dockerfile` as the Dockerfile and `files` as the context. All files are executable.
    pub(crate) fn new(dockerfile: &str, files: &[(&str, &[u8])]) -> Self {
        let file = |content: &[u8]| Bytes::copy_from_slice(content);
        let context = files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), file(content)));
        let dockerfile = BTreeMap::from([("Dockerfile".to_owned(), file(dockerfile.as_bytes()))]);
        Self(Arc::new(BTreeMap::from([
            ("context".to_owned(), context.collect()),
            ("dockerfile".to_owned(), dockerfile),
        ])))
    }
}

impl Attachable for MemoryFiles {
    fn methods(&self) -> &[&'static str] {
        &["/moby.filesync.v1.FileSync/DiffCopy"]
    }

    fn mount(&self, services: &mut SessionServices) {
        services.add(FileSyncServer::new(self.clone()));
    }
}

fn packet(kind: PacketType) -> Packet {
    Packet {
        r#type: kind.into(),
        ..Packet::default()
    }
}

#[tonic::async_trait]
impl FileSync for MemoryFiles {
    type DiffCopyStream = Packets;
    type TarStreamStream = Packets;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Packets>, Status> {
        let name = request
            .metadata()
            .get("dir-name")
            .and_then(|name| name.to_str().ok());
        let files = name.and_then(|name| self.0.get(name)).cloned();
        let files = files.ok_or_else(|| Status::not_found("no such directory"))?;
        let (send, packets) = mpsc::channel(64);
        tokio::spawn(converse(files, request.into_inner(), send));
        Ok(Response::new(Box::pin(ReceiverStream::new(packets))))
    }

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        Err(Status::unimplemented("tar"))
    }
}

async fn converse(
    files: Files,
    mut requests: Streaming<Packet>,
    send: mpsc::Sender<Result<Packet, Status>>,
) {
    let contents: Vec<Bytes> = files.values().cloned().collect();
    for (name, content) in files {
        let stat = Stat {
            path: name.into(),
            mode: MODE,
            size: i64::try_from(content.len()).unwrap(),
            ..Stat::default()
        };
        let packet = Packet {
            stat: Some(stat),
            ..packet(PacketType::PacketStat)
        };
        if send.send(Ok(packet)).await.is_err() {
            return;
        }
    }
    let _ = send.send(Ok(packet(PacketType::PacketStat))).await;
    while let Ok(Some(request)) = requests.message().await {
        match request.r#type() {
            PacketType::PacketReq => {
                let content = contents[request.id as usize].clone();
                for start in (0..content.len()).step_by(1 << 20) {
                    let data = content.slice(start..content.len().min(start + (1 << 20)));
                    let packet = Packet {
                        id: request.id,
                        data,
                        ..packet(PacketType::PacketData)
                    };
                    let _ = send.send(Ok(packet)).await;
                }
                let end = Packet {
                    id: request.id,
                    ..packet(PacketType::PacketData)
                };
                let _ = send.send(Ok(end)).await;
            }
            PacketType::PacketFin => {
                let _ = send.send(Ok(packet(PacketType::PacketFin))).await;
                return;
            }
            _ => return,
        }
    }
}

/// Creates with openssl a CA, and its certificates for a client and for a server named `builder.test`.
pub(crate) fn certificates(dir: &Path) {
    let script = r#"
set -e
ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.pem -days 2 -subj "/CN=$1"; }
leaf() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.csr -subj "/CN=$1"
  printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$1" >$1.ext
  openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $1.pem -days 2 -extfile $1.ext
}
ca ca; ca stranger; leaf builder.test; leaf client.test
"#;
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
