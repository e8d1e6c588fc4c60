//! Provenance and metadata of two builds, made comparable.

use serde_json::Value;

/// Replaces what differs from build to build: digests, sizes, times, ids of builds, sessions and machines. Steps of a build refer to
/// sessions, so that only their number counts. `root` repeats the request of a solve through the gateway, which all solves of
/// buildx are. `layers` of a provenance has those that the daemon happens to have in its cache.
pub(crate) fn normalize(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_own = |key: &str| {
                key.starts_with("local-sessionid:") || key.starts_with("sharedkey:localdir:")
            };
            let is_measured = |key: &str, value: &Value| {
                matches!(key, "sysUsage" | "resourceUsage") || key == "layers" && value.is_object()
            };
            fields.retain(|key, value| !is_own(key) && key != "root" && !is_measured(key, value));
            // buildx always names a session, so that it always has arguments.
            if fields
                .get("args")
                .and_then(Value::as_object)
                .is_some_and(|args| args.keys().all(|key| is_own(key)))
            {
                fields.shift_remove("args");
            }
            for (key, value) in fields.iter_mut() {
                match key.as_str() {
                    "buildInvocationID" | "buildStartedOn" | "buildFinishedOn" | "invocationId"
                    | "startedOn" | "finishedOn" | "size" => *value = Value::from("random"),
                    "digestMapping" => *value = Value::from("digests"),
                    "llbDefinition" => {
                        let steps = value.as_array().map(Vec::len);
                        *value = Value::from(steps);
                    }
                    _ => normalize(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::String(text) if text.starts_with("sha256:") => "digest".clone_into(text),
        _ => {}
    }
}
