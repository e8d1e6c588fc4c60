//! The versions that are installed, and the digests of their archives.

use toml_edit::{DocumentMut, Item};

use crate::types::Platform;

/// The table for this release of rbake.
const TABLE: &str = include_str!("pins.toml");

/// The table of pins is not valid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidPins {
    /// It is not valid TOML.
    #[error("the table of pins is damaged")]
    Form(#[from] Box<toml_edit::TomlError>),
    /// A key is missing.
    #[error("the table of pins has no `{0}`")]
    Missing(&'static str),
}

/// The pinned versions, and the archives with their digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pins {
    /// BuildKit.
    pub(crate) buildkit: Buildkit,
    /// The version of runc, for a build with Go. (BuildKit's archive contains its own runc.)
    pub(crate) runc: Runc,
}

/// BuildKit's version and archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buildkit {
    /// The version, such as `v0.32.2`.
    pub(crate) version: String,
    /// The URL below which each version has a folder with its archives.
    pub(crate) base: String,
    /// The archives with a known digest.
    pub(crate) archives: Vec<Archive>,
}

/// runc's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runc {
    /// The version, such as `v1.3.4`.
    pub(crate) version: String,
}

/// An archive with a known digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    /// Its platform, such as `linux/amd64`.
    pub(crate) platform: String,
    /// The SHA-256 of the file, in lower-case hexadecimal digits.
    pub(crate) sha256: String,
}

impl Pins {
    /// The table that is compiled into this program.
    pub(crate) fn of_this_release() -> Result<Self, InvalidPins> {
        Self::parse(TABLE)
    }

    /// Parses a table in TOML.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPins> {
        let document: DocumentMut = text.parse().map_err(Box::new)?;
        let text = |table: &str, key: &'static str| {
            let value = document.get(table).and_then(|table| table.get(key));
            let text = value.and_then(Item::as_str).map(str::to_owned);
            text.ok_or(InvalidPins::Missing(key))
        };
        let archives = document
            .get("buildkit")
            .and_then(|buildkit| buildkit.get("archive"))
            .and_then(Item::as_array_of_tables);
        let archives = archives.into_iter().flatten().map(|archive| {
            let text = |key| {
                let text = archive.get(key).and_then(Item::as_str);
                text.map(str::to_owned).ok_or(InvalidPins::Missing(key))
            };
            Ok::<_, InvalidPins>(Archive {
                platform: text("platform")?,
                sha256: text("sha256")?,
            })
        });
        Ok(Self {
            buildkit: Buildkit {
                version: text("buildkit", "version")?,
                base: text("buildkit", "base")?,
                archives: archives.collect::<Result<_, _>>()?,
            },
            runc: Runc {
                version: text("runc", "version")?,
            },
        })
    }

    /// The pinned digest of BuildKit's archive for `platform`. `None` if there is none, and the archive must not be
    /// used then.
    pub(crate) fn archive(&self, platform: &Platform) -> Option<&str> {
        let platform = platform.to_string();
        let archives = self.buildkit.archives.iter();
        archives
            .filter(|archive| archive.sha256.len() == 64)
            .find(|archive| archive.platform == platform)
            .map(|archive| archive.sha256.as_str())
    }

    /// The file name of BuildKit's archive for `platform`, as BuildKit's releases name it.
    pub(crate) fn file_name(&self, platform: &Platform) -> String {
        let mut name = format!(
            "buildkit-{}.{}-{}",
            self.buildkit.version, platform.os, platform.architecture
        );
        if !platform.variant.is_empty() {
            name = format!("{name}-{}", platform.variant);
        }
        name + ".tar.gz"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_this_release_is_valid() {
        let pins = Pins::of_this_release().unwrap();
        assert!(pins.buildkit.version.starts_with('v'));
        assert!(pins.buildkit.base.starts_with("https://"));
        for archive in &pins.buildkit.archives {
            assert!(archive.platform.parse::<Platform>().is_ok(), "{archive:?}");
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            assert!(archive.sha256.bytes().all(is_hex) && archive.sha256.len() == 64);
        }
    }

    #[test]
    fn archives_are_found_by_platform() {
        let text = format!(
            "[buildkit]\nversion = \"v1.2.3\"\nbase = \"https://x\"\n[[buildkit.archive]]\nplatform = \"linux/arm/v7\"\nsha256 = \"{}\"\n[runc]\nversion = \"v1\"\n",
            "0".repeat(64)
        );
        let pins = Pins::parse(&text).unwrap();
        let arm = "linux/arm/v7".parse().unwrap();
        assert!(pins.archive(&arm).is_some());
        assert_eq!(pins.file_name(&arm), "buildkit-v1.2.3.linux-arm-v7.tar.gz");
        assert_eq!(pins.archive(&"linux/amd64".parse().unwrap()), None);
        assert!(Pins::parse("").is_err());
    }
}
