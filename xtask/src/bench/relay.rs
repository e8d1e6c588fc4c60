//! A unix socket that passes everything on and counts it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what clients send to a daemon, and what it sends to them.
pub(super) struct Relay {
    socket: PathBuf,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

impl Relay {
    /// Listens at `socket` for clients of `daemon`.
    pub(super) fn start(socket: &Path, daemon: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let (sent, received) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let daemon = daemon.to_owned();
        let counters = (sent.clone(), received.clone());
        // The thread ends with the program.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = UnixStream::connect(&daemon) else {
                    continue;
                };
                let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let (sent, received) = (counters.0.clone(), counters.1.clone());
                std::thread::spawn(move || copy(client, server, &sent));
                std::thread::spawn(move || copy(server2, client2, &received));
            }
        });
        Ok(Self {
            socket: socket.to_owned(),
            sent,
            received,
        })
    }

    /// The address for clients.
    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Bytes in both directions since the last call.
    pub(super) fn take(&self) -> u64 {
        self.sent.swap(0, Ordering::SeqCst) + self.received.swap(0, Ordering::SeqCst)
    }
}

fn copy(mut from: UnixStream, mut to: UnixStream, count: &AtomicU64) {
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || to.write_all(&buffer[..length]).is_err() {
            break;
        }
        count.fetch_add(length as u64, Ordering::SeqCst);
    }
    let _ = to.shutdown(Shutdown::Write);
}
