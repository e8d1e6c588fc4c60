//! Random repositories and policies.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::REGISTRIES;
use super::simulator::{
    INDEX, MANIFEST, SimulatedRepository, attesting, descriptor, hours_ago, image_of,
};
use crate::prune::plan::DeletionTraits;
use crate::prune::policy::{CachePolicy, ImagePolicy, RecordRetention, RetentionPolicy, TagGroup};
use crate::publish::class::TagClass;
use crate::publish::journal::{
    EntryState, Journal, JournalEntry, JournalHeader, PublishedTag, RunOrigin, RunStatus, artifact,
};
use crate::types::Digest;

/// One thing that is pushed. Numbers choose among what is there already.
#[derive(Debug, Clone)]
pub(super) enum RandomPush {
    Image,
    Index(Vec<u8>, Vec<u8>),
    Referrer(u8),
    Fallback(u8, Vec<u8>),
    Companion(u8, u8, u8),
    Cache(u8, Vec<u8>),
    Record(u8, u8, u8),
    Tag(u8, u8),
    /// A child, or a subject, that is not in the repository.
    Dangling(u8),
}

pub(super) fn push() -> impl Strategy<Value = (RandomPush, Option<u8>)> {
    let some = || prop::collection::vec(any::<u8>(), 0..4);
    let pushes = prop_oneof![
        3 => Just(RandomPush::Image),
        4 => (some(), some()).prop_map(|(children, attested)| RandomPush::Index(children, attested)),
        2 => any::<u8>().prop_map(RandomPush::Referrer),
        1 => (any::<u8>(), some()).prop_map(|(of, all)| RandomPush::Fallback(of, all)),
        2 => any::<(u8, u8, u8)>().prop_map(|(of, to, kind)| RandomPush::Companion(of, to, kind)),
        1 => (any::<u8>(), some()).prop_map(|(owner, layers)| RandomPush::Cache(owner, layers)),
        1 => any::<(u8, u8, u8)>().prop_map(|(was, to, status)| RandomPush::Record(was, to, status)),
        5 => any::<(u8, u8)>().prop_map(|(name, of)| RandomPush::Tag(name, of)),
        1 => any::<u8>().prop_map(RandomPush::Dangling),
    ];
    (pushes, prop::option::weighted(0.8, any::<u8>()))
}

/// Makes a repository of `pushes`. A push that needs something that is not there is left out.
pub(super) fn repository(
    pushes: &[(RandomPush, Option<u8>)],
    traits: DeletionTraits,
) -> SimulatedRepository {
    let mut made = SimulatedRepository::new(traits);
    let mut all: Vec<Digest> = Vec::new();
    for (number, (push, age)) in pushes.iter().enumerate() {
        let hours = age.map(i64::from);
        if let Some(digest) = perform(&mut made, &all, number, push, hours) {
            all.push(digest);
        }
    }
    made
}

fn perform(
    made: &mut SimulatedRepository,
    all: &[Digest],
    number: usize,
    push: &RandomPush,
    hours: Option<i64>,
) -> Option<Digest> {
    let pick = |at: u8| (!all.is_empty()).then(|| all[usize::from(at) % all.len()].clone());
    let media_type =
        |made: &SimulatedRepository, digest: &Digest| made.manifests[digest].media_type.clone();
    let describe =
        |made: &SimulatedRepository, digest: &Digest| descriptor(digest, &media_type(made, digest));
    let time = hours.map(hours_ago);
    let name = format!("manifest {number}");
    let content = match push {
        RandomPush::Image => image_of(&name, &["base", &name]),
        RandomPush::Index(children, attested) => {
            let mut entries: Vec<Value> = Vec::new();
            for child in children.iter().filter_map(|at| pick(*at)) {
                entries.push(describe(made, &child));
            }
            for (place, image) in attested.iter().filter_map(|at| pick(*at)).enumerate() {
                let attestation = image_of(&format!("attestation {number} {place}"), &["x"]);
                let attestation = made.push(MANIFEST, &attestation, time);
                entries.push(attesting(&attestation, &image));
            }
            json!({"mediaType": INDEX, "manifests": entries, "annotations": {"test": name}})
        }
        RandomPush::Referrer(of) => {
            let of = pick(*of)?;
            let mut content = image_of(&name, &[&name]);
            content["subject"] = describe(made, &of);
            content
        }
        RandomPush::Fallback(of, children) => {
            let children = children.iter().filter_map(|at| pick(*at));
            let children: Vec<_> = children.map(|child| describe(made, &child)).collect();
            let index = json!({"mediaType": INDEX, "manifests": children});
            let digest = made.push(INDEX, &index, time);
            made.tag(&format!("sha256-{}", pick(*of)?.hex()), &digest);
            return Some(digest);
        }
        RandomPush::Companion(of, to, kind) => {
            let suffix = ["sig", "att", "sbom"][usize::from(*kind) % 3];
            made.tag(
                &format!("sha256-{}.{suffix}", pick(*of)?.hex()),
                &pick(*to)?,
            );
            return None;
        }
        RandomPush::Cache(owner, layers) => {
            let owner = match owner % 4 {
                0 => json!({"vnd.rbake.cache.branch": "main"}),
                1 => json!({"vnd.rbake.cache.branch": "feature"}),
                2 => json!({}),
                _ => json!({"vnd.rbake.cache.pull-request": (owner / 4).to_string()}),
            };
            let mut layers: Vec<_> = layers
                .iter()
                .map(|at| format!("layer {}", at % 8))
                .collect();
            layers.push(name.clone());
            let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
            let digest = made.cache(&owner, &layers, hours);
            made.tag(&format!("cache-{number}"), &digest);
            return Some(digest);
        }
        RandomPush::Record(was, to, status) => {
            let content = record(&pick(*was)?, &pick(*to)?, *status, hours.unwrap_or(100));
            let digest = made.push(MANIFEST, &content, time);
            let started = hours_ago(hours.unwrap_or(100));
            made.tag(
                &started
                    .strftime("rbake-run-%Y%m%dT%H%M%SZ-00000000")
                    .to_string(),
                &digest,
            );
            return Some(digest);
        }
        RandomPush::Tag(name, of) => {
            let name = match name % 16 {
                0 => "latest".to_owned(),
                n @ 1..=3 => format!("v{n}"),
                n => format!("build-{n}"),
            };
            made.tag(&name, &pick(*of)?);
            return None;
        }
        RandomPush::Dangling(of) => {
            let gone = Digest::sha256(name.as_bytes());
            let mut entries = vec![descriptor(&gone, MANIFEST)];
            entries.extend(pick(*of).map(|of| describe(made, &of)));
            json!({
                "mediaType": INDEX,
                "manifests": entries,
                "subject": (*of % 2 == 0).then(|| descriptor(&gone, MANIFEST)),
            })
        }
    };
    let media_type = content["mediaType"].as_str().unwrap().to_owned();
    Some(made.push(&media_type, &content, time))
}

fn record(was: &Digest, to: &Digest, status: u8, hours: i64) -> Value {
    let started = hours_ago(hours);
    let mut journal = Journal::new(JournalHeader {
        run: started
            .strftime("%Y%m%dT%H%M%SZ-00000000")
            .to_string()
            .parse()
            .unwrap(),
        started,
        origin: RunOrigin::Build,
        backwards: false,
        rbake: "0.1.0".to_owned(),
        revision: None,
    });
    journal.status = match status % 8 {
        0 => RunStatus::Open,
        1 => RunStatus::Held,
        _ => RunStatus::Complete,
    };
    let entry = JournalEntry {
        class: TagClass::Mutable,
        was: Some(was.clone()),
        to: to.clone(),
        state: EntryState::Done,
    };
    let published = PublishedTag::parse("docker.io/a/b", "latest").unwrap();
    journal.entries.insert(published, entry);
    serde_json::from_slice(&artifact::encode(&journal, None).unwrap()).unwrap()
}

pub(super) fn policy() -> impl Strategy<Value = RetentionPolicy> {
    let images = (any::<(bool, bool)>(), 0..4usize, 0..3usize).prop_map(
        |((latest, all), newest, records)| {
            RetentionPolicy::Images(ImagePolicy {
                keep: latest
                    .then(|| "latest".parse().unwrap())
                    .into_iter()
                    .collect(),
                groups: vec![TagGroup {
                    patterns: vec![if all { "*" } else { "build-*" }.parse().unwrap()],
                    newest,
                }],
                records: RecordRetention {
                    newest: records,
                    younger_than: std::time::Duration::ZERO,
                },
                ..ImagePolicy::default()
            })
        },
    );
    let caches = (0..3usize, prop::option::of(0..3000u64)).prop_map(|(pull_requests, ceiling)| {
        RetentionPolicy::Caches(CachePolicy {
            branches: vec!["main".parse().unwrap()],
            pull_requests,
            ceiling,
            removes_unowned: false,
        })
    });
    prop_oneof![3 => images, 1 => caches]
}

pub(super) fn registry() -> impl Strategy<Value = DeletionTraits> {
    prop::sample::select(REGISTRIES.to_vec())
}
