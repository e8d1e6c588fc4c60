//! JSON objects in which every program must see the same fields.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The fields that decide where a manifest leads.
const FIELDS: [&str; 9] = [
    "annotations",
    "artifactType",
    "config",
    "digest",
    "layers",
    "manifests",
    "mediaType",
    "size",
    "subject",
];

/// An object whose members are not parsed.
///
/// Objects are refused if programs may read them differently: if a name occurs twice, or if the name of a field has
/// other capital letters. Go, in which most programs for images are written, ignores the case of names, so `Manifests`
/// would be children for them and an unknown field for us.
#[derive(Debug)]
pub(super) struct ManifestMembers(BTreeMap<String, Box<RawValue>>);

impl ManifestMembers {
    /// Parses the value of `name`. `None` if it is missing or null.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, serde_json::Error> {
        let value = self.0.get(name);
        let value = value.map(|raw| serde_json::from_str::<Option<T>>(raw.get()));
        Ok(value.transpose()?.flatten())
    }

    /// Whether there is a value of `name` that is not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|raw| raw.get() != "null")
    }
}

/// The form by which Go compares names (`encoding/json`, `foldName`): two characters are special there, the long s and
/// the sign for kelvin, which are letters in another case.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

impl<'de> Deserialize<'de> for ManifestMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = ManifestMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ManifestMembers, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    let is_variant = |field: &str| field != name && folded(field) == folded(&name);
                    if FIELDS.iter().any(|field| is_variant(field)) {
                        return Err(A::Error::custom("the name of a field has another case"));
                    }
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name occurs twice in an object"));
                    }
                }
                Ok(ManifestMembers(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
