//! The objects of a node, as buildx makes them (`driver/kubernetes/manifest` at v0.36.1).
//!
//! They differ from buildx's in two cases, in which buildkitd would not find its configuration: with a claim, the folder of the
//! configuration is mounted, too; and the rootless buildkitd, which looks elsewhere, gets a flag.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::address::object_of;
use super::options::{
    APP, CLAIM, KubernetesOptions, LIMIT_CPU, LIMIT_EPHEMERAL, LIMIT_MEMORY, PLATFORM, REQUEST_CPU,
    REQUEST_EPHEMERAL, REQUEST_MEMORY, ROOT_IN_MEMORY,
};
use crate::builder::create::config_files::{CONFIG, FOLDER};
use crate::builder::store::Node;
use crate::engine::kubernetes::ObjectKind;

/// The container of buildkitd, and the claim and the volume for its state.
const CONTAINER: &str = "buildkitd";
const STATE: &str = "/var/lib/buildkit";
const ROOTLESS_STATE: &str = "/home/user/.local/share/buildkit";

/// A node cannot be described to Kubernetes.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// Its name is not one that an object can have.
    #[error("`{0}` is not a valid name of an object of Kubernetes")]
    Name(String),
    /// A file of its configuration is not one that an object can have.
    #[error("the content of `{name}` in buildx's store {why}")]
    File {
        /// The file.
        name: String,
        /// What is wrong with it, as a verb phrase.
        why: &'static str,
    },
}

fn bad_file(name: &str, why: &'static str) -> ObjectsError {
    ObjectsError::File {
        name: name.to_owned(),
        why,
    }
}

/// The objects of a node.
#[derive(Debug)]
pub(super) struct Objects {
    /// The name of the Deployment or the StatefulSet.
    pub(super) name: String,
    pub(super) kind: ObjectKind,
    /// The Deployment or the StatefulSet.
    pub(super) workload: Value,
    /// The files of buildkitd's configuration.
    pub(super) config_maps: Vec<Value>,
    /// The labels by which its pods are found.
    pub(super) selector: String,
}

impl Objects {
    /// The objects of `node`.
    ///
    /// # Errors
    /// The name or a file of the node is not one that Kubernetes can have.
    pub(super) fn of(node: &Node, options: &KubernetesOptions) -> Result<Self, ObjectsError> {
        let name = object_of(&node.name);
        if !crate::engine::endpoint::is_kubernetes_name(&name) {
            return Err(ObjectsError::Name(name));
        }
        let mut labels = options.labels.clone();
        labels.insert(APP.to_owned(), name.clone());
        let mut annotations = options.annotations.clone();
        if let Some(platforms) = node.platforms.as_ref().filter(|all| !all.is_empty()) {
            let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
            annotations.insert(PLATFORM.to_owned(), platforms.join(","));
        }
        if options.is_rootless {
            let name = format!("container.apparmor.security.beta.kubernetes.io/{CONTAINER}");
            annotations.insert(name, "unconfined".to_owned());
        }
        let selector: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut pod = Pod::default();
        let config_maps = pod.add_files(&name, node, &annotations)?;
        let template = pod.template(node, options, &labels, &annotations);
        let mut metadata = json!({"name": name, "labels": labels});
        set(&mut metadata, "annotations", &annotations);
        let mut workload = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": options.replicas,
                "selector": {"matchLabels": labels},
                "template": template,
            },
        });
        let mut kind = ObjectKind::Deployment;
        if let Some(amount) = options.amount(CLAIM) {
            kind = ObjectKind::StatefulSet;
            workload["kind"] = kind.name().into();
            workload["spec"]["serviceName"] = CONTAINER.into();
            workload["spec"]["podManagementPolicy"] = "Parallel".into();
            workload["spec"]["volumeClaimTemplates"] = json!([{
                "metadata": {"name": CONTAINER},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": amount}}},
            }]);
        }
        Ok(Self {
            name,
            kind,
            workload,
            config_maps,
            selector: selector.join(","),
        })
    }
}

/// The volumes of a pod.
#[derive(Default)]
struct Pod {
    mounts: Vec<Value>,
    volumes: Vec<Value>,
}

impl Pod {
    fn add(&mut self, name: &str, path: &str, source: (&str, Value)) {
        self.mounts.push(json!({"name": name, "mountPath": path}));
        let mut volume = json!({"name": name});
        volume[source.0] = source.1;
        self.volumes.push(volume);
    }

    /// Adds the files of `node`. Each folder is an object of its own, because the names in it cannot have slashes.
    fn add_files(
        &mut self,
        name: &str,
        node: &Node,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Vec<Value>, ObjectsError> {
        let mut folders: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for (path, content) in &node.files {
            let content = base64::prelude::BASE64_STANDARD
                .decode(content.expose())
                .map_err(|_| bad_file(path, "is not valid base64"))?;
            let content =
                String::from_utf8(content).map_err(|_| bad_file(path, "is not valid UTF-8"))?;
            let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
            let is_below = |part: &str| !part.is_empty() && part != "." && part != "..";
            if !path.split('/').all(is_below) {
                return Err(bad_file(
                    path,
                    "does not lead into the folder of the configuration",
                ));
            }
            folders
                .entry(folder)
                .or_default()
                .insert(file.to_owned(), content.into());
        }
        let mut objects = Vec::new();
        let mut number = 0;
        for (folder, files) in folders {
            let mut volume = "config".to_owned();
            let mut path = FOLDER.to_owned();
            if !folder.is_empty() {
                number += 1;
                volume = format!("config-{number}");
                path = format!("{FOLDER}/{folder}");
            }
            let object = format!("{name}-{volume}");
            self.add(&volume, &path, ("configMap", json!({"name": object})));
            let mut metadata = json!({"name": object});
            set(&mut metadata, "annotations", annotations);
            objects.push(json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata,
                "data": files,
            }));
        }
        Ok(objects)
    }

    /// Adds the volume of buildkitd's state, if it is not the one of the image.
    fn add_state(&mut self, options: &KubernetesOptions) {
        let in_memory = options.amount(ROOT_IN_MEMORY);
        let directory = in_memory.map_or_else(
            || json!({}),
            |amount| json!({"medium": "Memory", "sizeLimit": amount}),
        );
        let has_claim = options.amount(CLAIM).is_some();
        if options.is_rootless {
            // A claim of the same name replaces the directory.
            self.add(CONTAINER, ROOTLESS_STATE, ("emptyDir", directory));
        } else if in_memory.is_some() && !has_claim {
            self.add("buildkit-memory", STATE, ("emptyDir", directory));
        } else if in_memory.is_some() {
            // As in buildx: the volume is there, and nothing uses it.
            self.volumes
                .push(json!({"name": "buildkit-memory", "emptyDir": directory}));
        }
        if has_claim && !options.is_rootless {
            self.mounts
                .push(json!({"name": CONTAINER, "mountPath": STATE}));
        }
    }

    fn template(
        mut self,
        node: &Node,
        options: &KubernetesOptions,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
    ) -> Value {
        self.add_state(options);
        let mut metadata = json!({"labels": labels});
        set(&mut metadata, "annotations", annotations);
        let mut spec = json!({"containers": [self.container(node, options)]});
        if let Some(image) = &options.qemu {
            spec["initContainers"] = json!([{
                "name": "qemu",
                "image": image,
                "args": ["--install", "all"],
                "securityContext": {"privileged": true},
            }]);
        }
        for (field, text) in [
            ("serviceAccountName", &options.service_account),
            ("schedulerName", &options.scheduler),
        ] {
            if let Some(text) = text {
                spec[field] = text.as_str().into();
            }
        }
        set(&mut spec, "nodeSelector", &options.node_selector);
        if !options.tolerations.is_empty() {
            let all = options.tolerations.iter().map(|toleration| {
                let mut value = json!(toleration.fields);
                if let Some(seconds) = toleration.seconds {
                    value["tolerationSeconds"] = seconds.into();
                }
                value
            });
            spec["tolerations"] = all.collect();
        }
        if !self.volumes.is_empty() {
            spec["volumes"] = self.volumes.into();
        }
        json!({"metadata": metadata, "spec": spec})
    }

    fn container(&self, node: &Node, options: &KubernetesOptions) -> Value {
        let probe = json!({
            "exec": {"command": ["buildctl", "debug", "workers"]},
            "initialDelaySeconds": 5,
            "timeoutSeconds": 60,
            "periodSeconds": 30,
            "successThreshold": 1,
            "failureThreshold": 3,
        });
        let security = if options.is_rootless {
            json!({"seccompProfile": {"type": "Unconfined"}})
        } else {
            json!({"privileged": true})
        };
        let mut container = json!({
            "name": CONTAINER,
            "image": options.image,
            "resources": resources(options),
            "livenessProbe": probe,
            "readinessProbe": probe,
            "securityContext": security,
        });
        let arguments = arguments(node, options);
        if !arguments.is_empty() {
            container["args"] = arguments.into();
        }
        if !options.env.is_empty() {
            let env = options.env.iter();
            container["env"] = env
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
        }
        if !self.mounts.is_empty() {
            container["volumeMounts"] = self.mounts.clone().into();
        }
        container
    }
}

fn arguments(node: &Node, options: &KubernetesOptions) -> Vec<String> {
    let mut all: Vec<String> = node.flags.clone().unwrap_or_default();
    if options.is_rootless {
        all.push("--oci-worker-no-process-sandbox".to_owned());
        let names_config = |flag: &String| flag == "--config" || flag.starts_with("--config=");
        if node.files.contains_key(CONFIG) && !all.iter().any(names_config) {
            all.push(format!("--config={FOLDER}/{CONFIG}"));
        }
    }
    all
}

/// What a pod asks for, and what it may have. As in buildx, a request for storage of the node is a limit.
fn resources(options: &KubernetesOptions) -> Value {
    let of = |fields: &[(&str, &str)]| {
        let mut all = Map::new();
        for (field, option) in fields {
            if let Some(amount) = options.amount(option) {
                all.insert((*field).to_owned(), amount.into());
            }
        }
        all
    };
    let requests = of(&[("cpu", REQUEST_CPU), ("memory", REQUEST_MEMORY)]);
    let limits = of(&[
        ("cpu", LIMIT_CPU),
        ("memory", LIMIT_MEMORY),
        ("ephemeral-storage", REQUEST_EPHEMERAL),
        ("ephemeral-storage", LIMIT_EPHEMERAL),
    ]);
    let mut resources = Map::new();
    for (name, amounts) in [("limits", limits), ("requests", requests)] {
        if !amounts.is_empty() {
            resources.insert(name.to_owned(), amounts.into());
        }
    }
    resources.into()
}

/// Sets a field of `object`, unless `values` is empty.
fn set(object: &mut Value, field: &str, values: &BTreeMap<String, String>) {
    if !values.is_empty() {
        object[field] = json!(values);
    }
}

#[cfg(test)]
mod tests;
