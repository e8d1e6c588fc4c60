//! `rbake builder logs`: what the buildkitd of a builder writes.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::inspect::{Wanted, wanted};
use super::{runtime, until_signal};
use crate::builder::roster::{self, LogError, LogSource};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::types::Environment;
use crate::types::blocking::unblock;

/// How much of the log is read at once, in bytes.
const PIECE: usize = 64 << 10;
/// The pause between two looks at a file.
const PAUSE: Duration = Duration::from_millis(200);
/// How many pieces may wait to be printed.
const WAITING: usize = 16;

/// The flags of `rbake builder logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The builder. Default: the one that a run would use
    #[arg(id = "builder_name", value_name = "NAME")]
    name: Option<String>,
    /// Only this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only the last N lines
    #[arg(long, short = 'n', value_name = "N")]
    tail: Option<usize>,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(long, short = 'f')]
    follow: bool,
}

pub(super) fn logs(
    args: &LogsArgs,
    before: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let runtime = match runtime(screen) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let name = args.name.as_deref().or(before);
    let (tell, mut told) = mpsc::channel::<Bytes>(WAITING);
    let work = async {
        // Dropped at the end of the work, which ends the loop that prints.
        let tell = tell;
        let limit = Duration::from_secs(20);
        let Wanted { entry, .. } = wanted(name, limit, environment).await?;
        let sources = roster::log_sources(&entry, args.node.as_deref(), environment)?;
        let shown = sources
            .into_iter()
            .map(|source| show(source, args, tell.clone()));
        if args.follow {
            for shown in futures_util::future::join_all(shown).await {
                shown?;
            }
        } else {
            for shown in shown {
                shown.await?;
            }
        }
        Ok::<_, LogError>(())
    };
    let mut written = Exit::Success;
    let outcome = runtime.block_on(async {
        let print = async {
            while let Some(piece) = told.recv().await {
                written = screen.data(&String::from_utf8_lossy(&piece));
                if written != Exit::Success {
                    // Nobody reads any more, as with `| head`.
                    break;
                }
            }
            drop(told);
        };
        let (outcome, ()) = tokio::join!(until_signal(work), print);
        outcome
    });
    runtime.shutdown_background();
    match outcome {
        Ok(Ok(())) => written,
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}

async fn show(
    source: LogSource,
    args: &LogsArgs,
    tell: mpsc::Sender<Bytes>,
) -> Result<(), LogError> {
    match source {
        LogSource::Container { container, host } => {
            let docker = LogSource::engine(&host).await?;
            let pieces = docker.logs(&container, args.tail, args.follow)?;
            let mut pieces = std::pin::pin!(pieces);
            while let Some(piece) = pieces.next().await {
                if tell.send(piece?).await.is_err() {
                    break;
                }
            }
            Ok(())
        }
        LogSource::Pods(node) => {
            let (kubernetes, pods) = LogSource::pods(&node).await?;
            let shown = pods.iter().map(|pod| async {
                let container = pod.container.as_deref();
                let pieces = kubernetes.logs(&pod.name, container, args.tail, args.follow);
                let mut pieces = std::pin::pin!(pieces.await?);
                while let Some(piece) = pieces.next().await {
                    if tell.send(piece?).await.is_err() {
                        break;
                    }
                }
                Ok::<_, LogError>(())
            });
            if args.follow {
                let shown = futures_util::future::join_all(shown).await;
                return shown.into_iter().collect();
            }
            for shown in shown {
                shown.await?;
            }
            Ok(())
        }
        LogSource::File(path) => file(&path, args, &tell).await,
    }
}

/// Shows the file `path`, and with `--follow` what is added to it. A file that is replaced is shown from its start.
async fn file(path: &Path, args: &LogsArgs, tell: &mpsc::Sender<Bytes>) -> Result<(), LogError> {
    let (asked, tail) = (path.to_owned(), args.tail);
    let mut position = unblock(move || start(&asked, tail))
        .await
        .map_err(|source| LogError::File {
            path: path.to_owned(),
            source,
        })?;
    loop {
        let asked = path.to_owned();
        let read = unblock(move || read_from(&asked, position)).await;
        let (next, piece) = read.map_err(|source| LogError::File {
            path: path.to_owned(),
            source,
        })?;
        position = next;
        if piece.is_empty() {
            if !args.follow {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        } else if tell.send(piece.into()).await.is_err() {
            return Ok(());
        }
    }
}

/// Where the last `tail` lines begin. Without it, 0.
fn start(path: &Path, tail: Option<usize>) -> std::io::Result<u64> {
    let Some(tail) = tail else { return Ok(0) };
    let mut file = std::fs::File::open(path)?;
    let mut end = file.metadata()?.len();
    if tail == 0 {
        return Ok(end);
    }
    let mut lines = 0;
    let mut is_last_byte = true;
    while end > 0 {
        let begin = end.saturating_sub(PIECE as u64);
        file.seek(SeekFrom::Start(begin))?;
        let mut piece = Vec::new();
        (&mut file).take(end - begin).read_to_end(&mut piece)?;
        for (at, byte) in piece.iter().enumerate().rev() {
            if *byte == b'\n' && !is_last_byte {
                lines += 1;
                if lines >= tail {
                    return Ok(begin + at as u64 + 1);
                }
            }
            is_last_byte = false;
        }
        end = begin;
    }
    Ok(0)
}

/// Reads on at `position`. Returns where to read next.
fn read_from(path: &Path, position: u64) -> std::io::Result<(u64, Vec<u8>)> {
    let mut file = std::fs::File::open(path)?;
    let position = if file.metadata()?.len() < position {
        0
    } else {
        position
    };
    file.seek(SeekFrom::Start(position))?;
    let mut piece = Vec::new();
    file.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok((position + piece.len() as u64, piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_file_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lines: Vec<String> = (0..20_000).map(|n| format!("line {n}")).collect();
        let lines = lines.join("\n") + "\n";
        std::fs::write(&path, &lines).unwrap();
        let last = |tail| {
            let position = start(&path, tail).unwrap();
            String::from_utf8(
                std::fs::read(&path)
                    .unwrap()
                    .split_off(usize::try_from(position).unwrap()),
            )
            .unwrap()
        };
        assert_eq!(last(Some(2)), "line 19998\nline 19999\n");
        assert_eq!(last(Some(0)), "");
        assert_eq!(last(Some(15_000)).lines().count(), 15_000);
        assert_eq!(last(Some(30_000)), lines);
        assert_eq!(last(None), lines);
        std::fs::write(&path, "no end").unwrap();
        assert_eq!(last(Some(1)), "no end");
    }

    #[test]
    fn a_file_that_was_replaced_is_read_from_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let (position, piece) = read_from(&path, 4).unwrap();
        assert_eq!((position, piece.as_slice()), (8, &b"two\n"[..]));
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(read_from(&path, position).unwrap(), (4, b"new\n".to_vec()));
    }
}
