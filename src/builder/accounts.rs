//! Names of users and groups by their numbers, from `/etc/passwd` and `/etc/group`.
//!
//! Messages need the names, and the check of a file's owner and group needs the members.
//!
//! Accounts of a directory service (LDAP, for example) are not in these files. A group that is not in them counts
//! as one with unknown members, which is the safe assumption.

use std::path::Path;

use super::files;

/// The texts of `/etc/passwd` and `/etc/group`.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads the files of this machine. A file that cannot be read counts as empty.
    pub(super) fn of_this_machine() -> Self {
        let text = |path| {
            files::read_text(Path::new(path), files::LIMIT)
                .ok()
                .flatten()
                .unwrap_or_default()
        };
        Self {
            passwd: text("/etc/passwd"),
            group: text("/etc/group"),
        }
    }

    /// Accounts for tests.
    #[cfg(test)]
    pub(super) fn of_texts(passwd: &str) -> Self {
        Self {
            passwd: passwd.to_owned(),
            group: String::new(),
        }
    }

    /// Returns a user as messages name it: `alice (uid 1000)`, or `uid 1000` if the file has no such account.
    pub(super) fn user(&self, uid: u32) -> String {
        match self.users().find(|user| user.uid == uid) {
            Some(user) => format!("{} (uid {uid})", user.name),
            None => format!("uid {uid}"),
        }
    }

    /// Returns a group as messages name it: `ci (gid 1001)`, or `gid 1001` if the file has no such group.
    pub(super) fn group(&self, gid: u32) -> String {
        match self.groups().find(|(_, number, _)| *number == gid) {
            Some((name, ..)) => format!("{name} (gid {gid})"),
            None => format!("gid {gid}"),
        }
    }

    /// Whether the group `gid` has no members except root and the user `uid`. `false` if the group is not in the
    /// file.
    ///
    /// Many systems give each user a group with the same name and make all new files of the user writable for that
    /// group. Such a group does not let anybody else in.
    pub(super) fn is_group_of_only(&self, gid: u32, uid: u32) -> bool {
        let is_trusted = |number: u32| number == 0 || number == uid;
        let mut groups = self
            .groups()
            .filter(|(_, number, _)| *number == gid)
            .peekable();
        let is_known = groups.peek().is_some();
        let members_are_trusted = groups
            .flat_map(|(.., members)| members.split(',').map(str::trim))
            .filter(|name| !name.is_empty())
            .all(|name| {
                let mut known = self.users().filter(|user| user.name == name).peekable();
                known.peek().is_some() && known.all(|user| is_trusted(user.uid))
            });
        let is_nobody_elses_first = self
            .users()
            .filter(|user| user.gid == gid)
            .all(|user| is_trusted(user.uid));
        is_known && members_are_trusted && is_nobody_elses_first
    }

    /// The home of the user `uid`. `None` if the file has no such account.
    pub(super) fn home(&self, uid: u32) -> Option<&str> {
        self.passwd.lines().find_map(|line| {
            let mut fields = line.split(':').skip(2);
            let is_theirs = fields.next()?.parse() == Ok(uid);
            fields.nth(2).filter(|_| is_theirs)
        })
    }

    fn users(&self) -> impl Iterator<Item = User<'_>> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            Some(User {
                name: fields.next()?,
                uid: fields.nth(1)?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
            })
        })
    }

    /// Each group's name, number, and members (user names, separated by commas).
    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let number = fields.nth(1)?.parse().ok()?;
            Some((name, number, fields.next().unwrap_or_default()))
        })
    }
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:100::/:/bin/sh\n+:::::\n"
                .into(),
            group: "root:x:0:\nalice:x:1000:\nusers:x:100:\nci:x:7:alice,bob\nours:x:8:root,alice\nghost:x:9:gone\n".into(),
        }
    }

    #[test]
    fn known_users_and_groups_are_shown_by_name() {
        assert_eq!(accounts().user(1000), "alice (uid 1000)");
        assert_eq!(accounts().user(5), "uid 5");
        assert_eq!(accounts().group(7), "ci (gid 7)");
        assert_eq!(accounts().group(5), "gid 5");
    }

    #[test]
    fn homes_are_found_by_the_number_of_the_user() {
        assert_eq!(accounts().home(1000), Some("/home/alice"));
        assert_eq!(accounts().home(5), None);
    }

    #[test_case(1000, true; "a group of her own")]
    #[test_case(8, true; "root beside her")]
    #[test_case(7, false; "another member")]
    #[test_case(100, false; "the first group of another user")]
    #[test_case(9, false; "a member nobody knows")]
    #[test_case(12, false; "a group nobody knows")]
    fn a_group_without_other_members_is_recognised(gid: u32, is_hers: bool) {
        assert_eq!(accounts().is_group_of_only(gid, 1000), is_hers);
    }
}
