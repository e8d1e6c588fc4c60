//! Held runs and the verbs that work on recorded runs, against both versions of the distribution registry.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use test_case::test_case;

use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

const V2: &str = "RBAKE_TEST_REGISTRY2";
const V3: &str = "RBAKE_TEST_REGISTRY3";

/// A registry that deletes, and a project in a git repository that pushes to it.
struct Site {
    project: TestProject,
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Site {
    /// `version` names the variable of the registry's program.
    fn new(version: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n",
            dir.path().join("data").display(),
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        let mut child = Command::new(peers::program(version))
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, after) = line.split_once("listening on 127.0.0.1:")?;
                Some(
                    after
                        .chars()
                        .take_while(char::is_ascii_digit)
                        .collect::<String>(),
                )
            })
            .expect("the registry says where it listens");
        // Keep reading, because the registry would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = format!("127.0.0.1:{port}");
        let bake = format!(
            r#"
            variable "SHA" {{ default = "none" }}
            group "default" {{ targets = ["web", "api"] }}
            target "web" {{
              dockerfile-inline = "FROM scratch\nCOPY hello /web"
              tags = ["{address}/site/web:sha-${{SHA}}", "{address}/site/web:latest"]
            }}
            target "api" {{
              dockerfile-inline = "FROM scratch\nCOPY hello /api"
              tags = ["{address}/site/api:sha-${{SHA}}", "{address}/site/api:latest"]
            }}
            "#
        );
        let project = TestProject::new()
            .file("docker-bake.hcl", bake)
            .file("hello", "0\n")
            .env("BUILDKIT_HOST", peers::peer("RBAKE_TEST_BUILDKIT_ADDR"));
        let site = Self {
            project,
            child,
            address,
            _dir: dir,
        };
        site.git(&["init", "-q", "-b", "main"]);
        site
    }

    fn git(&self, args: &[&str]) -> String {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let args = [&identity, args].concat();
        let output = self.project.program(Path::new("git"), &args).output();
        let output = output.unwrap();
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits new content. Returns the whole id.
    fn commit(&self, content: &str) -> String {
        std::fs::write(self.project.path().join("hello"), content).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", content]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Builds and pushes the current commit.
    #[track_caller]
    fn push(&self, more: &[&str]) -> CommandOutput {
        let sha = self.git(&["rev-parse", "--short=12", "HEAD"]);
        let sha = format!("SHA={sha}");
        let output = self
            .project
            .rbake(&[&["--push", "--progress=plain", "--var", &sha], more].concat());
        assert_eq!(output.code, Some(0), "{output}");
        output
    }

    /// The digest to which a tag points. `None` if it does not exist.
    fn digest(&self, name: &str) -> Option<String> {
        let (repository, tag) = name.split_once(':').unwrap();
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let accept = "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
        let output = Command::new("curl")
            .args(["-sSI", "-H", accept, &url])
            .output()
            .unwrap();
        let head = String::from_utf8(output.stdout).unwrap();
        let mut lines = head.lines();
        if !lines.next().unwrap().contains(" 200") {
            return None;
        }
        lines.find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            let is_digest = key.eq_ignore_ascii_case("docker-content-digest");
            is_digest.then(|| value.trim().to_owned())
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The run that a message names.
fn run_in(output: &CommandOutput) -> String {
    let text = format!("{}{}", output.stderr, output.stdout);
    let at = text.find("run 2").unwrap_or_else(|| panic!("{text}"));
    text[at + 4..].chars().take(25).collect()
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
fn a_held_run_sets_its_immutable_tags_and_moves_nothing(version: &str) {
    let site = Site::new(version);
    let first = site.commit("1");
    let _ = site.push(&[]);
    let old = site.digest("site/web:latest");
    assert!(old.is_some());

    let second = site.commit("2");
    let output = site.push(&["--hold"]);
    assert!(output.stderr.contains("publish::held"), "{output}");
    assert!(output.stderr.contains("held: `rbake promote 2"), "{output}");
    assert_eq!(site.digest("site/web:latest"), old);
    let new = site.digest(&format!("site/web:sha-{}", &second[..12]));
    assert!(new.is_some() && new != old);
    assert_eq!(site.digest(&format!("site/web:sha-{}", &first[..12])), old);
    let run = run_in(&output);
    for repository in ["web", "api"] {
        let record = site.digest(&format!("site/{repository}:rbake-run-{run}"));
        assert!(record.is_some(), "{repository}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_run_that_cannot_be_held_fails_before_work() {
    let site = Site::new(V3);
    site.commit("1");
    for args in [&["--hold"][..], &["--hold", "--push", "--publish=buildx"]] {
        let output = site.project.rbake(args);
        assert_eq!(output.code, Some(2), "{output}");
        assert!(output.stderr.contains("publish::hold"), "{output}");
    }
    assert_eq!(site.digest("site/web:latest"), None);
}
