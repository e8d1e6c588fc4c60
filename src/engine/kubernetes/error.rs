//! Why a call of an API server failed.

use std::path::PathBuf;
use std::time::Duration;

use kube::client::AuthError;

use crate::engine::failure::clean;

/// A call of an API server failed.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// None of the files exists.
    #[error("there is no kubeconfig: {}", missing(.0))]
    NoConfig(Vec<PathBuf>),
    /// A kubeconfig cannot be read.
    #[error("cannot read the kubeconfig `{}`", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file is not a kubeconfig. The parser's message is left out, because it may quote credentials.
    #[error("`{}` is not a valid kubeconfig{}", path.display(), in_line(*.line))]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// The line of the problem. `None` if it is not known.
        line: Option<u64>,
    },
    /// The kubeconfigs do not have the context.
    #[error("the kubeconfig has no context `{name}`")]
    UnknownContext {
        /// The context.
        name: String,
        /// The contexts that they have.
        known: Vec<String>,
    },
    /// The kubeconfigs do not name a current context.
    #[error("the kubeconfig does not set a current context")]
    NoContext {
        /// The contexts that they have.
        known: Vec<String>,
    },
    /// Something else in the kubeconfigs is not usable.
    #[error("the kubeconfig cannot be used: {0}")]
    Config(String),
    /// A name that Kubernetes does not allow.
    #[error("`{0}` is not a valid name of an object of Kubernetes")]
    Name(String),
    /// The credentials of the kubeconfig cannot be had.
    #[error("cannot get the credentials for the API server at `{server}`: {reason}")]
    Credentials {
        /// Its address.
        server: String,
        /// Why, without secrets.
        reason: String,
    },
    /// The API server did not answer in time.
    #[error("the API server at `{server}` did not answer within {} s", after.as_secs())]
    Timeout {
        /// Its address.
        server: String,
        /// How long we waited.
        after: Duration,
    },
    /// The API server could not be asked.
    #[error("the API server at `{server}` could not {act}")]
    Call {
        /// Its address.
        server: String,
        /// What it was asked for, as a verb phrase.
        act: String,
        /// The error of the client crate.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server could not be reached.
    #[error("the API server at `{server}` cannot be reached")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer broke off.
    #[error("the API server at `{server}` did not finish to {act}")]
    Broken {
        /// Its address.
        server: String,
        /// What it was asked for, as a verb phrase.
        act: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server refused.
    #[error("the API server at `{server}` did not {act}: {message}")]
    Refused {
        /// Its address.
        server: String,
        /// What it was asked for, as a verb phrase.
        act: String,
        /// The HTTP status.
        status: u16,
        /// Its explanation.
        message: String,
    },
    /// The answer is not one of an API server.
    #[error("the answer of the server at `{server}`, which should {act}, cannot be used: {reason}")]
    Answer {
        /// Its address.
        server: String,
        /// What it was asked for, as a verb phrase.
        act: String,
        /// Why.
        reason: &'static str,
    },
}

fn missing(paths: &[PathBuf]) -> String {
    match paths {
        [] => "neither `KUBECONFIG` nor `HOME` is set".to_owned(),
        paths => {
            let all: Vec<String> = paths
                .iter()
                .map(|path| format!("`{}`", path.display()))
                .collect();
            format!("{} does not exist", all.join(", "))
        }
    }
}

fn in_line(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(" (line {line})"))
}

impl KubernetesError {
    /// The object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// An object of that name exists, or was changed at the same time.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// The user has no right to do this.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: 403, .. })
    }

    /// The API server does not know the user.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. })
    }

    /// Whether another attempt may succeed without any change by the user. buildx tries again for the same reasons: a new
    /// node of the cluster may be ready before its certificate is.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Unreachable { source, .. } => {
                let text = with_all_causes(&**source).to_lowercase();
                !text.contains("certificate") && !text.contains("dns error")
            }
            Self::Refused {
                status, message, ..
            } => {
                *status >= 500
                    && (*status != 500
                        || message.contains("tls: internal error")
                        || message.contains("dial"))
            }
            _ => false,
        }
    }

    /// The error `error` of the client crate, as one without secrets.
    pub(super) fn of_client(server: &str, act: &str, error: kube::Error) -> Self {
        let (server, act) = (server.to_owned(), act.to_owned());
        match error {
            kube::Error::Api(status) => Self::Refused {
                server,
                act,
                status: status.code,
                message: clean(&status.message),
            },
            // Its text has all of the program's output, which may be a token.
            kube::Error::Auth(AuthError::AuthExecRun { cmd, out }) => Self::Credentials {
                server,
                reason: match String::from_utf8_lossy(&out.stderr).trim().lines().last() {
                    Some(line) => clean(&format!("`{cmd}` failed ({}): {line}", out.status)),
                    None => clean(&format!("`{cmd}` failed ({})", out.status)),
                },
            },
            kube::Error::Auth(AuthError::AuthExecParse(_)) => Self::Credentials {
                server,
                reason: "the program that the kubeconfig names did not print a credential"
                    .to_owned(),
            },
            kube::Error::Auth(error) => Self::Credentials {
                server,
                reason: clean(&error.to_string()),
            },
            kube::Error::HyperError(source) => Self::Unreachable {
                server,
                source: Box::new(source),
            },
            kube::Error::Service(source) => Self::Unreachable { server, source },
            other => Self::Call {
                server,
                act,
                source: Box::new(other),
            },
        }
    }
}

fn with_all_causes(error: &(dyn std::error::Error + 'static)) -> String {
    crate::types::causes::in_one_line(error)
}
