//! Reads attributes whose elements may be strings or objects: attest, caches, outputs, secrets, SSH, policies,
//! resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::model::{
    Attest, Attrs, CacheEntry, EntryError, Export, List, PolicyEntry, RESOURCE_FIELDS, Resources,
    SecretEntry, SharedText, SshEntry,
};
use super::reader::{AttributeReader, ValuePath};
use crate::diag::{Diagnostic, Spanned};
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::{Text as Key, Type, Value};
use crate::hcl::syntax::PathStep;

const INVALID_ENTRY: &str = "definition::invalid-entry";

impl AttributeReader<'_> {
    pub(super) fn attests(&mut self) -> List<Attest> {
        self.entries(
            |text| Attest::from_text(text).map(|entry| vec![entry]),
            |reader, path, value| {
                let attrs = reader.attrs(path, value)?;
                reader.checked(path, Attest::from_attrs(attrs))
            },
        )
    }

    pub(super) fn caches(&mut self) -> List<CacheEntry> {
        self.entries(CacheEntry::from_text, |reader, path, value| {
            let attrs = reader.attrs(path, value)?;
            reader.checked(path, CacheEntry::from_attrs(attrs))
        })
    }

    pub(super) fn exports(&mut self) -> List<Export> {
        self.entries(
            |text| Export::from_text(text).map(|entry| vec![entry]),
            |reader, path, value| {
                let attrs = reader.attrs(path, value)?;
                reader.checked(path, Export::from_attrs(attrs))
            },
        )
    }

    pub(super) fn secrets(&mut self) -> List<SecretEntry> {
        self.entries(
            |text| SecretEntry::from_text(text).map(|entry| vec![entry]),
            |reader, path, value| {
                let fields = reader.object(path, value)?;
                reader.ignored_keys(path, fields.keys(), &["id", "src", "env"]);
                let id = reader.field(path, fields, "id")?;
                let src = reader.field(path, fields, "src")?;
                let env = reader.field(path, fields, "env")?;
                Some(SecretEntry::new(id.unwrap_or_default(), src, env))
            },
        )
    }

    pub(super) fn ssh(&mut self) -> List<SshEntry> {
        self.entries(
            |text| Ok(vec![SshEntry::from_text(text)]),
            |reader, path, value| {
                let fields = reader.object(path, value)?;
                reader.ignored_keys(path, fields.keys(), &["id", "paths"]);
                let id = reader.field(path, fields, "id")?;
                let paths = match fields.get("paths") {
                    Some(paths) if !paths.is_null() => {
                        let path = below(path, PathStep::Key("paths"));
                        let texts = reader.element_texts(&path, paths)?;
                        texts.into_iter().map(|text| text.value).collect()
                    }
                    _ => Vec::new(),
                };
                Some(SshEntry {
                    id: id.unwrap_or_default(),
                    paths,
                })
            },
        )
    }

    pub(super) fn policies(&mut self) -> List<PolicyEntry> {
        self.entries(
            |text| PolicyEntry::from_text(text).map(|entry| vec![entry]),
            |reader, path, value| {
                let fields = reader.object(path, value)?;
                let mut pairs: Vec<(&str, SharedText)> = Vec::with_capacity(fields.len());
                for (key, value) in fields {
                    if value.is_null() {
                        continue;
                    }
                    let text = reader.element_text(&below(path, PathStep::Key(key)), value)?;
                    if !text.is_empty() {
                        pairs.push((key, text));
                    }
                }
                let policy =
                    PolicyEntry::from_pairs(pairs.iter().map(|(key, value)| (*key, &**value)));
                reader.checked(path, policy)
            },
        )
    }

    pub(super) fn resources(&mut self) -> Option<Arc<Resources>> {
        let value = self.value();
        if value.is_null() {
            self.null(&[]);
            return None;
        }
        let Some(fields) = value.entries() else {
            let wanted = Type::object(RESOURCE_FIELDS.iter().map(|name| (*name, Type::String)));
            self.mismatch(&[], value, &wanted);
            return None;
        };
        let mut resources = Resources::default();
        for (name, value) in fields {
            if value.is_null() && RESOURCE_FIELDS.contains(&name.as_str()) {
                continue;
            }
            let path = [PathStep::Key(name)];
            let number = matches!(name.as_str(), "cpu-shares" | "cpu-period" | "cpu-quota");
            let value = match convert(
                value,
                if number {
                    &Type::Number
                } else {
                    &Type::Dynamic
                },
            ) {
                Ok(value) => value,
                Err(error) => {
                    self.wrong_type(&path, &error.to_string());
                    continue;
                }
            };
            let Some(text) = self.element_text(&path, &value) else {
                continue;
            };
            let text = self.spanned(&path, text);
            if let Err(error) = resources.set(name, text) {
                self.invalid(&path, &error);
            }
        }
        Some(Arc::new(resources))
    }

    /// Reads a list whose elements are strings or objects. Empty strings are skipped. One string may give several
    /// entries.
    fn entries<T>(
        &mut self,
        from_text: impl Fn(&str) -> Result<Vec<T>, EntryError>,
        from_object: impl Fn(&mut Self, &ValuePath<'_>, &Value) -> Option<T>,
    ) -> List<T> {
        let value = self.value();
        if value.is_null() {
            self.null(&[]);
            return List::default();
        }
        let items = match value {
            Value::List(_) | Value::Tuple(_) => value.items().unwrap_or_default(),
            other => {
                self.mismatch(&[], other, &Type::list(Type::map(Type::String)));
                return List::default();
            }
        };
        let mut entries = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = [PathStep::Index(index)];
            match item {
                Value::Null(_) => self.null(&path),
                Value::String(text) if text.is_empty() => {}
                Value::String(text) => match from_text(text) {
                    Ok(read) => {
                        self.doubts(&path, text);
                        entries.extend(read.into_iter().map(|entry| self.spanned(&path, entry)));
                    }
                    Err(error) => self.invalid(&path, &error),
                },
                object => {
                    if let Some(entry) = from_object(self, &path, object) {
                        entries.push(self.spanned(&path, entry));
                    }
                }
            }
        }
        List::of(entries)
    }

    fn object<'v>(
        &mut self,
        path: &ValuePath<'_>,
        value: &'v Value,
    ) -> Option<&'v BTreeMap<Key, Value>> {
        let entries = value.entries();
        if entries.is_none() {
            self.mismatch(path, value, &Type::map(Type::String));
        }
        entries
    }

    /// Reads all fields of an object as strings. A null field is an error; buildx crashes on it.
    fn attrs(&mut self, path: &ValuePath<'_>, value: &Value) -> Option<Attrs> {
        let fields = self.object(path, value)?;
        let mut attrs = Attrs::new();
        let mut complete = true;
        for (key, value) in fields {
            match self.element_text(&below(path, PathStep::Key(key)), value) {
                Some(text) => {
                    attrs.insert(key.into(), text);
                }
                None => complete = false,
            }
        }
        complete.then_some(attrs)
    }

    /// Reads one field of an object as a string. The outer `None` means that an error was reported, the inner
    /// `None` that the field is absent or null.
    #[expect(
        clippy::option_option,
        reason = "the outer `Option` is for `?`, the inner one is the value"
    )]
    fn field(
        &mut self,
        path: &ValuePath<'_>,
        fields: &BTreeMap<Key, Value>,
        key: &str,
    ) -> Option<Option<SharedText>> {
        match fields.get(key) {
            Some(value) if !value.is_null() => self
                .element_text(&below(path, PathStep::Key(key)), value)
                .map(Some),
            _ => Some(None),
        }
    }

    fn checked<T>(&mut self, path: &ValuePath<'_>, entry: Result<T, EntryError>) -> Option<T> {
        entry.map_err(|error| self.invalid(path, &error)).ok()
    }

    fn invalid(&mut self, path: &ValuePath<'_>, error: &EntryError) {
        let mut problem = self.problem(path, INVALID_ENTRY, &error.to_string());
        if let Some((what, word, known)) = error.misspelling() {
            problem = problem.did_you_mean(what, word, known.iter().copied());
        }
        if matches!(error, EntryError::NoType) {
            problem = problem.help(match self.name() {
                "output" => "add `type`: `image`, `registry`, `docker`, `oci`, `local`, `tar` or `cacheonly`",
                "attest" => "add `type`: `provenance` or `sbom`",
                _ => "add `type`: `registry`, `inline`, `local`, `gha`, `s3` or `azblob`",
            });
        }
        if let EntryError::NoBool { key, .. } = error {
            problem = problem.help(format!("write `{key}=true` or `{key}=false`"));
        }
        if let Some(meant) = error.meant() {
            problem = problem.help(format!("write `{meant}`"));
        }
        self.push(problem);
    }

    /// Warns about unknown keys of an object. buildx silently ignores them, but they may be typing errors.
    fn ignored_keys<'k>(
        &mut self,
        path: &ValuePath<'_>,
        keys: impl Iterator<Item = &'k Key>,
        known: &[&str],
    ) {
        for key in keys.filter(|key| !known.contains(&key.as_str())) {
            let Spanned { span, .. } = self.spanned(&below(path, PathStep::Key(key)), ());
            let warning = Diagnostic::warning(
                "definition::ignored-key",
                format!("`{key}` is not a valid key here and is ignored"),
            )
            .at(span, "");
            self.push(warning.did_you_mean("a key", key, known.iter().copied()));
        }
    }
}

fn below<'p>(path: &ValuePath<'p>, step: PathStep<'p>) -> Vec<PathStep<'p>> {
    let mut path = path.to_vec();
    path.push(step);
    path
}
