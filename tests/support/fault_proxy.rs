//! A proxy in front of a daemon that fails: after some byte it passes nothing more, it ends all connections, or it is slow.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener, UnixStream};
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

/// What the proxy does to all connections at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// It passes nothing more, but keeps all connections open. A client sees the same if a daemon is stopped or if the
    /// network is lost.
    Freeze,
    /// It closes them, as the kernel does if the daemon is killed.
    Close,
    /// It resets them, as a firewall or a load balancer does. The proxy then listens on TCP.
    Reset,
}

/// When and how the proxy fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) way: Way,
    /// The number of bytes in that direction that pass.
    pub(crate) at: u64,
}

/// The proxy. Its connections end when it is dropped.
pub(crate) struct FaultProxy {
    address: String,
    shared: Arc<Shared>,
    _dir: tempfile::TempDir,
    _accept: AbortOnDropHandle<()>,
}

struct Shared {
    up: AtomicU64,
    down: AtomicU64,
    fault: Option<Fault>,
    /// The most bytes in a second, in each direction of each connection.
    rate: Option<u64>,
    struck: CancellationToken,
}

impl FaultProxy {
    /// Listens in front of the daemon at the socket `daemon`, and fails as `fault` says.
    pub(crate) async fn start(daemon: &Path, fault: Option<Fault>) -> Self {
        Self::start_with(daemon, fault, None).await
    }

    /// Listens in front of the daemon at the socket `daemon`, and passes at most `rate` bytes in a second.
    pub(crate) async fn slow(daemon: &Path, rate: u64) -> Self {
        Self::start_with(daemon, None, Some(rate)).await
    }

    async fn start_with(daemon: &Path, fault: Option<Fault>, rate: Option<u64>) -> Self {
        let dir = tempfile::Builder::new().prefix("rbake-").tempdir().unwrap();
        let shared = Arc::new(Shared {
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            fault,
            rate,
            struck: CancellationToken::new(),
        });
        let resets = fault.is_some_and(|fault| fault.kind == FaultKind::Reset);
        let (listener, address) = Listener::open(dir.path(), resets).await;
        let accept = accept(listener, daemon.to_owned(), Arc::clone(&shared));
        Self {
            address,
            shared,
            _dir: dir,
            _accept: AbortOnDropHandle::new(tokio::spawn(accept)),
        }
    }

    /// The address of the proxy, as a builder's.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the proxy has failed.
    pub(crate) async fn struck(&self) {
        self.shared.struck.cancelled().await;
    }

    /// Whether the proxy has failed.
    pub(crate) fn has_struck(&self) -> bool {
        self.shared.struck.is_cancelled()
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

    // How many of `len` bytes may pass before the proxy fails.
    fn admit(&self, way: Way, len: usize) -> usize {
        let before = self.counter(way).fetch_add(len as u64, Ordering::SeqCst);
        match self.fault {
            Some(fault) if fault.way == way && before + len as u64 >= fault.at => {
                usize::try_from(fault.at.saturating_sub(before)).unwrap()
            }
            _ => len,
        }
    }
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

type Halves = (
    Box<dyn AsyncRead + Send + Unpin>,
    Box<dyn AsyncWrite + Send + Unpin>,
);

impl Listener {
    async fn open(dir: &Path, on_tcp: bool) -> (Self, String) {
        if on_tcp {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("tcp://{}", listener.local_addr().unwrap());
            return (Self::Tcp(listener), address);
        }
        let socket = dir.join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        (Self::Unix(listener), format!("unix://{}", socket.display()))
    }

    async fn accept(&self) -> Halves {
        match self {
            Self::Unix(listener) => {
                let (read, write) = listener.accept().await.unwrap().0.into_split();
                (Box::new(read), Box::new(write))
            }
            Self::Tcp(listener) => {
                let stream = listener.accept().await.unwrap().0;
                // Closing it then resets it.
                let linger = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
                linger.unwrap();
                let (read, write) = stream.into_split();
                (Box::new(read), Box::new(write))
            }
        }
    }
}

async fn accept(listener: Listener, daemon: PathBuf, shared: Arc<Shared>) {
    let mut pumps = JoinSet::new();
    loop {
        let (near_read, near_write) = listener.accept().await;
        let far = UnixStream::connect(&daemon).await.unwrap();
        let (far_read, far_write) = far.into_split();
        pumps.spawn(pump(near_read, far_write, Way::Up, Arc::clone(&shared)));
        pumps.spawn(pump(far_read, near_write, Way::Down, Arc::clone(&shared)));
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    shared: Arc<Shared>,
) {
    let pass = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let admitted = shared.admit(way, count);
            if to.write_all(&buffer[..admitted]).await.is_err() {
                return;
            }
            if admitted < count {
                shared.struck.cancel();
            }
            if let Some(rate) = shared.rate {
                let micros = (count as u64).saturating_mul(1_000_000) / rate;
                tokio::time::sleep(Duration::from_micros(micros)).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = shared.struck.cancelled() => {}
        () = pass => return,
    }
    if shared
        .fault
        .is_some_and(|fault| fault.kind == FaultKind::Freeze)
    {
        // Keep both ends open, but read from neither.
        std::future::pending::<()>().await;
    }
}
