//! Checks that a path leads to something that nobody but root and this user can change.
//!
//! On a shared machine, other users may have prepared something: a folder in `/tmp` with the name that we would
//! use, a symbolic link, a program in a folder that everybody can write to. And if they can write to a folder
//! *above* ours, they can replace ours. So a path is followed as the kernel follows it, one step at a time, and
//! each folder, link and file on the way is checked. If all are safe, others can change neither the way nor its
//! end, and the path may be opened by its name. Start at [`check`] and [`make_private`].

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::{fmt, io};

use super::accounts::Accounts;

/// The number of symbolic links that the kernel follows in one path.
const LINK_LIMIT: u32 = 40;

/// Others can change something on the way to a path, or at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsafePath {
    path: PathBuf,
    culprit: PathBuf,
    kind: &'static str,
    owner: String,
    user: u32,
    mode: u32,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    // It belongs to a user other than root and this one.
    Owner,
    // It belongs to another user, or to root, but must belong to this user.
    NotOurs,
    Everybody,
    Group(String),
    AccessList,
    // An ordinary user may have mounted it, and then its owner and mode are whatever that user's file system
    // reports.
    Mounted,
    NotAFolder,
}

impl UnsafePath {
    /// What would make it safe. `None` if that depends on the purpose of the path.
    pub(crate) fn help(&self) -> Option<String> {
        let path = self.culprit.display();
        match self.fault {
            Fault::Everybody | Fault::Group(_) => Some(format!(
                "if only you use it: check its content, then run `chmod go-w` for `{path}`"
            )),
            Fault::AccessList => Some(format!("`setfacl -b` removes the access list of `{path}`")),
            Fault::Owner | Fault::NotOurs | Fault::Mounted | Fault::NotAFolder => None,
        }
    }
}

impl fmt::Display for UnsafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path != self.culprit {
            write!(f, "`{}` is not safe: ", self.path.display())?;
        }
        let (kind, culprit) = (self.kind, self.culprit.display());
        let (owner, mode) = (&self.owner, self.mode);
        write!(
            f,
            "the {kind} `{culprit}` belongs to {owner}, mode {mode:04o}"
        )?;
        match &self.fault {
            Fault::Owner if self.user == 0 => f.write_str(", but must belong to root"),
            Fault::Owner => write!(f, ", but must belong to root or to you (uid {})", self.user),
            Fault::NotOurs => write!(f, ", but must belong to you (uid {})", self.user),
            Fault::Everybody => f.write_str(", so that everybody can write to it"),
            Fault::Group(group) => write!(f, ", so that the group {group} can write to it"),
            Fault::AccessList => {
                f.write_str(", and an access list lets others than its owner write to it")
            }
            Fault::Mounted => {
                f.write_str(", according to a file system that any user may have mounted")
            }
            Fault::NotAFolder => f.write_str(", but must be a folder"),
        }
    }
}

impl std::error::Error for UnsafePath {}

/// A path cannot be trusted, or could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Others can change it.
    #[error(transparent)]
    Unsafe(#[from] Box<UnsafePath>),
    /// A part of the path cannot be examined.
    #[error("cannot examine `{}`", path.display())]
    Look {
        /// The path, or a part of it.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be created.
    #[error("cannot make the folder `{}`", path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
}

impl From<UnsafePath> for TrustError {
    fn from(error: UnsafePath) -> Self {
        Box::new(error).into()
    }
}

impl TrustError {
    /// What would make the path safe. `None` if that depends on the purpose of the path.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Unsafe(error) => error.help(),
            Self::Look { .. } | Self::Make { .. } => None,
        }
    }
}

/// The end of a path.
#[derive(Debug)]
pub(super) struct Found {
    /// The path to it without symbolic links.
    pub(super) path: PathBuf,
    /// Its metadata.
    pub(super) metadata: Metadata,
}

/// Follows `path` and checks that nobody but root and this user can change what it leads to.
///
/// Returns `None` if nothing is there. Then nobody else can create something there, unless the path is in a folder
/// that everybody can write to, such as `/tmp`.
pub(super) fn check(path: &Path) -> Result<Option<Found>, TrustError> {
    Judge::of_this_process().check(path)
}

/// Whether `path` is a folder that only this user can access. If others can read it, their access is removed; if
/// they can write to it, that is an error. `false` if nothing is there.
pub(super) fn is_private(path: &Path) -> Result<bool, TrustError> {
    Judge::of_this_process().is_private(path)
}

/// Whether `path` is a folder. It is an error if somebody other than root and this user can create files in it, so
/// `/tmp` is an error. `false` if nothing is there.
pub(super) fn check_folder(path: &Path) -> Result<bool, TrustError> {
    Judge::of_this_process().check_folder(path)
}

/// Whether `path` is a folder of this user that nobody else can change. Changes nothing.
pub(super) fn is_own_folder(path: &Path) -> bool {
    let judge = Judge::of_this_process();
    let is_ours = |found: Found| found.metadata.uid() == judge.user;
    judge.check_folder(path).is_ok_and(|is_there| is_there)
        && judge
            .check(path)
            .is_ok_and(|found| found.is_some_and(is_ours))
}

/// Creates the folder `path`, with parents, so that only this user can access it. Accepts a folder that is there
/// already.
pub(super) fn make_private(path: &Path) -> Result<(), TrustError> {
    let judge = Judge::of_this_process();
    if judge.is_private(path)? {
        return Ok(());
    }
    let fail = |source| TrustError::Make {
        path: path.to_owned(),
        source,
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(fail)?;
    // In a folder such as /tmp, another user may have created it first, and creating an existing folder is not an
    // error.
    if judge.is_private(path)? {
        Ok(())
    } else {
        Err(fail(io::ErrorKind::NotFound.into()))
    }
}

/// Whether the process at the other end of `stream` belongs to this user.
pub(super) fn is_peer_ours(stream: &tokio::net::UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == ours)
}

// Checks paths for one user.
struct Judge {
    user: u32,
    // In a user namespace, the number under which all unmapped users appear. The machine's root is one of them.
    unmapped: Option<u32>,
}

impl Judge {
    fn of_this_process() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            unmapped: unmapped_user(),
        }
    }

    fn check(&self, path: &Path) -> Result<Option<Found>, TrustError> {
        let look = |path: &Path, source| TrustError::Look {
            path: path.to_owned(),
            source,
        };
        let asked = std::path::absolute(path).map_err(|source| look(path, source))?;
        let mut steps = steps(&asked);
        let mut here = PathBuf::from("/");
        let mut metadata = std::fs::symlink_metadata(&here).map_err(|e| look(&here, e))?;
        self.judge(&asked, &here, &metadata, false)?;
        let mut links = 0;
        while let Some(step) = steps.pop_front() {
            if step == ".." {
                here.pop();
                metadata = std::fs::symlink_metadata(&here).map_err(|e| look(&here, e))?;
                continue;
            }
            let next = here.join(&step);
            let found = match std::fs::symlink_metadata(&next) {
                Ok(found) => found,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    return Ok(None);
                }
                Err(source) => return Err(look(&next, source)),
            };
            let in_sticky = is_sticky(&metadata);
            if in_sticky && found.dev() != metadata.dev() && is_mounted_by_a_user(&next) {
                let error = self.unsafe_path(&asked, &next, &found, Fault::Mounted);
                return Err(error.into());
            }
            self.judge(&asked, &next, &found, in_sticky)?;
            if !found.is_symlink() {
                (here, metadata) = (next, found);
                continue;
            }
            links += 1;
            if links > LINK_LIMIT {
                return Err(look(&next, rustix::io::Errno::LOOP.into()));
            }
            let target = std::fs::read_link(&next).map_err(|e| look(&next, e))?;
            if target.is_absolute() {
                here = PathBuf::from("/");
                metadata = std::fs::symlink_metadata(&here).map_err(|e| look(&here, e))?;
            }
            let mut way = self::steps(&target);
            way.append(&mut steps);
            steps = way;
        }
        Ok(Some(Found {
            path: here,
            metadata,
        }))
    }

    fn check_folder(&self, path: &Path) -> Result<bool, TrustError> {
        let Some(found) = self.check(path)? else {
            return Ok(false);
        };
        match self.writers(&found.path, &found.metadata) {
            Some(fault) => {
                let (real, metadata) = (&found.path, &found.metadata);
                Err(self.unsafe_path(path, real, metadata, fault).into())
            }
            None => Ok(found.metadata.is_dir()),
        }
    }

    fn is_private(&self, path: &Path) -> Result<bool, TrustError> {
        let Some(Found {
            path: real,
            metadata,
        }) = self.check(path)?
        else {
            return Ok(false);
        };
        let fault = if !metadata.is_dir() {
            Some(Fault::NotAFolder)
        } else if metadata.uid() != self.user {
            Some(Fault::NotOurs)
        } else {
            // Unlike on the way, a sticky folder such as /tmp itself is not accepted here.
            self.writers(&real, &metadata)
        };
        if let Some(fault) = fault {
            return Err(self.unsafe_path(path, &real, &metadata, fault).into());
        }
        if metadata.mode() & 0o077 != 0 {
            // An error (a file system without modes) can be ignored: nobody else can write there.
            let _ = std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o700));
        }
        Ok(true)
    }

    /// Checks that others cannot change `path`, a step on the way to `asked`. In a sticky folder (`in_sticky`),
    /// everybody can create files, but only their owners can replace them.
    fn judge(
        &self,
        asked: &Path,
        path: &Path,
        found: &Metadata,
        in_sticky: bool,
    ) -> Result<(), Box<UnsafePath>> {
        let owner = found.uid();
        let is_trusted =
            owner == 0 || owner == self.user || (self.unmapped == Some(owner) && !in_sticky);
        let fault = if !is_trusted {
            Some(Fault::Owner)
        } else if found.is_symlink() || is_sticky(found) {
            // The mode of a symbolic link means nothing. In a sticky folder, others cannot replace what is not
            // theirs.
            None
        } else {
            self.writers(path, found)
        };
        match fault {
            Some(fault) => Err(Box::new(self.unsafe_path(asked, path, found, fault))),
            None => Ok(()),
        }
    }

    /// Who can write to `path`, other than root and the user; `None` if nobody else can.
    fn writers(&self, path: &Path, found: &Metadata) -> Option<Fault> {
        let mode = found.mode();
        if mode & 0o002 != 0 {
            return Some(Fault::Everybody);
        }
        if mode & 0o020 == 0 {
            return None;
        }
        // If there is an access list, these bits are its mask: some user or group in the list may have access.
        if has_access_list(path) {
            return Some(Fault::AccessList);
        }
        let accounts = Accounts::of_this_machine();
        (!accounts.is_group_of_only(found.gid(), self.user))
            .then(|| Fault::Group(accounts.group(found.gid())))
    }

    fn unsafe_path(
        &self,
        asked: &Path,
        culprit: &Path,
        found: &Metadata,
        fault: Fault,
    ) -> UnsafePath {
        UnsafePath {
            path: asked.to_owned(),
            culprit: culprit.to_owned(),
            kind: if found.is_dir() {
                "folder"
            } else if found.is_symlink() {
                "link"
            } else {
                "file"
            },
            owner: Accounts::of_this_machine().user(found.uid()),
            user: self.user,
            mode: found.mode() & 0o7777,
            fault,
        }
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

fn is_sticky(found: &Metadata) -> bool {
    found.is_dir() && found.mode() & 0o1000 != 0
}

#[cfg(target_os = "linux")]
fn has_access_list(path: &Path) -> bool {
    // An error means that the file has no list, or that the file system does not support them. ERANGE means a long
    // list.
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0; 4096][..])
        .map_or_else(|error| error == rustix::io::Errno::RANGE, |_| true)
}

/// Whether `path` may be on a file system that an ordinary user has mounted (FUSE).
#[cfg(target_os = "linux")]
fn is_mounted_by_a_user(path: &Path) -> bool {
    const FUSE: i128 = 0x6573_5546;
    // The field's type depends on the architecture.
    rustix::fs::statfs(path).is_ok_and(|found| i128::from(found.f_type) == FUSE)
}

#[cfg(not(target_os = "linux"))]
fn is_mounted_by_a_user(_: &Path) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn has_access_list(_: &Path) -> bool {
    false
}

fn unmapped_user() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    if map.split_ascii_whitespace().eq(["0", "0", "4294967295"]) {
        return None;
    }
    let number = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?;
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests;
