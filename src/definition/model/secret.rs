//! Entries of `secret` and `ssh`.

use super::entry::{self, EntryError};
use super::{List, SharedText};

/// A secret that steps of the build may mount. It only says where the value is; the value itself is never stored here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct SecretEntry {
    /// The name by which steps mount it.
    pub(crate) id: SharedText,
    /// The file that contains the value.
    pub(crate) src: Option<SharedText>,
    /// The environment variable that contains the value.
    pub(crate) env: Option<SharedText>,
}

impl SecretEntry {
    /// Reads the text form: `id=…,src=…` or `id=…,env=…`.
    pub(crate) fn from_text(text: &str) -> Result<Self, EntryError> {
        const KEYS: &[&str] = &["id", "src", "env", "type"];
        let mut secret = Self::default();
        let mut env_type = false;
        let fields = entry::fields(text)?;
        if let [word] = fields.as_slice()
            && !word.contains('=')
        {
            return Err(EntryError::Bare {
                word: word.to_string(),
                meant: format!("id={word}"),
            });
        }
        for field in fields {
            let (key, value) = entry::pair(&field)?;
            match key.to_lowercase().as_str() {
                "id" => secret.id = value.into(),
                "src" | "source" => secret.src = set(value),
                "env" => secret.env = set(value),
                "type" if matches!(value, "file" | "env") => env_type = value == "env",
                "type" => {
                    return Err(EntryError::UnknownValue {
                        key: "type",
                        value: value.to_owned(),
                        known: &["file", "env"],
                    });
                }
                key => {
                    return Err(EntryError::UnknownKey {
                        key: key.to_owned(),
                        known: KEYS,
                    });
                }
            }
        }
        if env_type && secret.env.is_none() {
            secret.env = secret.src.take();
        }
        Ok(secret)
    }

    /// Reads the fields of the object form. Empty fields count as absent.
    pub(crate) fn new(id: SharedText, src: Option<SharedText>, env: Option<SharedText>) -> Self {
        Self {
            id,
            src: src.filter(|src| !src.is_empty()),
            env: env.filter(|env| !env.is_empty()),
        }
    }
}

fn set(value: &str) -> Option<SharedText> {
    (!value.is_empty()).then(|| value.into())
}

/// An SSH agent or private keys that steps of the build may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct SshEntry {
    /// The name by which steps mount it. Empty means `default`.
    pub(crate) id: SharedText,
    /// The socket of an agent, or files with private keys. Empty means the user's agent (`SSH_AUTH_SOCK`).
    pub(crate) paths: Vec<SharedText>,
}

impl SshEntry {
    /// Reads the text form: `default` or `id=path,path`. This is not a CSV record, so quotes have no meaning.
    pub(crate) fn from_text(text: &str) -> Self {
        match text.split_once('=') {
            None => Self {
                id: text.into(),
                paths: Vec::new(),
            },
            Some((id, paths)) => Self {
                id: id.into(),
                paths: paths.split(',').map(SharedText::from).collect(),
            },
        }
    }
}

impl List<SecretEntry> {
    /// Appends the entries of `later`. If several entries have the same id, the last one counts, at the position
    /// of the first.
    pub(crate) fn merge_secrets(&mut self, later: &Self) {
        self.append(later);
        self.dedupe_by_key(|secret| secret.id.clone());
    }
}

impl List<SshEntry> {
    /// Appends the entries of `later`. If several entries have the same id, the last one counts, at the position
    /// of the first.
    pub(crate) fn merge_ssh(&mut self, later: &Self) {
        self.append(later);
        self.dedupe_by_key(|ssh| ssh.id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_secrets_are_parsed() {
        let secret = |id: &str, src: Option<&str>, env: Option<&str>| {
            Ok(SecretEntry::new(
                id.into(),
                src.map(SharedText::from),
                env.map(SharedText::from),
            ))
        };
        let read = SecretEntry::from_text;
        assert_eq!(read("id=a,source=f"), secret("a", Some("f"), None));
        assert_eq!(
            read("type=env,id=a,src=HOME"),
            secret("a", None, Some("HOME"))
        );
        assert_eq!(
            read("type=env,id=a,src=f,env=E"),
            secret("a", Some("f"), Some("E"))
        );
        assert_eq!(read("ID=a"), secret("a", None, None));
    }

    #[test]
    fn errors_name_misspelled_keys() {
        let error = SecretEntry::from_text("id=a,sorce=b").unwrap_err();
        assert!(
            matches!(error.misspelling(), Some((_, "sorce", _))),
            "{error}"
        );
        assert!(SecretEntry::from_text("type=vault").is_err());
        let error = SecretEntry::from_text("npm").unwrap_err();
        assert_eq!(error.meant(), Some("id=npm"));
    }

    #[test]
    fn forms_of_ssh_entries_are_parsed() {
        assert_eq!(
            SshEntry::from_text("default").paths,
            Vec::<SharedText>::new()
        );
        let keys = SshEntry::from_text("k=a,b");
        assert_eq!((&*keys.id, keys.paths.len()), ("k", 2));
    }
}
