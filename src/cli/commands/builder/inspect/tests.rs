use super::*;
use crate::builder::roster::{EntryOrigin, NodeStatus};
use crate::builder::store::Node;
use crate::engine::facts::{BuildDevice, DaemonFacts};
use crate::golang::time::Timestamp;

fn report() -> BuilderReport {
    let facts = DaemonFacts {
        version: Some("v0.32.2".into()),
        worker_ids: vec!["w".into()],
        platforms: vec!["linux/amd64".parse().unwrap(), "linux/386".parse().unwrap()],
        labels: [(
            "org.mobyproject.buildkit.worker.executor".into(),
            "oci".into(),
        )]
        .into(),
        gc_rules: vec![GcRule {
            all: true,
            keep_duration: Duration::from_secs(172_800),
            filters: vec!["type==source.local".into()],
            reserved_space: 10_000_000_000,
            ..GcRule::default()
        }],
        devices: vec![BuildDevice {
            name: "vendor.com/gpu".into(),
            is_allowed: true,
            on_demand: false,
        }],
    };
    let base64 = |text: &str| base64::prelude::BASE64_STANDARD.encode(text).into();
    let node = |name: &str| Node {
        name: name.into(),
        endpoint: "unix:///var/run/docker.sock".into(),
        ..Node::default()
    };
    let first = Node {
        platforms: Some(vec!["linux/386".parse().unwrap()]),
        driver_opts: [("env.HTTP_PROXY".into(), "http://u:hunter2@p:1".into())].into(),
        flags: Some(vec!["--debug".into()]),
        files: [
            ("buildkitd.toml".into(), base64("debug = true\n")),
            ("certs/h/key.pem".into(), base64("hunter2")),
        ]
        .into(),
        ..node("ci0")
    };
    BuilderReport {
        name: "ci".into(),
        origin: EntryOrigin::Store,
        driver: "docker-container".into(),
        last_activity: Some(Timestamp::from_unix(0)),
        is_dynamic: false,
        nodes: vec![
            NodeReport {
                node: first,
                status: NodeStatus::Running,
                reason: None,
                facts,
            },
            NodeReport {
                node: node("ci1"),
                status: NodeStatus::Error,
                reason: Some("it did not answer within 20 s".into()),
                facts: DaemonFacts::default(),
            },
        ],
        problem: None,
    }
}

#[test]
fn a_builder_is_printed_as_buildx_prints_it_with_the_reason_why_it_is_current() {
    insta::assert_snapshot!(as_text(&report(), Some("named by `BUILDX_BUILDER`")), @r#"
    Name:          ci
    Driver:        docker-container
    Last Activity: 1970-01-01 00:00:00 +0000 UTC
    Current:       named by `BUILDX_BUILDER`

    Nodes:
    Name:                  ci0
    Endpoint:              unix:///var/run/docker.sock
    Driver Options:        env.HTTP_PROXY="http://xxxxx:xxxxx@p:1"
    Status:                running
    BuildKit daemon flags: --debug
    BuildKit version:      v0.32.2
    Platforms:             linux/386*, linux/amd64
    Labels:
     org.mobyproject.buildkit.worker.executor: oci
    Devices:
     Name:                  vendor.com/gpu
     Automatically allowed: true
    GC Policy rule#0:
     All:             true
     Filters:         type==source.local
     Keep Duration:   48h0m0s
     Reserved Space:  9.313GiB
    File#buildkitd.toml:
     > debug = true
    File#certs/h/key.pem:

    Name:     ci1
    Endpoint: unix:///var/run/docker.sock
    Error:    it did not answer within 20 s
    "#);
}

#[test]
fn the_json_has_the_keys_of_buildx_and_no_secrets() {
    let json = report_json::builder(&report(), None);
    let text = json.to_string();
    assert!(
        !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
        "{text}"
    );
    assert_eq!(json["Current"], false);
    assert_eq!(json["LastActivity"], "1970-01-01T00:00:00Z");
    let node = &json["Nodes"][0];
    assert_eq!(
        node["Platforms"],
        serde_json::json!(["linux/386", "linux/amd64"])
    );
    assert_eq!(node["GCPolicy"][0]["keepDuration"], 172_800_000_000_000_u64);
    assert_eq!(node["Files"]["certs/h/key.pem"], serde_json::Value::Null);
    assert_eq!(json["Nodes"][1]["Err"], "it did not answer within 20 s");
    assert_eq!(json["Nodes"][1]["Status"], "error");
}
