//! The endpoints of nodes in buildx's store, `kubernetes:///BUILDER?deployment=…&kubeconfig=…`, and the names of objects.
//!
//! The part `deployment` only makes endpoints of a builder differ: the objects have the name of the node.

use std::fmt::Write as _;

use crate::engine::endpoint::ClusterAccess;
use crate::types::Environment;

/// The longest name of an object. The last five characters are random.
const NAME: usize = 63;
const RANDOM: usize = 5;

/// The name of the Deployment or the StatefulSet of the node `node`.
pub(super) fn object_of(node: &str) -> String {
    node.replace('_', "-")
}

/// The cluster of the node with the endpoint `endpoint`. Another kind of endpoint, as in stores of old versions, stands for the
/// user's settings.
pub(super) fn cluster_of(endpoint: &str, environment: &Environment) -> ClusterAccess {
    let cluster = ClusterAccess::of(environment);
    let Some(rest) = endpoint.strip_prefix("kubernetes://") else {
        return cluster;
    };
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let kubeconfig = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "kubeconfig")
        .map(|(_, value)| value.into_owned());
    cluster.with_kubeconfigs(&kubeconfig.unwrap_or_default(), environment)
}

/// The endpoint of a new node. Relative paths in `KUBECONFIG` are completed, because a builder is used from any directory.
pub(in crate::builder) fn endpoint_of_node(
    builder: &str,
    node: &str,
    environment: &Environment,
) -> String {
    let kubeconfig = match environment.non_empty("KUBECONFIG") {
        Some(_) => {
            let paths = ClusterAccess::of(environment).kubeconfigs;
            let paths: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            paths.join(":")
        }
        None => String::new(),
    };
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("deployment", node)
        .append_pair("kubeconfig", &kubeconfig)
        .finish();
    format!("kubernetes:///{builder}?{query}")
}

/// A name for the endpoint of a node without a name, as buildx makes it.
pub(in crate::builder) fn random_node_name() -> String {
    let mut name = format!("buildkit-{}-", uuid::Uuid::new_v4());
    name.truncate(NAME - RANDOM);
    let mut suffix = String::new();
    for byte in uuid::Uuid::new_v4().as_bytes() {
        let _ = write!(suffix, "{byte:02x}");
    }
    name.extend(suffix.chars().take(RANDOM));
    name
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_endpoint_is_that_of_buildx_and_leads_back_to_the_kubeconfig() {
        let environment = Environment::of([("KUBECONFIG", "/k/my config")], "/w");
        let endpoint = endpoint_of_node("ci", "buildkit-1", &environment);
        // Written by buildx v0.36.1.
        assert_eq!(
            endpoint,
            "kubernetes:///ci?deployment=buildkit-1&kubeconfig=%2Fk%2Fmy+config"
        );
        let other = Environment::of([("HOME", "/root")], "/w");
        assert_eq!(
            cluster_of(&endpoint, &other).kubeconfigs,
            [PathBuf::from("/k/my config")]
        );
        assert_eq!(
            cluster_of("kubernetes:///ci?deployment=x&kubeconfig=", &other).kubeconfigs,
            [PathBuf::from("/root/.kube/config")]
        );
        assert_eq!(
            endpoint_of_node("ci", "n", &other),
            "kubernetes:///ci?deployment=n&kubeconfig="
        );
        let relative = Environment::of([("KUBECONFIG", "a:/b")], "/w");
        assert!(endpoint_of_node("ci", "n", &relative).ends_with("kubeconfig=%2Fw%2Fa%3A%2Fb"));
    }

    #[test]
    fn random_names_are_names_of_objects() {
        let name = random_node_name();
        assert_eq!(name.len(), "buildkit-".len() + 36 + 1 + RANDOM);
        assert_ne!(name, random_node_name());
        assert_eq!(object_of("ci_x0"), "ci-x0");
    }
}
