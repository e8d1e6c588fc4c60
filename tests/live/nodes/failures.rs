//! Nodes that do not answer or are lost, and runs that are interrupted.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Pair;
use crate::support::bakers::Baker;
use crate::support::distribution::RegistryContents;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_node_that_does_not_answer_fails_only_what_needs_it() {
    let pair = Pair::created_by(Baker::Buildx).await;
    pair.write("target \"default\" {\n  output = [\"type=cacheonly\"]\n}\n");
    pair.arm64.signal("KILL");
    for baker in Baker::ALL {
        pair.bakes(baker, &["--set", "*.platform=linux/amd64"]);
        pair.bakes(baker, &[]);
        let begun = Instant::now();
        pair.refuses(baker, &["--set", "*.platform=linux/amd64,linux/arm64"]);
        assert!(begun.elapsed() < Duration::from_secs(60), "{baker:?}");
    }
    let said = pair.refuses(Baker::Rbake, &["--set", "*.platform=linux/arm64"]);
    assert!(
        said.contains("the node `pair1` of the builder `pair`"),
        "{said}"
    );
    // Nobody has fixed this platform, so the nodes would have to be asked.
    let said = pair.refuses(Baker::Rbake, &["--set", "*.platform=linux/riscv64"]);
    assert!(
        said.contains("the node `pair1` of the builder `pair`"),
        "{said}"
    );
}

// Runs rbake until a line of its progress contains `mark`, then `act`. Returns the exit code and all that rbake said.
fn until(
    pair: &Pair,
    mark: &str,
    arguments: &[&str],
    act: impl FnOnce(u32),
) -> (Option<i32>, String) {
    let mut command = pair.command(Baker::Rbake, arguments);
    let mut child = command
        .arg("--progress=plain")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        said.push_str(&line);
        said.push('\n');
        if line.contains(mark) {
            break;
        }
    }
    act(child.id());
    let begun = Instant::now();
    for line in lines {
        said.push_str(&line.unwrap());
        said.push('\n');
    }
    let status = child.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(40), "{said}");
    (status.code(), said)
}

const SLOW: &str = "target \"slow\" {\n  dockerfile-inline = \"FROM busybox\\nRUN echo it-sleeps; sleep 600\"\n  platforms = [\"linux/amd64\"]\n}\ntarget \"quick\" {\n  platforms = [\"linux/arm64\"]\n}\ntarget \"default\" {\n  dockerfile-inline = \"FROM --platform=linux/amd64 busybox AS wait\\nARG TARGETARCH\\nRUN [ $TARGETARCH = arm64 ] || { echo it-sleeps; sleep 600; }\\nFROM scratch\\nCOPY --from=wait /bin/busybox /\"\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n  tags = [\"TAG:1\"]\n  output = [\"type=registry\"]\n}\n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_node_that_is_lost_fails_its_targets_and_publishes_nothing() {
    let pair = Pair::created_by(Baker::Rbake).await;
    pair.write(&SLOW.replace("TAG", &pair.repository("lost")));
    let (code, said) = until(&pair, "it-sleeps", &["default"], |_| {
        pair.amd64.signal("KILL");
    });
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains(&pair.amd64.endpoint().to_string()), "{said}");
    let contents = RegistryContents::of(&pair.registry);
    assert_eq!(contents.digest("nodes/lost", "1").await, None);
    drop(pair);
    // The targets of the other node go on.
    let pair = Pair::created_by(Baker::Rbake).await;
    pair.write(SLOW);
    let arguments = [
        "slow",
        "quick",
        "--keep-going",
        "--set",
        "quick.output=type=local,dest=quick",
    ];
    let (code, said) = until(&pair, "it-sleeps", &arguments, |_| {
        pair.amd64.signal("KILL");
    });
    assert_ne!(code, Some(0), "{said}");
    assert!(pair.home.path("work/quick").exists(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_interrupt_ends_the_work_of_both_nodes() {
    let pair = Pair::created_by(Baker::Rbake).await;
    pair.write(&SLOW.replace("TAG", &pair.repository("interrupted")));
    let (code, said) = until(&pair, "it-sleeps", &["default"], |process| {
        let status = Command::new("kill")
            .args(["-s", "INT", &process.to_string()])
            .status();
        assert!(status.unwrap().success());
    });
    assert_eq!(code, Some(130), "{said}");
    for daemon in [&pair.amd64, &pair.arm64] {
        assert!(daemon.is_alive());
        daemon.await_idle(Duration::from_secs(20)).await;
    }
    let contents = RegistryContents::of(&pair.registry);
    assert_eq!(contents.digest("nodes/interrupted", "1").await, None);
}
