//! The AWS keys of this machine, which caches of `type=s3` are given.
//!
//! As with buildx, an entry without keys gets those that Amazon's tools would use here. If there are none, the builder uses its
//! own: those of its environment, or the role of its machine.

use super::lower::lacks_aws_keys;
use super::{Ready, secrets};
use crate::builder::Notice;
use crate::credential::AwsCredential;
use crate::event::EventSink;
use crate::types::Environment;
use crate::types::causes::in_one_line;

/// What is known of the AWS keys of this machine.
#[derive(Debug, Clone, Default)]
pub(super) enum AwsKeys {
    /// No cache needs them.
    #[default]
    NotNeeded,
    /// The keys.
    Found(AwsCredential),
    /// There are none, for this reason.
    Missing(String),
}

impl AwsKeys {
    /// The keys for the caches of `targets`.
    pub(super) async fn of(
        targets: &[Ready],
        environment: &Environment,
        events: &EventSink,
    ) -> Self {
        let lacks = |ready: &Ready| {
            let attributes = &ready.planned.attributes;
            let mut caches = attributes.cache_from.iter().chain(&attributes.cache_to);
            !ready.planned.is_called() && caches.any(|cache| lacks_aws_keys(cache))
        };
        if !targets.iter().any(lacks) {
            return Self::NotNeeded;
        }
        let notice = Notice::begin(events, "aws-keys", "find AWS keys for caches");
        let of_programs = without_secrets(targets, environment);
        let found = AwsCredential::for_caches(environment, &of_programs).await;
        notice.end(None);
        match found {
            Ok(keys) => {
                tracing::debug!("AWS keys for caches found");
                Self::Found(keys)
            }
            Err(error) => {
                let reason = in_one_line(&error);
                tracing::info!(%reason, "no AWS keys for caches: the builder uses its own");
                Self::Missing(reason)
            }
        }
    }

    /// Why the builder got no keys. `None` if it got some, or needed none.
    pub(super) fn missing(&self) -> Option<&str> {
        match self {
            Self::Missing(reason) => Some(reason),
            Self::NotNeeded | Self::Found(_) => None,
        }
    }
}

/// `environment` without variables that hold secrets of `targets`, except those of Amazon's tools.
fn without_secrets(targets: &[Ready], environment: &Environment) -> Environment {
    let attributes = targets.iter().map(|ready| &*ready.planned.attributes);
    let secret = secrets::variables(attributes, environment);
    let withheld = secret.iter().filter(|name| !name.starts_with("AWS_"));
    withheld.fold(environment.clone(), |environment, name| {
        environment.with(name, None)
    })
}
