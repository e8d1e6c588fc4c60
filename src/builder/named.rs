//! The builder that the user named: by flag, by variables, or as buildx's current one.
//!
//! What is named is used or is an error; nothing here looks whether it answers. Start at [`named`].

use super::candidate::{Candidate, Reach};
use super::docker_context::DockerContexts;
use super::error::ChooseError;
use super::store::{Current, Instance, Node, Store};
use crate::engine::endpoint::{Endpoint, TlsMaterial};
use crate::types::Environment;

/// The name of the embedded builder for `--builder`, unless buildx has one of that name.
pub const EMBEDDED: &str = "embedded";

/// What was looked at, and why it names nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unnamed {
    /// What was looked at.
    pub what: &'static str,
    /// Why it names nothing.
    pub reason: String,
}

/// The first builder that is named, with the places before it that name none.
pub(super) fn named(
    flag: Option<&str>,
    environment: &Environment,
) -> Result<(Option<Candidate>, Vec<Unnamed>), ChooseError> {
    let mut trail = Vec::new();
    let by_name = flag.map(|name| (name, "`--builder`")).or_else(|| {
        let variable = environment.non_empty("BUILDX_BUILDER");
        variable.map(|name| (name, "`BUILDX_BUILDER`"))
    });
    if let Some((name, from)) = by_name {
        let candidate = by_that_name(name.trim(), from, environment)?;
        return Ok((Some(candidate), trail));
    }
    trail.push(Unnamed {
        what: "`--builder`, `BUILDX_BUILDER`",
        reason: "not set".to_owned(),
    });
    if let Some(candidate) = by_address(environment)? {
        return Ok((Some(candidate), trail));
    }
    trail.push(Unnamed {
        what: "`BUILDKIT_HOST`",
        reason: "not set".to_owned(),
    });
    match current(environment)? {
        Ok(candidate) => Ok((Some(candidate), trail)),
        Err(reason) => {
            trail.push(Unnamed {
                what: "buildx's current builder",
                reason,
            });
            Ok((None, trail))
        }
    }
}

fn by_that_name(
    name: &str,
    from: &str,
    environment: &Environment,
) -> Result<Candidate, ChooseError> {
    let store = Store::of(environment);
    if let Some(store) = &store
        && let Some(instance) = store.instance(name)?
    {
        return of_instance(&instance, from, environment);
    }
    // A Docker context is a builder too, as for buildx.
    let contexts = DockerContexts::new(environment);
    let known = contexts.names();
    if known.iter().any(|context| context == name) {
        let context = contexts.context(name)?;
        return Ok(Candidate {
            name: name.to_owned(),
            from: from.to_owned(),
            reach: Reach::Docker(context.host),
            default_load: true,
        });
    }
    if name == EMBEDDED {
        return Ok(Candidate {
            name: EMBEDDED.to_owned(),
            from: from.to_owned(),
            reach: Reach::Embedded,
            default_load: false,
        });
    }
    let mut all = store.map(|store| store.names()).unwrap_or_default();
    all.extend(known);
    all.push(EMBEDDED.to_owned());
    Err(ChooseError::Unknown {
        name: name.to_owned(),
        from: from.to_owned(),
        known: all,
    })
}

fn by_address(environment: &Environment) -> Result<Option<Candidate>, ChooseError> {
    const FROM: &str = "`BUILDKIT_HOST`";
    let Some(address) = environment.non_empty("BUILDKIT_HOST") else {
        return Ok(None);
    };
    let reach = match address.trim() {
        container if container.starts_with("docker-container://") => {
            in_container(container, FROM, environment)?
        }
        other => {
            let endpoint: Endpoint = other.parse().map_err(|source| ChooseError::Address {
                from: FROM.to_owned(),
                source,
            })?;
            Reach::Remote(endpoint.with_tls(tls_of_variables(environment)))
        }
    };
    Ok(Some(Candidate {
        name: crate::types::secret::redact_url(address.trim()),
        from: FROM.to_owned(),
        reach,
        default_load: false,
    }))
}

// `docker-container://name` or `docker-container://name?context=docker-context`.
fn in_container(
    address: &str,
    from: &str,
    environment: &Environment,
) -> Result<Reach, ChooseError> {
    let (plain, query) = address.split_once('?').unwrap_or((address, ""));
    let endpoint: Endpoint = plain.parse().map_err(|source| ChooseError::Address {
        from: from.to_owned(),
        source,
    })?;
    let Endpoint::DockerContainer { container, .. } = endpoint else {
        return Ok(Reach::Remote(endpoint));
    };
    let named = url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, value)| key == "context" && !value.is_empty());
    let contexts = DockerContexts::new(environment);
    let context = match named {
        Some((_, name)) => contexts.context(&name)?,
        None => contexts.current()?,
    };
    Ok(Reach::Container {
        container,
        host: context.host,
    })
}

// buildctl takes these as flags; as variables they are rbake's own.
fn tls_of_variables(environment: &Environment) -> TlsMaterial {
    let dir = environment
        .non_empty("BUILDKIT_TLS_DIR")
        .map(|dir| environment.current_dir().join(dir));
    let file = |variable: &str, name: &str| {
        let own = environment
            .non_empty(variable)
            .map(|file| environment.current_dir().join(file));
        own.or_else(|| Some(dir.as_ref()?.join(name)).filter(|file| file.exists()))
    };
    TlsMaterial {
        ca: file("BUILDKIT_TLS_CACERT", "ca.pem"),
        cert: file("BUILDKIT_TLS_CERT", "cert.pem"),
        key: file("BUILDKIT_TLS_KEY", "key.pem"),
        servername: environment
            .non_empty("BUILDKIT_TLS_SERVERNAME")
            .map(str::to_owned),
    }
}

// buildx's current builder, or why there is none.
fn current(environment: &Environment) -> Result<Result<Candidate, String>, ChooseError> {
    let store = match Store::of(environment) {
        Some(store) if store.dir().is_dir() => store,
        _ => return Ok(Err("buildx has no builders here".to_owned())),
    };
    let key = DockerContexts::new(environment).store_key()?;
    match store.current(&key)? {
        Current::None => Ok(Err("none is chosen".to_owned())),
        Current::Gone(name) => Ok(Err(format!("`{name}` was chosen and is removed since"))),
        Current::Instance(instance) => {
            of_instance(&instance, "buildx's current builder", environment).map(Ok)
        }
    }
}

fn of_instance(
    instance: &Instance,
    from: &str,
    environment: &Environment,
) -> Result<Candidate, ChooseError> {
    let node = match instance.nodes.as_slice() {
        [node] => node,
        nodes => {
            return Err(ChooseError::Nodes {
                name: instance.name.clone(),
                from: from.to_owned(),
                count: nodes.len(),
            });
        }
    };
    let contexts = DockerContexts::new(environment);
    let mut default_load = node.option("default-load").is_some_and(is_true);
    let reach = match instance.driver.as_str() {
        "remote" => remote(node, from, environment)?,
        "docker" => {
            default_load = true;
            Reach::Docker(contexts.context_or_host(&node.endpoint)?.host)
        }
        // buildx's own default where the file names none.
        "docker-container" | "" => Reach::Container {
            container: format!("buildx_buildkit_{}", node.name),
            host: contexts.context_or_host(&node.endpoint)?.host,
        },
        other => {
            return Err(ChooseError::Driver {
                name: instance.name.clone(),
                from: from.to_owned(),
                driver: other.to_owned(),
            });
        }
    };
    Ok(Candidate {
        name: instance.name.clone(),
        from: from.to_owned(),
        reach,
        default_load,
    })
}

fn remote(node: &Node, from: &str, environment: &Environment) -> Result<Reach, ChooseError> {
    if node.endpoint.starts_with("docker-container://") {
        return in_container(&node.endpoint, from, environment);
    }
    let endpoint: Endpoint = node
        .endpoint
        .parse()
        .map_err(|source| ChooseError::Address {
            from: from.to_owned(),
            source,
        })?;
    let file = |name: &str| {
        let path = node.option(name)?;
        Some(environment.current_dir().join(path))
    };
    Ok(Reach::Remote(endpoint.with_tls(TlsMaterial {
        ca: file("cacert"),
        cert: file("cert"),
        key: file("key"),
        servername: node.option("servername").map(str::to_owned),
    })))
}

fn is_true(text: &str) -> bool {
    crate::types::go::parse_bool(text) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const MTLS: &str = r#"{"Name":"far","Driver":"remote","Nodes":[{"Name":"far0","Endpoint":"tcp://b.example:1234","DriverOpts":{"cacert":"/c/ca.pem","cert":"/c/cert.pem","key":"/c/key.pem","servername":"b","default-load":"true"}}]}"#;
    const CONTAINER: &str = r#"{"Name":"ci","Driver":"docker-container","Nodes":[{"Name":"ci0","Endpoint":"unix:///var/run/docker.sock","DriverOpts":null}]}"#;
    const KUBERNETES: &str = r#"{"Name":"k","Driver":"kubernetes","Nodes":[{"Name":"k0","Endpoint":"kubernetes:///k?deployment=k0"}]}"#;
    const TWO: &str = r#"{"Name":"two","Driver":"remote","Nodes":[{"Name":"a","Endpoint":"unix:///a"},{"Name":"b","Endpoint":"unix:///b"}]}"#;

    fn store(current: Option<&str>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let instances = dir.path().join("buildx/instances");
        std::fs::create_dir_all(&instances).unwrap();
        for (name, text) in [
            ("far", MTLS),
            ("ci", CONTAINER),
            ("k", KUBERNETES),
            ("two", TWO),
        ] {
            std::fs::write(instances.join(name), text).unwrap();
        }
        if let Some(name) = current {
            let text = format!(
                r#"{{"Key":"unix:///var/run/docker.sock","Name":"{name}","Global":false}}"#
            );
            std::fs::write(dir.path().join("buildx/current"), text).unwrap();
        }
        dir
    }

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

    fn candidate(flag: Option<&str>, environment: &Environment) -> Result<Candidate, ChooseError> {
        named(flag, environment).map(|(candidate, _)| candidate.unwrap())
    }

    #[test]
    fn the_flag_comes_before_the_variables_and_they_before_the_store() {
        let dir = store(Some("far"));
        let both = environment(
            dir.path(),
            &[
                ("BUILDX_BUILDER", "ci"),
                ("BUILDKIT_HOST", "unix:///run/b.sock"),
            ],
        );
        assert_eq!(candidate(Some("far"), &both).unwrap().name, "far");
        assert_eq!(candidate(None, &both).unwrap().name, "ci");
        let host = environment(dir.path(), &[("BUILDKIT_HOST", "unix:///run/b.sock")]);
        let found = candidate(None, &host).unwrap();
        assert_eq!(
            found.reach,
            Reach::Remote(Endpoint::Unix("/run/b.sock".into()))
        );
        let nothing = environment(dir.path(), &[]);
        let found = candidate(None, &nothing).unwrap();
        assert_eq!(
            (found.name.as_str(), found.driver().name()),
            ("far", "remote")
        );
        assert!(found.default_load);
    }

    #[test]
    fn certificates_come_from_the_store_or_from_variables() {
        let dir = store(None);
        let plain = environment(dir.path(), &[]);
        let Reach::Remote(Endpoint::Tcp { tls: Some(tls), .. }) =
            candidate(Some("far"), &plain).unwrap().reach
        else {
            panic!("no TLS")
        };
        assert_eq!(tls.servername.as_deref(), Some("b"));
        std::fs::write(dir.path().join("ca.pem"), "").unwrap();
        std::fs::write(dir.path().join("key.pem"), "").unwrap();
        let variables = environment(
            dir.path(),
            &[
                ("BUILDKIT_HOST", "tcp://h:1"),
                ("BUILDKIT_TLS_DIR", "."),
                ("BUILDKIT_TLS_KEY", "/k/own.pem"),
            ],
        );
        let Reach::Remote(Endpoint::Tcp { tls: Some(tls), .. }) =
            candidate(None, &variables).unwrap().reach
        else {
            panic!("no TLS")
        };
        assert_eq!(tls.key.as_deref(), Some(Path::new("/k/own.pem")));
        assert!(tls.ca.unwrap().ends_with("ca.pem"));
        assert_eq!(tls.cert, None);
    }

    #[test]
    fn containers_are_found_on_their_docker_engine() {
        let dir = store(None);
        let found = candidate(Some("ci"), &environment(dir.path(), &[])).unwrap();
        let Reach::Container { container, host } = found.reach else {
            panic!("no container")
        };
        assert_eq!(container, "buildx_buildkit_ci0");
        assert_eq!(host.to_string(), "unix:///var/run/docker.sock");
        let by_host = environment(
            dir.path(),
            &[
                ("BUILDKIT_HOST", "docker-container://b"),
                ("DOCKER_HOST", "tcp://d:1"),
            ],
        );
        let Reach::Container { host, .. } = candidate(None, &by_host).unwrap().reach else {
            panic!("no container")
        };
        assert_eq!(host.to_string(), "tcp://d:1");
    }

    #[test]
    fn what_cannot_be_used_is_an_error_and_never_passed_over() {
        let dir = store(Some("k"));
        let environment = environment(dir.path(), &[]);
        let error = named(None, &environment).unwrap_err();
        assert!(matches!(error, ChooseError::Driver { driver, .. } if driver == "kubernetes"));
        let error = named(Some("two"), &environment).unwrap_err();
        assert!(matches!(error, ChooseError::Nodes { count: 2, .. }));
        let error = named(Some("fra"), &environment).unwrap_err();
        assert!(
            matches!(error, ChooseError::Unknown { known, .. } if known.contains(&"far".to_owned()))
        );
    }

    #[test]
    fn contexts_and_the_embedded_builder_have_names() {
        let dir = store(None);
        let environment = environment(dir.path(), &[]);
        let found = candidate(Some("default"), &environment).unwrap();
        assert!(matches!(found.reach, Reach::Docker(_)) && found.default_load);
        let found = candidate(Some("embedded"), &environment).unwrap();
        assert_eq!(found.reach, Reach::Embedded);
    }

    #[test]
    fn a_removed_current_builder_names_nothing_and_says_so() {
        let dir = store(Some("gone"));
        let (found, trail) = named(None, &environment(dir.path(), &[])).unwrap();
        assert_eq!(found, None);
        assert_eq!(trail[2].reason, "`gone` was chosen and is removed since");
    }
}
