//! The files of Amazon's tools, `~/.aws/credentials` and `~/.aws/config` (docs.aws.amazon.com, "Shared config and
//! credentials files").

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{AwsCredential, AwsCredentialError};
use crate::types::Environment;
use crate::types::regular::read_regular;

/// The largest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// A file, and how its sections are named.
struct AwsFile {
    path: PathBuf,
    /// Whether the section of a profile other than `default` is `[profile NAME]`, and not `[NAME]`.
    is_config: bool,
}

/// The two files, the one that comes first at the beginning.
pub(super) struct AwsFiles(Vec<AwsFile>);

impl AwsFiles {
    /// The files that the environment names, or those in the home directory.
    pub(super) fn of(environment: &Environment) -> Self {
        let places = [
            ("AWS_SHARED_CREDENTIALS_FILE", "credentials", false),
            ("AWS_CONFIG_FILE", "config", true),
        ];
        let files = places
            .into_iter()
            .filter_map(|(variable, name, is_config)| {
                let home = || Some(environment.home()?.join(".aws").join(name));
                let named = environment.non_empty(variable).map(|path| {
                    let below_home = path.strip_prefix("~/").zip(environment.home());
                    below_home.map_or_else(
                        || environment.current_dir().join(path),
                        |(rest, home)| home.join(rest),
                    )
                });
                let path = named.or_else(home)?;
                Some(AwsFile { path, is_config })
            });
        Self(files.collect())
    }

    /// The keys of `profile`. `None` if no file has them, or if the profile is one that gets its keys from elsewhere. Blocks.
    pub(super) fn credential(
        &self,
        profile: &str,
    ) -> Result<Option<AwsCredential>, AwsCredentialError> {
        let profile = self.profile(profile)?;
        // Then the keys of the profile are not what its requests are signed with.
        if profile.value("role_arn").is_some() {
            return Ok(None);
        }
        Ok(profile.keys())
    }

    /// What the files say of the profile `name`. It is empty if they do not have it. Blocks.
    pub(super) fn profile(&self, name: &str) -> Result<AwsProfile, AwsCredentialError> {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for file in &self.0 {
            let bytes = match read_regular(&file.path, LIMIT) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => {
                    return Err(AwsCredentialError::File {
                        path: file.path.clone(),
                        source: Arc::new(source),
                    });
                }
            };
            let text = String::from_utf8_lossy(&bytes);
            for (key, value) in section(&text, name, file.is_config) {
                values.entry(key).or_insert(value);
            }
        }
        Ok(AwsProfile(values))
    }
}

/// What the files say of a profile. Some values are secret.
pub(super) struct AwsProfile(BTreeMap<String, String>);

impl AwsProfile {
    /// Whether no file has the profile.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `key`, if it is not empty.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let value = self.0.get(key).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// The keys in the profile itself.
    pub(super) fn keys(&self) -> Option<AwsCredential> {
        let (access_key, secret_key) = self
            .value("aws_access_key_id")
            .zip(self.value("aws_secret_access_key"))?;
        let token = self.value("aws_session_token");
        Some(AwsCredential::new(access_key, secret_key, token))
    }
}

/// The values in the section of `profile`; the first one counts. Names are in lower case.
fn section(text: &str, profile: &str, is_config: bool) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut is_wanted = false;
    for line in text.lines() {
        // Indented lines belong to the value before them, which is never a key.
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.split(']').next().unwrap_or_default().trim();
            let of_profile = name.strip_prefix("profile");
            let of_profile = of_profile.filter(|rest| rest.starts_with([' ', '\t']));
            is_wanted = match of_profile {
                Some(rest) if is_config => rest.trim().trim_matches(['"', '\'']) == profile,
                // In the configuration, other sections without the word `profile` are not profiles.
                _ => name == profile && (!is_config || name == "default"),
            };
            continue;
        }
        if let Some((name, value)) = line.split_once('=').filter(|_| is_wanted) {
            let comment = [" #", " ;", "\t#", "\t;"]
                .iter()
                .filter_map(|sign| value.find(sign));
            let end = comment.min().unwrap_or(value.len());
            let value = value.get(..end).unwrap_or(value).trim();
            found.push((name.trim().to_ascii_lowercase(), value.to_owned()));
        }
    }
    found
}
