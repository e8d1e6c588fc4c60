//! The differences between rbake and buildx that are intended. `docs/differences.md` describes each of them.

use super::case::{Case, Kind, Output};
use super::less_than_asked;
use super::oracle::Wanted;
use super::run::{Answer, ImageEntry};

/// A case, and the results of both programs.
pub(super) struct Seen<'a> {
    pub(super) case: &'a Case,
    pub(super) wanted: &'a Wanted,
    pub(super) ours: &'a Answer,
    pub(super) theirs: &'a Answer,
    pub(super) as_root: bool,
}

impl Seen<'_> {
    fn we_say(&self, text: &str) -> bool {
        self.ours.image.is_none() && self.ours.messages.contains(text)
    }

    fn they_say(&self, text: &str) -> bool {
        self.theirs.image.is_none() && self.theirs.messages.contains(text)
    }

    // rbake succeeds, and buildx does not find a source or leaves something out. If several sources write to one path, and
    // buildx leaves one of them out, the entry may come from another source.
    fn we_have_more(&self) -> bool {
        match (&self.ours.image, &self.theirs.image) {
            (Some(ours), Some(theirs)) => theirs.iter().all(|(path, entry)| {
                let writers = self.wanted.must.get(path).map_or(0, Vec::len);
                ours.get(path)
                    .is_some_and(|own| own == entry || writers > 1)
            }),
            (Some(_), None) => self.they_say("not found") || self.they_say("no such file"),
            (None, _) => false,
        }
    }

    fn only_we_build(&self) -> bool {
        self.ours.image.is_some() && self.theirs.image.is_none()
    }

    fn has_unreadable_source(&self) -> bool {
        !self.as_root
            && self
                .wanted
                .sources
                .iter()
                .any(|path| !self.case.is_readable(path))
    }
}

/// A reason for a difference.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) explains: fn(&Seen<'_>) -> bool,
}

/// The name of the difference that [`without_set_id_bits`] removes.
pub(super) const SET_ID_BITS: &str = "set-id bits are kept in directories";

/// Removes from `ours` the set-id bits that `theirs` does not have. `None` if there are none. buildx loses them by its `chown`
/// when it writes a directory as an ordinary user.
///
/// This changes nothing else, so that another difference in the same case still needs its own rule.
pub(super) fn without_set_id_bits(ours: &Answer, theirs: &Answer) -> Option<Answer> {
    let mut image = ours.image.clone()?;
    let others = theirs.image.as_ref()?;
    let mut found = false;
    for (path, entry) in &mut image {
        let kept = entry.mode & 0o6000;
        if kept != 0
            && others
                .get(path)
                .is_some_and(|other| other.mode & 0o6000 == 0)
        {
            entry.mode &= !kept;
            found = true;
        }
    }
    found.then(|| Answer {
        image: Some(image),
        code: ours.code,
        messages: ours.messages.clone(),
    })
}

/// All rules. The first one that explains a difference counts.
pub(super) const RULES: [Rule; 9] = [
    Rule {
        name: "an ignore file that cannot be used is an error",
        explains: |seen| {
            !seen.case.ignore.is_usable() && seen.we_say("the ignore file `ctx/.dockerignore`")
        },
    },
    Rule {
        name: "a file that cannot be read is an error, not an empty file",
        explains: |seen| seen.has_unreadable_source() && seen.we_say("cannot open `"),
    },
    Rule {
        name: "a directory from which nothing can be needed need not be readable",
        explains: |seen| {
            seen.only_we_build() && !seen.as_root && seen.they_say("permission denied")
        },
    },
    Rule {
        name: "a link is followed for every path that leads through it",
        explains: |seen| {
            let is_link = |path: &Vec<u8>| {
                let node = seen.case.tree.get(path);
                node.is_some_and(|node| matches!(node.kind, Kind::Link(_)))
            };
            seen.we_have_more() && seen.wanted.sources.iter().any(is_link)
        },
    },
    Rule {
        name: "what rbake cannot read is an error, and buildx leaves it out",
        explains: |seen| {
            let less = seen.theirs.image.is_some() && {
                less_than_asked(seen.wanted, seen.theirs).is_some()
            };
            less && seen.has_unreadable_source() && seen.we_say("Permission denied")
        },
    },
    Rule {
        // buildx matches the patterns in one way when it lists files, and in another way when it opens them.
        name: "each file that is listed is sent with its content",
        explains: |seen| {
            let (Some(ours), Some(theirs)) = (&seen.ours.image, &seen.theirs.image) else {
                return false;
            };
            let is_emptied = |(path, entry): (&Vec<u8>, &ImageEntry)| {
                let other = theirs.get(path);
                let emptied = ImageEntry {
                    content: Vec::new(),
                    ..entry.clone()
                };
                other == Some(entry) || other == Some(&emptied)
            };
            ours.len() == theirs.len() && ours.iter().all(is_emptied)
        },
    },
    Rule {
        name: "names that begin with `!` or a blank are taken literally",
        explains: |seen| {
            let odd = |source: &str| {
                source
                    .split('/')
                    .next()
                    .is_some_and(|name| name.starts_with(['!', ' ']))
                    || source.ends_with(' ')
            };
            seen.we_have_more() && seen.case.sources().any(odd)
        },
    },
    Rule {
        // This occurred in two of 2,000 cases, but not again when these were repeated.
        name: "a directory has its own attributes, not those of another",
        explains: |seen| {
            let (Some(ours), Some(theirs)) = (&seen.ours.image, &seen.theirs.image) else {
                return false;
            };
            ours.len() == theirs.len()
                && ours.iter().all(|(path, entry)| {
                    theirs.get(path).is_some_and(|other| {
                        other == entry
                            || (is_other_only_in_attributes(entry, other)
                                && has_its_own_attributes(seen.case, path, entry))
                    })
                })
        },
    },
    Rule {
        name: "directories whose names are not UTF-8 are written",
        explains: |seen| {
            let is_odd = |path: &Vec<u8>| std::str::from_utf8(path).is_err();
            seen.case.output == Output::Local
                && seen.only_we_build()
                && seen.they_say("error from receiver: readdir")
                && seen.wanted.must.keys().any(is_odd)
        },
    },
];

fn is_other_only_in_attributes(ours: &ImageEntry, theirs: &ImageEntry) -> bool {
    let aside = ImageEntry {
        attributes: theirs.attributes.clone(),
        ..ours.clone()
    };
    ours.kind == tar::EntryType::Directory && aside == *theirs
}

// Whether the entry has exactly the attributes of a directory of this name in the context.
fn has_its_own_attributes(case: &Case, path: &[u8], entry: &ImageEntry) -> bool {
    let name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
    case.tree.iter().any(|(other, node)| {
        matches!(node.kind, Kind::Dir)
            && name(other) == name(path)
            && node.attributes == entry.attributes
    })
}
