//! Asks a registry for the manifests that refer to others, such as signatures, if it lists them.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};

use super::PruneError;
use super::read::{AT_ONCE, ReferrersOf, RepositoryReader};
use crate::prune::graph::{RepositoryReading, UnreadableManifest};
use crate::registry::{RegistryError, RegistryFault};
use crate::types::Digest;
use crate::types::causes::in_one_line;

impl RepositoryReader {
    /// Asks for the referrers of those manifests of `of` that `referrers` means. What cannot be listed closes the
    /// repository.
    pub(super) async fn ask_for_referrers(
        &mut self,
        reading: &mut RepositoryReading,
        problems: &mut BTreeMap<Digest, String>,
        referrers: ReferrersOf<'_>,
        of: &[Digest],
    ) -> Result<(), PruneError> {
        let is_wanted = |digest: &&Digest| match referrers {
            ReferrersOf::All => true,
            ReferrersOf::One(one) => one == *digest || !self.referrers.contains_key(*digest),
        };
        let wanted: Vec<&Digest> = of.iter().filter(is_wanted).collect();
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() && self.lists_referrers != Some(false) {
            // One request tells whether the registry lists them.
            let is_known = self.lists_referrers.is_some();
            let count = if is_known { usize::MAX } else { 1 };
            let repository = &self.repository;
            let asks = wanted.by_ref().take(count).map(|digest| async move {
                let found = repository.registered_referrers(digest).await;
                (digest, found)
            });
            let answers: Vec<_> = stream::iter(asks).buffer_unordered(AT_ONCE).collect().await;
            for (digest, answer) in answers {
                let why = match answer {
                    Ok(Some(found)) => {
                        self.lists_referrers = Some(true);
                        let found = found.into_iter().map(|found| found.digest).collect();
                        self.referrers.insert(digest.clone(), found);
                        continue;
                    }
                    Ok(None) if self.lists_referrers.is_none() => {
                        self.lists_referrers = Some(false);
                        continue;
                    }
                    // The registry does list referrers, so nobody knows what refers to this one.
                    Ok(None) => "the registry does not list its referrers".to_owned(),
                    Err(error) if is_lasting(&error) && self.lists_referrers.is_some() => {
                        in_one_line(&error)
                    }
                    // Some registries answer unknown paths with another error than 404.
                    Err(error) if is_lasting(&error) => {
                        self.lists_referrers = Some(false);
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                problems.insert(digest.clone(), why);
                reading.add_unreadable(digest.clone(), UnreadableManifest::Refused);
            }
        }
        Ok(())
    }
}

/// Whether the registry has answered, and would answer the same again: the content is wrong.
pub(super) fn is_lasting(error: &RegistryError) -> bool {
    matches!(
        error.fault,
        RegistryFault::Malformed { .. }
            | RegistryFault::Mismatch { .. }
            | RegistryFault::Refused { .. }
    )
}
