use super::*;
use test_case::test_case;

// A context as `docker context create far --docker host=tcp://far.example:2376,ca=…` stores it.
fn config_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let id = Digest::sha256(b"far");
    let meta = dir.path().join("contexts/meta").join(id.hex());
    let tls = dir
        .path()
        .join("contexts/tls")
        .join(id.hex())
        .join("docker");
    std::fs::create_dir_all(&meta).unwrap();
    std::fs::create_dir_all(&tls).unwrap();
    std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"far","Metadata":{"Description":"x"},"Endpoints":{"docker":{"Host":"tcp://far.example:2376","SkipTLSVerify":false}}}"#,
        )
        .unwrap();
    std::fs::write(tls.join("ca.pem"), "x").unwrap();
    std::fs::write(
        dir.path().join("config.json"),
        r#"{"auths":{},"currentContext":"far"}"#,
    )
    .unwrap();
    dir
}

fn environment(dir: &Path, more: &[(&str, &str)]) -> Environment {
    let variables = [("DOCKER_CONFIG", dir.to_str().unwrap())];
    let all = variables.iter().chain(more);
    Environment::new(
        all.map(|(name, value)| ((*name).into(), (*value).into())),
        "/".into(),
    )
}

#[test]
fn the_current_context_has_host_and_certificates() {
    let dir = config_dir();
    let environment = environment(dir.path(), &[]);
    let contexts = DockerContexts::new(&environment);
    let context = contexts.current().unwrap();
    assert_eq!(context.name, "far");
    assert_eq!(context.host.to_string(), "tcp://far.example:2376");
    let DockerHost::Tcp { tls, .. } = context.host else {
        panic!("not tcp")
    };
    assert!(tls.unwrap().ca.unwrap().ends_with("docker/ca.pem"));
    assert_eq!(contexts.names(), ["default", "far"]);
    assert_eq!(contexts.store_key().unwrap(), "far");
}

#[test]
fn config_json_is_read_as_in_go_and_never_quoted() {
    let dir = config_dir();
    let environment = environment(dir.path(), &[]);
    let contexts = DockerContexts::new(&environment);
    let config = dir.path().join("config.json");
    for (text, name) in [
        (r#"{"CURRENTCONTEXT":"far"} trailing"#, "far"),
        (
            r#"{"currentContext":"far","currentcontext":null,"auths":[]}"#,
            "far",
        ),
        ("", "default"),
        ("null", "default"),
        ("{", "default"),
        ("\u{feff}{\"currentContext\":\"far\"}", "default"),
    ] {
        std::fs::write(&config, text).unwrap();
        assert_eq!(contexts.current_name().unwrap(), name, "{text}");
    }
    let id = Digest::sha256(b"far");
    let meta = dir
        .path()
        .join("contexts/meta")
        .join(id.hex())
        .join("meta.json");
    let lower =
        r#"{"name":"far","endpoints":{"docker":{"host":"unix:///s","SKIPTLSVERIFY":null},"x":5}}"#;
    std::fs::write(&meta, lower).unwrap();
    assert_eq!(
        contexts.context("far").unwrap().host.to_string(),
        "unix:///s"
    );
    std::fs::write(&meta, r#"{"Endpoints":{"docker":{"Host":["hunter2"]}}}"#).unwrap();
    let error = contexts.context("far").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("`Endpoints.docker.Host` is an array, not a string"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn docker_host_takes_precedence_over_contexts_and_gets_tls_from_variables() {
    let dir = config_dir();
    let environment = environment(
        dir.path(),
        &[
            ("DOCKER_HOST", "tcp://h.example"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CONTEXT", "far"),
        ],
    );
    std::fs::write(dir.path().join("ca.pem"), "x").unwrap();
    let contexts = DockerContexts::new(&environment);
    let context = contexts.current().unwrap();
    assert_eq!(context.host.to_string(), "tcp://h.example:2375");
    assert!(matches!(context.host, DockerHost::Tcp { tls: Some(_), .. }));
    assert!(context.named);
    assert_eq!(contexts.store_key().unwrap(), "tcp://h.example:2375");
}

// The expected values are the addresses that `docker version` with these variables says it cannot connect to.
#[test_case("127.0.0.1", "", "tcp://127.0.0.1:2375"; "no scheme")]
#[test_case("127.0.0.1:1", "", "tcp://127.0.0.1:1"; "no scheme but a port")]
#[test_case("tcp://", "", "tcp://localhost:2375"; "a scheme alone")]
#[test_case(":99", "", "tcp://localhost:99"; "a port alone")]
#[test_case("unix://", "", "unix:///var/run/docker.sock"; "a socket without a path")]
#[test_case(" ", "", "unix:///var/run/docker.sock"; "blank")]
#[test_case("", "1", "tcp://localhost:2376"; "tls without an address")]
#[test_case("tcp://h", "1", "tcp://h:2375"; "tls has no port of its own")]
fn addresses_are_completed_as_docker_does(host: &str, verify: &str, expected: &str) {
    let dir = config_dir();
    std::fs::write(dir.path().join("ca.pem"), "x").unwrap();
    let variables = [
        ("DOCKER_HOST", host),
        ("DOCKER_TLS_VERIFY", verify),
        ("DOCKER_CONTEXT", "default"),
    ];
    let environment = environment(dir.path(), &variables);
    let contexts = DockerContexts::new(&environment);
    let context = contexts.current().unwrap();
    assert_eq!(context.host.to_string(), expected);
    assert!(context.named);
    assert_eq!(contexts.store_key().unwrap(), expected);
}

#[test]
fn empty_settings_count_as_unset() {
    let dir = config_dir();
    let environment = environment(dir.path(), &[("DOCKER_HOST", ""), ("DOCKER_CONTEXT", "")]);
    assert_eq!(
        DockerContexts::new(&environment).current().unwrap().name,
        "far"
    );
}

#[test]
fn missing_certificates_are_an_error() {
    let dir = config_dir();
    for (more, expected) in [
        (&[][..], "`DOCKER_TLS_VERIFY` asks for TLS"),
        (
            &[("DOCKER_CERT_PATH", "/nonexistent")],
            "`DOCKER_CERT_PATH` names `/nonexistent`",
        ),
    ] {
        let variables = [("DOCKER_HOST", "tcp://h"), ("DOCKER_TLS_VERIFY", "0")];
        let all: Vec<_> = variables.iter().chain(more).copied().collect();
        let environment = environment(dir.path(), &all);
        let error = DockerContexts::new(&environment).current().unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn a_context_with_missing_certificates_is_an_error_and_not_a_plain_connection() {
    let dir = config_dir();
    let id = Digest::sha256(b"far");
    let tls = dir
        .path()
        .join("contexts/tls")
        .join(id.hex())
        .join("docker");
    let environment = environment(dir.path(), &[]);
    let current = || DockerContexts::new(&environment).current();
    std::fs::remove_file(tls.join("ca.pem")).unwrap();
    assert!(matches!(
        current(),
        Err(DockerContextError::Tls(TlsError::Nothing { .. }))
    ));
    std::fs::create_dir(tls.join("ca.pem")).unwrap();
    assert!(matches!(
        current(),
        Err(DockerContextError::Tls(TlsError::File { .. }))
    ));
    std::fs::remove_dir_all(&tls).unwrap();
    assert!(matches!(
        current().unwrap().host,
        DockerHost::Tcp { tls: None, .. }
    ));
}

#[test]
fn unused_certificates_cause_a_warning() {
    let dir = config_dir();
    let certs = dir.path().to_str().unwrap();
    let variables = [("DOCKER_HOST", "tcp://h"), ("DOCKER_CERT_PATH", certs)];
    let environment = environment(dir.path(), &variables);
    let contexts = DockerContexts::new(&environment);
    let warnings = contexts.warnings(&contexts.current().unwrap());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].help[0].contains("DOCKER_TLS_VERIFY=1"));
    // No warning for a context: it says itself whether it has certificates.
    assert!(
        contexts
            .warnings(&contexts.context("far").unwrap())
            .is_empty()
    );
}

#[test]
fn an_unknown_context_is_an_error_that_lists_the_known_ones() {
    let dir = config_dir();
    let environment = environment(dir.path(), &[("DOCKER_CONTEXT", "fra")]);
    let error = DockerContexts::new(&environment).current().unwrap_err();
    assert!(
        matches!(error, DockerContextError::Unknown { known, .. } if known == ["default", "far"])
    );
}

#[test]
fn without_settings_the_default_socket_is_used_but_not_required() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("docker.sock"), "").unwrap();
    let environment = environment(
        dir.path(),
        &[("XDG_RUNTIME_DIR", dir.path().to_str().unwrap())],
    );
    let context = DockerContexts::new(&environment).current().unwrap();
    assert!(!context.named);
    assert_eq!(context.name, DEFAULT_CONTEXT);
}

#[test_case("tcp://h.example", "tcp://h.example:2375")]
#[test_case("tcp://[::1]/", "tcp://[::1]:2375")]
#[test_case("tcp://h:99", "tcp://h:99")]
#[test_case("unix:///run/d.sock", "unix:///run/d.sock")]
#[test_case("ssh://me@h:22/run/d.sock", "ssh://me@h:22/run/d.sock")]
fn the_port_may_be_left_out(text: &str, shown: &str) {
    assert_eq!(parse(text, "x").unwrap().to_string(), shown);
}

#[test]
fn an_address_that_cannot_be_used_is_refused_with_the_setting_that_names_it() {
    let error = parse("ssh://me:password@h", "`DOCKER_HOST`").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`DOCKER_HOST` names an address that cannot be used"
    );
}

#[test]
fn tls_without_verification_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(
        dir.path(),
        &[("DOCKER_HOST", "tcp://h:1"), ("DOCKER_TLS", "1")],
    );
    let error = DockerContexts::new(&environment).current().unwrap_err();
    assert!(matches!(error, DockerContextError::UncheckedVariable));
}
