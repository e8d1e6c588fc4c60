use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// Makes a configuration with one layer for each record; a layer is on top of that of the record's first input.
fn config(records: &[(&str, &[usize])]) -> CacheConfig {
    let layer = |(at, (name, inputs)): (usize, &(&str, &[usize]))| {
        assert!(inputs.iter().all(|input| *input < at));
        CacheLayer {
            blob: format!("sha256:{name}"),
            parent: inputs
                .first()
                .map_or(-1, |first| i64::try_from(*first).unwrap()),
            annotations: None,
        }
    };
    let record = |(at, (name, inputs)): (usize, &(&str, &[usize]))| CacheRecord {
        results: vec![StepResult {
            layer: at,
            created: "2026-01-02T03:04:05Z".to_owned(),
        }],
        chains: Vec::new(),
        digest: format!("sha256:{name}"),
        inputs: inputs
            .iter()
            .map(|link| {
                vec![RecordLink {
                    selector: String::new(),
                    link: *link,
                }]
            })
            .collect(),
    };
    CacheConfig {
        layers: records.iter().enumerate().map(layer).collect(),
        records: records.iter().enumerate().map(record).collect(),
    }
}

/// What a configuration means: for each record with its inputs, the layers of its results.
fn meaning(config: &CacheConfig) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<usize, String> = BTreeMap::new();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for at in in_order(&config.inputs()).unwrap() {
        let record = &config.records[at];
        let inputs: Vec<Vec<String>> = record
            .inputs
            .iter()
            .map(|links| {
                let mut links: Vec<String> = links
                    .iter()
                    .map(|input| format!("{}{}", input.selector, keys[&input.link]))
                    .collect();
                links.sort();
                links
            })
            .collect();
        // A hash, because a text would double in size with each step.
        let key = crate::types::Digest::sha256(format!("{}{inputs:?}", record.digest).as_bytes());
        let key = format!("{}{}", record.digest, key.hex());
        let chain = |layer: usize| {
            let mut chain = Vec::new();
            let mut next = Some(layer);
            while let Some(at) = next {
                chain.push(config.layers[at].blob.as_str());
                next = config.layers[at].parent().unwrap();
            }
            chain.join("<")
        };
        let results = record.results.iter().map(|result| chain(result.layer));
        found.entry(key.clone()).or_default().extend(results);
        keys.insert(at, key);
    }
    found
}

/// A configuration of `targets` chains of `steps` steps on two common ones.
fn forest(targets: usize, steps: usize) -> CacheConfig {
    let mut names = vec!["base".to_owned(), "tools".to_owned()];
    let mut inputs: Vec<Vec<usize>> = vec![vec![], vec![0]];
    for target in 0..targets {
        for step in 0..steps {
            inputs.push(vec![if step == 0 { 1 } else { names.len() - 1 }]);
            names.push(format!("{target:03}{step:03}{}", "0".repeat(58)));
        }
    }
    let records = std::iter::zip(&names, &inputs);
    let records: Vec<(&str, &[usize])> = records
        .map(|(name, inputs)| (name.as_str(), inputs.as_slice()))
        .collect();
    config(&records)
}

#[test]
fn a_configuration_of_buildkit_is_written_as_it_was_read() {
    let text = r#"{"layers":[{"blob":"sha256:b"},{"blob":"sha256:a","parent":-1},{"blob":"sha256:c","parent":1,"annotations":{"size":7}}],"records":[{"layers":[{"layer":2,"createdAt":"2026-01-02T03:04:05.6Z"}],"digest":"sha256:r","inputs":[[{"selector":"/a","link":1}]]},{"chains":[{"layers":[1,0],"createdAt":"2026-01-02T03:04:05Z"}],"digest":"sha256:s"}]}"#;
    // The first layer has the parent 0, which is itself.
    assert!(matches!(
        CacheConfig::parse(text.as_bytes()),
        Err(InvalidConfig::Loop)
    ));
    let text = text.replace(
        r#"{"blob":"sha256:b"}"#,
        r#"{"blob":"sha256:b","parent":1}"#,
    );
    let parsed = CacheConfig::parse(text.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(parsed.to_json()).unwrap(), text);
}

#[test]
fn configurations_with_broken_links_and_loops_are_refused() {
    for text in [
        "7",
        r#"{"records":[{"digest":"a","layers":[{"layer":0,"createdAt":""}]}]}"#,
        r#"{"records":[{"digest":"a","chains":[{"layers":[0],"createdAt":""}]}]}"#,
        r#"{"records":[{"digest":"a","inputs":[[{"link":1}]]}]}"#,
        r#"{"records":[{"digest":"a","inputs":[[]]}]}"#,
        r#"{"records":[{"digest":"a","inputs":[[{"link":0}]]}]}"#,
        r#"{"layers":[{"blob":"a","parent":-2}]}"#,
        r#"{"layers":[{"blob":"a","parent":5}]}"#,
    ] {
        assert!(CacheConfig::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_joined_configuration_holds_both_and_equal_records_once() {
    let old = config(&[("base", &[]), ("make", &[0]), ("test", &[1])]);
    let new = config(&[
        ("other", &[]),
        ("base", &[]),
        ("make", &[1]),
        ("make", &[0]),
    ]);
    let joined = old.joined(&new).unwrap();
    assert_eq!(joined.records.len(), 5);
    let mut expected = meaning(&old);
    expected.extend(meaning(&new));
    assert_eq!(meaning(&joined), expected);
    assert_eq!(old.joined(&old).unwrap(), old);
    joined.check().unwrap();
}

#[test]
fn another_result_of_a_record_is_kept() {
    let old = config(&[("base", &[])]);
    let mut new = old.clone();
    new.layers[0].blob = "sha256:again".to_owned();
    let joined = old.joined(&new).unwrap();
    assert_eq!((joined.records.len(), joined.layers.len()), (1, 2));
    let layers: Vec<usize> = joined.records[0]
        .results
        .iter()
        .map(|one| one.layer)
        .collect();
    assert_eq!(layers, [0, 1]);
}

#[test]
fn parts_are_small_enough_and_hold_everything_together() {
    let whole = forest(40, 25);
    let limit = whole.to_json().len() / 3;
    let parts = whole.split(limit).unwrap();
    assert!((3..6).contains(&parts.len()), "{} parts", parts.len());
    let mut found = BTreeMap::new();
    for part in &parts {
        assert!(part.to_json().len() <= limit, "{}", part.to_json().len());
        part.check().unwrap();
        assert!(part.has_one_last_record());
        found.extend(meaning(&part.clone().without_last_record()));
    }
    assert_eq!(found, meaning(&whole));
    let one = whole.clone().with_one_last_record();
    assert_eq!(whole.split(usize::MAX).unwrap(), [one]);
}

#[test]
fn the_additional_record_joins_all_last_ones_and_is_not_read_again() {
    let several = forest(3, 2);
    assert!(!several.has_one_last_record());
    let one = several.clone().with_one_last_record();
    assert!(one.has_one_last_record());
    assert_eq!(one.records.len(), several.records.len() + 1);
    assert_eq!(CacheConfig::parse(&one.to_json()).unwrap(), several);
    let single = forest(1, 4);
    assert_eq!(single.clone().with_one_last_record(), single);
}

#[test]
fn a_long_chain_and_too_many_parts_are_not_split() {
    let deep = forest(1, 100);
    let limit = deep.to_json().len() / 2;
    assert!(matches!(deep.split(limit), Err(CannotSplit::Deep)));
    let wide = forest(200, 1);
    let limit = wide.to_json().len() / 30;
    assert!(matches!(wide.split(limit), Err(CannotSplit::Long)));
}
