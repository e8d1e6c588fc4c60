//! Compares the requests with those that buildx v0.36.1 sends.

use super::*;
use crate::engine::id::BuildRef;
use crate::engine::spec::{CacheBackend, Exporter, ExtraHost, JudgedSources, StepLimits, VcsFacts};
use crate::types::remote::RemoteAddress;
use crate::types::ulimit::Ulimit;
use crate::types::{ContextImage, NetworkMode, Secret};

// The target's session `target`, and the sessions of the directories that have another one.
fn sessions(target: &str, directories: &[(LocalName, &str)]) -> SessionIds {
    let id = |(local, id): &(LocalName, &str)| (local.clone(), SessionId::from_text(id));
    SessionIds {
        target: SessionId::from_text(target),
        directories: directories.iter().map(id).collect(),
    }
}

// A session for the target, and one for every directory that the tests read.
fn apart(target: &str) -> SessionIds {
    let locals = [
        (LocalName::CONTEXT, "c"),
        (LocalName::DOCKERFILE, "d"),
        (LocalName::of_named("src"), "s"),
    ];
    sessions(target, &locals)
}

fn plain() -> SolveSpec {
    let dockerfile = Dockerfile::Local {
        filename: "Dockerfile".to_owned(),
    };
    let target = "t".parse().unwrap();
    let mut spec = SolveSpec::new(target, dockerfile, MainContext::Local);
    spec.build_ref = BuildRef::from_text("r");
    spec
}

fn map<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

fn cache(backend: CacheBackend, extra: BTreeMap<String, String>) -> SolveCache {
    SolveCache {
        backend,
        image: None,
        extra,
        credentials: BTreeMap::new(),
    }
}

fn attestation(parameters: &[(&str, &str)]) -> Attestation {
    Attestation {
        kind: "provenance".to_owned(),
        parameters: parameters
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    }
}

fn export(exporter: Exporter, names: &[&str]) -> SolveExport {
    SolveExport {
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        ..SolveExport::new(exporter)
    }
}

// A target that uses nearly every field: inline Dockerfile, and one local, one image and one linked context.
fn full() -> SolveSpec {
    let linked = LinkedResult {
        platform: None,
        definition: Some(Bytes::from_static(b"llb")),
        image_config: Some(Bytes::from_static(b"{}")),
    };
    SolveSpec {
        dockerfile: Dockerfile::Apart {
            filename: "Dockerfile".to_owned(),
        },
        named_contexts: BTreeMap::from([
            (
                "img".to_owned(),
                SolveContext::Image(ContextImage::new("alpine")),
            ),
            (
                "lnk".to_owned(),
                SolveContext::Linked {
                    input: "0-base".to_owned(),
                    results: vec![linked],
                },
            ),
            (
                "src".to_owned(),
                SolveContext::Local {
                    local: LocalName::of_named("src"),
                    shared_key_hint: "sub:0123456789abcdef".to_owned(),
                },
            ),
        ]),
        stage: Some("s1".to_owned()),
        build_args: map([("A", "1")]),
        labels: map([("l", "v")]),
        platforms: vec!["linux/amd64".parse().unwrap()],
        no_cache: NoCache::Stages(vec!["s1".to_owned(), "s2".to_owned()]),
        resolve_mode: Some(ResolveMode::Pull),
        network: NetworkMode::None,
        add_hosts: [("h2", "1.2.3.4"), ("h2", "::1"), ("h1", "::1")]
            .map(|(host, ip)| ExtraHost {
                host: host.to_owned(),
                ip: ip.parse().unwrap(),
            })
            .into(),
        ulimits: vec![Ulimit::parse("nofile=1024:2048").unwrap()],
        shm_size: Some(64 << 20),
        resources: StepLimits {
            memory: Some(1 << 30),
            memory_swap: Some(-1),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0".to_owned()),
            ..StepLimits::default()
        },
        attestations: vec![attestation(&[("type", "provenance"), ("mode", "max")])],
        vcs: VcsFacts {
            source: Some("https://xxxxx:xxxxx@example.com/r.git".to_owned()),
            revision: Some("f".repeat(40)),
            local_dirs: BTreeMap::from([
                (LocalName::CONTEXT, ".".to_owned()),
                (LocalName::of_named("src"), "sub".to_owned()),
            ]),
        },
        cache_imports: vec![
            cache(
                CacheBackend::Local,
                map([("src", "cc"), ("digest", "sha256:1")]),
            ),
            SolveCache {
                image: Some("ex.com/cache:1".parse().unwrap()),
                ..cache(CacheBackend::Registry, map([]))
            },
        ],
        exports: vec![SolveExport {
            extra: map([
                ("annotation-index.ik", "iv"),
                ("annotation-manifest.k", "v"),
                ("annotation.plain", "x"),
            ]),
            ..export(Exporter::Oci, &["ex.com/a:1"])
        }],
        ..plain()
    }
}

#[test]
fn a_full_target_is_written_as_buildx_writes_it() {
    let revision = "f".repeat(40);
    let expected = map([
        ("add-hosts", "h1=::1,h2=1.2.3.4,h2=::1"),
        ("attest:provenance", "type=provenance,mode=max"),
        ("build-arg:A", "1"),
        (
            "cache-imports",
            r#"[{"Type":"local","Attrs":{"digest":"sha256:1","src":"cc"}},{"Type":"registry","Attrs":{"ref":"ex.com/cache:1"}}]"#,
        ),
        ("context:img", "docker-image://alpine"),
        ("context:lnk", "input:0-base"),
        ("context:src", "local:src"),
        ("cpusetcpus", "0"),
        ("cpushares", "512"),
        ("dockerfilekey", "dockerfile"),
        ("filename", "Dockerfile"),
        ("force-network-mode", "none"),
        ("frontend.caps", "moby.buildkit.frontend.contexts+forward"),
        ("image-resolve-mode", "pull"),
        (
            "input-metadata:0-base",
            r#"{"containerimage.config":"e30="}"#,
        ),
        ("label:l", "v"),
        ("local-sessionid:context", "c"),
        // In buildx, the target's own session serves these two directories.
        ("local-sessionid:dockerfile", "d"),
        ("local-sessionid:src", "s"),
        ("memory", "1073741824"),
        ("memswap", "-1"),
        ("no-cache", "s1,s2"),
        ("platform", "linux/amd64"),
        ("sharedkey:localdir:src", "sub:0123456789abcdef"),
        ("shm-size", "67108864"),
        ("target", "s1"),
        ("ulimit", "nofile=1024:2048"),
        ("vcs:localdir:context", "."),
        ("vcs:localdir:src", "sub"),
        ("vcs:revision", &revision),
        ("vcs:source", "https://xxxxx:xxxxx@example.com/r.git"),
    ]);
    assert_eq!(frontend_attrs(&full(), &apart("s")), expected);

    let request = solve_request(&full(), &apart("session"));
    assert_eq!(request.frontend, "dockerfile.v0");
    assert_eq!(
        (request.r#ref.as_str(), request.session.as_str()),
        ("r", "session")
    );
    assert_eq!(
        request.frontend_inputs,
        BTreeMap::from([("0-base".to_owned(), Bytes::from_static(b"llb"))])
    );
    let exporter = &request.exporters[0];
    assert_eq!(exporter.r#type, "oci");
    assert_eq!(
        exporter.attrs,
        map([
            ("annotation-index.ik", "iv"),
            ("annotation-manifest.k", "v"),
            ("annotation.plain", "x"),
            ("name", "ex.com/a:1"),
        ])
    );
    assert_eq!(
        (
            &request.exporter_deprecated,
            &request.exporter_attrs_deprecated
        ),
        (&exporter.r#type, &exporter.attrs)
    );
}

#[test]
fn the_request_of_a_plain_target_is_minimal() {
    let spec = SolveSpec {
        attestations: vec![attestation(&[("mode", "min"), ("inline-only", "true")])],
        ..plain()
    };
    let expected = map([
        ("attest:provenance", "mode=min,inline-only=true"),
        ("filename", "Dockerfile"),
        ("local-sessionid:context", "c"),
        ("local-sessionid:dockerfile", "d"),
    ]);
    assert_eq!(frontend_attrs(&spec, &apart("s")), expected);
    let request = solve_request(&spec, &apart("session"));
    assert!(request.exporters.is_empty() && request.exporter_deprecated.is_empty());
}

#[test]
fn through_the_gateway_both_requests_have_the_same_attributes() {
    let spec = SolveSpec {
        through_gateway: true,
        ..full()
    };
    let outer = solve_request(&spec, &apart("session"));
    let inner = gateway_request(&spec, &apart("s"));
    assert_eq!(outer.frontend, "");
    assert!(outer.frontend_inputs.is_empty());
    assert_eq!(outer.frontend_attrs, inner.frontend_opt);
    assert_eq!(inner.frontend, "dockerfile.v0");
    assert!(inner.allow_result_return && inner.allow_result_array_ref);
    assert_eq!(inner.frontend_inputs.len(), 1);
}

#[test]
fn only_the_inner_request_has_the_subrequest() {
    let spec = SolveSpec {
        through_gateway: true,
        subrequest: Some("lint".to_owned()),
        ..plain()
    };
    let outer = solve_request(&spec, &apart("session"));
    assert!(!outer.frontend_attrs.contains_key("requestid"));
    let inner = gateway_request(&spec, &apart("s")).frontend_opt;
    assert_eq!(inner["requestid"], "frontend.lint");
    assert_eq!(
        inner["frontend.caps"],
        "moby.buildkit.frontend.subrequests+forward"
    );
}

#[test]
fn a_frontend_image_is_sent_with_its_arguments() {
    let spec = SolveSpec {
        frontend: Frontend::from_syntax("docker/dockerfile:1 --x").unwrap(),
        build_args: map([("BUILDKIT_SYNTAX", "docker/dockerfile:1 --x")]),
        ..plain()
    };
    let attrs = frontend_attrs(&spec, &apart("s"));
    assert_eq!(attrs["source"], "docker/dockerfile:1");
    assert_eq!(attrs["cmdline"], "docker/dockerfile:1 --x");
    assert_eq!(
        attrs["build-arg:BUILDKIT_SYNTAX"],
        "docker/dockerfile:1 --x"
    );
    assert_eq!(solve_request(&spec, &apart("s")).frontend, "gateway.v0");
}

#[test]
fn the_built_in_frontend_alone_follows_no_syntax_line() {
    let spec = SolveSpec {
        frontend: Frontend::OnlyBuiltIn,
        ..plain()
    };
    let request = gateway_request(&spec, &apart("s"));
    assert_eq!(request.frontend, "dockerfile.v0");
    assert!(request.frontend_opt.contains_key("cmdline"));
    assert!(!request.frontend_opt.contains_key("source"));
}

#[test]
fn a_remote_context_has_no_local_directory_and_may_need_a_capability() {
    let address = RemoteAddress::parse(&"https://example.com/r.git?ref=x".into());
    let spec = SolveSpec {
        dockerfile: Dockerfile::InContext {
            filename: "a/Dockerfile".to_owned(),
        },
        context: MainContext::Remote(address.unwrap()),
        ..plain()
    };
    let expected = map([
        ("context", "https://example.com/r.git?ref=x"),
        ("filename", "a/Dockerfile"),
        ("frontend.caps", "moby.buildkit.frontend.gitquerystring"),
    ]);
    assert_eq!(frontend_attrs(&spec, &apart("s")), expected);
}

#[test]
fn each_platform_of_a_linked_result_is_an_input_also_if_it_is_empty() {
    let result = |platform: &str, definition: Option<&'static [u8]>| LinkedResult {
        platform: Some(platform.to_owned()),
        definition: definition.map(Bytes::from_static),
        image_config: None,
    };
    let spec = SolveSpec {
        named_contexts: BTreeMap::from([(
            "base".to_owned(),
            SolveContext::Linked {
                input: "0-b".to_owned(),
                results: vec![
                    result("linux/amd64", Some(b"x")),
                    result("linux/arm64", None),
                ],
            },
        )]),
        ..plain()
    };
    let attrs = frontend_attrs(&spec, &apart("s"));
    assert_eq!(attrs["context:base::linux/amd64"], "input:0-b::linux/amd64");
    assert_eq!(attrs["context:base::linux/arm64"], "input:0-b::linux/arm64");
    assert!(!attrs.contains_key("context:base"));
    let inputs = inputs(&spec);
    assert_eq!(inputs["0-b::linux/amd64"], "x");
    assert_eq!(inputs["0-b::linux/arm64"], empty_file_system());
}

#[test]
fn no_cache_has_an_empty_value_and_the_host_network_needs_an_entitlement() {
    let spec = SolveSpec {
        no_cache: NoCache::All,
        network: NetworkMode::Host,
        ..plain()
    };
    let request = solve_request(&spec, &apart("s"));
    assert_eq!(request.frontend_attrs["no-cache"], "");
    assert_eq!(request.frontend_attrs["force-network-mode"], "host");
    assert_eq!(request.entitlements, ["network.host"]);
}

#[test]
fn exports_keep_their_order_and_typed_fields_take_precedence() {
    let image = SolveExport {
        push: Some(true),
        unpack: Some(false),
        extra: map([("push", "false"), ("name", "x"), ("compression", "zstd")]),
        ..export(Exporter::Image, &["a:1", "a:latest"])
    };
    let spec = SolveSpec {
        exports: vec![image, export(Exporter::Other("future".to_owned()), &[])],
        ..plain()
    };
    let request = solve_request(&spec, &apart("s"));
    let expected = map([
        ("compression", "zstd"),
        ("name", "a:1,a:latest"),
        ("push", "true"),
        ("unpack", "false"),
    ]);
    assert_eq!(request.exporters[0].attrs, expected);
    assert_eq!(request.exporters[1].r#type, "future");
}

#[test]
fn credentials_of_a_cache_are_sent_to_the_daemon_and_not_printed() {
    let entry = SolveCache {
        credentials: BTreeMap::from([("token".to_owned(), Secret::new("hush".to_owned()))]),
        ..cache(CacheBackend::Gha, map([("scope", "s")]))
    };
    let spec = SolveSpec {
        cache_exports: vec![entry],
        ..plain()
    };
    assert!(!format!("{spec:?}").contains("hush"));
    let request = solve_request(&spec, &apart("s"));
    assert_eq!(
        request.cache.unwrap().exports[0].attrs,
        map([("scope", "s"), ("token", "hush")])
    );
}

#[test]
fn attestation_parameters_with_commas_are_quoted() {
    let one = attestation(&[("generator", "img,x"), ("q", "a\"b")]);
    assert_eq!(attestation_csv(&one), r#""generator=img,x","q=a""b""#);
}

#[test]
fn the_attributes_do_not_name_the_targets_own_session() {
    let dockerfile = Dockerfile::Local {
        filename: "Dockerfile".to_owned(),
    };
    let mut spec = SolveSpec::new("t".parse().unwrap(), dockerfile, MainContext::Local);
    let context = SolveContext::Local {
        local: LocalName::of_named("src"),
        shared_key_hint: "src:n".to_owned(),
    };
    spec.named_contexts.insert("src".to_owned(), context);
    let attrs = frontend_attrs(&spec, &sessions("s", &[]));
    assert!(
        attrs.keys().all(|key| !key.starts_with("local-sessionid:")),
        "{attrs:?}"
    );
    assert_eq!(attrs["context:src"], "local:src");
}

#[test]
fn the_session_of_the_target_decides_about_sources_only_if_it_has_policies() {
    let mut spec = full();
    let request = solve_request(&spec, &apart("s"));
    assert_eq!(request.source_policy_session, "");
    assert!(!request.proxy_network);
    spec.judged = JudgedSources::SourcesAndDownloads;
    let request = solve_request(&spec, &apart("s"));
    assert_eq!(request.source_policy_session, request.session);
    assert!(request.proxy_network);
}
