//! Tests with statuses as BuildKit v0.32 sends them, and with malformed ones.

use super::*;
use proptest::prelude::*;

fn status(code: Code, message: &str, details: &[(&str, &str)]) -> Status {
    let details = rpc::Status {
        code: code as i32,
        message: message.to_owned(),
        details: details
            .iter()
            .map(|(name, json)| prost_types::Any {
                type_url: format!("github.com/moby/buildkit/{name}+json"),
                value: json.as_bytes().to_vec(),
            })
            .collect(),
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

#[test]
fn a_failed_step_names_its_lines_and_its_exit_code() {
    let data = base64::prelude::BASE64_STANDARD.encode("FROM a\nRUN false\n");
    let source = format!(
        r#"{{"info":{{"filename":"Dockerfile","data":"{data}","definition":{{}},"language":"Dockerfile"}},"ranges":[{{"start":{{"line":2}},"end":{{"line":2}}}}]}}"#
    );
    let failure = from_status(&status(
        Code::Unknown,
        r#"failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 17"#,
        &[
            (
                "stack.Stack",
                r#"{"frames":[{"Name":"main.x","File":"x.go","Line":7}],"version":"v0.32.2"}"#,
            ),
            (
                "errdefs.Vertex",
                r#"{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#,
            ),
            ("errdefs.Source", &source),
        ],
    ));
    assert_eq!(failure.kind, FailureKind::Build);
    assert_eq!(
        failure.message,
        r#"process "/bin/sh -c false" did not complete successfully: exit code: 17"#
    );
    assert_eq!(failure.exit_code, Some(17));
    assert_eq!(
        failure.vertex.map(|d| d.short().to_owned()),
        Some("e3b0c44298fc".to_owned())
    );
    assert_eq!(failure.sources[0].lines, [(2, 2)]);
    assert_eq!(&*failure.sources[0].text, "FROM a\nRUN false\n");
    assert_eq!(failure.debug, ["daemon v0.32.2", "  main.x (x.go:7)"]);
}

#[test]
fn the_exit_code_is_read_from_the_exit_message() {
    let failure = from_status(&status(
        Code::Unknown,
        "x",
        &[("gatewayapi.ExitMessage", r#"{"Code":137}"#)],
    ));
    assert_eq!(failure.exit_code, Some(137));
}

#[test]
fn denials_and_missing_capabilities_become_help() {
    let failure = from_status(&status(
        Code::Unimplemented,
        "x",
        &[
            (
                "policysession.DecisionResponse",
                r#"{"action":1,"denyMessages":[{"message":"no latest"}]}"#,
            ),
            ("errdefs.FrontendCap", r#"{"name":"moby.x"}"#),
        ],
    ));
    assert_eq!(failure.help.len(), 2);
    assert_eq!(failure.help[0], "policy: no latest");
    assert!(failure.help[1].contains("`moby.x`"));
}

#[test]
fn the_status_code_decides_the_kind_of_failure() {
    let kind = |code, message| from_status(&status(code, message, &[])).kind;
    assert_eq!(kind(Code::Unknown, "x"), FailureKind::Build);
    assert_eq!(
        kind(Code::PermissionDenied, "push denied"),
        FailureKind::Build
    );
    assert_eq!(
        kind(
            Code::Unknown,
            "granting entitlement security.insecure is not allowed"
        ),
        FailureKind::Entitlement
    );
    assert_eq!(
        kind(
            Code::Unknown,
            "failed to load LLB: network.host is not allowed"
        ),
        FailureKind::Entitlement
    );
    // A file's name may contain these words, too.
    assert_eq!(
        kind(Code::NotFound, "\"/entitlements.json\": not found"),
        FailureKind::Build
    );
    assert_eq!(kind(Code::Unavailable, "x"), FailureKind::Engine);
    assert_eq!(kind(Code::Cancelled, "x"), FailureKind::Cancelled);
    assert_eq!(kind(Code::Internal, "x"), FailureKind::Internal);
    assert_eq!(kind(Code::ResourceExhausted, "x"), FailureKind::Exhausted);
}

#[test]
fn a_broken_stream_is_an_engine_failure_that_can_be_retried() {
    let mut broken = Status::unknown("h2 protocol error");
    broken.set_source(std::sync::Arc::new(std::io::Error::other("x")));
    let failure = from_status(&broken);
    assert!(is_transient(&failure));
}

#[test]
fn prefixes_and_control_characters_are_removed() {
    let text = "failed to solve: failed to solve with frontend dockerfile.v0: a: rpc error: code = Unknown desc = b\u{1b}[31m\nc";
    assert_eq!(clean(text), "a: b[31m\nc");
    assert_eq!(clean("rpc error: code = "), "rpc error: code =");
    assert_eq!(
        from_status(&status(Code::Unknown, " ", &[])).message,
        "the builder gave no reason (Unknown error)"
    );
}

#[test]
fn malformed_details_are_ignored() {
    let garbage = [
        ("errdefs.Source", "{"),
        (
            "errdefs.Source",
            r#"{"info":{"data":"?"},"ranges":[{"start":{"line":0}}]}"#,
        ),
        ("errdefs.Vertex", r#"{"digest":"../x"}"#),
        ("errdefs.Vertex", "[]"),
        ("gatewayapi.ExitMessage", r#"{"Code":"many"}"#),
        ("", ""),
    ];
    let failure = from_status(&status(Code::Unknown, "m", &garbage));
    assert_eq!(failure.message, "m");
    assert_eq!((failure.vertex, failure.exit_code), (None, None));
    assert_eq!(failure.sources.len(), 1);
    assert!(failure.sources[0].lines.is_empty());

    let unreadable = Status::with_details(
        Code::Unknown,
        "m",
        bytes::Bytes::from_static(b"\xff\xff\xff"),
    );
    assert_eq!(from_status(&unreadable).message, "m");
}

proptest! {
    #[test]
    fn no_status_causes_a_panic(message in ".*", name in ".*", value in prop::collection::vec(any::<u8>(), 0..200)) {
        let details = rpc::Status {
            details: vec![prost_types::Any { type_url: name, value }],
            ..rpc::Status::default()
        };
        let _ = from_status(&Status::with_details(Code::Unknown, message, details.encode_to_vec().into()));
    }
}

#[test]
fn a_name_that_no_header_can_hold_gets_a_help_text() {
    let text = "failed to solve: rpc error: code = Internal desc = header key \"followpaths\" contains value with non-printable ASCII characters";
    let failure = from_status(&Status::internal(text));
    assert!(
        failure.help[0]
            .starts_with("a source of `COPY`, `ADD` or a bind mount has a control character")
    );
    assert!(
        from_status(&Status::internal("header key \"x\" is long"))
            .help
            .is_empty()
    );
}
