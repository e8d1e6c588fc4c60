//! The protocol of SSH agents (draft-miller-ssh-agent): each message has its length in four bytes, and then a type.
//!
//! A client may list identities and ask for signatures. Everything else would change the agent, and is refused without
//! asking it, as BuildKit's own client does (`session/sshforward/sshprovider`).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::keys::PrivateKeys;
use crate::types::blocking::unblock;

/// The largest message, in bytes, as in OpenSSH's agent.
const LARGEST: usize = 256 << 10;
/// The most time that an agent may take for a signature: it may ask the user.
const SIGN_TIMEOUT: Duration = Duration::from_secs(120);

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;
const EXTENSION_FAILURE: u8 = 28;

/// A message without its length.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AgentMessage(Vec<u8>);

impl AgentMessage {
    /// The answer that refuses a question of this type.
    fn refusal(kind: u8) -> Self {
        Self(vec![match kind {
            EXTENSION => EXTENSION_FAILURE,
            _ => FAILURE,
        }])
    }

    /// The type and the rest. Messages are never empty.
    fn parts(&self) -> (u8, &[u8]) {
        self.0
            .split_first()
            .map_or((FAILURE, &[]), |(kind, rest)| (*kind, rest))
    }

    /// The next message. `None` if the other side has ended the connection.
    async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut length = [0; 4];
        if from.read(&mut length[..1]).await? == 0 {
            return Ok(None);
        }
        from.read_exact(&mut length[1..]).await?;
        let length = u32::from_be_bytes(length);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 || length > LARGEST {
            let message = format!("a message of {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut body = Vec::new();
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        // The memory grows with what arrives, not with what is announced.
        let read = from.take(limit).read_to_end(&mut body).await?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Self(body)))
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let length = u32::try_from(self.0.len()).map_err(io::Error::other)?;
        to.write_all(&length.to_be_bytes()).await?;
        to.write_all(&self.0).await?;
        to.flush().await
    }
}

/// Passes questions on to the agent behind `socket`.
pub(super) async fn serve_agent(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    mut asked: impl AsyncRead + Unpin,
    mut answers: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(question) = AgentMessage::read(&mut asked).await? {
        let answer = match question.parts().0 {
            REQUEST_IDENTITIES | SIGN_REQUEST => {
                let exchange = async {
                    question.write(&mut socket).await?;
                    AgentMessage::read(&mut socket).await
                };
                let answer = tokio::time::timeout(SIGN_TIMEOUT, exchange).await;
                let answer = answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                answer.ok_or(io::ErrorKind::UnexpectedEof)?
            }
            kind => AgentMessage::refusal(kind),
        };
        answer.write(&mut answers).await?;
    }
    answers.shutdown().await
}

/// Answers with `keys`.
pub(super) async fn serve_keys(
    keys: &PrivateKeys,
    mut asked: impl AsyncRead + Unpin,
    mut answers: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(question) = AgentMessage::read(&mut asked).await? {
        let answer = match question.parts() {
            (REQUEST_IDENTITIES, _) => identities(keys),
            // A signature with RSA takes milliseconds.
            (SIGN_REQUEST, rest) => {
                let (keys, rest) = (keys.clone(), rest.to_vec());
                unblock(move || signature(&keys, &rest)).await
            }
            (kind, _) => AgentMessage::refusal(kind),
        };
        answer.write(&mut answers).await?;
    }
    answers.shutdown().await
}

fn identities(keys: &PrivateKeys) -> AgentMessage {
    let mut message = vec![IDENTITIES];
    let listed: Vec<(&[u8], &str)> = keys.listed().collect();
    message.extend(u32::try_from(listed.len()).unwrap_or(0).to_be_bytes());
    for (blob, comment) in listed {
        add_string(&mut message, blob);
        add_string(&mut message, comment.as_bytes());
    }
    AgentMessage(message)
}

fn signature(keys: &PrivateKeys, mut rest: &[u8]) -> AgentMessage {
    let signed = (|| {
        let blob = take_string(&mut rest)?;
        let data = take_string(&mut rest)?;
        let flags = u32::from_be_bytes(*rest.first_chunk()?);
        keys.sign(blob, data, flags)
    })();
    let Some(signed) = signed else {
        return AgentMessage::refusal(SIGN_REQUEST);
    };
    let mut message = vec![SIGN_RESPONSE];
    add_string(&mut message, &signed);
    AgentMessage(message)
}

fn add_string(message: &mut Vec<u8>, text: &[u8]) {
    message.extend(u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
    message.extend(text);
}

fn take_string<'m>(rest: &mut &'m [u8]) -> Option<&'m [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (text, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(text)
}
