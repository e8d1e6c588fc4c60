//! Ctrl-C and SIGTERM: the first asks for an orderly stop, the second ends the process. Docker, which may get them in our
//! place, hands them on by closing a socket.

use std::os::unix::net::UnixStream;
use std::process;

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::outcome::CancelReason;
use crate::run::Stop;

/// Asks `stop` to stop at the first SIGINT or SIGTERM; at the second, ends the process with 130 after `last_words`.
///
/// # Errors
/// Where the handlers cannot be installed.
pub fn watch(stop: Stop, last_words: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
            };
            if stop.is_requested() {
                last_words();
                end(130);
            }
            stop.request(CancelReason::Signal(number));
        }
    });
    Ok(())
}

/// Asks `stop` to stop when docker, which runs this process as its plugin, closes the socket at `address`.
///
/// Docker does that when it is told to stop and no terminal tells its children, too; and when it dies.
pub fn watch_docker(stop: Stop, address: &str) {
    // Docker's socket may be gone, or of a form that is not known here: signals still come the usual way.
    let Ok(connected) = connect(address) else {
        return;
    };
    tokio::spawn(async move {
        let Ok(mut stream) = tokio::net::UnixStream::from_std(connected) else {
            return;
        };
        let mut buffer = [0; 64];
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
        stop.request(CancelReason::Signal(15));
    });
}

fn connect(address: &str) -> std::io::Result<UnixStream> {
    let stream = match address.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let name = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            UnixStream::connect_addr(&name)?
        }
        _ => UnixStream::connect(address)?,
    };
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[expect(
    clippy::exit,
    reason = "the user asked twice: nothing that still runs may hold the process up"
)]
fn end(code: i32) -> ! {
    process::exit(code)
}
