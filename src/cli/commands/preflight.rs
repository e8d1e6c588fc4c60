//! Checks a plan before it is built, and finds everything at once that is wrong on this machine. With `--preflight-only`, the
//! registries that refuse a push are added to these problems; without them, a run looks at registries when it has a builder.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::privileges;
use crate::cli::screen::Screen;
use crate::cli::signals::Signals;
use crate::credential::{Provider, ProviderOptions};
use crate::diag::Diagnostics;
use crate::files::Resolver;
use crate::plan::entitlements::{Allowed, refused_deletions};
use crate::plan::{self, Plan, SharedTags};
use crate::publish::settings::PublishMode;
use crate::registry::Registries;
use crate::run::{self, PublishWishes};
use crate::types::{Clock, Environment};

/// The check of a plan.
pub(super) struct Check<'a> {
    pub(super) plan: &'a Plan,
    pub(super) publish: &'a PublishWishes,
    pub(super) allowed: &'a Allowed,
    pub(super) environment: &'a Environment,
    pub(super) paths: &'a Resolver,
    /// The folder of the definition, relative to the working directory.
    pub(super) folder: &'a Path,
    /// Where the metadata is written, as the user names it.
    pub(super) metadata_file: Option<&'a str>,
    /// Where the log is written, as the user names it.
    pub(super) log_file: Option<&'a str>,
    pub(super) signals: &'a Signals,
}

impl Check<'_> {
    /// Adds to `found` what only matters if the plan is built. Blocking; registries have a limited time.
    pub(super) fn all(&self, found: &mut Diagnostics) {
        let (plan, environment) = (self.plan, self.environment);
        found.0.append(&mut self.values().0);
        found.add_new(refused_deletions(
            plan,
            environment,
            self.paths,
            self.folder,
        ));
        // Nothing is read or asked of anyone in the name of a user who has not agreed to what the definition wants. But
        // if a context does not exist, that is reported before the user is asked to grant access to it.
        let only_checks = self.publish.preflight_only;
        let looks = (only_checks || found.has_errors())
            && privileges::are_granted(plan, self.allowed, environment, self.paths);
        if looks || run::lacks_a_context(plan, self.paths) {
            let missing = run::prepare(plan, environment, self.paths);
            found.add_new(missing.err().unwrap_or_default());
        }
        if looks && only_checks && found.has_errors() {
            self.signals.doing("looking at registries");
            found.add_new(self.refusals());
        }
    }

    /// What is wrong in the plan itself.
    fn values(&self) -> Diagnostics {
        let shared = match self.publish.settings.mode {
            PublishMode::Rbake => SharedTags::Refused {
                untagged: &self.publish.gates.images,
            },
            PublishMode::Buildx => SharedTags::LastWins,
        };
        let mut found = plan::check_build(self.plan, shared);
        let (metadata, log) = (self.metadata_file, self.log_file);
        let files = plan::check_files(self.plan, self.paths, metadata, log);
        found.0.extend(files.0);
        found
            .0
            .append(&mut run::check(self.plan, self.environment).0);
        found
    }

    /// The registries to which rbake may not push.
    fn refusals(&self) -> Diagnostics {
        let (plan, environment) = (self.plan, self.environment);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        // The problems that are known already are reported in any case.
        let Ok(runtime) = runtime else {
            return Diagnostics::default();
        };
        let notices = Screen::notices_of_process(environment);
        let credentials = Provider::new(ProviderOptions {
            environment,
            clock: Clock::system(),
            withheld: run::secret_variables(plan, environment),
            notices: notices.clone(),
        });
        let clock = Clock::system();
        let registries = Registries::new(credentials.clone(), clock, CancellationToken::new())
            .with_notices(notices);
        let look = run::refusals(plan, self.publish, environment, &credentials, &registries);
        let found = runtime.block_on(look);
        // A credential helper may still be waiting for an answer that nobody needs any more.
        Provider::end_helpers(&credentials);
        runtime.shutdown_background();
        found
    }
}
