//! Services that give AWS keys: Amazon's security token service, the agent of a container, and the metadata of a machine.
//!
//! Their addresses and answers are those of Amazon's documentation ("AWS SDKs and Tools Reference Guide", the pages on assuming a role
//! with web identity, on container credentials and on IMDS).

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;

use super::{AwsCredential, AwsCredentialError};
use crate::credential::tls;
use crate::types::Environment;
use crate::types::blocking::unblock;
use crate::types::regular::read_regular;

/// The time limit of a request to the security token service.
const STS_TIMEOUT: Duration = Duration::from_secs(20);
/// The time limit of a request to the agent of a container.
const CONTAINER_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit of a request for metadata. Most machines have none, and the build waits.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest answer and the longest token that are read, in bytes.
const LIMIT: u64 = 64 << 10;
/// The agent of containers in Amazon's ECS.
const CONTAINER_AGENT: &str = "http://169.254.170.2";
/// The hosts that may be asked without TLS, beside this machine: those of Amazon's ECS and EKS.
const LOCAL_AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
const METADATA: &str = "http://169.254.169.254";
const METADATA_PATH: &str = "latest/meta-data/iam/security-credentials/";

/// Why a service gave no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceFault {
    /// A setting is missing.
    #[error("`{0}` is not set")]
    Unset(&'static str),
    /// The address is not valid, or is not one that keys may come from.
    #[error("`{0}` is not an address of HTTPS, of this machine or of an agent of Amazon's")]
    Address(&'static str),
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The client cannot be made.
    #[error("cannot make a client for HTTP")]
    Client(#[source] rustls::Error),
    /// The request failed.
    #[error("the request failed")]
    Request(#[source] Box<reqwest::Error>),
    /// The service refused.
    #[error("it answered with status {0}")]
    Status(u16),
    /// The answer has another form.
    #[error("its answer is not what its documentation describes")]
    Answer,
    /// The user does not want it to be asked.
    #[error("`AWS_EC2_METADATA_DISABLED` is set")]
    Disabled,
}

impl From<reqwest::Error> for ServiceFault {
    fn from(error: reqwest::Error) -> Self {
        // The address is in the environment or fixed, and a query might be secret.
        Self::Request(Box::new(error.without_url()))
    }
}

/// What a container's agent and a machine's metadata answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GivenKeys {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

/// A role that is assumed with the token of another identity.
pub(super) struct WebIdentity<'a> {
    pub(super) token_file: &'a str,
    pub(super) role: Option<&'a str>,
    pub(super) session: Option<&'a str>,
    pub(super) region: Option<&'a str>,
}

/// The keys of a role that is assumed with the token in a file.
pub(super) async fn of_web_identity(
    identity: &WebIdentity<'_>,
    environment: &Environment,
) -> Result<AwsCredential, AwsCredentialError> {
    let keys = assume(identity, environment).await;
    keys.map_err(|fault| fault_of("Amazon's security token service", fault))
}

async fn assume(
    identity: &WebIdentity<'_>,
    environment: &Environment,
) -> Result<AwsCredential, ServiceFault> {
    let role = identity.role.ok_or(ServiceFault::Unset("AWS_ROLE_ARN"))?;
    let address = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| environment.non_empty(name));
    let address = match (address, identity.region) {
        (Some(address), _) => address.to_owned(),
        (None, Some(region)) => {
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://sts.{region}.amazonaws.com{china}")
        }
        (None, None) => return Err(ServiceFault::Unset("AWS_REGION")),
    };
    let address: Url = address
        .parse()
        .map_err(|_| ServiceFault::Address("AWS_ENDPOINT_URL_STS"))?;
    let token = read(environment.current_dir().join(identity.token_file)).await?;
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", identity.session.unwrap_or("rbake")),
        ("WebIdentityToken", token.trim()),
    ];
    let request = client(STS_TIMEOUT, false)?.post(address).form(&form);
    let answer = text_of(send(request).await?).await?;
    let value = |name: &str| {
        let (_, after) = answer.split_once(&format!("<{name}>"))?;
        let (value, _) = after.split_once(&format!("</{name}>"))?;
        Some(value.trim())
    };
    let keys = value("AccessKeyId").zip(value("SecretAccessKey"));
    let (access_key, secret_key) = keys.ok_or(ServiceFault::Answer)?;
    let token = value("SessionToken");
    Ok(AwsCredential::new(access_key, secret_key, token))
}

/// The keys of the container or of the machine on which rbake runs.
pub(super) async fn of_machine(
    environment: &Environment,
) -> Result<AwsCredential, AwsCredentialError> {
    let path = environment.non_empty("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let path = path.map(|path| format!("{CONTAINER_AGENT}{path}"));
    let full = environment.non_empty("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let (service, keys) = if let Some(address) = path.or_else(|| full.map(str::to_owned)) {
        let keys = of_container(&address, environment).await;
        ("the container's agent", keys)
    } else {
        let keys = of_metadata(environment).await;
        ("the machine's metadata", keys)
    };
    keys.map_err(|fault| fault_of(service, fault))
}

async fn of_container(
    address: &str,
    environment: &Environment,
) -> Result<AwsCredential, ServiceFault> {
    let refused = ServiceFault::Address("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let address = address.parse().ok().filter(may_give_keys).ok_or(refused)?;
    let mut request = client(CONTAINER_TIMEOUT, true)?.get(address);
    let token = match environment.non_empty("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(read(environment.current_dir().join(file)).await?),
        None => environment
            .non_empty("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .map(str::to_owned),
    };
    if let Some(token) = token {
        request = request.header("authorization", token.trim());
    }
    keys_of(&text_of(send(request).await?).await?)
}

/// Whether keys may come from `address`: by TLS, from this machine, or from an agent of Amazon's.
fn may_give_keys(address: &Url) -> bool {
    let Some(host) = address.host_str() else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |host: &str| host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match address.scheme() {
        "https" => true,
        "http" => host == "localhost" || is_loopback(host) || LOCAL_AGENTS.contains(&host),
        _ => false,
    }
}

async fn of_metadata(environment: &Environment) -> Result<AwsCredential, ServiceFault> {
    let disabled = environment.get("AWS_EC2_METADATA_DISABLED");
    if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(ServiceFault::Disabled);
    }
    let address = environment.non_empty("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let address = address.unwrap_or(METADATA).trim_end_matches('/');
    let client = client(METADATA_TIMEOUT, true)?;
    let request = client
        .put(format!("{address}/latest/api/token"))
        .header("x-aws-ec2-metadata-token-ttl-seconds", "300");
    let token = match send(request).await {
        Ok(answer) => Some(text_of(answer).await?),
        // The first version of the service has no tokens.
        Err(ServiceFault::Status(403..=405)) => None,
        Err(fault) => return Err(fault),
    };
    let get = async |path: &str| {
        let request = client.get(format!("{address}/{METADATA_PATH}{path}"));
        let request = match &token {
            Some(token) => request.header("x-aws-ec2-metadata-token", token.trim()),
            None => request,
        };
        text_of(send(request).await?).await
    };
    let roles = get("").await?;
    let role = roles.lines().next().unwrap_or_default().trim();
    if role.is_empty() || role.contains(['/', '?', '#']) {
        return Err(ServiceFault::Answer);
    }
    keys_of(&get(role).await?)
}

fn keys_of(answer: &str) -> Result<AwsCredential, ServiceFault> {
    let given: GivenKeys = serde_json::from_str(answer).map_err(|_| ServiceFault::Answer)?;
    let token = given.token.as_deref();
    Ok(AwsCredential::new(
        &given.access_key_id,
        &given.secret_access_key,
        token,
    ))
}

/// A client that follows no redirects, since its requests and answers are secret.
fn client(timeout: Duration, is_local: bool) -> Result<Client, ServiceFault> {
    let config = rustls::ClientConfig::builder_with_provider(tls::crypto())
        .with_safe_default_protocol_versions()
        .map_err(ServiceFault::Client)?
        .with_root_certificates(tls::system_roots())
        .with_no_client_auth();
    let mut builder = Client::builder()
        .tls_backend_preconfigured(config)
        .user_agent(concat!("rbake/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .timeout(timeout);
    if is_local {
        builder = builder.no_proxy();
    }
    Ok(builder.build()?)
}

async fn send(request: RequestBuilder) -> Result<Response, ServiceFault> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else {
        Err(ServiceFault::Status(status.as_u16()))
    }
}

async fn text_of(mut response: Response) -> Result<String, ServiceFault> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > LIMIT {
            return Err(ServiceFault::Answer);
        }
    }
    String::from_utf8(bytes).map_err(|_| ServiceFault::Answer)
}

async fn read(path: PathBuf) -> Result<String, ServiceFault> {
    let bytes = {
        let path = path.clone();
        unblock(move || read_regular(&path, LIMIT)).await
    };
    let bytes = bytes.map_err(|source| ServiceFault::File { path, source })?;
    String::from_utf8(bytes).map_err(|_| ServiceFault::Answer)
}

fn fault_of(service: &'static str, fault: ServiceFault) -> AwsCredentialError {
    AwsCredentialError::Service {
        service,
        source: Arc::new(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("https://keys.example/x", true; "by TLS")]
    #[test_case("http://127.0.0.1:1/x", true; "this machine")]
    #[test_case("http://[::1]:1/x", true; "this machine by version 6")]
    #[test_case("http://localhost/x", true; "this machine by name")]
    #[test_case("http://169.254.170.23/v1/credentials", true; "the agent of EKS")]
    #[test_case("http://[fd00:ec2::23]/v1/credentials", true; "the agent of EKS by version 6")]
    #[test_case("http://192.0.2.1/x", false; "another host")]
    #[test_case("http://localhost.example/x", false; "another name")]
    #[test_case("file:///x", false; "a file")]
    fn keys_come_from_this_machine_or_by_tls(address: &str, expected: bool) {
        assert_eq!(may_give_keys(&address.parse().unwrap()), expected);
    }
}
