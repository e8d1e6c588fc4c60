//! The fields of Kubernetes objects that rbake reads. Absent ones have the default of their type, as in Go.

use serde_json::Value;

use crate::engine::failure::clean;

/// The longest message of Kubernetes that is shown, in characters.
const MESSAGE: usize = 400;

/// A Deployment or a StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkloadState {
    /// How many of its pods are ready.
    pub(crate) ready: u64,
    /// Why it cannot make its pods, such as a quota. `None` if Kubernetes reports nothing.
    pub(crate) failure: Option<String>,
}

impl WorkloadState {
    pub(super) fn read(object: &Value) -> Self {
        let conditions = list(&object["status"]["conditions"]);
        let failure = conditions.iter().find(|condition| {
            condition["type"] == "ReplicaFailure" && condition["status"] == "True"
        });
        Self {
            ready: object["status"]["readyReplicas"].as_u64().unwrap_or(0),
            failure: failure.and_then(|condition| message(&condition["message"])),
        }
    }
}

/// Where in its life a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodPhase {
    /// Its containers do not run yet.
    Pending,
    /// At least one of its containers runs.
    Running,
    /// Its containers have ended, or their state is not known.
    Ended,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodState {
    pub(crate) name: String,
    pub(crate) phase: PodPhase,
    /// Whether it is being deleted.
    pub(crate) is_deleted: bool,
    /// Its first container. `None` if it has none.
    pub(crate) container: Option<String>,
    /// The platforms that its annotation names, with commas between them.
    pub(crate) platforms: Option<String>,
    /// Why it is not ready, as Kubernetes explains it. `None` if it is, or there is no explanation.
    pub(crate) trouble: Option<String>,
}

/// buildx's annotation of a pod with the platforms that the user fixed (`driver/kubernetes/manifest` at v0.36.1).
const PLATFORMS: &str = "buildx.docker.com/platform";

impl PodState {
    /// `None` if the object has no name.
    pub(super) fn read(object: &Value) -> Option<Self> {
        let metadata = &object["metadata"];
        let status = &object["status"];
        Some(Self {
            name: metadata["name"].as_str()?.to_owned(),
            phase: match status["phase"].as_str() {
                Some("Running") => PodPhase::Running,
                Some("Pending") | None => PodPhase::Pending,
                Some(_) => PodPhase::Ended,
            },
            is_deleted: !metadata["deletionTimestamp"].is_null(),
            container: object["spec"]["containers"][0]["name"]
                .as_str()
                .map(str::to_owned),
            platforms: metadata["annotations"][PLATFORMS]
                .as_str()
                .map(str::to_owned),
            trouble: trouble(status),
        })
    }
}

/// Why a pod is not ready: a container that waits or has ended, or the scheduler's reason, or its own.
fn trouble(status: &Value) -> Option<String> {
    // What happens to every container at first is not a reason.
    const NORMAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let of_init = list(&status["initContainerStatuses"]);
    for container in of_init.iter().chain(list(&status["containerStatuses"])) {
        if container["ready"] == true {
            continue;
        }
        let name = container["name"].as_str().unwrap_or_default();
        let waits = &container["state"]["waiting"];
        if let Some(reason) = waits["reason"]
            .as_str()
            .filter(|reason| !NORMAL.contains(reason))
        {
            return Some(told(name, reason, &waits["message"]));
        }
        for state in ["state", "lastState"] {
            let ended = &container[state]["terminated"];
            let Some(code) = ended["exitCode"].as_i64().filter(|code| *code != 0) else {
                continue;
            };
            let reason = ended["reason"].as_str().unwrap_or("ended");
            return Some(told(
                name,
                &format!("{reason}, exit code {code}"),
                &ended["message"],
            ));
        }
    }
    let scheduled = list(&status["conditions"])
        .iter()
        .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False");
    if let Some(condition) = scheduled {
        let reason = condition["reason"].as_str().unwrap_or("not scheduled");
        return Some(match message(&condition["message"]) {
            Some(message) => format!("{}: {message}", clean(reason)),
            None => clean(reason),
        });
    }
    match (status["reason"].as_str(), message(&status["message"])) {
        (Some(reason), Some(message)) => Some(format!("{}: {message}", clean(reason))),
        (Some(reason), None) => Some(clean(reason)),
        (None, message) => message,
    }
}

fn told(container: &str, reason: &str, text: &Value) -> String {
    let reason = clean(reason);
    match message(text) {
        Some(message) => format!("the container `{}`: {reason}: {message}", clean(container)),
        None => format!("the container `{}`: {reason}", clean(container)),
    }
}

/// The name of an object.
pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The objects of a list.
pub(super) fn items(list: &Value) -> &[Value] {
    self::list(&list["items"])
}

/// The message of a `Status`, the object that explains an error.
pub(super) fn message_of(body: &[u8]) -> Option<String> {
    let status: Value = serde_json::from_slice(body).ok()?;
    message(&status["message"])
}

/// The message of the newest event of a list.
pub(super) fn newest_warning(list: &Value) -> Option<String> {
    // RFC 3339, in UTC: later ones are greater.
    let time = |event: &Value| {
        let known = ["lastTimestamp", "eventTime", "firstTimestamp"];
        let known = known.into_iter().find_map(|name| event[name].as_str());
        known.unwrap_or_default().to_owned()
    };
    let newest = items(list).iter().max_by_key(|event| time(event))?;
    let text = message(&newest["message"])?;
    Some(match newest["reason"].as_str() {
        Some(reason) => format!("{}: {text}", clean(reason)),
        None => text,
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A message, cleaned and cut. `None` if it is empty.
fn message(value: &Value) -> Option<String> {
    let text = clean(value.as_str()?);
    if text.is_empty() {
        return None;
    }
    let mut cut: String = text.chars().take(MESSAGE).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    Some(cut)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &Value) -> PodState {
        let object = json!({"metadata": {"name": "b-0"}, "spec": {"containers": [{"name": "buildkitd"}]}, "status": status});
        PodState::read(&object).unwrap()
    }

    #[test]
    fn the_reason_of_a_pod_that_is_not_ready_is_found() {
        let image = json!({"phase": "Pending", "containerStatuses": [{"name": "buildkitd", "ready": false,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"x\""}}}]});
        assert_eq!(
            pod(&image).trouble.as_deref(),
            Some("the container `buildkitd`: ImagePullBackOff: Back-off pulling image \"x\"")
        );
        let unscheduled = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."}]});
        assert_eq!(
            pod(&unscheduled).trouble.as_deref(),
            Some("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.")
        );
        let crashed = json!({"phase": "Running", "containerStatuses": [{"name": "buildkitd", "ready": false, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]});
        assert_eq!(
            pod(&crashed).trouble.as_deref(),
            Some("the container `buildkitd`: Error, exit code 1")
        );
        let new = json!({"phase": "Pending", "containerStatuses": [{"name": "buildkitd", "ready": false,
            "state": {"waiting": {"reason": "ContainerCreating"}}}]});
        assert_eq!(pod(&new).trouble, None);
    }

    #[test]
    fn a_workload_reports_why_it_cannot_make_pods() {
        let object = json!({"status": {"readyReplicas": 1, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "pods \"b\" is forbidden: exceeded quota"}]}});
        let state = WorkloadState::read(&object);
        assert_eq!(state.ready, 1);
        assert!(state.failure.unwrap().contains("exceeded quota"));
    }

    #[test]
    fn objects_of_any_form_are_read_without_a_panic() {
        for strange in [
            json!(null),
            json!([]),
            json!({"status": [1], "metadata": {"name": 3}}),
            json!("x"),
        ] {
            assert!(PodState::read(&strange).is_none());
            assert_eq!(WorkloadState::read(&strange).ready, 0);
            assert!(newest_warning(&strange).is_none());
        }
        assert_eq!(message_of(b"<html>"), None);
    }

    #[test]
    fn long_messages_and_control_characters_do_not_reach_the_terminal() {
        let event = json!({"items": [{"reason": "Failed\u{1b}[1m", "message": "x".repeat(5000)}]});
        let text = newest_warning(&event).unwrap();
        assert!(
            text.starts_with("Failed[1m: xxx") && text.chars().count() < 450,
            "{text}"
        );
    }
}
