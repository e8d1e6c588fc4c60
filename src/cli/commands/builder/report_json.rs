//! A builder and its nodes as JSON, with the keys of `docker buildx ls --format json`.
//!
//! rbake adds `Why` to the current builder and `Reason` to a node that does not run.

use serde_json::{Map, Value, json};

use crate::builder::roster::{BuilderReport, NodeReport, NodeStatus};
use crate::golang::time::Timestamp;
use crate::types::secret::redact_urls;

/// The time that Go prints for one that is not set.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// The only file whose content is shown: the others may be keys.
pub(super) const SHOWN_FILE: &str = "buildkitd.toml";

/// `why` is set for the current builder.
pub(super) fn builder(report: &BuilderReport, why: Option<&str>) -> Value {
    let nodes: Vec<Value> = report.nodes.iter().map(node).collect();
    let activity = report.last_activity.map(Timestamp::rfc3339);
    let mut object = Map::new();
    object.insert("Name".into(), json!(report.name));
    object.insert("Driver".into(), json!(report.driver));
    object.insert(
        "LastActivity".into(),
        json!(activity.as_deref().unwrap_or(NEVER)),
    );
    object.insert("Dynamic".into(), json!(report.is_dynamic));
    object.insert("Nodes".into(), Value::Array(nodes));
    if let Some(problem) = &report.problem {
        object.insert("Err".into(), json!(problem));
    }
    object.insert("Current".into(), json!(why.is_some()));
    if let Some(why) = why {
        object.insert("Why".into(), json!(why));
    }
    Value::Object(object)
}

fn node(report: &NodeReport) -> Value {
    let (node, facts) = (&report.node, &report.facts);
    let mut object = Map::new();
    object.insert("Name".into(), json!(node.name));
    object.insert("Endpoint".into(), json!(node.endpoint));
    let mut filled = |key: &str, value: Value| {
        let is_empty = match &value {
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Null => true,
            _ => false,
        };
        if !is_empty {
            object.insert(key.into(), value);
        }
    };
    filled("Flags", json!(node.flags.as_deref().unwrap_or_default()));
    let options = node.driver_opts.iter();
    let options: Map<String, Value> = options
        .map(|(name, value)| (name.clone(), json!(redact_urls(value))))
        .collect();
    filled("DriverOpts", Value::Object(options));
    let files = node.files.iter().map(|(name, content)| {
        let shown = (name == SHOWN_FILE).then(|| content.expose().clone());
        (name.clone(), json!(shown))
    });
    filled("Files", Value::Object(files.collect()));
    filled("Status", json!(report.status.name()));
    filled("Version", json!(facts.version));
    let is_error = report.status == NodeStatus::Error;
    filled(
        if is_error { "Err" } else { "Reason" },
        json!(report.reason),
    );
    filled("IDs", json!(facts.worker_ids));
    let mut platforms: Vec<String> = Vec::new();
    for platform in node.platforms.iter().flatten().chain(&facts.platforms) {
        let text = platform.to_string();
        if !platforms.contains(&text) {
            platforms.push(text);
        }
    }
    filled("Platforms", json!(platforms));
    let rules = facts.gc_rules.iter().map(|rule| {
        let nanoseconds = u64::try_from(rule.keep_duration.as_nanos()).unwrap_or(u64::MAX);
        json!({
            "all": rule.all,
            // Go writes an empty list of this kind as `null`.
            "filter": (!rule.filters.is_empty()).then_some(&rule.filters),
            "keepDuration": nanoseconds,
            "reservedSpace": rule.reserved_space,
            "maxUsedSpace": rule.max_used_space,
            "minFreeSpace": rule.min_free_space,
        })
    });
    filled("GCPolicy", Value::Array(rules.collect()));
    filled("Labels", json!(facts.labels));
    Value::Object(object)
}
