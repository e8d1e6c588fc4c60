//! Policies in remote contexts. buildx applies the policy `Dockerfile.rego` beside a Dockerfile, also in a repository or an archive.
//! rbake cannot apply policies yet, and must not ignore one that users rely on: a target with such a policy is not built.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::Ready;
use super::fetch;
use super::locate::{DockerfilePlace, SourceTree};
use crate::engine::llb::LlbTree;
use crate::engine::{Engine, Session};
use crate::golang::path;
use crate::outcome::{FailureKind, SolveFailure};
use crate::types::TargetName;

/// What is added to the name of a Dockerfile.
const ENDING: &str = ".rego";

/// Which policies exist. Each place is looked at once for all targets of a run.
#[derive(Default)]
pub(super) struct RemotePolicies {
    found: Mutex<HashMap<String, Arc<OnceCell<bool>>>>,
}

impl RemotePolicies {
    /// Has the builder look for a policy beside the Dockerfile of `ready`. `session` has the credentials for its context.
    ///
    /// # Errors
    /// There is one, and the definition does not switch it off. If the context cannot be fetched, there is no error here: the solve will
    /// fail for the same reason.
    pub(super) async fn check(
        &self,
        ready: &Ready,
        engine: &Engine,
        session: &Session,
    ) -> Result<(), SolveFailure> {
        let mut policies = ready.planned.attributes.policy.iter();
        let DockerfilePlace::InContext(dockerfile) = &ready.places.dockerfile else {
            return Ok(());
        };
        if policies.any(|policy| policy.disabled) {
            return Ok(());
        }
        let Some((address, tree)) = tree_of(&ready.places.context) else {
            return Ok(());
        };
        let policy = format!("{dockerfile}{ENDING}");
        let key = format!("{address} {policy}");
        let look = {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(found.entry(key).or_default())
        };
        let exists = look
            .get_or_init(|| async { exists(&tree, &policy, engine, session).await })
            .await;
        if *exists {
            return Err(refusal(&ready.planned.name, &policy));
        }
        Ok(())
    }
}

/// What tells the remote context `tree` apart from others, and its files. `None` if it is on this machine, or BuildKit will refuse it.
fn tree_of(tree: &SourceTree) -> Option<(String, LlbTree)> {
    match tree {
        SourceTree::Dir(_) => None,
        SourceTree::Remote(address) => {
            let tree = fetch::tree(address).ok()?;
            Some((address.to_string(), fetch::root(&tree)))
        }
        SourceTree::InTree(directory) => {
            let path = directory.path.as_deref().unwrap_or_default();
            let address = format!("{} {path}", directory.tree.source().as_str());
            Some((address, fetch::described(directory, "set context to")))
        }
    }
}

async fn exists(tree: &LlbTree, policy: &str, engine: &Engine, session: &Session) -> bool {
    let looked = engine.read_trees(session, |reader| async move {
        let Some(mut files) = reader.open(tree).await? else {
            return Ok(false);
        };
        // Any other answer means that there is no such file.
        let begin = files.read_part(&path::join("/", policy), 0, 1).await;
        Ok::<_, SolveFailure>(begin.is_ok())
    });
    looked.await.unwrap_or_else(|failure| {
        tracing::warn!(kind = ?failure.kind, "cannot look for a policy in a remote context");
        false
    })
}

fn refusal(target: &TargetName, policy: &str) -> SolveFailure {
    let message = format!(
        "the policy `{policy}` beside the Dockerfile of target `{target}`, in its remote context, cannot be applied yet"
    );
    let mut failure = SolveFailure::new(FailureKind::Build, message);
    let help = "`--policy disabled=true` builds without policies, if that is what you want";
    failure.help.push(help.to_owned());
    failure
}
