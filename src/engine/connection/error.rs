//! Why there is no connection to a daemon, or none any more.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};

use crate::engine::endpoint::Endpoint;
use crate::engine::traffic::Traffic;
use crate::engine::transport::{DialError, Remarks};

/// Why a connection could not be opened, or why it has ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The stream to the daemon could not be opened.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The daemon did not answer in time.
    #[error("`{endpoint}` did not answer within {} s", .after.as_secs())]
    Timeout {
        /// The address.
        endpoint: Endpoint,
        /// How long we waited.
        after: Duration,
    },
    /// A server answered, but it does not speak gRPC.
    #[error("the server at `{endpoint}` does not speak gRPC ({detail})")]
    NotGrpc {
        /// The address.
        endpoint: Endpoint,
        /// What it did instead.
        detail: String,
    },
    /// A gRPC server answered, but it is not a BuildKit.
    #[error("the gRPC server at `{endpoint}` is not BuildKit")]
    NotBuildkit {
        /// The address.
        endpoint: Endpoint,
    },
    /// The daemon, or a proxy in front of it, refused the first call.
    #[error("`{endpoint}` refused the first call")]
    Refused {
        /// The address.
        endpoint: Endpoint,
        /// The refusal.
        #[source]
        status: Box<Status>,
    },
    /// The connection ended.
    #[error("the connection to `{endpoint}` was lost ({reason})")]
    Lost {
        /// The address.
        endpoint: Endpoint,
        /// The reason, if known.
        reason: Arc<str>,
    },
    /// The connection was given up, because the daemon was silent for too long.
    #[error("`{endpoint}` stopped responding: no answer for {} s", .after.as_secs())]
    Silent {
        /// The address.
        endpoint: Endpoint,
        /// The length of the silence.
        after: Duration,
    },
}

impl ConnectionError {
    /// What the user may try if the builder became silent during a build.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Silent { .. } => Some(
                "check that the builder still runs; set `RBAKE_BUILDER_TIMEOUT=5m` to wait longer, or `never` for no limit",
            ),
            _ => None,
        }
    }

    /// Whether something answered, but did not behave like a BuildKit.
    pub(crate) fn is_about_protocol(&self) -> bool {
        match self {
            Self::Dial(error) => matches!(error, DialError::Handshake { .. }),
            Self::Timeout { .. }
            | Self::NotGrpc { .. }
            | Self::NotBuildkit { .. }
            | Self::Refused { .. }
            | Self::Lost { .. } => true,
            Self::Silent { .. } => false,
        }
    }

    /// Whether another attempt may succeed without any change by the user.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_transient(),
            Self::Timeout { .. } | Self::Lost { .. } | Self::Silent { .. } => true,
            Self::Refused { status, .. } => status.code() == Code::Unavailable,
            Self::NotGrpc { .. } | Self::NotBuildkit { .. } => false,
        }
    }
}

/// The error for a server that did not speak gRPC. With TLS 1.3, a server refuses a client's certificate only after
/// the handshake, and its alert may be lost with the connection. So if a TLS server has sent nothing at all, this
/// reports a failed handshake. If nothing has arrived through a program, it reports what that has said.
pub(super) fn no_grpc(
    endpoint: &Endpoint,
    traffic: Traffic,
    detail: String,
    remarks: Option<&Remarks>,
) -> ConnectionError {
    let said = remarks.map(Remarks::text).unwrap_or_default();
    if traffic.received == 0 && !said.is_empty() {
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        return ConnectionError::Dial(DialError::Ended {
            endpoint: endpoint.to_string(),
            said: lines.collect::<Vec<_>>().join("; "),
        });
    }
    if traffic.received == 0
        && let Endpoint::Tcp { tls: Some(tls), .. } = endpoint
    {
        let mut detail = detail;
        if tls.cert.is_none() {
            detail.push_str("; it may require a client certificate");
        }
        return ConnectionError::Dial(DialError::Handshake {
            endpoint: endpoint.to_string(),
            source: std::io::Error::other(detail),
        });
    }
    ConnectionError::NotGrpc {
        endpoint: endpoint.clone(),
        detail,
    }
}
