use super::*;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;

const PAIR: &str = r#"{"Name":"pair","Driver":"remote","Nodes":[{"Name":"a","Endpoint":"tcp://u:secret@h:1"},{"Name":"b","Endpoint":"unix:///nonexistent/b.sock"}]}"#;
const KUBERNETES: &str = r#"{"Name":"k","Driver":"kubernetes","Nodes":[{"Name":"k0","Endpoint":"kubernetes:///k?deployment=k0"}],"Dynamic":true}"#;

fn environment(dir: &Path, more: &[(&str, &str)]) -> Environment {
    let config = [("DOCKER_CONFIG", dir.to_str().unwrap())];
    Environment::new(
        config
            .iter()
            .chain(more)
            .map(|(k, v)| ((*k).into(), (*v).into())),
        dir.into(),
    )
}

fn store(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join("buildx").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn builders_of_all_places_are_listed_with_all_their_nodes() {
    let dir = store(&[
        ("instances/pair", PAIR),
        ("instances/k", KUBERNETES),
        ("instances/bad", "{"),
        ("activity/pair", "2026-11-29T16:00:00Z"),
    ]);
    let environment = environment(dir.path(), &[("BUILDKIT_HOST", "tcp://u:secret@b:1234")]);
    let all = BuilderEntry::all(&environment);
    let names: Vec<&str> = all
        .iter()
        .filter(|entry| entry.origin != EntryOrigin::Socket)
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "bad",
            "k",
            "pair",
            "default",
            "tcp://xxxxx:xxxxx@b:1234",
            "embedded"
        ]
    );
    assert!(all[0].problem.is_some() && all[0].nodes.is_empty());
    assert!(all[1].is_dynamic && all[1].nodes[0].candidate.is_ok());
    let pair = &all[2];
    assert_eq!(pair.nodes.len(), 2);
    assert_eq!(pair.nodes[0].node.endpoint, "tcp://xxxxx:xxxxx@h:1");
    assert_eq!(
        pair.last_activity.map(Timestamp::rfc3339).as_deref(),
        Some("2026-11-29T16:00:00Z")
    );
}

#[test]
fn a_builder_of_the_store_hides_the_context_of_its_name() {
    let text = PAIR.replace("\"pair\"", "\"default\"");
    let dir = store(&[("instances/default", &text)]);
    let all = BuilderEntry::all(&environment(dir.path(), &[]));
    let defaults: Vec<_> = all.iter().filter(|entry| entry.name == "default").collect();
    assert_eq!(defaults.len(), 1);
    assert_eq!(defaults[0].origin, EntryOrigin::Store);
}

#[test]
fn a_builder_with_several_nodes_can_be_the_current_one() {
    let dir = store(&[
        ("instances/pair", PAIR),
        (
            "current",
            r#"{"Key":"unix:///var/run/docker.sock","Name":"pair","Global":false}"#,
        ),
    ]);
    let found = current_by_settings(None, &environment(dir.path(), &[])).unwrap();
    let (entry, current) = found.unwrap();
    assert_eq!(entry.nodes.len(), 2);
    assert_eq!(current.name, "pair");
    assert_eq!(current.why, "named by buildx's current builder");
}

#[test]
fn unknown_names_get_a_suggestion() {
    let dir = store(&[("instances/pair", PAIR)]);
    let error = BuilderEntry::named("piar", "the command line", &environment(dir.path(), &[]));
    let help = error.unwrap_err().diagnostic().help;
    assert_eq!(help, ["a builder with a similar name exists: `pair`"]);
}

// The Engine's socket first, then buildkitd's, then the embedded builder.
#[test]
fn without_a_setting_the_first_builder_that_answers_is_current() {
    let report = |name: &str, origin, status| BuilderReport {
        name: name.to_owned(),
        origin,
        driver: String::new(),
        last_activity: None,
        is_dynamic: false,
        nodes: vec![NodeReport {
            node: Node::default(),
            status,
            reason: None,
            facts: crate::engine::facts::DaemonFacts::default(),
        }],
        problem: None,
    };
    let mut all = vec![
        report("far", EntryOrigin::Store, NodeStatus::Running),
        report("other", EntryOrigin::Context, NodeStatus::Running),
        report("default", EntryOrigin::Context, NodeStatus::Running),
        report(
            "unix:///run/b.sock",
            EntryOrigin::Socket,
            NodeStatus::Running,
        ),
        report("embedded", EntryOrigin::Embedded, NodeStatus::Stopped),
    ];
    assert_eq!(current_by_state(&all).name, "default");
    all[2].nodes[0].status = NodeStatus::Error;
    assert_eq!(current_by_state(&all).name, "unix:///run/b.sock");
    all[3].nodes[0].status = NodeStatus::Inactive;
    assert_eq!(current_by_state(&all).name, "embedded");
}

fn at(path: &Path) -> BuilderEntry {
    BuilderEntry::of_socket(Endpoint::Unix(path.to_owned()))
}

#[tokio::test]
async fn builders_that_are_not_there_are_inactive_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(dir.path(), &[]);
    let entries = vec![at(&dir.path().join("none"))];
    let reports = look(entries, Duration::from_secs(20), &environment).await;
    let node = &reports[0].nodes[0];
    assert_eq!(node.status, NodeStatus::Inactive);
    let reason = node.reason.as_deref().unwrap();
    assert!(reason.contains("cannot connect to"), "{reason}");
}

#[tokio::test]
async fn many_silent_builders_take_no_longer_than_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silent");
    // It accepts connections and never answers.
    let _listener = UnixListener::bind(&path).unwrap();
    let entries: Vec<_> = (0..100).map(|_| at(&path)).collect();
    let started = Instant::now();
    let limit = Duration::from_millis(400);
    let reports = look(entries, limit, &environment(dir.path(), &[])).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(reports.len(), 100);
    for report in reports {
        assert_eq!(report.nodes.len(), 1);
        assert_eq!(report.nodes[0].status, NodeStatus::Error);
    }
}
