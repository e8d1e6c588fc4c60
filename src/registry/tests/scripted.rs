//! A registry whose answers a test decides, for behaviour that a test cannot force a real one to show.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A request that the registry received.
#[derive(Debug, Clone)]
pub(crate) struct SeenRequest {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// The headers, with names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl SeenRequest {
    /// The method and the path, without the query.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target.split('?').next().unwrap())
    }

    /// The header `name`; empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) enum ScriptedAnswer {
    Whole {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// The head promises more bytes than follow.
    Truncated(Vec<u8>),
    /// A body without an end.
    Endless,
    /// The connection is closed.
    Closed,
    /// Nothing, but the connection stays open.
    Silence,
}

/// An answer without a body.
pub(crate) fn status(status: u16) -> ScriptedAnswer {
    ScriptedAnswer::Whole {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// A successful answer.
pub(crate) fn ok(body: impl Into<Vec<u8>>) -> ScriptedAnswer {
    status(200).with_body(body)
}

/// An error answer in the form of the specification.
pub(crate) fn error(code: u16, name: &str, message: &str) -> ScriptedAnswer {
    let body = serde_json::json!({"errors": [{"code": name, "message": message, "detail": null}]});
    status(code)
        .with("content-type", "application/json")
        .with_body(body.to_string())
}

impl ScriptedAnswer {
    pub(crate) fn with(mut self, name: &str, value: impl Display) -> Self {
        if let Self::Whole { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_string()));
        }
        self
    }

    pub(crate) fn with_body(mut self, text: impl Into<Vec<u8>>) -> Self {
        if let Self::Whole { body, .. } = &mut self {
            *body = text.into();
        }
        self
    }
}

/// The registry. Its tasks end with the test's runtime.
pub(crate) struct ScriptedRegistry {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
    silent: Arc<Notify>,
}

type Script = Box<dyn FnMut(&SeenRequest) -> ScriptedAnswer + Send>;

impl ScriptedRegistry {
    pub(crate) async fn start(
        script: impl FnMut(&SeenRequest) -> ScriptedAnswer + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let (seen, silent) = (Arc::default(), Arc::new(Notify::new()));
        let registry = Self {
            address,
            seen: Arc::clone(&seen),
            silent: Arc::clone(&silent),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let parts = (Arc::clone(&script), Arc::clone(&seen), Arc::clone(&silent));
                tokio::spawn(async move {
                    let (script, seen, silent) = parts;
                    let _ = serve(stream, &script, &seen, &silent).await;
                });
            }
        });
        registry
    }

    /// A registry that gives these answers in turn, and then repeats the last one.
    pub(crate) async fn answering(answers: Vec<ScriptedAnswer>) -> Self {
        let mut answers = answers.into_iter();
        let mut last = None;
        Self::start(move |_| {
            last = answers.next().or(last.take());
            last.clone().unwrap()
        })
        .await
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The address of `path` at this registry.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The name of the repository `path` at this registry.
    pub(crate) fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<SeenRequest> {
        self.seen.lock().unwrap().clone()
    }

    /// The methods and paths of all requests.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(SeenRequest::line).collect()
    }

    /// Waits until the registry keeps silent.
    pub(crate) async fn is_silent(&self) {
        self.silent.notified().await;
    }
}

async fn serve(
    stream: TcpStream,
    script: &Mutex<Script>,
    seen: &Mutex<Vec<SeenRequest>>,
    silent: &Notify,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = receive(&mut stream).await?;
    let answer = (script.lock().unwrap())(&request);
    let is_head = request.method == "HEAD";
    seen.lock().unwrap().push(request);
    match answer {
        ScriptedAnswer::Whole {
            status,
            headers,
            body,
        } => {
            let mut head = format!("HTTP/1.1 {status} S\r\nconnection: close\r\n");
            if !headers.iter().any(|(name, _)| name == "content-length") {
                write!(head, "content-length: {}\r\n", body.len()).unwrap();
            }
            for (name, value) in headers {
                write!(head, "{name}: {value}\r\n").unwrap();
            }
            head += "\r\n";
            stream.write_all(head.as_bytes()).await?;
            if !is_head {
                stream.write_all(&body).await?;
            }
        }
        ScriptedAnswer::Truncated(body) => {
            let head = format!(
                "HTTP/1.1 200 S\r\ncontent-length: {}\r\n\r\n",
                body.len() + 1
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        ScriptedAnswer::Endless => {
            let head = "HTTP/1.1 200 S\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        ScriptedAnswer::Closed => {}
        ScriptedAnswer::Silence => {
            silent.notify_one();
            // The client closes the connection at some time.
            let _ = stream.read(&mut [0]).await;
        }
    }
    stream.shutdown().await
}

async fn receive(stream: &mut BufReader<TcpStream>) -> io::Result<SeenRequest> {
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let mut words = first.split_ascii_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    let length = headers.get("content-length").map_or("0", String::as_str);
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await?;
    Ok(SeenRequest {
        method,
        target,
        headers,
        body,
    })
}
