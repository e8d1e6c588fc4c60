//! The files and folders that a configuration of buildkitd names: certificates that it trusts, keys that it
//! presents, programs that it runs, and settings for networks and devices.
//!
//! Who can change one of them can control buildkitd, as with the configuration itself. So nobody else may have that
//! right.

use std::path::PathBuf;

use toml_edit::{DocumentMut, Item, TableLike};

use super::super::trust::{self, TrustError};

/// A file or folder that a configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedFile {
    /// The key that names it, with its parents.
    pub(super) key: String,
    /// Its path, always absolute.
    pub(super) path: PathBuf,
}

/// Keys below `worker.oci` and `worker.containerd` that name files. Not `binary`: it can also be a name to look up
/// in `PATH`, and is checked in that lookup.
const WORKER_KEYS: [&str; 4] = [
    "cniConfigPath",
    "cniBinaryPath",
    "proxySnapshotterPath",
    "address",
];

/// The files that the configuration `document` names. Relative paths are left out: the daemon resolves them in its
/// own folder, to which others have no access.
pub(super) fn named_files(document: &DocumentMut) -> Vec<NamedFile> {
    let mut found = Vec::new();
    let mut add = |key: String, item: Option<&Item>| {
        for path in texts(item) {
            // A socket may be written as an address, `unix:///path`.
            let path = PathBuf::from(path.strip_prefix("unix://").unwrap_or(&path));
            if path.is_absolute() {
                found.push(NamedFile {
                    key: key.clone(),
                    path,
                });
            }
        }
    };
    let table = |name: &str| document.get(name).and_then(Item::as_table_like);
    for (host, registry) in table("registry").into_iter().flat_map(TableLike::iter) {
        let Some(registry) = registry.as_table_like() else {
            continue;
        };
        for key in ["ca", "tlsconfigdir"] {
            add(format!("registry.{host}.{key}"), registry.get(key));
        }
        for pair in tables(registry.get("keypair")) {
            for key in ["key", "cert"] {
                add(format!("registry.{host}.keypair.{key}"), pair.get(key));
            }
        }
    }
    for kind in ["oci", "containerd"] {
        let worker = table("worker").and_then(|worker| worker.get(kind)?.as_table_like());
        for key in WORKER_KEYS {
            let item = worker.and_then(|worker| worker.get(key));
            add(format!("worker.{kind}.{key}"), item);
        }
    }
    add(
        "cdi.specDirs".to_owned(),
        table("cdi").and_then(|cdi| cdi.get("specDirs")),
    );
    found
}

/// The string in `item`, or all strings of its list.
fn texts(item: Option<&Item>) -> Vec<String> {
    let Some(value) = item.and_then(Item::as_value) else {
        return Vec::new();
    };
    if let Some(text) = value.as_str() {
        return vec![text.to_owned()];
    }
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

fn tables(item: Option<&Item>) -> Vec<&dyn TableLike> {
    match item {
        Some(Item::ArrayOfTables(list)) => {
            list.iter().map(|table| table as &dyn TableLike).collect()
        }
        Some(item) => {
            let list = item.as_array().into_iter().flatten();
            list.filter_map(|value| value.as_inline_table())
                .map(|table| table as &dyn TableLike)
                .collect()
        }
        None => Vec::new(),
    }
}

impl NamedFile {
    /// Checks that nobody but root and this user can change it, nor the files directly in it if it is a folder.
    pub(super) fn check(&self) -> Result<(), TrustError> {
        let Some(found) = trust::check(&self.path)? else {
            return Ok(());
        };
        if !found.metadata.is_dir() {
            return Ok(());
        }
        trust::check_folder(&self.path)?;
        // A folder that cannot be listed is not an error here: buildkitd reports it when it needs the folder.
        for entry in std::fs::read_dir(&found.path)
            .into_iter()
            .flatten()
            .flatten()
        {
            trust::check(&entry.path())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    #[test]
    fn all_files_that_are_trusted_or_executed_are_found() {
        let text = r#"
[registry."r.example"]
  ca = ["ca.pem", "/abs/ca.pem"]
  tlsconfigdir = ["/tls"]
  [[registry."r.example".keypair]]
    key = "/k.pem"
    cert = "/c.pem"
[registry.inline]
  keypair = [{ key = "/k2.pem", cert = "/c2.pem" }]
  http = true
[worker.oci]
  cniConfigPath = "/cni.json"
  cniBinaryPath = "/cni"
  binary = "crun"
  gc = true
[worker.containerd]
  address = "unix:///run/containerd.sock"
[cdi]
  specDirs = ["/etc/cdi", "/run/cdi"]
"#;
        let found = named_files(&text.parse().unwrap());
        let found: Vec<String> = found
            .iter()
            .map(|file| format!("{} {}", file.key, file.path.display()))
            .collect();
        let expected = "registry.r.example.ca /abs/ca.pem
registry.r.example.tlsconfigdir /tls
registry.r.example.keypair.key /k.pem
registry.r.example.keypair.cert /c.pem
registry.inline.keypair.key /k2.pem
registry.inline.keypair.cert /c2.pem
worker.oci.cniConfigPath /cni.json
worker.oci.cniBinaryPath /cni
worker.containerd.address /run/containerd.sock
cdi.specDirs /etc/cdi
cdi.specDirs /run/cdi";
        assert_eq!(found, expected.lines().collect::<Vec<_>>());
    }

    #[test]
    fn files_and_the_content_of_folders_must_be_ours() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tls");
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("ca.crt");
        std::fs::write(&file, "").unwrap();
        let named = |path: &Path| NamedFile {
            key: String::new(),
            path: path.to_owned(),
        };
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&file, 0o644);
        mode(&folder, 0o755);
        named(&folder).check().unwrap();
        named(&file).check().unwrap();
        named(&folder.join("none")).check().unwrap();
        mode(&file, 0o666);
        assert!(named(&file).check().is_err());
        assert!(named(&folder).check().is_err());
        mode(&file, 0o644);
        mode(&folder, 0o1777);
        assert!(named(&folder).check().is_err());
        mode(&folder, 0o755);
    }
}
