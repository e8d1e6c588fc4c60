use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use test_case::test_case;

fn ask(method: &str) -> Question<'_> {
    Question {
        method,
        format: None,
        ignores_status: false,
        dockerfile: AskedDockerfile::File("app/Dockerfile"),
    }
}

fn response<const N: usize>(fields: [(&str, &str); N]) -> BTreeMap<String, String> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    fields.map(owned).into()
}

fn lint(warnings: &str, rest: &str) -> BTreeMap<String, String> {
    let data =
        BASE64_STANDARD.encode("from scratch AS x\nCOPY . /\nCOPY . /\nCOPY . /\nmaintainer me\n");
    let json = format!(
        r#"{{"warnings":{warnings},"sources":[{{"filename":"Dockerfile","data":"{data}"}}]{rest}}}"#
    );
    response([("result.json", &json), ("result.statuscode", "1")])
}

const WARNINGS: &str = r#"[
    {"ruleName":"B","detail":"second","location":{"ranges":[{"start":{"line":5},"end":{"line":5}}]}},
    {"ruleName":"A","url":"https://example.com/a","detail":"first","location":{"ranges":[{"start":{"line":1},"end":{"line":2}}]}},
    {"ruleName":"N","detail":"nowhere","location":{"sourceIndex":-1}}
]"#;

#[test]
fn warnings_are_sorted_and_show_their_lines() {
    let answer = answer(&ask("lint"), &lint(WARNINGS, ""));
    assert_eq!((answer.status, &answer.problem), (Some(1), &None));
    insta::assert_snapshot!(answer.text.replace("| ", "|·").replace("·    \n", "·\n"), @"
    Check complete, 3 warnings have been found!

    WARNING: N
    nowhere

    WARNING: A - https://example.com/a
    first
    app/Dockerfile:1
    --------------------
       1 |·>>> from scratch AS x
       2 |·>>> COPY . /
       3 |·    COPY . /
    --------------------

    WARNING: B
    second
    app/Dockerfile:5
    --------------------
       3 |·    COPY . /
       4 |·    COPY . /
       5 |·>>> maintainer me
       6 |·
    --------------------
    ");
    let lines: Vec<&str> = answer.annotations.lines().collect();
    assert_eq!(
        lines,
        [
            "::warning::N: nowhere",
            "::warning file=app/Dockerfile,line=1,endLine=2::A: first%0Ahttps://example.com/a",
            "::warning file=app/Dockerfile,line=5,endLine=5::B: second",
        ]
    );
}

#[test]
fn an_error_of_the_dockerfile_is_a_problem_with_its_lines() {
    let error = r#","buildError":{"message":"unknown instruction: BOGUS","location":{"ranges":[{"start":{"line":2},"end":{"line":2}}]}}"#;
    let answer = answer(&ask("lint"), &lint("null", error));
    assert_eq!(answer.text, "");
    let problem = answer.problem.unwrap();
    assert!(
        problem.starts_with("unknown instruction: BOGUS\napp/Dockerfile:2\n---"),
        "{problem}"
    );
    assert!(
        answer
            .annotations
            .starts_with("::error file=app/Dockerfile,line=2,endLine=2::unknown")
    );
}

#[test]
fn the_status_can_be_ignored() {
    let question = Question {
        ignores_status: true,
        ..ask("lint")
    };
    assert_eq!(answer(&question, &lint(WARNINGS, "")).status, None);
    assert_eq!(answer(&ask("lint"), &lint(WARNINGS, "")).status, Some(1));
}

#[test_case(r#"[{"ruleName":"A","location":{"sourceIndex":7}}]"#, true; "a source that is not there")]
#[test_case(r#"[{"ruleName":"A"}]"#, false; "no location")]
#[test_case(r#"[{"ruleName":"A","location":{"ranges":[{}]}}]"#, false; "a range without lines")]
#[test_case(r#"[{"ruleName":"A","location":{"ranges":[{"start":{"line":9223372036854775807},"end":{"line":-5}}]}}]"#, false; "a line that is not there")]
#[test_case(r#"[{"ruleName":"A","location":{"ranges":[{"start":{"line":-9},"end":{"line":9223372036854775807}}]}}]"#, false; "a range that is too long")]
#[test_case(r#"[{"location":{"ranges":null}},{"ruleName":null}]"#, true; "null")]
#[test_case(r#"{"a":1}"#, true; "no list")]
fn hostile_answers_do_no_harm(warnings: &str, is_problem: bool) {
    let found = answer(&ask("lint"), &lint(warnings, ""));
    assert_eq!(found.problem.is_some(), is_problem, "{found:?}");
}

// Each warning quotes all lines of the source.
#[test]
fn the_text_of_many_warnings_is_limited() {
    let one =
        r#"{"ruleName":"A","location":{"ranges":[{"start":{"line":1},"end":{"line":90000}}]}}"#;
    let warnings = format!("[{}]", vec![one; 500].join(","));
    let data = BASE64_STANDARD.encode("x\n".repeat(100_000));
    let json = format!(r#"{{"warnings":{warnings},"sources":[{{"data":"{data}"}}]}}"#);
    let found = answer(&ask("lint"), &response([("result.json", &json)]));
    assert!(found.text.len() < 12 << 20 && found.text.ends_with("more warnings are not shown\n"));
}

#[test]
fn tables_are_aligned() {
    let outline = r#"{"name":"x","description":"it","args":[{"name":"A","value":"1"},{"name":"LONG_NAME","description":"d\te"}],"secrets":[{"name":"s","required":true}],"ssh":[{"name":"default"}]}"#;
    let outline = answer(&ask("outline"), &response([("result.json", outline)]));
    insta::assert_snapshot!(outline.text.replace(' ', "·"), @r"
    TARGET:······x
    DESCRIPTION:·it

    BUILD·ARG···VALUE···DESCRIPTION
    A···········1·······
    LONG_NAME···········d\u0009e

    SECRET···REQUIRED
    s········true

    SSH·······REQUIRED
    default···
    ");
    let targets = r#"{"targets":[{"name":"base"},{"default":true,"description":"d"},{"name":"last","default":true}]}"#;
    let targets = answer(&ask("targets"), &response([("result.json", targets)]));
    insta::assert_snapshot!(targets.text.replace(' ', "·"), @"
    TARGET·········DESCRIPTION
    base···········
    (default)······d
    last·(default)·
    ");
    let methods =
        r#"[{"name":"frontend.outline","version":"1.0.0","description":"d"},{"name":"x"}]"#;
    let methods = answer(
        &ask("subrequests.describe"),
        &response([("result.json", methods)]),
    );
    insta::assert_snapshot!(methods.text.replace(' ', "·"), @"
    NAME····VERSION·DESCRIPTION
    outline·1.0.0···d
    x···············
    ");
}

#[test]
fn an_answer_of_a_newer_frontend_is_printed_as_its_own_text() {
    let newer = |version| {
        response([
            ("result.json", "[]"),
            ("result.txt", "own text\n"),
            ("version", version),
        ])
    };
    assert_eq!(
        answer(&ask("subrequests.describe"), &newer("1.0.1")).text,
        "own text\n"
    );
    assert_eq!(
        answer(&ask("subrequests.describe"), &newer("1.0.0")).text,
        "NAME VERSION DESCRIPTION\n"
    );
    assert_eq!(
        answer(&ask("subrequests.describe"), &newer("1")).text,
        "NAME VERSION DESCRIPTION\n"
    );
}

#[test]
fn answers_to_unknown_methods_are_printed_as_they_are() {
    let sent = response([("result.json", "{}"), ("version", "0.1.0")]);
    let as_json = Question {
        format: Some("json"),
        ..ask("convertllb")
    };
    assert_eq!(answer(&as_json, &sent).text, "{}\n");
    assert_eq!(
        answer(&ask("convertllb"), &sent).text,
        "Name:\"convertllb\" map[result.json:{} version:0.1.0]\n"
    );
    assert_eq!(
        answer(&ask("x"), &response([("result.txt", "own")])).text,
        "own"
    );
}
