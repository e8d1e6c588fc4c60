//! The conversation in which the daemon sends a directory. Blocking; the caller moves packets.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use rbake_proto::packet::{Packet, PacketType, Stat, Xattr};

use super::super::daemon_text::shortened;
use super::DirectorySink;
use super::disk::{Destination, Dropped, Pending, WriteError};
use super::limits::{LimitError, Listing};
use super::order::{BadPath, EntryOrder};
use super::special::{self, SpecialPolicy};
use crate::context::stat::mode;
use crate::outcome::SpecialFiles;
use crate::types::descriptors;

/// Files that are received at the same time.
const OPEN_FILES: usize = 16;

const CHAR_DEVICE: u32 = mode::DEVICE | mode::CHAR_DEVICE;

/// Why a directory did not arrive.
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
    #[error("`{0}` is another name of a file that has not come")]
    UnknownLink(String),
    #[error("`{0}` is of a kind that cannot be written")]
    UnknownKind(String),
    #[error("content came for file {0}, which was not asked for")]
    Unasked(u32),
    #[error("the builder sent what it may not send")]
    Protocol,
    #[error("the builder failed: {0}")]
    Daemon(String),
    #[error("the builder went away")]
    Gone,
}

/// The other side of the conversation.
pub(super) trait Wire {
    /// The next packet; `None` when there will be no more.
    fn next(&mut self) -> Option<Packet>;

    /// Sends a packet; `false` where nobody listens any more.
    fn send(&mut self, packet: Packet) -> bool;
}

/// A directory that has arrived.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Bytes of content that came.
    pub(super) bytes: u64,
    /// Entries with powers beyond their content.
    pub(super) special: SpecialFiles,
}

/// Writes what comes over `wire` to `sink`, keeping what is there.
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
        bytes: 0,
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

struct Receiver {
    destination: Destination,
    policy: SpecialPolicy,
    listing: Listing,
    special: SpecialFiles,
    dropped: Dropped,
    order: EntryOrder,
    next_id: u32,
    // Files that have been listed and not been asked for.
    waiting: VecDeque<(u32, Stat)>,
    open: HashMap<u32, Pending>,
    // Paths that a hard link may name.
    files: HashSet<Bytes>,
    directories: Vec<Stat>,
    links: Vec<(Bytes, Bytes)>,
    bytes: u64,
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

// The same in memory of its own. What comes is a part of the message that brought it: each path that is kept would keep up to
// 16 MiB, whatever was counted.
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
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open.is_empty()
    }

    fn entry(&mut self, stat: &Stat) -> Result<(), ReceiveError> {
        let id = self.next_id;
        self.next_id = id.checked_add(1).ok_or(ReceiveError::Protocol)?;
        self.listing.add(stat)?;
        let stat = detached(stat);
        let kind = stat.mode & mode::KIND;
        self.order.next(&stat.path, kind == mode::DIR)?;
        let is_link = kind != mode::DIR && kind != mode::SYMLINK && !stat.linkname.is_empty();
        // Another name of a file was looked at under its first.
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
            mode::SYMLINK => self.destination.symlink(&stat, &mut self.dropped)?,
            _ if is_link => {
                // It may name a file whose content is still to come, so it is made at the end.
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
                self.destination.node(&stat, &mut self.dropped)?;
                self.files.insert(stat.path);
            }
            _ => return Err(ReceiveError::UnknownKind(text(&stat.path))),
        }
        Ok(())
    }

    // Asks for more, as long as few enough are under way.
    fn ask(&mut self, wire: &mut dyn Wire) -> Result<(), ReceiveError> {
        while self.open.len() < OPEN_FILES
            && let Some((id, stat)) = self.waiting.pop_front()
        {
            let pending = match self.destination.file(&stat) {
                Ok(temporary) => Pending { temporary, stat },
                // Those that are open will be complete, and give back theirs.
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

    fn data(&mut self, id: u32, data: &[u8]) -> Result<(), ReceiveError> {
        if data.is_empty() {
            let pending = self.open.remove(&id).ok_or(ReceiveError::Unasked(id))?;
            self.destination.finish_file(pending, &mut self.dropped)?;
        } else {
            let pending = self.open.get(&id).ok_or(ReceiveError::Unasked(id))?;
            self.destination.write(pending, data)?;
            self.bytes += data.len() as u64;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReceiveError> {
        for (path, first) in &self.links {
            self.destination.hard_link(path, first)?;
        }
        // From the inside out: a time changes when something inside does, and a mode may close a directory.
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
        }
    }
}

#[cfg(test)]
mod tests;
