//! Reads the files of policies in remote contexts, which the builder fetches.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::engine::llb::LlbTree;
use crate::engine::{Engine, JobFiles, Session};
use crate::golang::path;
use crate::outcome::{FailureKind, SolveFailure};
use crate::policy::FileNeed;
use crate::run::fetch;
use crate::run::locate::SourceTree;

/// The bytes that are read at once. The answer must fit into a message.
const PART: u32 = 4 << 20;

/// Reads the files `needs` of the context `tree`. `None` for those that are not there. `session` has the credentials for it.
///
/// # Errors
/// The builder cannot fetch the context.
pub(super) async fn read(
    tree: &SourceTree,
    needs: Vec<FileNeed>,
    engine: &Engine,
    session: &Session,
) -> Result<BTreeMap<FileNeed, Option<Bytes>>, SolveFailure> {
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
                    Some(files) => read_file(files, &need).await,
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

/// Any answer but content means that there is no such file.
async fn read_file(files: &mut JobFiles, need: &FileNeed) -> Option<Bytes> {
    let place = path::join("/", &need.name);
    let mut content = BytesMut::new();
    loop {
        let left = need.limit.saturating_sub(content.len() as u64);
        let length = u32::try_from(left).unwrap_or(PART).min(PART);
        if length == 0 {
            break;
        }
        let part = files
            .read_part(&place, content.len() as u64, length)
            .await
            .ok()?;
        content.extend_from_slice(&part);
        if part.len() < length as usize {
            break;
        }
    }
    Some(content.freeze())
}
