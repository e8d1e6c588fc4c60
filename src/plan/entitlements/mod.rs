//! Privileges: what the targets of a plan need, what the user has allowed, and what is missing.
//!
//! A definition may come from anywhere, so what reaches beyond the working directory or weakens isolation must be
//! allowed on the command line, by `--allow` or by naming the thing itself in `--set`. This is a gate on this machine
//! alone: the daemon is told what the targets declare. Start at [`missing`]; asking the user is for others.

mod message;
mod paths;
mod required;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub(crate) use message::Enforcement;
pub(crate) use required::missing;

use super::overrides::Grants;
use crate::definition::model::SharedText;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::files::{PathError, Resolved, Resolver};
use crate::golang::csv;

/// What the user allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a privilege that is given or not"
)]
pub(crate) struct Allowed {
    network_host: bool,
    security_insecure: bool,
    ssh: bool,
    local_delete: bool,
    devices: Devices,
    read: BTreeSet<SharedText>,
    write: BTreeSet<SharedText>,
}

/// What is needed and not allowed; nothing of it is empty exactly where the build may go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a privilege that is needed or not"
)]
pub(crate) struct Missing {
    /// The host's network in steps.
    pub(crate) network_host: bool,
    /// Privileged steps.
    pub(crate) security_insecure: bool,
    /// Devices of the host.
    pub(crate) devices: Devices,
    /// Deleting files in output directories.
    pub(crate) local_delete: bool,
    /// The user's SSH agent.
    pub(crate) ssh: bool,
    /// Paths to read, absolute and with symbolic links resolved, sorted.
    pub(crate) read: Vec<PathBuf>,
    /// Paths to write, likewise.
    pub(crate) write: Vec<PathBuf>,
}

/// Devices of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Devices {
    /// All of them.
    All,
    /// Those of these names.
    Named(BTreeSet<SharedText>),
}

impl Default for Devices {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

impl Devices {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Named(names) if names.is_empty())
    }

    fn add(&mut self, name: Option<&str>) {
        match (&mut *self, name) {
            (_, None) => *self = Self::All,
            (Self::Named(names), Some(name)) => drop(names.insert(name.into())),
            (Self::All, Some(_)) => {}
        }
    }

    fn covers(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Self::All, _) => true,
            (Self::Named(names), Some(name)) => names.contains(name),
            (Self::Named(_), None) => false,
        }
    }
}

// The name in `device=NAME,…`: the first field; none where the value is empty.
fn device_name(value: &str) -> Result<Option<SharedText>, csv::CsvError> {
    if value.is_empty() {
        return Ok(None);
    }
    let fields = csv::fields(value)?;
    Ok(fields.first().map(|name| SharedText::from(&**name)))
}

impl Missing {
    /// Whether nothing is missing.
    pub(crate) fn is_empty(&self) -> bool {
        !self.needs_more_than_files() && !self.ssh && self.read.is_empty() && self.write.is_empty()
    }

    /// Whether something is missing that an environment variable can waive.
    pub(crate) fn needs_files(&self) -> bool {
        self.ssh || !self.read.is_empty() || !self.write.is_empty()
    }

    /// Whether something is missing that no environment variable can waive.
    pub(crate) fn needs_more_than_files(&self) -> bool {
        self.network_host || self.security_insecure || self.local_delete || !self.devices.is_empty()
    }
}

impl Allowed {
    /// Reads the values of `--allow`, reporting all that are wrong.
    pub(crate) fn parse(values: &[String]) -> Result<Self, Diagnostics> {
        let mut allowed = Self::default();
        let mut problems = Diagnostics::default();
        for value in values {
            if let Err(problem) = allowed.add(value) {
                problems.push(problem);
            }
        }
        problems.into_result(allowed)
    }

    fn add(&mut self, text: &str) -> Result<(), Diagnostic> {
        const KEYS: &[&str] = &[
            "network.host",
            "security.insecure",
            "ssh",
            "buildx.local.delete",
            "device",
            "fs",
            "fs.read",
            "fs.write",
            "image",
            "image.push",
            "image.load",
        ];
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        let path = || SharedText::from(value.unwrap_or_default());
        match (key, value) {
            ("network.host", None) => self.network_host = true,
            ("security.insecure", None) => self.security_insecure = true,
            ("ssh", None) => self.ssh = true,
            ("buildx.local.delete", None) => self.local_delete = true,
            ("network.host" | "security.insecure" | "ssh" | "buildx.local.delete", Some(_)) => {
                return Err(invalid(text, &format!("`{key}` takes no value")));
            }
            ("device", value) => {
                let name = device_name(value.unwrap_or_default())
                    .map_err(|error| invalid(text, &error.to_string()))?;
                self.devices.add(name.as_deref());
            }
            ("fs", _) => {
                self.read.insert(path());
                self.write.insert(path());
            }
            ("fs.read", _) => drop(self.read.insert(path())),
            ("fs.write", _) => drop(self.write.insert(path())),
            // Images may be pushed and loaded without asking, as in buildx.
            ("image" | "image.push" | "image.load", _) => {}
            _ => {
                return Err(
                    invalid(text, &format!("there is no privilege `{key}`")).similar(
                        "a privilege",
                        key,
                        KEYS.iter().copied(),
                    ),
                );
            }
        }
        Ok(())
    }

    /// Whether a file may be written at `place`: in the working directory, or where the user allows it.
    pub(crate) fn may_write(&self, place: &Resolved, paths: &Resolver) -> Result<bool, PathError> {
        let covered = paths::Covered::by(&self.write, paths)?;
        Ok(covered.is_none_or(|covered| covered.covers(place)))
    }

    /// Also allows what overrides on the command line allow by themselves.
    #[must_use]
    pub(crate) fn with_grants(mut self, grants: &Grants) -> Self {
        self.network_host |= grants.network_host;
        self.security_insecure |= grants.security_insecure;
        self.read.extend(grants.read.iter().cloned());
        self.write.extend(grants.write.iter().cloned());
        self
    }
}

fn invalid(text: &str, reason: &str) -> Diagnostic {
    Diagnostic::error(
        Class::Usage,
        "plan::invalid-entitlement",
        format!("`--allow {text}`: {reason}"),
    )
    .help("the privileges are `network.host`, `security.insecure`, `device`, `ssh`, `fs`, `fs.read` and `fs.write`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(values: &[&str]) -> Result<Allowed, Diagnostics> {
        Allowed::parse(&values.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn values_are_read() {
        let all = allowed(&[
            "network.host",
            "fs=/a",
            "fs.read=/b",
            "device=x",
            "image.push=y",
        ]);
        let all = all.unwrap();
        assert!(all.network_host && !all.ssh);
        assert_eq!((all.read.len(), all.write.len()), (2, 1));
        assert!(all.devices.covers(Some("x")) && !all.devices.covers(None));
        let all = allowed(&["device", "device=x"]).unwrap();
        assert!(all.devices.covers(Some("y")) && all.devices.covers(None));
    }

    #[test]
    fn wrong_values_are_all_reported() {
        let problems = allowed(&["foo", "buildx.local.delete=true", "network.hst"]).unwrap_err();
        assert_eq!(problems.0.len(), 3);
        assert!(problems.0[2].help[0].contains("network.host"));
    }
}
