//! Addresses of daemons in the pods of a Kubernetes cluster.
//!
//! The form of `kube-pod://` is that of BuildKit's connection helper (`client/connhelper/kubepod` at v0.32.2). How the cluster is
//! reached is in `engine::kubernetes`. Start at [`PodEndpoint`].

use std::fmt;
use std::path::PathBuf;

use super::InvalidEndpoint;
use crate::types::Environment;
use crate::types::secret::redact_url;

/// How the API server of a cluster is found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClusterAccess {
    /// The kubeconfigs, of which the first that sets a value decides it. Those that do not exist are ignored.
    pub(crate) kubeconfigs: Vec<PathBuf>,
    /// The context of the kubeconfigs. `None` for their current one.
    pub(crate) context: Option<String>,
    /// Whether this process may run in a pod of the cluster, whose own credentials are then used if no kubeconfig exists.
    pub(crate) may_be_in_cluster: bool,
}

impl ClusterAccess {
    /// The cluster of the user's settings: those of `KUBECONFIG`, or of `.kube/config` in the home directory.
    pub(crate) fn of(environment: &Environment) -> Self {
        let of_variable = environment.non_empty("KUBECONFIG");
        let kubeconfigs = match of_variable {
            Some(list) => Self::paths(list, environment),
            None => environment
                .non_empty("HOME")
                .map(|home| PathBuf::from(home).join(".kube/config"))
                .into_iter()
                .collect(),
        };
        Self {
            kubeconfigs,
            context: None,
            may_be_in_cluster: environment.non_empty("KUBERNETES_SERVICE_HOST").is_some(),
        }
    }

    /// The same, with the kubeconfigs of `list`, paths with colons between them, unless it is empty.
    pub(crate) fn with_kubeconfigs(mut self, list: &str, environment: &Environment) -> Self {
        if !list.is_empty() {
            self.kubeconfigs = Self::paths(list, environment);
        }
        self
    }

    fn paths(list: &str, environment: &Environment) -> Vec<PathBuf> {
        let current_dir = environment.current_dir();
        std::env::split_paths(list)
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| current_dir.join(path))
            .collect()
    }
}

/// A daemon in a pod, reached by running `buildctl dial-stdio` in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodEndpoint {
    /// The cluster.
    pub(crate) cluster: ClusterAccess,
    /// The namespace. `None` for that of the context.
    pub(crate) namespace: Option<String>,
    /// The pod's name.
    pub(crate) pod: String,
    /// The container. `None` for the pod's first one.
    pub(crate) container: Option<String>,
}

impl PodEndpoint {
    /// Parses `text`, an address `kube-pod://` that is followed by `rest`. It does not say where the cluster is.
    pub(super) fn parse(text: &str, rest: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint::Pod(redact_url(text));
        let (pod, query) = rest.split_once('?').unwrap_or((rest, ""));
        let pod = pod.strip_suffix('/').unwrap_or(pod);
        if !is_name(pod) {
            return Err(invalid());
        }
        let mut endpoint = Self {
            cluster: ClusterAccess::default(),
            namespace: None,
            pod: pod.to_owned(),
            container: None,
        };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = (!value.is_empty()).then(|| value.into_owned());
            match &*key {
                "context" => endpoint.cluster.context = value,
                "namespace" => endpoint.namespace = value,
                "container" => endpoint.container = value,
                _ => {}
            }
        }
        let names = [&endpoint.namespace, &endpoint.container];
        if names.into_iter().flatten().any(|name| !is_name(name)) {
            return Err(invalid());
        }
        Ok(endpoint)
    }
}

/// Whether `name` can be the name of an object. Kubernetes checks more, such as the length.
pub(crate) fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    name.bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric())
        && name.bytes().all(legal)
}

impl fmt::Display for PodEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kube-pod://{}", self.pod)?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let fields = [
            ("context", &self.cluster.context),
            ("namespace", &self.namespace),
            ("container", &self.container),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        match query.finish() {
            query if query.is_empty() => Ok(()),
            query => write!(f, "?{query}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;
    use crate::engine::endpoint::Endpoint;

    #[test_case("kube-pod://b-0")]
    #[test_case("kube-pod://b-0?context=far&namespace=ci&container=buildkitd")]
    fn an_address_of_a_pod_is_shown_as_it_was_written(text: &str) {
        assert_eq!(
            text.parse::<Endpoint>().map(|e| e.to_string()),
            Ok(text.to_owned())
        );
    }

    #[test_case("kube-pod://"; "no pod")]
    #[test_case("kube-pod://a/b"; "a path")]
    #[test_case("kube-pod://../x"; "dots")]
    #[test_case("kube-pod://Pod"; "a capital letter")]
    #[test_case("kube-pod://p?namespace=a/b"; "a path as namespace")]
    #[test_case("kube-pod://p?container=--x"; "a flag as container")]
    fn names_that_kubernetes_does_not_have_are_refused(text: &str) {
        let message = text.parse::<Endpoint>().unwrap_err().to_string();
        assert!(message.contains("does not name a pod"), "{message}");
    }

    #[test]
    fn kubeconfigs_come_from_the_variable_or_the_home_directory() {
        let paths = |environment: &Environment| ClusterAccess::of(environment).kubeconfigs;
        let home = Environment::of([("HOME", "/home/me")], "/w");
        assert_eq!(paths(&home), [PathBuf::from("/home/me/.kube/config")]);
        let set = home.with("KUBECONFIG", Some("a::/b"));
        assert_eq!(paths(&set), [PathBuf::from("/w/a"), "/b".into()]);
        assert_eq!(
            ClusterAccess::of(&set)
                .with_kubeconfigs("/c", &set)
                .kubeconfigs,
            [PathBuf::from("/c")]
        );
    }
}
