//! Entitlements (privileges): what the targets of a plan need, what the user has allowed, and what is missing.
//!
//! A definition may come from an untrusted place. So access outside the working directory, and anything that
//! weakens isolation, must be allowed on the command line: with `--allow`, or by naming the path or privilege in
//! `--set`. This only protects the local machine; the daemon still receives the entitlements that the targets
//! declare. Start at [`missing`]. Asking the user is done elsewhere.

mod deletions;
mod message;
mod paths;
mod required;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub(crate) use deletions::refused_deletions;
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
    reason = "each is a separate privilege that is allowed or not"
)]
pub(crate) struct Allowed {
    network_host: bool,
    security_insecure: bool,
    ssh: bool,
    local_delete: bool,
    /// Whether the command of a gate may run that `rbake.toml` has. buildx does not know this privilege.
    gate_command: bool,
    devices: Devices,
    read: BTreeSet<SharedText>,
    write: BTreeSet<SharedText>,
}

/// What the plan needs but the user has not allowed. Empty if the build may continue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a separate privilege that is needed or not"
)]
pub(crate) struct Missing {
    /// Access to the host's network in build steps.
    pub(crate) network_host: bool,
    /// Privileged build steps.
    pub(crate) security_insecure: bool,
    /// Access to devices of the host.
    pub(crate) devices: Devices,
    /// Deletion of files in output directories.
    pub(crate) local_delete: bool,
    /// Access to the user's SSH agent.
    pub(crate) ssh: bool,
    /// Paths to read: absolute, with symbolic links resolved, sorted.
    pub(crate) read: Vec<PathBuf>,
    /// Paths to write: absolute, with symbolic links resolved, sorted.
    pub(crate) write: Vec<PathBuf>,
}

/// A set of devices of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Devices {
    /// All devices.
    All,
    /// The devices with these names.
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

    /// Adds the device `name`. `None` means all devices.
    fn add(&mut self, name: Option<&str>) {
        match (&mut *self, name) {
            (_, None) => *self = Self::All,
            (Self::Named(names), Some(name)) => drop(names.insert(name.into())),
            (Self::All, Some(_)) => {}
        }
    }

    /// Whether access to the device `name` is allowed. `None` means all devices.
    fn covers(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Self::All, _) => true,
            (Self::Named(names), Some(name)) => names.contains(name),
            (Self::Named(_), None) => false,
        }
    }
}

/// The name in the value of `device=NAME,…`, which is the first field. `None` if the value is empty, which means
/// all devices.
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

    /// Whether access to files or to the SSH agent is missing. `BUILDX_BAKE_ENTITLEMENTS_FS=0` waives that.
    pub(crate) fn needs_files(&self) -> bool {
        self.ssh || !self.read.is_empty() || !self.write.is_empty()
    }

    /// Whether something is missing that no environment variable can waive.
    pub(crate) fn needs_more_than_files(&self) -> bool {
        self.network_host || self.security_insecure || self.local_delete || !self.devices.is_empty()
    }
}

impl Allowed {
    /// Parses the values of `--allow`. Reports all invalid values.
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
            "gate.run",
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
            ("gate.run", None) => self.gate_command = true,
            (
                "network.host" | "security.insecure" | "ssh" | "buildx.local.delete" | "gate.run",
                Some(_),
            ) => {
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
            // As in buildx, images may be pushed and loaded without permission, so these names have no effect.
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

    /// Whether the command of a gate may run that is not on the command line.
    pub(crate) fn gate_command(&self) -> bool {
        self.gate_command
    }

    /// Whether a file may be written at `place`: it is in the working directory, or the user allows it.
    pub(crate) fn may_write(&self, place: &Resolved, paths: &Resolver) -> Result<bool, PathError> {
        let covered = paths::Covered::by(&self.write, paths)?;
        Ok(covered.is_none_or(|covered| covered.covers(place)))
    }

    /// Adds what overrides on the command line allow implicitly.
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
    .help("the privileges are `network.host`, `security.insecure`, `device`, `ssh`, `fs`, `fs.read`, `fs.write` and `gate.run`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(values: &[&str]) -> Result<Allowed, Diagnostics> {
        Allowed::parse(&values.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn values_of_allow_are_parsed() {
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
