//! The caches and the logs of builders.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Both;
use super::containers::{Engine, Names};
use crate::support::home::Home;

/// The facts of each record that both programs print in the same way.
fn facts(records: &[Value]) -> BTreeMap<String, Value> {
    let of = |record: &Value| {
        let mut parents: Vec<String> = record["Parents"]
            .as_array()
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        parents.sort();
        serde_json::json!({
            "parents": parents,
            "mutable": record["Mutable"].to_string().replace('"', ""),
            "reclaimable": record["Reclaimable"].to_string().replace('"', ""),
            "shared": record["Shared"].to_string().replace('"', ""),
            "size": record["Size"],
            "description": record["Description"],
            "uses": record["UsageCount"].to_string().replace('"', ""),
            "type": record["Type"],
        })
    };
    records
        .iter()
        .map(|record| (record["ID"].as_str().unwrap().to_owned(), of(record)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_cache_is_listed_as_buildx_lists_it_and_deleted() {
    let engine = Engine::new();
    let names = Names::new(&engine, "cache", 1);
    let name = names.create(0, &["--use"]);
    let home: &Home = &engine.both.home;
    home.write("work/docker-bake.hcl", "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n  output = [\"type=cacheonly\"]\n}\n");
    home.write("work/a", &"a".repeat(300_000));
    Both::said(&home.rbake(&[]), "rbake", &[]);

    let ours = |arguments: &[&str]| -> Vec<Value> {
        let text = engine.both.rbake(&[&["du", "--json"], arguments].concat());
        serde_json::from_str::<Vec<Value>>(&text).unwrap()
    };
    let theirs = |arguments: &[&str]| -> Vec<Value> {
        let text = engine
            .both
            .buildx(&[&["du", "--format", "json"], arguments].concat());
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let all = facts(&ours(&[]));
    assert!(all.len() >= 2, "{all:#?}");
    assert_eq!(all, facts(&theirs(&[])));
    for filter in [
        "type=source.local",
        "type!=source.local",
        "description~=local",
        "id=zzz",
    ] {
        let arguments = ["--filter", filter];
        assert_eq!(
            facts(&ours(&arguments)),
            facts(&theirs(&arguments)),
            "{filter}"
        );
    }
    assert!(ours(&["--filter", "until=24h"]).is_empty());
    let text = engine.both.rbake(&["du", "--builder", name]);
    assert!(
        text.starts_with("ID ") && text.contains("\nTotal: "),
        "{text}"
    );

    let refused = engine.both.try_rbake(&["prune"]);
    assert_eq!(refused.status.code(), Some(2), "nobody can be asked");
    assert_eq!(facts(&ours(&[])), all);
    // Nothing is old enough, and the limits are not reached.
    for limits in [
        &["--filter", "until=24h"][..],
        &["--max-used-space", "10gb", "--min-free-space", "1"],
    ] {
        let said = engine.both.rbake(&[&["prune", "--force"], limits].concat());
        assert_eq!(said, "Total: 0B\n", "{limits:?}");
    }
    let said = engine.both.rbake(&["prune", "--force", "--all"]);
    assert!(
        said.starts_with("ID ") && !said.contains("Total: 0B"),
        "{said}"
    );
    assert!(ours(&[]).is_empty() && theirs(&[]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_log_of_a_container_is_shown_and_a_stopped_one_is_not_asked_for_its_cache() {
    let engine = Engine::new();
    let names = Names::new(&engine, "logs", 1);
    let name = names.create(0, &["--bootstrap"]);
    let log = engine.both.rbake(&["logs", name]);
    assert!(log.contains("running server on"), "{log}");
    let last = engine.both.rbake(&["logs", "--tail", "1", name]);
    assert_eq!(last.lines().count(), 1, "{last}");
    engine.both.rbake(&["stop", name]);
    let output = engine.both.try_rbake(&["du", "--builder", name]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4));
    assert!(
        said.contains("builder::not-running") && said.contains("rbake builder start"),
        "{said}"
    );
    // Its log is still there.
    assert!(
        engine
            .both
            .rbake(&["logs", name])
            .contains("running server on")
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_log_and_the_cache_of_the_embedded_builder_are_shown() {
    let home = Home::with_programs();
    let said = |arguments: &[&str]| {
        let all = [&["--builder", "embedded", "+builder"], arguments].concat();
        Both::said(&home.rbake(&all), "rbake", &all)
    };
    assert_eq!(said(&["start"]), "the builder `embedded` runs\n");
    assert!(said(&["logs"]).contains("is ready"));
    assert!(said(&["du"]).contains("Total: "));
    assert!(said(&["inspect"]).contains("running"));
    assert_eq!(said(&["stop"]), "the embedded builder has stopped\n");
}
