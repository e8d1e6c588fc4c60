//! The parts of the message about missing entitlements. The caller puts them together.

use std::path::Path;

use super::paths::from_dir;
use super::{Devices, Missing};
use crate::diag::{Class, Diagnostic};
use crate::golang::{csv, strconv};
use crate::types::{Environment, terminal};

/// How strictly missing entitlements are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Enforcement {
    /// Whether missing access to paths and to the SSH agent ends the build.
    pub(crate) files: bool,
    /// Whether the user has set that in the environment. If false, it is the default.
    pub(crate) chosen: bool,
}

impl Enforcement {
    /// Reads `BUILDX_BAKE_ENTITLEMENTS_FS`, and for remote definitions `BAKE_ALLOW_REMOTE_FS_ACCESS`. Fails if a
    /// value is not a boolean.
    pub(crate) fn from_environment(
        environment: &Environment,
        remote: bool,
    ) -> Result<Self, Diagnostic> {
        let read = |name: &str| match environment.get(name) {
            None => Ok(None),
            Some(value) => strconv::parse_bool(value).map(Some).ok_or_else(|| {
                Diagnostic::error(
                    Class::Usage,
                    "plan::environment",
                    format!("`{value}` in the environment variable `{name}` is not a boolean"),
                )
            }),
        };
        let mut files = true;
        if remote && read("BAKE_ALLOW_REMOTE_FS_ACCESS")? == Some(true) {
            files = false;
        }
        let chosen = read("BUILDX_BAKE_ENTITLEMENTS_FS")?;
        Ok(Self {
            files: chosen.unwrap_or(files),
            chosen: chosen.is_some(),
        })
    }

    /// Whether the build must not continue.
    pub(crate) fn refuses(self, missing: &Missing) -> bool {
        missing.needs_more_than_files() || (self.files && !missing.is_empty())
    }
}

impl Missing {
    /// What is needed, one line each, in buildx's words. Control characters in names from the definition are made
    /// visible, so that a hostile name cannot break or repaint the question.
    pub(crate) fn reasons(&self, dir: &Path) -> Vec<String> {
        self.lines(dir)
            .into_iter()
            .map(|(reason, _)| terminal::visible(&reason).into_owned())
            .collect()
    }

    /// The flags that would allow it, in the same order as the reasons.
    pub(crate) fn flags(&self, dir: &Path) -> Vec<String> {
        let lines = self.lines(dir).into_iter();
        lines.map(|(_, flag)| format!("--allow={flag}")).collect()
    }

    /// The same flags as one text, quoted for a shell.
    pub(crate) fn typed_flags(&self, dir: &Path) -> String {
        typed(&self.flags(dir))
    }

    /// The command line that would allow everything: `program`, the missing flags, then `words`. Quoted for a shell.
    pub(crate) fn command_with_flags(
        &self,
        program: &[String],
        words: &[String],
        dir: &Path,
    ) -> String {
        let flags = self.flags(dir);
        typed(program.iter().chain(&flags).chain(words))
    }

    /// The reasons, each with the value of `--allow` that permits it.
    fn lines(&self, dir: &Path) -> Vec<(String, String)> {
        let mut lines: Vec<(String, String)> = Vec::new();
        let mut add = |reason: String, flag: String| lines.push((reason, flag));
        if self.network_host {
            let reason = "Running build containers that can access host network";
            add(reason.into(), "network.host".into());
        }
        if self.security_insecure {
            let reason = "Running privileged containers that can make system changes";
            add(reason.into(), "security.insecure".into());
        }
        match &self.devices {
            Devices::All => add("Access to CDI devices".into(), "device".into()),
            Devices::Named(names) => {
                for name in names {
                    add(
                        format!("Access to device {name}"),
                        format!("device={}", csv::field(name)),
                    );
                }
            }
        }
        if self.local_delete {
            let reason = "Deleting stale files from local output destinations";
            add(reason.into(), "buildx.local.delete".into());
        }
        if self.ssh {
            let reason = "Forwarding default SSH agent socket";
            add(reason.into(), "ssh".into());
        }
        // The paths have their symbolic links resolved, so resolve those of the working directory as well.
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let shown = |path: &Path| from_dir(&dir, path).display().to_string();
        let both = |path: &&std::path::PathBuf| self.read.binary_search(path).is_ok();
        for path in self.write.iter().filter(both) {
            let path = shown(path);
            add(
                format!("Read and write access to path {path}"),
                format!("fs={path}"),
            );
        }
        for path in &self.read {
            if self.write.binary_search(path).is_err() {
                let path = shown(path);
                add(
                    format!("Read access to path {path}"),
                    format!("fs.read={path}"),
                );
            }
        }
        for path in self.write.iter().filter(|path| !both(path)) {
            let path = shown(path);
            add(
                format!("Write access to path {path}"),
                format!("fs.write={path}"),
            );
        }
        lines
    }
}

fn typed<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let words = words.into_iter().map(|word| terminal::shell_word(word));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::Allowed;
    use super::*;
    use std::path::PathBuf;

    fn missing() -> Missing {
        Missing {
            network_host: true,
            devices: Devices::Named(["x".into()].into()),
            ssh: true,
            read: vec![PathBuf::from("/a/r"), PathBuf::from("/b/both")],
            write: vec![PathBuf::from("/b/both"), PathBuf::from("/w x")],
            ..Missing::default()
        }
    }

    #[test]
    fn every_reason_has_a_flag() {
        let dir = Path::new("/nowhere/here");
        assert_eq!(
            missing().reasons(dir),
            [
                "Running build containers that can access host network",
                "Access to device x",
                "Forwarding default SSH agent socket",
                "Read and write access to path /b/both",
                "Read access to path /a/r",
                "Write access to path /w x",
            ]
        );
        assert_eq!(missing().flags(dir).len(), 6);
        let program = ["rbake".to_owned()];
        let words = ["web", "--set", "a.args.B=c d"].map(str::to_owned);
        assert_eq!(
            missing().command_with_flags(&program, &words, dir),
            "rbake --allow=network.host --allow=device=x --allow=ssh --allow=fs=/b/both \
             --allow=fs.read=/a/r '--allow=fs.write=/w x' web --set 'a.args.B=c d'"
        );
    }

    #[test]
    fn control_characters_in_names_cannot_change_the_question() {
        let hostile = "gpu\u{1b}[2J\r - nothing\n\u{202e}$(id) `id` '";
        let missing = Missing {
            devices: Devices::Named([hostile.into()].into()),
            ..Missing::default()
        };
        let dir = Path::new("/nowhere");
        let told = format!(
            "{}{}{}",
            missing.reasons(dir).concat(),
            missing.typed_flags(dir),
            missing.command_with_flags(&["rbake".into()], &["a\u{9b}b".into()], dir)
        );
        assert!(!told.contains(terminal::is_unsafe), "{told:?}");
        assert_eq!(missing.reasons(dir).len(), 1);
        let values = missing.flags(dir);
        let values = values.iter().map(|flag| flag.replacen("--allow=", "", 1));
        let allowed = Allowed::parse(&values.collect::<Vec<_>>()).unwrap();
        assert!(allowed.devices.covers(Some(hostile)));
    }

    #[test]
    fn checks_of_files_can_be_turned_off_and_others_cannot() {
        let of = |variables: &[(&str, &str)], remote| {
            let variables = variables.iter().map(|(k, v)| ((*k).into(), (*v).into()));
            Enforcement::from_environment(&Environment::new(variables, "/".into()), remote)
        };
        let files_only = Missing {
            ssh: true,
            ..Missing::default()
        };
        let default = of(&[], false).unwrap();
        assert!(default.refuses(&files_only) && !default.refuses(&Missing::default()));
        let waived = of(&[("BUILDX_BAKE_ENTITLEMENTS_FS", "0")], false).unwrap();
        assert!(!waived.refuses(&files_only) && waived.refuses(&missing()));
        let remote = [("BAKE_ALLOW_REMOTE_FS_ACCESS", "1")];
        assert!(!of(&remote, true).unwrap().files && of(&remote, false).unwrap().files);
        assert!(of(&[("BUILDX_BAKE_ENTITLEMENTS_FS", "maybe")], false).is_err());
    }
}
