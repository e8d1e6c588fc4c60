//! Connects through the standard streams of a program, such as `ssh` or `podman`, that runs `buildctl dial-stdio` or
//! `docker system dial-stdio`.
//!
//! The program ends with the stream. What it writes to standard error is kept for messages. Start at [`dial`].

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::{DialError, Dialled, Remarks};
use crate::engine::endpoint::CommandEndpoint;
use crate::types::processes::{ProcessGroup, start_with_run};

/// The most that is read of standard error at once, in bytes.
const PIECE: usize = 4096;
/// How long to wait for the rest of standard error when the other streams have ended: it says why.
const LAG: Duration = Duration::from_millis(500);

pub(super) async fn dial(endpoint: &CommandEndpoint) -> Result<Dialled, DialError> {
    let (program, arguments) = endpoint.command();
    start(program, arguments, &endpoint.to_string()).await
}

/// Starts `program`, which connects its standard streams with the daemon at `endpoint`.
pub(super) async fn start(
    program: &'static str,
    arguments: Vec<String>,
    endpoint: &str,
) -> Result<Dialled, DialError> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let failed = |source| DialError::Program {
        program,
        endpoint: endpoint.to_owned(),
        source,
    };
    let (mut child, group) = start_with_run(&mut command).await.map_err(failed)?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(io::Error::other("it has no standard streams")));
    };
    let remarks = Remarks::default();
    let reading = child.stderr.take().map(|mut errors| {
        let remarks = remarks.clone();
        // Ends when the program has ended.
        tokio::spawn(async move {
            let mut piece = vec![0; PIECE];
            while let Ok(length @ 1..) = errors.read(&mut piece).await {
                let text = String::from_utf8_lossy(piece.get(..length).unwrap_or_default());
                remarks.push(&text);
            }
        })
    });
    Ok(Dialled {
        stream: Box::new(ProcessStream {
            input,
            output,
            reading,
            rest: None,
            _group: group,
            _child: child,
        }),
        authority: "localhost".to_owned(),
        remarks: Some(remarks),
    })
}

/// The standard streams of a program. Dropping it ends the program and its children.
struct ProcessStream {
    input: ChildStdin,
    output: ChildStdout,
    /// Reads standard error. `None` once the rest of it is awaited.
    reading: Option<JoinHandle<()>>,
    /// Completes when the rest of standard error was read, or after [`LAG`].
    rest: Option<BoxFuture<'static, ()>>,
    // Before the child: its drop must find the process.
    _group: ProcessGroup,
    _child: Child,
}

impl ProcessStream {
    /// Waits for the rest of standard error. The streams have ended.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(reading) = self.reading.take() {
            self.rest = Some(Box::pin(async move {
                let _ = tokio::time::timeout(LAG, reading).await;
            }));
        }
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        Poll::Ready(())
    }
}

impl AsyncRead for ProcessStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        let read = ready!(Pin::new(&mut this.output).poll_read(cx, out));
        if read.is_err() || out.filled().len() == before {
            ready!(this.poll_rest(cx));
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for ProcessStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.input).poll_write(cx, bytes));
        if written.is_err() {
            ready!(this.poll_rest(cx));
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().input).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().input).poll_shutdown(cx)
    }
}
