use super::*;
use crate::diag::Diagnostics;
use crate::engine::SolveSpec;
use crate::engine::spec::{Dockerfile, MainContext};

fn cache(image: &str, extra: &[(&str, &str)]) -> SolveCache {
    SolveCache {
        backend: CacheBackend::Registry,
        image: Some(image.parse().unwrap()),
        extra: extra
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        credentials: BTreeMap::new(),
    }
}

fn directory(dest: &str) -> SolveCache {
    SolveCache {
        backend: CacheBackend::Local,
        image: None,
        extra: BTreeMap::from([("dest".to_owned(), dest.to_owned())]),
        credentials: BTreeMap::new(),
    }
}

fn target(name: &str, exports: Vec<SolveCache>, tag: &str) -> LoweredTarget {
    let dockerfile = Dockerfile::Local {
        filename: "Dockerfile".to_owned(),
    };
    let mut spec = SolveSpec::new(name.parse().unwrap(), dockerfile, MainContext::Local);
    let dirs = exports.iter().filter_map(|cache| cache.extra.get("dest"));
    let local_caches = dirs.map(|dest| LocalCache::Export {
        dir: dest.into(),
        name: dest.clone(),
        tag: tag.to_owned(),
        reset: false,
    });
    let local_caches = local_caches.collect();
    spec.cache_exports = exports;
    LoweredTarget {
        spec,
        sinks: BTreeMap::new(),
        pushes: Vec::new(),
        local_caches,
        notices: Diagnostics::default(),
    }
}

fn targets_of(shared: &[SharedCache]) -> Vec<Vec<&str>> {
    let targets = shared.iter().map(|cache| cache.targets.iter());
    targets
        .map(|names| names.map(TargetName::as_str).collect())
        .collect()
}

#[test]
fn equal_places_are_shared_with_the_widest_mode() {
    let mut targets = [
        target(
            "a",
            vec![cache("r.example/c", &[("ignore-error", "true")])],
            "",
        ),
        target(
            "b",
            vec![cache("r.example/c:latest", &[("mode", "max")])],
            "",
        ),
        target(
            "c",
            vec![
                cache("r.example/d", &[]),
                cache("r.example/c", &[("mode", "min")]),
            ],
            "",
        ),
    ];
    let shared = take(&mut targets);
    assert_eq!(targets_of(&shared), [vec!["a", "b", "c"], vec!["c"]]);
    assert_eq!(
        shared[0].cache.extra,
        BTreeMap::from([("mode".to_owned(), "max".to_owned())])
    );
    let again = solved_again(&shared, &TargetGraph::default());
    let again: Vec<&str> = again.iter().map(TargetName::as_str).collect();
    assert_eq!(again, ["a", "b", "c"]);
    assert!(targets[0].spec.cache_exports.is_empty() && targets[1].spec.cache_exports.is_empty());
    assert!(targets[2].spec.cache_exports.is_empty());
    assert_eq!(shared[0].place(), "`r.example/c`");
}

#[test]
fn other_forms_are_caches_of_their_own_and_inline_caches_stay_in_their_images() {
    let zstd = cache("r.example/c", &[("compression", "zstd")]);
    let inline = SolveCache {
        backend: CacheBackend::Inline,
        image: None,
        extra: BTreeMap::new(),
        credentials: BTreeMap::new(),
    };
    let mut targets = [
        target("a", vec![cache("r.example/c", &[]), inline.clone()], ""),
        target("b", vec![zstd.clone(), inline.clone()], ""),
    ];
    assert_eq!(targets_of(&take(&mut targets)), [["a"], ["b"]]);
    for target in &targets {
        assert_eq!(target.spec.cache_exports, std::slice::from_ref(&inline));
    }
}

#[test]
fn a_shared_directory_is_opened_by_the_export_only() {
    let mut targets = [
        target("a", vec![directory("/c")], "latest"),
        target("b", vec![directory("/c")], "latest"),
        target("c", vec![directory("/c")], "other"),
    ];
    let shared = take(&mut targets);
    assert_eq!(targets_of(&shared), [vec!["a", "b"], vec!["c"]]);
    assert!(matches!(&shared[0].local, Some(LocalCache::Export { tag, .. }) if tag == "latest"));
    for target in &targets {
        assert!(target.local_caches.is_empty() && target.spec.cache_exports.is_empty());
    }
    assert_eq!(shared[0].place(), "`/c`");
}

/// A cache in a bucket with these attributes.
fn bucket(extra: &[(&str, &str)]) -> SolveCache {
    SolveCache {
        backend: CacheBackend::S3,
        image: None,
        extra: [("bucket", "b")]
            .iter()
            .chain(extra)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        credentials: BTreeMap::new(),
    }
}

fn places_of(shared: &[SharedCache]) -> Vec<(String, Vec<&str>)> {
    let places = shared.iter().map(SharedCache::place_plainly);
    places.zip(targets_of(shared)).collect()
}

#[test]
fn a_name_that_targets_share_is_exported_once_and_names_with_equal_targets_together() {
    let mut targets = [
        target("a", vec![bucket(&[("name", "main;x;a")])], ""),
        target("b", vec![bucket(&[("name", "x;main"), ("prefix", "")])], ""),
        target("c", vec![bucket(&[])], ""),
    ];
    let shared = take(&mut targets);
    assert_eq!(
        places_of(&shared),
        [
            ("s3:b/main;x".to_owned(), vec!["a", "b"]),
            ("s3:b/a".to_owned(), vec!["a"]),
            ("s3:b/buildkit".to_owned(), vec!["c"]),
        ]
    );
    assert_eq!(shared[0].cache.extra["name"], "main;x");
    assert!(
        targets
            .iter()
            .all(|target| target.spec.cache_exports.is_empty())
    );
}

// One export at a time may write to a name, and those of one place are made one after the other.
#[test]
fn names_that_are_exported_in_two_forms_stay_alone() {
    let mut targets = [
        target("a", vec![bucket(&[("name", "x;y")])], ""),
        target(
            "b",
            vec![bucket(&[("name", "x;z"), ("compression", "zstd")])],
            "",
        ),
    ];
    assert_eq!(
        places_of(&take(&mut targets)),
        [
            ("s3:b/x".to_owned(), vec!["a"]),
            ("s3:b/y".to_owned(), vec!["a"]),
            ("s3:b/x".to_owned(), vec!["b"]),
            ("s3:b/z".to_owned(), vec!["b"]),
        ]
    );
}

#[test]
fn names_with_other_modes_or_keys_are_not_joined() {
    let mut with_keys = bucket(&[("name", "y")]);
    with_keys
        .credentials
        .insert("access_key_id".to_owned(), "other".to_owned().into());
    let max = bucket(&[("name", "z"), ("mode", "max")]);
    let exports = vec![bucket(&[("name", "x")]), with_keys, max];
    let mut targets = [target("a", exports, "")];
    let shared = take(&mut targets);
    let places: Vec<String> = shared.iter().map(SharedCache::place_plainly).collect();
    assert_eq!(places, ["s3:b/x", "s3:b/y", "s3:b/z"]);
}

#[test]
fn names_are_joined_to_a_phrase() {
    let all: Vec<TargetName> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
    assert_eq!(crate::run::phrase::names(all.iter()), "`a`, `b` and `c`");
    assert_eq!(crate::run::phrase::names(all[..1].iter()), "`a`");
}
