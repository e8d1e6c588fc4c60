//! A proxy in front of a daemon that can freeze: from some byte on, it passes nothing more, but keeps all connections
//! open. A client sees the same if a daemon is stopped or if the network is lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The direction in which bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the daemon.
    Up,
    /// From the daemon.
    Down,
}

/// The proxy. Its connections end when it is dropped.
pub(crate) struct FreezeProxy {
    dir: tempfile::TempDir,
    shared: Arc<Shared>,
    _accept: AbortOnDropHandle<()>,
}

struct Shared {
    up: AtomicU64,
    down: AtomicU64,
    freeze: Option<(Way, u64)>,
    frozen: CancellationToken,
}

impl FreezeProxy {
    /// Listens in front of the daemon at the socket `daemon`. With `freeze`, it freezes after that many bytes in that
    /// direction.
    pub(crate) fn start(daemon: &Path, freeze: Option<(Way, u64)>) -> Self {
        let dir = tempfile::Builder::new().prefix("rbake-").tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let shared = Arc::new(Shared {
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            freeze,
            frozen: CancellationToken::new(),
        });
        let accept = accept(listener, daemon.to_owned(), Arc::clone(&shared));
        Self {
            dir,
            shared,
            _accept: AbortOnDropHandle::new(tokio::spawn(accept)),
        }
    }

    /// The socket on which the proxy listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Waits until the proxy has frozen.
    pub(crate) async fn frozen(&self) {
        self.shared.frozen.cancelled().await;
    }

    /// Whether the proxy has frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.shared.frozen.is_cancelled()
    }

    /// The number of bytes that went in the direction `way`.
    pub(crate) fn count(&self, way: Way) -> u64 {
        self.shared.counter(way).load(Ordering::SeqCst)
    }
}

impl Shared {
    fn counter(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    // How many of `len` bytes may pass before the proxy freezes.
    fn admit(&self, way: Way, len: usize) -> usize {
        let before = self.counter(way).fetch_add(len as u64, Ordering::SeqCst);
        match self.freeze {
            Some((freezes, at)) if freezes == way && before + len as u64 >= at => {
                usize::try_from(at.saturating_sub(before)).unwrap()
            }
            _ => len,
        }
    }
}

async fn accept(listener: UnixListener, daemon: PathBuf, shared: Arc<Shared>) {
    let mut pumps = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let far = UnixStream::connect(&daemon).await.unwrap();
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        pumps.spawn(pump(near_read, far_write, Way::Up, Arc::clone(&shared)));
        pumps.spawn(pump(far_read, near_write, Way::Down, Arc::clone(&shared)));
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, shared: Arc<Shared>) {
    let pass = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let admitted = shared.admit(way, count);
            if to.write_all(&buffer[..admitted]).await.is_err() {
                return;
            }
            if admitted < count {
                shared.frozen.cancel();
            }
        }
    };
    tokio::select! {
        biased;
        () = shared.frozen.cancelled() => {}
        () = pass => return,
    }
    // Keep both ends open, but read from neither.
    std::future::pending::<()>().await;
}
