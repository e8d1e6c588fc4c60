//! Reads the files of policies in remote contexts, which the builder fetches.
//!
//! Many targets may have one context and look for the same file in it. [`RemoteContexts`] has the builder look once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::Mutex;
use tonic::Status;

use crate::definition::model::{SecretEntry, SshEntry};
use crate::engine::llb::LlbTree;
use crate::engine::{Engine, JobFiles, Session};
use crate::golang::path;
use crate::outcome::{FailureKind, SolveFailure};
use crate::policy::FileNeed;
use crate::run::fetch;
use crate::run::locate::SourceTree;

/// The bytes that are read at once. The answer must fit into a message.
const PART: u32 = 4 << 20;

/// What was read of files. `None` for those that are not there.
type Contents = BTreeMap<FileNeed, Option<Bytes>>;

/// The remote contexts of a run.
#[derive(Debug, Default)]
pub(in crate::run) struct RemoteContexts(Vec<Arc<RemoteContext>>);

impl RemoteContexts {
    /// The context `tree`, which targets share.
    pub(super) fn at(&mut self, tree: &SourceTree) -> Arc<RemoteContext> {
        let mut known = self.0.iter();
        if let Some(context) = known.find(|context| context.tree == *tree) {
            return Arc::clone(context);
        }
        let context = Arc::new(RemoteContext {
            tree: tree.clone(),
            known: Mutex::default(),
        });
        self.0.push(Arc::clone(&context));
        context
    }
}

/// Which credentials the session of a target gives the builder. The same entries mean the same ones during a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) secrets: Vec<SecretEntry>,
    pub(super) ssh: Vec<SshEntry>,
}

/// A remote context, and what is known of it. Who looks at it holds the lock, so others wait for what is found.
#[derive(Debug)]
pub(super) struct RemoteContext {
    tree: SourceTree,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    contents: Contents,
    /// Why the builder could not fetch it with these credentials. With others, it may.
    failures: Vec<(Access, SolveFailure)>,
}

impl RemoteContext {
    /// Reads the files `needs`, unless a target has read them before. `session` has the credentials `access`.
    ///
    /// # Errors
    /// The builder cannot fetch the context.
    pub(super) async fn read(
        &self,
        needs: Vec<FileNeed>,
        access: &Access,
        engine: &Engine,
        session: &Session,
    ) -> Result<Contents, SolveFailure> {
        let look = async |needs| looked_up(&self.tree, needs, engine, session).await;
        self.read_by(needs, access, look).await
    }

    /// Reads the files `needs`. `look` is called for those that are not known yet.
    async fn read_by(
        &self,
        needs: Vec<FileNeed>,
        access: &Access,
        look: impl AsyncFnOnce(Vec<FileNeed>) -> Result<Contents, SolveFailure>,
    ) -> Result<Contents, SolveFailure> {
        let mut known = self.known.lock().await;
        let unknown = needs
            .iter()
            .filter(|need| !known.contents.contains_key(need));
        let unknown: Vec<FileNeed> = unknown.cloned().collect();
        if !unknown.is_empty() {
            let mut failures = known.failures.iter();
            if let Some((_, failure)) = failures.find(|(failed, _)| failed == access) {
                return Err(failure.clone());
            }
            match look(unknown).await {
                Ok(contents) => known.contents.extend(contents),
                Err(failure) => {
                    // Others may have lost only this session.
                    if failure.kind == FailureKind::Build {
                        known.failures.push((access.clone(), failure.clone()));
                    }
                    return Err(failure);
                }
            }
        }
        let read = needs.into_iter().map(|need| {
            let content = known.contents.get(&need).cloned().flatten();
            (need, content)
        });
        Ok(read.collect())
    }
}

/// Has the builder fetch the context `tree`, and reads the files `needs` of it.
async fn looked_up(
    tree: &SourceTree,
    needs: Vec<FileNeed>,
    engine: &Engine,
    session: &Session,
) -> Result<Contents, SolveFailure> {
    let tree = files_of(tree).ok_or_else(|| {
        let message = "the context cannot be looked at for policies";
        SolveFailure::new(FailureKind::Build, message)
    })?;
    let tree = &tree;
    engine
        .read_trees(session, |reader| async move {
            let mut files = reader.open(tree).await?;
            let mut contents = BTreeMap::new();
            for need in needs {
                let content = match &mut files {
                    Some(files) => match read_file(files, &need).await {
                        Ok(content) => content,
                        Err(status) => {
                            return Err(unreadable(reader.failure(&status).await, &need));
                        }
                    },
                    None => None,
                };
                contents.insert(need, content);
            }
            Ok::<_, SolveFailure>(contents)
        })
        .await
}

/// The files of the remote context `tree`. `None` if it is on this machine, or BuildKit will refuse its address.
fn files_of(tree: &SourceTree) -> Option<LlbTree> {
    match tree {
        SourceTree::Dir(_) => None,
        SourceTree::Remote(address) => fetch::tree(address).ok().map(|tree| fetch::root(&tree)),
        SourceTree::InTree(directory) => Some(fetch::described(directory, "set context to")),
    }
}

/// Reads a file. `None` if there is none.
///
/// # Errors
/// It cannot be read. Nobody knows whether it denies something, so the target must not go on without it.
async fn read_file(files: &mut JobFiles, need: &FileNeed) -> Result<Option<Bytes>, Status> {
    let place = path::join("/", &need.name);
    let mut content = BytesMut::new();
    loop {
        let left = need.limit.saturating_sub(content.len() as u64);
        let length = u32::try_from(left).unwrap_or(PART).min(PART);
        if length == 0 {
            break;
        }
        let part = files.read_part(&place, content.len() as u64, length);
        let part = match part.await {
            Ok(part) => part,
            Err(status) if fetch::is_missing(status.message()) => return Ok(None),
            Err(status) => return Err(status),
        };
        content.extend_from_slice(&part);
        if part.len() < length as usize {
            break;
        }
    }
    Ok(Some(content.freeze()))
}

fn unreadable(failure: SolveFailure, need: &FileNeed) -> SolveFailure {
    let message = format!(
        "cannot read the policy file `{}` of the context: {}",
        need.name, failure.message
    );
    SolveFailure { message, ..failure }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::types::remote::RemoteAddress;

    fn need(name: &str) -> FileNeed {
        FileNeed {
            name: name.to_owned(),
            limit: 10,
        }
    }

    fn access(secret: Option<&str>) -> Access {
        let secrets = secret.map(|id| SecretEntry {
            id: id.into(),
            ..SecretEntry::default()
        });
        Access {
            secrets: secrets.into_iter().collect(),
            ssh: Vec::new(),
        }
    }

    fn tree(address: &str) -> SourceTree {
        SourceTree::Remote(RemoteAddress::parse(&address.into()).unwrap())
    }

    /// Looks that are counted. Only `a` is there.
    async fn count(looks: &Cell<usize>, needs: Vec<FileNeed>) -> Result<Contents, SolveFailure> {
        looks.set(looks.get() + 1);
        // Others come to the lock meanwhile.
        tokio::task::yield_now().await;
        let content = |need: &FileNeed| (need.name == "a").then(|| Bytes::from_static(b"text"));
        let contents = needs.into_iter().map(|need| {
            let content = content(&need);
            (need, content)
        });
        Ok(contents.collect())
    }

    #[tokio::test]
    async fn many_targets_look_at_a_context_once() {
        let mut contexts = RemoteContexts::default();
        let looks = Cell::new(0);
        let targets: Vec<_> = (0..40)
            .map(|_| contexts.at(&tree("https://example.com/a.git")))
            .collect();
        let reads = targets.iter().enumerate().map(async |(at, context)| {
            let own = access((at % 2 == 0).then_some("own"));
            let needs = vec![need("a"), need("b")];
            let look = async |needs| count(&looks, needs).await;
            let read = context.read_by(needs, &own, look).await.unwrap();
            assert_eq!(read[&need("a")].as_deref(), Some(&b"text"[..]));
            assert_eq!(read[&need("b")], None);
        });
        futures_util::future::join_all(reads).await;
        assert_eq!(looks.get(), 1);
        let other = contexts.at(&tree("https://example.com/b.git"));
        for (context, names) in [(&other, ["a", "b"]), (&targets[0], ["b", "c"])] {
            let needs = names.map(need).to_vec();
            let look = async |needs| count(&looks, needs).await;
            context.read_by(needs, &access(None), look).await.unwrap();
        }
        assert_eq!(looks.get(), 3);
    }

    #[tokio::test]
    async fn a_failure_counts_for_the_same_credentials_only() {
        let context = RemoteContexts::default().at(&tree("https://example.com/a.git"));
        let looks = Cell::new(0);
        let fails = async |kind| {
            looks.set(looks.get() + 1);
            Err(SolveFailure::new(kind, "no"))
        };
        let own = access(Some("own"));
        for (kind, so_far) in [
            (FailureKind::Engine, 1),
            (FailureKind::Build, 2),
            (FailureKind::Build, 2),
        ] {
            let read = context.read_by(vec![need("a")], &own, async |_| fails(kind).await);
            read.await.unwrap_err();
            assert_eq!(looks.get(), so_far);
        }
        let look = async |needs| count(&looks, needs).await;
        let read = context.read_by(vec![need("a")], &access(None), look).await;
        assert!(read.is_ok());
        // Who could not fetch it may know what others have read.
        let look = async |needs| count(&looks, needs).await;
        context.read_by(vec![need("a")], &own, look).await.unwrap();
        assert_eq!(looks.get(), 3);
    }
}
