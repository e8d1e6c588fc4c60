//! The objects of the cluster. Pods are made, and run, as soon as a Deployment or a StatefulSet is.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Why pods do not become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No registry has their image.
    Image,
    /// No node has room for them.
    Unschedulable,
    /// A quota of the namespace forbids them, so there are none.
    Quota,
}

/// Status, reason and message of a refusal.
type Refusal = (u16, &'static str, String);

#[derive(Default)]
pub(crate) struct Objects {
    /// By plural, namespace and name.
    all: BTreeMap<(String, String, String), Value>,
    /// The programs that run in pods, by the pod's name. Cancelling one ends it.
    running: Vec<(String, CancellationToken)>,
    pub(crate) trouble: Option<Trouble>,
    /// The objects as clients have sent them.
    pub(crate) sent: Vec<Value>,
}

fn key(plural: &str, namespace: &str, name: &str) -> (String, String, String) {
    (plural.to_owned(), namespace.to_owned(), name.to_owned())
}

impl Objects {
    pub(super) fn get(&self, plural: &str, namespace: &str, name: &str) -> Result<Value, Refusal> {
        let found = self.all.get(&key(plural, namespace, name));
        found
            .cloned()
            .ok_or_else(|| (404, "NotFound", format!("{plural} \"{name}\" not found")))
    }

    pub(super) fn list(&self, plural: &str, namespace: &str, labels: &str) -> Value {
        let wanted: Vec<(&str, &str)> = labels
            .split(',')
            .filter_map(|label| label.split_once('='))
            .collect();
        let items = self.all.iter().filter(|((of, within, _), object)| {
            let labels = &object["metadata"]["labels"];
            of == plural
                && within == namespace
                && wanted.iter().all(|(name, value)| labels[*name] == *value)
        });
        let items: Vec<&Value> = items.map(|(_, object)| object).collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
    }

    pub(super) fn create(
        &mut self,
        plural: &str,
        namespace: &str,
        mut object: Value,
    ) -> Result<Value, Refusal> {
        self.sent.push(object.clone());
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if self.all.contains_key(&key(plural, namespace, &name)) {
            let message = format!("{plural} \"{name}\" already exists");
            return Err((409, "AlreadyExists", message));
        }
        object["metadata"]["namespace"] = namespace.into();
        object["metadata"]["uid"] = format!("uid-{}", self.sent.len()).into();
        if plural == "deployments" || plural == "statefulsets" {
            let replicas = object["spec"]["replicas"].as_u64().unwrap_or(1);
            let made = self.make_pods(plural, namespace, &name, &object, replicas);
            let ready = if self.trouble.is_none() { made } else { 0 };
            object["status"] = json!({"replicas": made, "readyReplicas": ready});
            if self.trouble == Some(Trouble::Quota) && plural == "deployments" {
                let message = format!(
                    "pods \"{name}-x\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=0, limited: pods=0"
                );
                object["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]);
            }
        }
        self.all
            .insert(key(plural, namespace, &name), object.clone());
        Ok(object)
    }

    fn make_pods(
        &mut self,
        plural: &str,
        namespace: &str,
        owner: &str,
        object: &Value,
        replicas: u64,
    ) -> u64 {
        if self.trouble == Some(Trouble::Quota) {
            return 0;
        }
        for number in 0..replicas {
            let name = match plural {
                "statefulsets" => format!("{owner}-{number}"),
                // The name of a ReplicaSet, and something random.
                _ => format!(
                    "{owner}-5d9c7b6f4-{}",
                    char::from(b'p' + u8::try_from(number).unwrap())
                ),
            };
            let mut pod = object["spec"]["template"].clone();
            pod["apiVersion"] = "v1".into();
            pod["kind"] = "Pod".into();
            pod["metadata"]["name"] = name.clone().into();
            pod["metadata"]["namespace"] = namespace.into();
            pod["metadata"]["ownedBy"] = owner.into();
            pod["status"] = self.pod_status(&pod);
            self.all.insert(key("pods", namespace, &name), pod);
        }
        replicas
    }

    fn pod_status(&self, pod: &Value) -> Value {
        let image = pod["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default();
        match self.trouble {
            None => json!({"phase": "Running", "containerStatuses": [
                {"name": "buildkitd", "ready": true, "state": {"running": {}}}]}),
            Some(Trouble::Image) => json!({"phase": "Pending", "containerStatuses": [
                {"name": "buildkitd", "ready": false, "state": {"waiting":
                    {"reason": "ImagePullBackOff", "message": format!("Back-off pulling image \"{image}\"")}}}]}),
            Some(_) => json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                 "message": "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate"}]}),
        }
    }

    pub(super) fn replace(
        &mut self,
        plural: &str,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Result<Value, Refusal> {
        self.get(plural, namespace, name)?;
        self.sent.push(object.clone());
        self.all
            .insert(key(plural, namespace, name), object.clone());
        Ok(object)
    }

    pub(super) fn delete(
        &mut self,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Refusal> {
        self.get(plural, namespace, name)?;
        self.all.remove(&key(plural, namespace, name));
        let pods: Vec<String> = self
            .all
            .iter()
            .filter(|(_, object)| object["metadata"]["ownedBy"] == name)
            .map(|((_, _, pod), _)| pod.clone())
            .collect();
        for pod in pods {
            self.lose_pod(&pod);
        }
        Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
    }

    /// The events of a StatefulSet that cannot make its pods.
    pub(super) fn events(&self, selector: &str) -> Value {
        let mut items = Vec::new();
        if self.trouble == Some(Trouble::Quota) && selector.contains("type=Warning") {
            items.push(
                json!({"reason": "FailedCreate", "lastTimestamp": "2026-01-01T00:00:00Z",
                "message": "create Pod failed error: pods is forbidden: exceeded quota: few"}),
            );
        }
        json!({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items})
    }

    /// The log of a pod. `None` if there is no such pod.
    pub(super) fn log(&self, namespace: &str, pod: &str, tail: &str) -> Option<String> {
        self.all.get(&key("pods", namespace, pod))?;
        let lines = [
            format!("the first line of {pod}\n"),
            format!("the last line of {pod}\n"),
        ];
        let tail = tail.parse().unwrap_or(lines.len());
        Some(lines[lines.len() - tail.min(lines.len())..].concat())
    }

    /// The names of all objects of a kind.
    pub(crate) fn names(&self, plural: &str) -> Vec<String> {
        let of = self.all.keys().filter(|(of, _, _)| of == plural);
        of.map(|(_, _, name)| name.clone()).collect()
    }

    /// The position of a pod among all pods. `None` if there is no such pod.
    pub(super) fn pod_number(&self, namespace: &str, name: &str) -> Option<usize> {
        self.all.get(&key("pods", namespace, name))?;
        self.names("pods").iter().position(|known| known == name)
    }

    /// Notes that a program runs in `pod`. The token ends it.
    pub(super) fn begin(&mut self, pod: &str) -> CancellationToken {
        let token = CancellationToken::new();
        self.running.push((pod.to_owned(), token.clone()));
        token
    }

    /// How many programs run in pods.
    pub(crate) fn programs(&self) -> usize {
        let running = self.running.iter();
        running.filter(|(_, token)| !token.is_cancelled()).count()
    }

    pub(super) fn lose_pod(&mut self, name: &str) {
        self.all
            .retain(|(plural, _, known), _| !(plural == "pods" && known == name));
        for (pod, token) in &self.running {
            if pod == name {
                token.cancel();
            }
        }
    }
}
