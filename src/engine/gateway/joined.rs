//! The results of several solves, joined into one.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use rbake_proto::gateway::result::Result as Refs;
use rbake_proto::gateway::{RefMap, Result as GatewayResult};
use serde_json::{Value, json};

use super::union::union;
use super::{EMPTY_REF, FrontendResult};

/// The metadata that maps the keys of a result's refs to platforms. The daemon refuses several refs without it.
const PLATFORMS: &str = "refs.platforms";

/// The results of several solves as one result. Its refs have keys of their own.
#[derive(Debug, Default)]
pub(in crate::engine) struct JoinedResults {
    refs: BTreeMap<String, Bytes>,
    platforms: Vec<(String, Value)>,
    definitions: Vec<Bytes>,
    count: usize,
}

impl JoinedResults {
    /// Adds all refs of `result`. An empty ref has no cache and is left out.
    pub(in crate::engine) fn add(&mut self, result: FrontendResult) {
        let platforms = Platforms::of(&result);
        let linked = result.linked().unwrap_or_default();
        let definitions = linked.into_iter().filter_map(|one| one.definition);
        self.definitions.extend(definitions);
        let place = self.count;
        self.count += 1;
        match result.into_return().result {
            Some(Refs::Ref(one)) if !one.id.is_empty() => {
                let platform = platforms.first();
                self.push(place.to_string(), one.encode_to_vec().into(), platform);
            }
            Some(Refs::Refs(all)) => {
                for (name, encoded) in all.refs.into_iter().filter(|(_, one)| *one != EMPTY_REF) {
                    let platform = platforms.named(&name);
                    self.push(format!("{place}/{name}"), encoded, platform);
                }
            }
            _ => {}
        }
    }

    /// The definition of a result that depends on all refs. `None` if there are less than two, or if the daemon has not sent
    /// definitions that can be joined.
    pub(in crate::engine) fn union(&self) -> Option<Bytes> {
        union(&self.definitions)
    }

    /// Whether there is no ref.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    fn push(&mut self, key: String, encoded: Bytes, platform: Value) {
        self.refs.insert(key.clone(), encoded);
        self.platforms.push((key, platform));
    }

    pub(super) fn into_result(self) -> GatewayResult {
        let platforms = self.platforms.iter();
        let platforms = platforms.map(|(key, platform)| json!({"ID": key, "Platform": platform}));
        let platforms = json!({"Platforms": platforms.collect::<Vec<_>>()});
        GatewayResult {
            result: Some(Refs::Refs(RefMap { refs: self.refs })),
            metadata: BTreeMap::from([(PLATFORMS.to_owned(), platforms.to_string().into())]),
            attestations: BTreeMap::new(),
        }
    }
}

/// The platforms of a result's refs, as its metadata describes them. The export of a cache only needs some platform.
struct Platforms(Vec<Value>);

impl Platforms {
    fn of(result: &FrontendResult) -> Self {
        let metadata = result.0.metadata.get(PLATFORMS);
        let parsed = metadata.and_then(|text| serde_json::from_slice(text).ok());
        let parsed: Value = parsed.unwrap_or_default();
        Self(parsed["Platforms"].as_array().cloned().unwrap_or_default())
    }

    fn first(&self) -> Value {
        Self::platform(self.0.first())
    }

    fn named(&self, name: &str) -> Value {
        Self::platform(self.0.iter().find(|entry| entry["ID"] == name))
    }

    fn platform(entry: Option<&Value>) -> Value {
        match entry.map(|entry| &entry["Platform"]) {
            Some(platform) if platform.is_object() => platform.clone(),
            _ => json!({"architecture": "amd64", "os": "linux"}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbake_proto::gateway::Ref;

    fn one(id: &str) -> Ref {
        Ref {
            id: id.to_owned(),
            def: Bytes::from_static(b"llb"),
        }
    }

    fn result(refs: Refs, platforms: Option<&'static str>) -> FrontendResult {
        let platforms =
            platforms.map(|text| (PLATFORMS.to_owned(), Bytes::from_static(text.as_bytes())));
        FrontendResult(GatewayResult {
            result: Some(refs),
            metadata: platforms.into_iter().collect(),
            attestations: BTreeMap::new(),
        })
    }

    #[test]
    fn refs_of_all_results_have_keys_and_platforms_of_their_own() {
        let arm = r#"{"Platforms":[{"ID":"linux/arm64","Platform":{"architecture":"arm64","os":"linux"}}]}"#;
        let several = RefMap {
            refs: BTreeMap::from([
                ("linux/arm64".to_owned(), one("b").encode_to_vec().into()),
                ("linux/amd64".to_owned(), Bytes::new()),
            ]),
        };
        let mut joined = JoinedResults::default();
        joined.add(result(Refs::Ref(one("a")), None));
        joined.add(result(Refs::Refs(several), Some(arm)));
        joined.add(result(Refs::Ref(one("")), Some("{")));
        let joined = joined.into_result();
        let Some(Refs::Refs(all)) = joined.result else {
            panic!("not several refs");
        };
        let id = |bytes: &Bytes| Ref::decode(bytes.clone()).unwrap();
        let ids: Vec<_> = all
            .refs
            .iter()
            .map(|(key, one)| (key.as_str(), id(one)))
            .collect();
        let bare = |id: &str| Ref {
            id: id.to_owned(),
            def: Bytes::new(),
        };
        assert_eq!(ids, [("0", bare("a")), ("1/linux/arm64", bare("b"))]);
        let platforms: Value = serde_json::from_slice(&joined.metadata[PLATFORMS]).unwrap();
        assert_eq!(
            platforms,
            json!({"Platforms": [
                {"ID": "0", "Platform": {"architecture": "amd64", "os": "linux"}},
                {"ID": "1/linux/arm64", "Platform": {"architecture": "arm64", "os": "linux"}},
            ]})
        );
    }
}
