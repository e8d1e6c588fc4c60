//! The builder that the user named: by flag, by variables, as buildx's current one, or as Docker's.
//!
//! What is named is used or is an error; nothing here looks whether it answers. Start at [`named`].

use super::candidate::{Candidate, Reach, Settings};
use super::docker_context::{ContextError, DockerContexts};
use super::error::{ChooseError, in_one_line};
use super::store::{Current, Instance, Node, Store};
use super::tls;
use crate::diag::Diagnostic;
use crate::engine::endpoint::{DockerHost, Endpoint, TlsMaterial};
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
    let set = |name: &&str| !name.is_empty();
    let by_name = flag.filter(set).map(|name| (name, "`--builder`"));
    let by_name = by_name.or_else(|| {
        let variable = environment.get("BUILDX_BUILDER").filter(set);
        variable.map(|name| (name, "`BUILDX_BUILDER`"))
    });
    if let Some((name, from)) = by_name {
        let candidate = by_that_name(name, from, environment)?;
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
        Ok(candidate) => return Ok((Some(candidate), trail)),
        Err(reason) => trail.push(Unnamed {
            what: "buildx's current builder",
            reason,
        }),
    }
    match by_docker(environment)? {
        Ok(candidate) => Ok((Some(candidate), trail)),
        Err(reason) => {
            trail.push(Unnamed {
                what: "`DOCKER_HOST`, `DOCKER_CONTEXT`, Docker's current context",
                reason,
            });
            Ok((None, trail))
        }
    }
}

// The Docker Engine that variables or Docker's current context name, or why they name none. As for buildx it is the
// builder where no other was chosen, so that one that does not answer is an error as any other.
fn by_docker(environment: &Environment) -> Result<Result<Candidate, String>, ChooseError> {
    let contexts = DockerContexts::new(environment);
    // Settings that cannot be read name nothing; a context that they name, and that is not there, is an error.
    if let Err(error) = contexts.current_name() {
        return Ok(Err(in_one_line(&error)));
    }
    let context = contexts.current()?;
    if !context.named {
        return Ok(Err("not set".to_owned()));
    }
    let from = context.from.clone();
    let warnings = contexts.warnings(&context);
    Ok(Ok(Candidate::docker(context, from, warnings)))
}

fn by_that_name(
    name: &str,
    from: &str,
    environment: &Environment,
) -> Result<Candidate, ChooseError> {
    if name.trim().is_empty() {
        return Err(ChooseError::Blank(from.to_owned()));
    }
    let store = Store::of(environment);
    if let Some(store) = &store
        && let Some(instance) = store.instance(name)?
    {
        return of_instance(&instance, from, environment);
    }
    // A Docker context is a builder too, as for buildx.
    let contexts = DockerContexts::new(environment);
    let known = match contexts.context(name) {
        Ok(context) => {
            let warnings = contexts.warnings(&context);
            return Ok(Candidate::docker(context, from.to_owned(), warnings));
        }
        Err(ContextError::Unknown { known, .. }) => known,
        Err(error) => return Err(error.into()),
    };
    if name == EMBEDDED {
        return Ok(Candidate::embedded(from));
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
            with_variables_tls(endpoint, environment)?
        }
    };
    Ok(Some(Candidate {
        name: crate::types::secret::redact_url(address.trim()),
        from: FROM.to_owned(),
        warnings: unused_tls(&reach, environment),
        reach,
        default_load: false,
        settings: Settings::BuildkitVariables,
    }))
}

const TLS_VARIABLES: [&str; 5] = [
    "BUILDKIT_TLS_DIR",
    "BUILDKIT_TLS_CACERT",
    "BUILDKIT_TLS_CERT",
    "BUILDKIT_TLS_KEY",
    "BUILDKIT_TLS_SERVERNAME",
];

// The variables may be set for other builders, so that they are no error for one without TLS.
fn unused_tls(reach: &Reach, environment: &Environment) -> Vec<Diagnostic> {
    if matches!(reach, Reach::Remote(Endpoint::Tcp { .. })) {
        return Vec::new();
    }
    let set = TLS_VARIABLES
        .into_iter()
        .find(|name| environment.non_empty(name).is_some());
    let warning = |name| {
        Diagnostic::warning(
            "builder::plain-text",
            format!("`{name}` is set, but TLS is spoken with addresses `tcp://…` only"),
        )
        .help(format!(
            "unset `{name}`, or name a TCP address in `BUILDKIT_HOST`"
        ))
    };
    set.map(warning).into_iter().collect()
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
        Some((_, name)) => contexts.context(&name).map_err(|error| match error {
            ContextError::Unknown { name, known, .. } => ContextError::Unknown {
                name,
                from: Some(from.to_owned()),
                known,
            },
            other => other,
        })?,
        None => contexts.current()?,
    };
    Ok(Reach::Container {
        container,
        host: context.host,
    })
}

// buildctl takes these as flags; as variables they are rbake's own. Files that are named one by one are looked at when the
// connection is made.
fn with_variables_tls(endpoint: Endpoint, environment: &Environment) -> Result<Reach, ChooseError> {
    if !matches!(endpoint, Endpoint::Tcp { .. }) {
        return Ok(Reach::Remote(endpoint));
    }
    let path = |variable: &str| {
        let path = environment.non_empty(variable)?;
        Some(environment.current_dir().join(path))
    };
    let mut material = match path("BUILDKIT_TLS_DIR") {
        Some(dir) => tls::in_folder(&dir, "`BUILDKIT_TLS_DIR`")?,
        None => TlsMaterial::default(),
    };
    material.ca = path("BUILDKIT_TLS_CACERT").or(material.ca);
    material.cert = path("BUILDKIT_TLS_CERT").or(material.cert);
    material.key = path("BUILDKIT_TLS_KEY").or(material.key);
    material.servername = environment
        .non_empty("BUILDKIT_TLS_SERVERNAME")
        .map(str::to_owned);
    Ok(Reach::Remote(endpoint.with_tls(material)))
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
    let mut settings = Settings::Store(instance.name.clone());
    let mut warnings = Vec::new();
    let mut engine = |text: &str| -> Result<DockerHost, ChooseError> {
        let context = contexts.context_or_host(text)?;
        warnings = contexts.warnings(&context);
        settings = context.settings;
        Ok(context.host)
    };
    let reach = match instance.driver.as_str() {
        "remote" => remote(node, from, environment)?,
        "docker" => {
            default_load = true;
            Reach::Docker(engine(&node.endpoint)?)
        }
        // buildx's own default where the file names none.
        "docker-container" | "" => Reach::Container {
            container: format!("buildx_buildkit_{}", node.name),
            host: engine(&node.endpoint)?,
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
        settings,
        warnings,
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
    let material = TlsMaterial {
        ca: file("cacert"),
        cert: file("cert"),
        key: file("key"),
        servername: node.option("servername").map(str::to_owned),
    };
    if !material.is_empty() && !matches!(endpoint, Endpoint::Tcp { .. }) {
        return Err(ChooseError::TlsWithoutTcp {
            from: from.to_owned(),
            address: endpoint.to_string(),
        });
    }
    Ok(Reach::Remote(endpoint.with_tls(material)))
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
    fn tls_that_was_asked_for_is_never_left_out() {
        let dir = store(None);
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::fs::create_dir(dir.path().join("empty")).unwrap();
        for folder in ["/nonexistent", "empty", "file"] {
            let variables = [("BUILDKIT_HOST", "tcp://h:1"), ("BUILDKIT_TLS_DIR", folder)];
            let error = named(None, &environment(dir.path(), &variables)).unwrap_err();
            assert!(matches!(error, ChooseError::Tls(_)), "{folder}: {error:?}");
        }
        for (variable, value) in [
            ("BUILDKIT_TLS_SERVERNAME", "b"),
            ("BUILDKIT_TLS_CACERT", "/nonexistent"),
            ("BUILDKIT_TLS_KEY", "/nonexistent"),
        ] {
            let variables = [("BUILDKIT_HOST", "tcp://h:1"), (variable, value)];
            let found = candidate(None, &environment(dir.path(), &variables)).unwrap();
            assert!(
                matches!(
                    found.reach,
                    Reach::Remote(Endpoint::Tcp { tls: Some(_), .. })
                ),
                "{variable}"
            );
        }
        let empty = [("BUILDKIT_HOST", "tcp://h:1"), ("BUILDKIT_TLS_DIR", "")];
        let found = candidate(None, &environment(dir.path(), &empty)).unwrap();
        assert!(matches!(
            found.reach,
            Reach::Remote(Endpoint::Tcp { tls: None, .. })
        ));
        let socket = [
            ("BUILDKIT_HOST", "unix:///run/b.sock"),
            ("BUILDKIT_TLS_DIR", "/nonexistent"),
        ];
        let found = candidate(None, &environment(dir.path(), &socket)).unwrap();
        assert!(found.warnings[0].message.contains("`BUILDKIT_TLS_DIR`"));
    }

    #[test]
    fn a_stored_builder_with_certificates_is_never_spoken_with_in_the_clear() {
        let dir = store(None);
        let text = r#"{"Name":"s","Driver":"remote","Nodes":[{"Name":"s0","Endpoint":"unix:///run/b.sock","DriverOpts":{"cacert":"/c/ca.pem"}}]}"#;
        std::fs::write(dir.path().join("buildx/instances/s"), text).unwrap();
        let error = named(Some("s"), &environment(dir.path(), &[])).unwrap_err();
        assert!(
            matches!(error, ChooseError::TlsWithoutTcp { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn the_docker_engine_that_was_named_is_a_named_builder() {
        let dir = store(None);
        let by_address = environment(dir.path(), &[("DOCKER_HOST", "tcp://127.0.0.1:1")]);
        let found = candidate(None, &by_address).unwrap();
        assert_eq!(found.from, "`DOCKER_HOST`");
        assert!(matches!(found.reach, Reach::Docker(_)));
        let by_context = environment(dir.path(), &[("DOCKER_CONTEXT", "typo")]);
        let error = named(None, &by_context).unwrap_err();
        assert!(matches!(error, ChooseError::Context(_)), "{error:?}");
        std::fs::write(
            dir.path().join("config.json"),
            r#"{"currentContext":"gone"}"#,
        )
        .unwrap();
        let error = named(None, &environment(dir.path(), &[])).unwrap_err();
        assert!(matches!(error, ChooseError::Context(_)), "{error:?}");
        let set_to_nothing = [("DOCKER_CONTEXT", "default"), ("DOCKER_HOST", "")];
        let (found, _) = named(None, &environment(dir.path(), &set_to_nothing)).unwrap();
        assert_eq!(found, None);
    }

    #[test]
    fn a_blank_name_is_no_builder() {
        let dir = store(None);
        let blank = environment(dir.path(), &[("BUILDX_BUILDER", " ")]);
        let error = named(None, &blank).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`BUILDX_BUILDER` is blank, and names no builder"
        );
        let nothing = environment(dir.path(), &[("BUILDX_BUILDER", "")]);
        assert_eq!(named(Some(""), &nothing).unwrap().0, None);
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
