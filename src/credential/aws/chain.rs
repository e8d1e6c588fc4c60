//! The places in which Amazon's library for Go looks for keys, in its order (aws-sdk-go-v2 v1.43, `config/resolve_credentials.go`).
//!
//! For single sign-on, logins and roles of other profiles, this asks the program `aws`.

use super::files::{AwsFiles, AwsProfile};
use super::services::{self, WebIdentity};
use super::{AwsCredential, AwsCredentialError, profile_name, program};
use crate::types::Environment;
use crate::types::blocking::unblock;

/// What a profile has whose keys come from a login.
const LOGINS: [&str; 3] = ["sso_start_url", "sso_session", "login_session"];

/// Finds the keys. See [`AwsCredential::for_caches`].
pub(super) async fn credential(
    environment: &Environment,
    of_programs: &Environment,
) -> Result<AwsCredential, AwsCredentialError> {
    if let Some(found) = variables(environment) {
        return Ok(found);
    }
    let name = profile_name(environment);
    let files = AwsFiles::of(environment);
    let profile = {
        let name = name.clone();
        unblock(move || files.profile(&name)).await?
    };
    if profile.is_empty() && name != "default" {
        return Err(AwsCredentialError::NoProfile { profile: name });
    }
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .into_iter()
        .find_map(|name| environment.non_empty(name))
        .or_else(|| profile.value("region"));
    if let Some(token_file) = environment.non_empty("AWS_WEB_IDENTITY_TOKEN_FILE") {
        let identity = WebIdentity {
            token_file,
            role: environment.non_empty("AWS_ROLE_ARN"),
            session: environment.non_empty("AWS_ROLE_SESSION_NAME"),
            region,
        };
        return services::of_web_identity(&identity, environment).await;
    }
    of_profile((environment, of_programs), &profile, name, region).await
}

/// The keys of a profile or, if it says nothing of keys, those of the machine.
async fn of_profile(
    (environment, of_programs): (&Environment, &Environment),
    profile: &AwsProfile,
    name: String,
    region: Option<&str>,
) -> Result<AwsCredential, AwsCredentialError> {
    let role = profile.value("role_arn");
    let token_file = profile.value("web_identity_token_file");
    let of_role = role.is_some() && token_file.is_none();
    if of_role || profile.value("source_profile").is_some() {
        return program::credential(of_programs, name).await;
    }
    if let Some(keys) = profile.keys() {
        return Ok(keys);
    }
    if let Some(token_file) = token_file {
        let identity = WebIdentity {
            token_file,
            role,
            session: profile.value("role_session_name"),
            region,
        };
        return services::of_web_identity(&identity, environment).await;
    }
    if LOGINS.iter().any(|key| profile.value(key).is_some()) {
        return program::credential(of_programs, name).await;
    }
    if let Some(command) = profile.value("credential_process") {
        return program::named(of_programs, command).await;
    }
    services::of_machine(environment).await
}

/// The keys in the variables. Half of a pair counts as none.
fn variables(environment: &Environment) -> Option<AwsCredential> {
    let first = |names: [&str; 2]| {
        names
            .into_iter()
            .find_map(|name| environment.non_empty(name))
    };
    let access_key = first(["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"])?;
    let secret_key = first(["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"])?;
    let token = environment.non_empty("AWS_SESSION_TOKEN");
    Some(AwsCredential::new(access_key, secret_key, token))
}
