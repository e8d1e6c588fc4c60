//! Reads kubeconfigs. Only the parser of the client crate is used: what it reads by itself depends on the variables of this
//! process, which `cli` reads.

use std::io;
use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::KubernetesError;
use crate::engine::endpoint::ClusterAccess;
use crate::engine::failure::clean;
use crate::types::blocking::unblock;

/// The most that is read of a kubeconfig, in bytes.
const SIZE_LIMIT: u64 = 8 << 20;

/// The settings of the client for `cluster`.
pub(super) async fn load(cluster: &ClusterAccess) -> Result<kube::Config, KubernetesError> {
    let asked = cluster.clone();
    let Some(merged) = unblock(move || read_all(&asked.kubeconfigs)).await? else {
        if cluster.may_be_in_cluster {
            return kube::Config::incluster()
                .map_err(|error| KubernetesError::Config(clean(&error.to_string())));
        }
        return Err(KubernetesError::NoConfig(cluster.kubeconfigs.clone()));
    };
    let known: Vec<String> = merged
        .contexts
        .iter()
        .map(|named| named.name.clone())
        .collect();
    let name = cluster
        .context
        .clone()
        .or_else(|| merged.current_context.clone());
    let options = KubeConfigOptions {
        context: name.clone().filter(|name| !name.is_empty()),
        ..KubeConfigOptions::default()
    };
    if options.context.is_none() {
        return Err(KubernetesError::NoContext { known });
    }
    kube::Config::from_custom_kubeconfig(merged, &options)
        .await
        .map_err(|error| match error {
            KubeconfigError::LoadContext(name) => KubernetesError::UnknownContext { name, known },
            KubeconfigError::CurrentContextNotSet => KubernetesError::NoContext { known },
            other => KubernetesError::Config(clean(&other.to_string())),
        })
}

/// The files of `paths` that exist, merged. `None` if none does.
fn read_all(paths: &[PathBuf]) -> Result<Option<Kubeconfig>, KubernetesError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        let Some(next) = read(path)? else { continue };
        merged = Some(match merged {
            None => next,
            Some(before) => before
                .merge(next)
                .map_err(|error| KubernetesError::Config(clean(&error.to_string())))?,
        });
    }
    Ok(merged)
}

fn read(path: &Path) -> Result<Option<Kubeconfig>, KubernetesError> {
    let failed = |source| KubernetesError::ConfigFile {
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > SIZE_LIMIT => {
            return Err(failed(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "it is too large",
            )));
        }
        Ok(found) if !found.is_file() => {
            return Err(failed(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a file",
            )));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    match Kubeconfig::read_from(path) {
        Ok(config) => Ok(Some(config)),
        Err(KubeconfigError::ReadConfig(source, _)) => Err(failed(source)),
        Err(KubeconfigError::Parse(error)) => Err(KubernetesError::ConfigSyntax {
            path: path.to_owned(),
            line: error
                .location()
                .map(|at| at.line())
                .filter(|line| *line > 0),
        }),
        Err(_) => Err(KubernetesError::ConfigSyntax {
            path: path.to_owned(),
            line: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::causes::in_one_line;

    const WHOLE: &str = "apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://10.0.0.1:6443'}}]
users: [{name: u, user: {token: s3cr3t}}]
contexts:
- {name: far, context: {cluster: c, user: u, namespace: ci}}
- {name: near, context: {cluster: c, user: u}}
current-context: near
";

    fn access(folder: &Path, files: &[(&str, &str)], context: Option<&str>) -> ClusterAccess {
        let paths = files.iter().map(|(name, text)| {
            let path = folder.join(name);
            if !text.is_empty() {
                std::fs::write(&path, text).unwrap();
            }
            path
        });
        ClusterAccess {
            kubeconfigs: paths.collect(),
            context: context.map(str::to_owned),
            may_be_in_cluster: false,
        }
    }

    async fn error(files: &[(&str, &str)], context: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let error = load(&access(folder.path(), files, context))
            .await
            .unwrap_err();
        let text = in_one_line(&error);
        assert!(!text.contains("s3cr3t"), "{text}");
        text
    }

    #[tokio::test]
    async fn a_context_names_the_server_and_the_namespace() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("missing", ""), ("config", WHOLE)];
        let near = load(&access(folder.path(), &files, None)).await.unwrap();
        assert_eq!(near.cluster_url.to_string(), "https://10.0.0.1:6443/");
        assert_eq!(near.default_namespace, "default");
        let far = load(&access(folder.path(), &files, Some("far")))
            .await
            .unwrap();
        assert_eq!(far.default_namespace, "ci");
    }

    #[tokio::test]
    async fn errors_say_what_is_wrong_and_print_no_credential() {
        let missing = error(&[("a", "")], None).await;
        assert!(
            missing.contains("there is no kubeconfig") && missing.contains("/a`"),
            "{missing}"
        );
        let unknown = error(&[("a", WHOLE)], Some("fer")).await;
        assert!(unknown.contains("no context `fer`"), "{unknown}");
        let unset = error(&[("a", &WHOLE.replace("current-context: near", ""))], None).await;
        assert!(unset.contains("does not set a current context"), "{unset}");
        let broken = WHOLE.replace("{token: s3cr3t}", "{token: [s3cr3t}");
        let broken = error(&[("a", &broken)], None).await;
        assert!(broken.contains("not a valid kubeconfig"), "{broken}");
        let typed = WHOLE.replace("{token: s3cr3t}", "s3cr3t");
        let typed = error(&[("a", &typed)], None).await;
        assert!(typed.contains("not a valid kubeconfig"), "{typed}");
    }
}
