//! The same store, changed by both programs.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use super::{Both, named};
use crate::support::home::rbake;
use crate::support::peers;

const DEAD: &str = "tcp://127.0.0.1:1";

fn instance(both: &Both, name: &str) -> String {
    let path = both.home.path("docker/buildx/instances").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn files_of_builders_are_equal_to_those_that_buildx_writes() {
    let both = Both::with_engine(&peers::peer("RBAKE_TEST_DOCKER_HOST"));
    let home = &both.home;
    home.write("ca.pem", "ca");
    home.write(
        "my.toml",
        "[registry.\"h.example:5000\"]\nca = [\"../ca.pem\"]\n",
    );
    let config = home.path("my.toml").display().to_string();
    let cases: [&[&[&str]]; 6] = [
        &[&["--driver", "remote", DEAD]],
        &[&[
            "--driver",
            "remote",
            "--driver-opt",
            "cacert=/c/a,cert=/c/b,key=/c/k",
            "tcp://h:1",
        ]],
        &[&["--driver", "docker-container"]],
        &[&[
            "--driver-opt",
            "\"env.A=x,y\",network=host",
            "--platform",
            "linux/arm64,linux/arm/v7",
            "--buildkitd-flags",
            "--debug --allow-insecure-entitlement security.insecure",
            "default",
        ]],
        &[
            &[
                "--driver",
                "remote",
                "--platform",
                "linux/amd64,linux/arm64",
                "tcp://h:1",
            ],
            &["--append", "--platform", "linux/arm64", "tcp://h:2"],
            &["--append", "--node", "special", "tcp://h:3"],
            &[
                "--node",
                "special",
                "--driver-opt",
                "default-load=true",
                "tcp://h:4",
            ],
            &["--leave", "--node", "NAME1"],
        ],
        &[&[
            "--driver",
            "docker-container",
            "--buildkitd-config",
            &config,
        ]],
    ];
    for (number, case) in cases.iter().enumerate() {
        let (theirs, ours) = (format!("theirs{number}"), format!("ours{number}"));
        for step in *case {
            let words = |name: &str| -> Vec<String> {
                let rest = step.iter().map(|word| word.replace("NAME", name));
                ["create", "--name", name]
                    .map(str::to_owned)
                    .into_iter()
                    .chain(rest)
                    .collect()
            };
            let run = |name: &str, program: &dyn Fn(&[&str])| {
                let words = words(name);
                program(&words.iter().map(String::as_str).collect::<Vec<_>>());
            };
            run(&theirs, &|words| drop(both.buildx(words)));
            run(&ours, &|words| drop(both.rbake(words)));
        }
        let mut ours = instance(&both, &ours).replace("ours", "theirs");
        let mut theirs = instance(&both, &theirs);
        if number == 5 {
            // buildx writes the configuration anew, rbake changes the paths in it.
            for text in [&mut ours, &mut theirs] {
                let at = text.find("\"buildkitd.toml\":").unwrap();
                let end = at + text[at..].find("\"certs").unwrap();
                text.replace_range(at..end, "");
            }
        }
        assert_eq!(ours, theirs, "case {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn builders_of_one_program_are_chosen_and_removed_by_the_other() {
    let both = Both::new();
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let name = both.rbake(&["create", "--driver", "remote", "--use", &address]);
    let name = name.trim();
    both.buildx(&["create", "--name", "theirs", "--driver", "remote", &address]);
    let current = |both: &Both| {
        let of = |list: Vec<serde_json::Value>| {
            let current: Vec<_> = list.into_iter().filter(|b| b["Current"] == true).collect();
            assert_eq!(current.len(), 1);
            current[0]["Name"].as_str().unwrap().to_owned()
        };
        let (ours, theirs) = (of(both.listed_by_rbake()), of(both.listed_by_buildx()));
        assert_eq!(ours, theirs);
        ours
    };
    assert_eq!(current(&both), name);
    both.buildx(&["use", "theirs"]);
    assert_eq!(current(&both), "theirs");
    both.rbake(&["use", "--default", name]);
    assert_eq!(current(&both), name);
    both.rbake(&["use", "default"]);
    assert_eq!(current(&both), "default");
    both.rbake(&["use", "--global", "theirs"]);
    assert_eq!(current(&both), "theirs");
    let inspected = both.buildx(&["inspect", name]);
    assert!(inspected.contains("running"), "{inspected}");
    both.buildx(&["rm", name]);
    both.rbake(&["rm", "theirs"]);
    let names = |list: Vec<serde_json::Value>| -> Vec<String> {
        list.iter()
            .map(|b| b["Name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(both.listed_by_buildx()), ["default"]);
    assert!(!names(both.listed_by_rbake()).contains(&"theirs".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn builders_created_at_the_same_time_are_all_there() {
    let both = Both::new();
    let mut children = Vec::new();
    for number in 0..10 {
        for (program, verb) in [
            (both.buildx.clone(), &["create"][..]),
            (rbake(), &["+builder", "create"]),
        ] {
            let name = format!(
                "{}{number}",
                if verb.len() == 1 { "theirs" } else { "ours" }
            );
            let mut command = both.home.command(program);
            command
                .args(verb)
                .args(["--name", &name, "--driver", "remote", DEAD]);
            children.push((
                name,
                command
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap(),
            ));
        }
    }
    let mut expected = BTreeSet::new();
    for (name, child) in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        expected.insert(name);
    }
    for list in [both.listed_by_buildx(), both.listed_by_rbake()] {
        for name in &expected {
            assert_eq!(named(&list, name)["Driver"], "remote");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn nodes_added_at_the_same_time_are_all_there() {
    let both = Both::new();
    both.rbake(&[
        "create",
        "--name",
        "many",
        "--driver",
        "remote",
        "tcp://127.0.0.1:1",
    ]);
    let mut children = Vec::new();
    for port in 2..12 {
        let (program, verb) = if port % 2 == 0 {
            (both.buildx.clone(), &["create"][..])
        } else {
            (rbake(), &["+builder", "create"][..])
        };
        let mut command = both.home.command(program);
        command.args(verb).args([
            "--name",
            "many",
            "--append",
            &format!("tcp://127.0.0.1:{port}"),
        ]);
        children.push(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    for list in [both.listed_by_buildx(), both.listed_by_rbake()] {
        assert_eq!(named(&list, "many")["Nodes"].as_array().unwrap().len(), 11);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_killed_rbake_leaves_a_store_that_both_read() {
    let both = Both::new();
    both.buildx(&[
        "create", "--name", "kept", "--driver", "remote", "--use", DEAD,
    ]);
    // The whole command takes a few dozen milliseconds, so that some are killed at each step.
    for number in 0..60_u64 {
        let mut command = both.home.command(rbake());
        let name = format!("k{number}");
        command.args([
            "+builder", "create", "--name", &name, "--driver", "remote", "--use", DEAD,
        ]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_micros(700 * number)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (by_buildx, by_rbake) = (both.listed_by_buildx(), both.listed_by_rbake());
    for list in [&by_buildx, &by_rbake] {
        assert_eq!(named(list, "kept")["Driver"], "remote");
        for builder in list
            .iter()
            .filter(|b| b["Name"].as_str().unwrap().starts_with('k'))
        {
            assert_eq!(builder["Driver"], "remote", "{builder:#}");
            assert_eq!(builder["Nodes"].as_array().unwrap().len(), 1);
        }
    }
    let created = by_rbake
        .iter()
        .filter(|b| b["Name"].as_str().unwrap().starts_with('k'))
        .count();
    assert!(created > 1 && created < 61, "{created}");
    both.rbake(&["create", "--name", "after", "--driver", "remote", DEAD]);
    // The next change has removed the temporary files.
    let left: Vec<_> = std::fs::read_dir(both.home.path("docker/buildx"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
