//! For tests: a release server on this machine, and archives for it.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A release archive with these files: pairs of name and content.
pub(super) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, content.as_bytes())
            .unwrap();
    }
    let fast = flate2::Compression::fast();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), fast);
    gzip.write_all(&tar.into_inner().unwrap()).unwrap();
    gzip.finish().unwrap()
}

/// The server's answer to a request. The last answer of the list is repeated.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// Sends the file, or the requested range of it.
    File(Vec<u8>),
    /// Sends only that many bytes of the file, then closes the connection.
    Cut(Vec<u8>, usize),
    /// Sends an HTTP error status.
    Status(u16),
}

/// A server that answers every path with the same file.
pub(super) struct Host {
    /// Its URL, for use as the base of the releases.
    pub(super) base: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Host {
    /// The requests so far: each path, and after a blank the requested range, if any.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut turn = 0;
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap();
                let from = head
                    .lines()
                    .find_map(|line| line.strip_prefix("range: bytes="))
                    .map(|range| range.trim_end_matches('-').parse::<usize>().unwrap());
                log.lock().unwrap().push(match from {
                    Some(from) => format!("{path} {from}"),
                    None => path.to_owned(),
                });
                let answer = &answers[turn.min(answers.len() - 1)];
                turn += 1;
                let bytes = respond(answer, from);
                // The client may close the connection in the middle.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { base, asked }
    }
}

fn respond(answer: &Answer, from: Option<usize>) -> Vec<u8> {
    let (file, sent) = match answer {
        Answer::Status(status) => {
            return format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n").into_bytes();
        }
        Answer::File(file) => (file, file.len()),
        Answer::Cut(file, sent) => (file, *sent),
    };
    let (status, start) = match from {
        Some(from) if from >= file.len() => {
            return b"HTTP/1.1 416 x\r\ncontent-length: 0\r\n\r\n".to_vec();
        }
        Some(from) => (206, from),
        None => (200, 0),
    };
    let length = file.len() - start;
    let mut bytes =
        format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
            .into_bytes();
    bytes.extend(&file[start..sent.max(start)]);
    bytes
}
