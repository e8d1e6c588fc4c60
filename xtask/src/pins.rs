//! `cargo xtask pins`: the digests of BuildKit's release archives, for `rbake builder install`.
//!
//! Downloads the archive of each platform with `curl`, computes its digest, and rewrites the table. The table is written
//! only if all archives were downloaded, so that it never mixes two versions.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the table is, below the checkout's root.
const TABLE: &str = "src/builder/install/pins.toml";

/// The platforms the embedded builder can run on, and their names in archives.
const PLATFORMS: [(&str, &str); 6] = [
    ("linux/amd64", "linux-amd64"),
    ("linux/arm64", "linux-arm64"),
    ("linux/arm/v7", "linux-arm-v7"),
    ("linux/ppc64le", "linux-ppc64le"),
    ("linux/riscv64", "linux-riscv64"),
    ("linux/s390x", "linux-s390x"),
];

/// Fills in the table of pins.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The version of BuildKit; without it, the one in the table
    #[arg(long)]
    buildkit: Option<String>,
    /// Where to download the releases, such as a mirror; the table keeps the official address
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot {act} `{}`", path.display())]
    File {
        act: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the table has no `{0}`")]
    Table(&'static str),
    #[error("`{0}` is not a version (expected a form such as v0.32.2)")]
    Version(String),
    #[error("cannot run `{0}`")]
    Run(&'static str, #[source] std::io::Error),
    #[error("cannot download `{url}`: {said}")]
    Download { url: String, said: String },
    #[error("`sha256sum` printed no digest of `{0}`")]
    Digest(String),
}

pub(crate) fn run(args: &Args, root: &Path) -> Result<(), Error> {
    let path = root.join(TABLE);
    let file = |act, source| Error::File {
        act,
        path: path.clone(),
        source,
    };
    let text = std::fs::read_to_string(&path).map_err(|error| file("read", error))?;
    let text = updated(&text, args)?;
    let new = path.with_extension("toml.new");
    std::fs::write(&new, text).map_err(|error| file("write", error))?;
    std::fs::rename(&new, &path).map_err(|error| file("replace", error))
}

// The table with the archives of the wanted version.
fn updated(table: &str, args: &Args) -> Result<String, Error> {
    let base = value(table, "buildkit", "base").ok_or(Error::Table("base"))?;
    let runc = value(table, "runc", "version").ok_or(Error::Table("runc"))?;
    let version = match &args.buildkit {
        Some(version) => version.clone(),
        None => value(table, "buildkit", "version").ok_or(Error::Table("version"))?,
    };
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if !version.starts_with('v') || !version.chars().all(is_legal) {
        return Err(Error::Version(version));
    }
    let from = args.from.as_deref().unwrap_or(&base).trim_end_matches('/');
    let comments: Vec<&str> = table
        .lines()
        .take_while(|line| line.starts_with('#'))
        .collect();
    let comments = comments.join("\n");
    let mut text = format!(
        "{comments}\n\n[buildkit]\nversion = \"{version}\"\nbase = \"{base}\"\n\n[runc]\nversion = \"{runc}\"\n"
    );
    for (platform, name) in PLATFORMS {
        let url = format!("{from}/{version}/buildkit-{version}.{name}.tar.gz");
        let digest = digest_of(&url)?;
        let _ = write!(
            text,
            "\n[[buildkit.archive]]\nplatform = \"{platform}\"\nsha256 = \"{digest}\"\n"
        );
    }
    Ok(text)
}

// `key = "value"` of the table `[name]`.
fn value(table: &str, name: &str, key: &str) -> Option<String> {
    let mut is_there = false;
    for line in table.lines().map(str::trim) {
        if line.starts_with('[') {
            is_there = line == format!("[{name}]");
        } else if is_there
            && let Some((found, value)) = line.split_once('=')
            && found.trim() == key
        {
            return Some(value.trim().trim_matches('"').to_owned());
        }
    }
    None
}

fn digest_of(url: &str) -> Result<String, Error> {
    let file = tempfile::NamedTempFile::new().map_err(|source| Error::File {
        act: "make",
        path: std::env::temp_dir(),
        source,
    })?;
    let fetched = Command::new("curl")
        .args([
            "--fail",
            "--silent",
            "--show-error",
            "--location",
            "--retry",
            "3",
            "--output",
        ])
        .arg(file.path())
        .arg(url)
        .output()
        .map_err(|error| Error::Run("curl", error))?;
    if !fetched.status.success() {
        return Err(Error::Download {
            url: url.to_owned(),
            said: String::from_utf8_lossy(&fetched.stderr).trim().to_owned(),
        });
    }
    let summed = Command::new("sha256sum")
        .arg(file.path())
        .output()
        .map_err(|error| Error::Run("sha256sum", error))?;
    let told = String::from_utf8_lossy(&summed.stdout);
    let digest = told.split_whitespace().next().unwrap_or_default();
    if digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(digest.to_owned())
    } else {
        Err(Error::Digest(url.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# words\n\n[buildkit]\nversion = \"v1.0.0\"\nbase = \"https://x/download\"\n\n[runc]\nversion = \"v9\"\n";

    fn releases(platforms: &[(&str, &str)]) -> (tempfile::TempDir, Args) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("v2.0.0")).unwrap();
        for (_, name) in platforms {
            let file = format!("v2.0.0/buildkit-v2.0.0.{name}.tar.gz");
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let args = Args {
            buildkit: Some("v2.0.0".to_owned()),
            from: Some(format!("file://{}", dir.path().display())),
        };
        (dir, args)
    }

    #[test]
    fn all_archives_are_pinned_and_the_rest_stays() {
        let (_dir, args) = releases(&PLATFORMS);
        let text = updated(BEFORE, &args).unwrap();
        assert!(text.starts_with(
            "# words\n\n[buildkit]\nversion = \"v2.0.0\"\nbase = \"https://x/download\"\n"
        ));
        let empty = "sha256 = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"";
        assert_eq!(text.matches(empty).count(), PLATFORMS.len());
        assert_eq!(updated(&text, &args).unwrap(), text);
    }

    #[test]
    fn a_missing_archive_leaves_the_table_unchanged() {
        let (_dir, args) = releases(&PLATFORMS[1..]);
        let error = updated(BEFORE, &args).unwrap_err().to_string();
        assert!(
            error.contains("buildkit-v2.0.0.linux-amd64.tar.gz"),
            "{error}"
        );
    }

    #[test]
    fn invalid_versions_are_refused() {
        for buildkit in ["0.32.2", "v1/../../x"] {
            let args = Args {
                buildkit: Some(buildkit.to_owned()),
                from: None,
            };
            assert!(matches!(updated(BEFORE, &args), Err(Error::Version(_))));
        }
    }
}
