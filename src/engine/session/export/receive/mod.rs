//! The exchange in which the daemon sends a directory. It blocks; the caller moves packets between it and the
//! connection.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use rbake_proto::packet::{Packet, PacketType, Stat, Xattr};

use super::super::daemon_text::shortened;
use super::disk::{Destination, Dropped, LateFile, Pending, WriteError};
use super::limits::{LimitError, Listing};
use super::mirror::{OthersOutputs, SentEntries};
use super::order::{BadPath, EntryOrder};
use super::special::{self, SpecialPolicy};
use super::{DirectorySink, OtherFiles};
use crate::context::stat::mode;
use crate::outcome::SpecialFiles;
use crate::types::descriptors;

/// The most files that are received at the same time.
const OPEN_FILES: usize = 16;

const CHAR_DEVICE: u32 = mode::DEVICE | mode::CHAR_DEVICE;

/// Why a directory could not be received.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Path(#[from] BadPath),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error("`{path}` is refused: {reason} (`--export-special=keep` writes such files)")]
    Special { path: String, reason: &'static str },
    #[error("`{0}` is a hard link to a file that the builder has not sent")]
    UnknownLink(String),
    #[error("`{0}` has a file type that cannot be written")]
    UnknownKind(String),
    #[error("the builder sent content for file {0}, which was not requested")]
    Unasked(u32),
    #[error("the builder sent an unexpected message")]
    Protocol,
    #[error("the builder failed: {0}")]
    Daemon(String),
    #[error("the builder went away")]
    Gone,
}

/// The connection to the daemon.
pub(super) trait Wire {
    /// Waits for the next packet. `None` if the stream has ended.
    fn next(&mut self) -> Option<Packet>;

    /// Sends a packet. `false` if the daemon has closed the stream.
    fn send(&mut self, packet: Packet) -> bool;
}

/// The result of receiving a directory.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The number of content bytes received.
    pub(super) bytes: u64,
    /// The number of entries with special powers.
    pub(super) special: SpecialFiles,
    /// The number of entries that were deleted because the daemon has not sent them.
    pub(super) deleted: u64,
}

/// Receives a directory through `wire` and writes it to `sink`.
///
/// Each file replaces the old one when it is complete. Files in `sink` that the daemon does not send are kept or deleted, as
/// `sink` says. They are deleted when everything else has arrived, so that a transfer that fails deletes nothing.
pub(super) fn receive(sink: &DirectorySink, wire: &mut dyn Wire) -> Result<Received, ReceiveError> {
    let destination = Destination::open(&sink.path)?;
    let mut receiver = Receiver {
        destination,
        policy: sink.special,
        listing: Listing::default(),
        special: SpecialFiles::default(),
        dropped: Dropped::default(),
        order: EntryOrder::new(),
        next_id: 0,
        waiting: VecDeque::new(),
        open: HashMap::new(),
        files: HashSet::new(),
        directories: Vec::new(),
        links: Vec::new(),
        mirror: Mirror::of(&sink.others),
        bytes: 0,
        deleted: 0,
    };
    let mut listed = false;
    while !(listed && receiver.is_idle()) {
        let packet = wire.next().ok_or(ReceiveError::Gone)?;
        match (packet.r#type(), packet.stat) {
            (PacketType::PacketStat, Some(stat)) if !listed => receiver.entry(&stat)?,
            (PacketType::PacketStat, None) if !listed => listed = true,
            (PacketType::PacketData, _) => receiver.data(packet.id, &packet.data)?,
            (PacketType::PacketErr, _) => {
                return Err(ReceiveError::Daemon(shortened(&packet.data)));
            }
            _ => return Err(ReceiveError::Protocol),
        }
        receiver.ask(wire)?;
    }
    receiver.finish()?;
    let fin = || Packet {
        r#type: PacketType::PacketFin.into(),
        ..Packet::default()
    };
    if !wire.send(fin()) {
        return Err(ReceiveError::Gone);
    }
    match wire.next() {
        Some(packet) if packet.r#type() == PacketType::PacketFin => Ok(receiver.received()),
        Some(_) => Err(ReceiveError::Protocol),
        None => Err(ReceiveError::Gone),
    }
}

/// The state of the exchange.
struct Receiver {
    destination: Destination,
    policy: SpecialPolicy,
    listing: Listing,
    special: SpecialFiles,
    dropped: Dropped,
    order: EntryOrder,
    next_id: u32,
    /// Files that were listed, but not yet requested.
    waiting: VecDeque<(u32, Stat)>,
    open: HashMap<u32, Pending>,
    /// The paths that a hard link may refer to.
    files: HashSet<Bytes>,
    directories: Vec<Stat>,
    links: Vec<(Bytes, Bytes)>,
    /// `None` if other files are kept.
    mirror: Option<Mirror>,
    bytes: u64,
    deleted: u64,
}

/// What is needed to delete the files that are not sent.
#[derive(Default)]
struct Mirror {
    sent: SentEntries,
    others: OthersOutputs,
    /// Files in whose place there is a directory, which is deleted first.
    files: Vec<LateFile>,
    /// Links, pipes and devices in whose place there is a directory.
    nodes: Vec<Stat>,
}

impl Mirror {
    /// `None` if other files are kept.
    fn of(others: &OtherFiles) -> Option<Self> {
        let OtherFiles::Delete { except } = others else {
            return None;
        };
        Some(Self {
            others: OthersOutputs::of(except),
            ..Self::default()
        })
    }
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Copies the texts of `stat`. They are slices of the message that brought them, so a path that is kept would keep
/// the whole message in memory: up to 16 MiB, which no limit counts.
fn detached(stat: &Stat) -> Stat {
    let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let xattrs = stat.xattrs.iter().map(|xattr| Xattr {
        name: own(&xattr.name),
        value: own(&xattr.value),
    });
    Stat {
        path: own(&stat.path),
        linkname: own(&stat.linkname),
        xattrs: xattrs.collect(),
        ..*stat
    }
}

impl Receiver {
    /// Whether all files that were listed are complete.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open.is_empty()
    }

    /// Handles one entry of the list. Directories, links and nodes are created now, files when they are requested,
    /// and hard links at the end.
    fn entry(&mut self, stat: &Stat) -> Result<(), ReceiveError> {
        let id = self.next_id;
        self.next_id = id.checked_add(1).ok_or(ReceiveError::Protocol)?;
        self.listing.add(stat)?;
        let stat = detached(stat);
        let kind = stat.mode & mode::KIND;
        self.order.next(&stat.path, kind == mode::DIR)?;
        if let Some(mirror) = &mut self.mirror {
            mirror.sent.add(&stat.path, kind == mode::DIR);
        }
        let is_link = kind != mode::DIR && kind != mode::SYMLINK && !stat.linkname.is_empty();
        // A hard link was checked under the first name of its file.
        if !is_link
            && let Some(reason) = special::look(&stat, &mut self.special)
            && self.policy == SpecialPolicy::Deny
        {
            let path = text(&stat.path);
            return Err(ReceiveError::Special { path, reason });
        }
        match kind {
            mode::DIR => {
                self.destination.directory(&stat.path)?;
                self.directories.push(stat);
            }
            mode::SYMLINK => {
                if !self.puts_off(&stat)? {
                    self.destination.symlink(&stat, &mut self.dropped)?;
                }
            }
            _ if is_link => {
                // The content of the file may arrive later, so the link is made at the end.
                if !self.files.contains(&stat.linkname) {
                    return Err(ReceiveError::UnknownLink(text(&stat.path)));
                }
                self.links.push((stat.path, stat.linkname));
            }
            0 => {
                self.files.insert(stat.path.clone());
                self.waiting.push_back((id, stat));
            }
            mode::NAMED_PIPE | mode::DEVICE | CHAR_DEVICE => {
                if !self.puts_off(&stat)? {
                    self.destination.node(&stat, &mut self.dropped)?;
                }
                self.files.insert(stat.path);
            }
            _ => return Err(ReceiveError::UnknownKind(text(&stat.path))),
        }
        Ok(())
    }

    /// Whether a link or node is made at the end, because there is a directory in its place that is deleted first.
    fn puts_off(&mut self, stat: &Stat) -> Result<bool, ReceiveError> {
        let Some(mirror) = &mut self.mirror else {
            return Ok(false);
        };
        let is_late = self.destination.has_directory(&stat.path)?;
        if is_late {
            mirror.nodes.push(stat.clone());
        }
        Ok(is_late)
    }

    /// Requests more files, up to the limit of files that are open at the same time.
    fn ask(&mut self, wire: &mut dyn Wire) -> Result<(), ReceiveError> {
        while self.open.len() < OPEN_FILES
            && let Some((id, stat)) = self.waiting.pop_front()
        {
            let pending = match self.destination.file(&stat) {
                Ok(temporary) => Pending { temporary, stat },
                // No file descriptor is left. Files that are open now will be complete later and free theirs.
                Err(error) if error.is_exhaustion() && !self.open.is_empty() => {
                    self.waiting.push_front((id, stat));
                    break;
                }
                Err(error) if error.is_exhaustion() => {
                    let mut again = || self.destination.file(&stat).map_err(WriteError::into_io);
                    let temporary = descriptors::patiently(&mut again);
                    let temporary = temporary
                        .map_err(|source| self.destination.error("make", &stat.path, source))?;
                    Pending { temporary, stat }
                }
                Err(error) => return Err(error.into()),
            };
            self.open.insert(id, pending);
            let request = Packet {
                r#type: PacketType::PacketReq.into(),
                id,
                ..Packet::default()
            };
            if !wire.send(request) {
                return Err(ReceiveError::Gone);
            }
        }
        Ok(())
    }

    /// Handles content. Empty data marks the end of a file.
    fn data(&mut self, id: u32, data: &[u8]) -> Result<(), ReceiveError> {
        if data.is_empty() {
            let pending = self.open.remove(&id).ok_or(ReceiveError::Unasked(id))?;
            match &mut self.mirror {
                Some(mirror) if self.destination.has_directory(&pending.stat.path)? => {
                    let late = self.destination.put_off(pending, &mut self.dropped)?;
                    mirror.files.push(late);
                }
                _ => self.destination.finish_file(pending, &mut self.dropped)?,
            }
        } else {
            let pending = self.open.get(&id).ok_or(ReceiveError::Unasked(id))?;
            self.destination.write(pending, data)?;
            self.bytes += data.len() as u64;
        }
        Ok(())
    }

    /// Deletes other files, creates the hard links, then sets the modes and times of directories.
    fn finish(&mut self) -> Result<(), ReceiveError> {
        if let Some(mirror) = self.mirror.take() {
            self.deleted = self
                .destination
                .delete_others(&mirror.sent, &mirror.others)?;
            for late in mirror.files {
                self.destination.finish_late(late)?;
            }
            for stat in &mirror.nodes {
                if stat.mode & mode::KIND == mode::SYMLINK {
                    self.destination.symlink(stat, &mut self.dropped)?;
                } else {
                    self.destination.node(stat, &mut self.dropped)?;
                }
            }
        }
        for (path, first) in &self.links {
            self.destination.hard_link(path, first)?;
        }
        // Inner directories first: creating an entry changes the time of its directory, and a mode may make a
        // directory inaccessible.
        for stat in self.directories.iter().rev() {
            self.destination.finish_directory(stat, &mut self.dropped)?;
        }
        Ok(())
    }

    fn received(self) -> Received {
        let mut special = self.special;
        special.dropped = self.dropped.count;
        special.first_dropped = self.dropped.first;
        Received {
            bytes: self.bytes,
            special,
            deleted: self.deleted,
        }
    }
}

#[cfg(test)]
mod tests;
