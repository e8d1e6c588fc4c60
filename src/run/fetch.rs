//! Fetches a definition from a repository, or from an address with HTTP(S). The builder does the work, so what counts is
//! what it can reach.
//!
//! It follows buildx (`bake/remote.go`): a download is the definition itself, or an archive with the definition in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{secrets, ssh};
use crate::builder::{Chosen, Notice};
use crate::definition::remote::{RemoteAccess, RemoteTree, TreeDirectory};
use crate::definition::source::{DEFAULT_NAMES, FALLBACK_DIR, FetchedFile, SIZE_LIMIT};
use crate::diag::{Class, Diagnostic};
use crate::engine::llb::{DOWNLOAD, LlbTree};
use crate::engine::session::{Secrets, SessionBuilder, ssh::SshAgents};
use crate::engine::{Engine, JobFiles, SessionId, TreeReader};
use crate::event::EventSink;
use crate::files::Resolver;
use crate::golang::path;
use crate::outcome::SolveFailure;
use crate::types::Environment;
use crate::types::causes::in_one_line;
use crate::types::remote::RemoteAddress;
use crate::types::secret::redact_url;

/// The bytes of a file that are read at once. The answer must fit into a message of 16 MiB.
const PART: u32 = 4 << 20;
/// The bytes of a download that show whether it is an archive.
const HEADER: u32 = 1024;

/// What is fetched.
#[derive(Debug)]
pub(crate) struct FetchOrder<'a> {
    /// Where the definition is.
    pub(crate) tree: Arc<RemoteTree>,
    /// The names of its files. Empty for the default names.
    pub(crate) names: &'a [&'a str],
    /// Whether there are local files, too. Then there need not be files with default names.
    pub(crate) has_local: bool,
    /// The environment, in which credentials are.
    pub(crate) environment: &'a Environment,
}

/// A definition that was fetched.
#[derive(Debug)]
pub(crate) struct FetchedDefinition {
    /// Its files, in order.
    pub(crate) files: Vec<FetchedFile>,
    /// The tree that they are in. `None` for a download that is the definition itself.
    pub(crate) tree: Option<Arc<RemoteTree>>,
}

/// Why a definition was not fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Failed(String),
    #[error("the SSH agent {0}")]
    Agent(String),
    #[error("there is no file `{0}`")]
    NoFile(String),
    #[error(
        "there is no definition: looked for `docker-bake.hcl`, `docker-bake.json` and the other default names"
    )]
    NoDefinition,
    #[error("`{0}` is larger than {limit} MiB", limit = SIZE_LIMIT >> 20)]
    TooLarge(String),
}

impl From<SolveFailure> for FetchError {
    fn from(failure: SolveFailure) -> Self {
        Self::Failed(failure.message)
    }
}

/// The file system of a directory. Its step is called `action` and the path.
pub(super) fn described(directory: &TreeDirectory, action: &str) -> LlbTree {
    let root = root(&directory.tree);
    match &directory.path {
        Some(path) => root.directory(&path::join("/", path), &format!("{action} {path}")),
        None => root,
    }
}

/// The whole tree.
pub(super) fn root(tree: &RemoteTree) -> LlbTree {
    let address = tree.source().as_str();
    match tree.git() {
        Some(git) => LlbTree::git(git, address),
        None => LlbTree::http(address).unpacked(DOWNLOAD),
    }
}

/// The tree at `address`.
///
/// # Errors
/// BuildKit would refuse the address.
pub(crate) fn tree(address: &RemoteAddress) -> Result<Arc<RemoteTree>, Diagnostic> {
    let tree = RemoteTree::at(address.clone());
    let tree = tree.map_err(|error| {
        problem(address, &error.to_string()).help("BuildKit knows `ref`, `tag`, `branch`, `subdir`, `commit`, `submodules`, `keep-git-dir`, `mtime` and `fetch-by-commit` in the address of a repository")
    })?;
    Ok(Arc::new(tree))
}

fn problem(address: &RemoteAddress, what: &str) -> Diagnostic {
    let shown = redact_url(address.as_str());
    let message = format!("cannot fetch the definition from `{shown}`: {what}");
    Diagnostic::error(Class::Definition, "definition::not-fetched", message)
}

/// Has the builder fetch the definition.
pub(crate) async fn fetch(
    chosen: Chosen,
    order: &FetchOrder<'_>,
    events: &EventSink,
) -> Result<FetchedDefinition, Diagnostic> {
    let address = order.tree.source();
    let name = format!("fetch the definition from {}", redact_url(address.as_str()));
    let notice = Notice::begin(events, "definition", &name);
    let fetched = Box::pin(from_builder(chosen, order)).await;
    notice.end(fetched.as_ref().err().map(|_| "not fetched"));
    fetched.map_err(|error| {
        let problem = problem(address, &error.to_string());
        match &error {
            FetchError::Failed(_) => problem.help("the builder fetches it, so it must be able to reach the address; `docs/remote.md` has the variables for credentials"),
            FetchError::Agent(_) => problem.help("start an agent (`eval \"$(ssh-agent)\"; ssh-add`), or name a socket or a key in `BUILDX_BAKE_GIT_SSH`"),
            FetchError::NoFile(_) => problem.help("`-f` names a file at that address; `-f cwd://PATH` one on this machine"),
            FetchError::NoDefinition => problem.help("name the file with `-f`, or a directory in the address: `…#REF:DIRECTORY`"),
            FetchError::TooLarge(_) => problem,
        }
    })
}

async fn from_builder(
    chosen: Chosen,
    order: &FetchOrder<'_>,
) -> Result<FetchedDefinition, FetchError> {
    let tree = Arc::clone(&order.tree);
    let engine = Engine::over(chosen.connection);
    let mut session = SessionBuilder::new(SessionId::new());
    if tree.git().is_some() {
        let (secrets, agents) = credentials(order, &tree)?;
        session = session.secrets(secrets);
        if let Some(agents) = agents {
            session = session.attach(Arc::new(agents));
        }
    }
    let session = session.open(engine.connection()).await;
    let session = session.map_err(|error| FetchError::Failed(in_one_line(&error)))?;
    let names = Names {
        named: order.names,
        has_local: order.has_local,
    };
    let read = |reader| async move {
        if tree.git().is_some() {
            let files = Opened::at(reader, &root(&tree)).await?;
            let files = files.definition(names).await?;
            return Ok(FetchedDefinition {
                files,
                tree: Some(tree),
            });
        }
        downloaded(reader, tree, names).await
    };
    let fetched = engine.read_trees(&session, read).await;
    session.close().await;
    fetched
}

/// The credentials for a repository, from the environment. An SSH agent is needed only for an address with SSH.
fn credentials(
    order: &FetchOrder<'_>,
    tree: &RemoteTree,
) -> Result<(Secrets, Option<SshAgents>), FetchError> {
    let access = RemoteAccess::to(tree.source().as_str(), order.environment);
    let mut sources = BTreeMap::new();
    for (id, name) in access.secrets {
        sources.extend(secrets::variable(&name, order.environment).map(|source| (id, source)));
    }
    let paths = Resolver::new(order.environment.current_dir());
    let agents = match ssh::for_definition(&access.ssh, order.environment, &paths) {
        Ok(agents) => Some(agents),
        Err(reason) if tree.source().is_ssh() => return Err(FetchError::Agent(reason)),
        Err(_) => None,
    };
    Ok((Secrets::new(sources), agents))
}

/// Reads a download: the definition itself, or an archive with the definition.
async fn downloaded(
    reader: TreeReader<'_>,
    tree: Arc<RemoteTree>,
    names: Names<'_>,
) -> Result<FetchedDefinition, FetchError> {
    let address = tree.source().as_str();
    let download = LlbTree::http(address);
    let mut whole = Opened::at(reader, &download).await?;
    let header = whole.part(DOWNLOAD, 0, HEADER).await?;
    if is_archive(&header) {
        let unpacked = Opened::at(whole.reader, &root(&tree)).await?;
        let files = unpacked.definition(names).await?;
        return Ok(FetchedDefinition {
            files,
            tree: Some(tree),
        });
    }
    let file = FetchedFile {
        name: redact_url(address),
        folder: None,
        content: whole.file(DOWNLOAD, &redact_url(address)).await?,
    };
    Ok(FetchedDefinition {
        files: vec![file],
        tree: None,
    })
}

/// The files that are wanted.
#[derive(Clone, Copy)]
struct Names<'a> {
    named: &'a [&'a str],
    has_local: bool,
}

/// A file system whose files can be read.
struct Opened<'c> {
    reader: TreeReader<'c>,
    files: Option<JobFiles>,
}

impl<'c> Opened<'c> {
    async fn at(reader: TreeReader<'c>, tree: &LlbTree) -> Result<Self, FetchError> {
        let files = reader.open(tree).await?;
        Ok(Self { reader, files })
    }

    /// Reads the files of a definition. If there are no `names`, those that have default names.
    async fn definition(mut self, names: Names<'_>) -> Result<Vec<FetchedFile>, FetchError> {
        let names = match names.named {
            [] => match self.default_names().await {
                Err(FetchError::NoDefinition) if names.has_local => Vec::new(),
                found => found?,
            },
            names => names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            let content = self.file(&name, &name).await?;
            let folder = name.rsplit_once('/').map_or(".", |(folder, _)| folder);
            files.push(FetchedFile {
                folder: Some(folder.into()),
                name,
                content,
            });
        }
        Ok(files)
    }

    /// The default names that exist at the root, or else in `bake/`, as for a local definition.
    async fn default_names(&mut self) -> Result<Vec<String>, FetchError> {
        for folder in ["", FALLBACK_DIR] {
            let entries = match &mut self.files {
                Some(files) => files.list(&format!("/{folder}")).await,
                None => Ok(Vec::new()),
            };
            let entries = match entries {
                Ok(entries) => entries,
                // There is no such folder.
                Err(_) if !folder.is_empty() => continue,
                Err(status) => return Err(self.reader.failure(&status).await.into()),
            };
            let exists = |name: &&&str| entries.iter().any(|entry| entry.name == name.as_bytes());
            let found = DEFAULT_NAMES.iter().filter(exists);
            let found: Vec<String> = match folder {
                "" => found.map(|name| (*name).to_owned()).collect(),
                folder => found.map(|name| format!("{folder}/{name}")).collect(),
            };
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Err(FetchError::NoDefinition)
    }

    /// Reads a whole file. Errors call it `shown`.
    async fn file(&mut self, path: &str, shown: &str) -> Result<Vec<u8>, FetchError> {
        let mut content = Vec::new();
        loop {
            let part = self.part(path, content.len() as u64, PART).await?;
            if part.is_empty() {
                return Ok(content);
            }
            content.extend_from_slice(&part);
            if content.len() as u64 > SIZE_LIMIT {
                return Err(FetchError::TooLarge(shown.to_owned()));
            }
        }
    }

    async fn part(
        &mut self,
        path: &str,
        offset: u64,
        length: u32,
    ) -> Result<bytes::Bytes, FetchError> {
        let Some(files) = &mut self.files else {
            return Err(FetchError::NoFile(path.to_owned()));
        };
        match files.read_part(path, offset, length).await {
            Ok(part) => Ok(part),
            Err(status) if is_missing(status.message()) => Err(FetchError::NoFile(path.to_owned())),
            Err(status) => Err(self.reader.failure(&status).await.into()),
        }
    }
}

/// Whether the daemon says that there is no such file. It has no code for that.
pub(super) fn is_missing(message: &str) -> bool {
    message.contains("no such file or directory")
}

/// Whether a file that begins with `header` is an archive that the daemon can unpack: compressed with bzip2, gzip or xz, or a
/// tar archive.
fn is_archive(header: &[u8]) -> bool {
    const MAGIC: [&[u8]; 3] = [b"BZh", b"\x1f\x8b\x08", b"\xfd7zXZ\0"];
    MAGIC.iter().any(|magic| header.starts_with(magic)) || is_tar(header)
}

/// Whether `header` is that of a tar archive: its checksum is right.
fn is_tar(header: &[u8]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let (Some(block), Some(checksum)) = (header.get(..512), header.get(CHECKSUM)) else {
        return false;
    };
    let text = String::from_utf8_lossy(checksum);
    let text = text.trim_matches(|c: char| c == ' ' || c == '\0');
    let Ok(expected) = u32::from_str_radix(text, 8) else {
        return false;
    };
    let byte = |(at, byte): (usize, &u8)| {
        let byte = if CHECKSUM.contains(&at) { b' ' } else { *byte };
        u32::from(byte)
    };
    let sum: u32 = block.iter().enumerate().map(byte).sum();
    sum == expected && block.iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_recognised_by_their_first_bytes() {
        assert!(is_archive(b"\x1f\x8b\x08\0"));
        assert!(is_archive(b"BZh9"));
        assert!(is_archive(b"\xfd7zXZ\0\0"));
        assert!(!is_archive(b"target \"default\" {}"));
        assert!(!is_archive(b""));
        assert!(!is_archive(&[0; 1024]));
    }

    #[test]
    fn directories_cannot_leave_the_tree() {
        let address = RemoteAddress::parse(&"https://h/r.git".into()).unwrap();
        let tree = tree(&address).unwrap();
        let at = |path: &str| TreeDirectory {
            tree: Arc::clone(&tree),
            path: Some(path.into()),
        };
        let made = |path: &str| described(&at(path), "take").definition();
        let copied = |path: &str| {
            let definition = made(path);
            definition.windows(6).any(|bytes| bytes == b"\x0a\x04/etc")
        };
        assert!(copied("../../etc") && copied("/etc") && copied("etc/"));
        assert!(!copied("../../var"));
    }

    #[test]
    fn tar_archives_are_recognised_by_their_checksum() {
        let mut header = tar::Header::new_ustar();
        header.set_path("docker-bake.hcl").unwrap();
        header.set_size(3);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        assert!(is_archive(&bytes));
        bytes[0] = b'x';
        assert!(!is_archive(&bytes));
    }
}
