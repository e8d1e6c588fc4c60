//! Held runs and the verbs that work on recorded runs, against both versions of the distribution registry.

use std::path::Path;
use std::process::Command;

use test_case::test_case;

use crate::support::distribution::{DistributionRegistry, Version};
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

const V2: Version = Version::V2;
const V3: Version = Version::V3;

const ACCEPT: &str =
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// A registry that deletes, and a project in a git repository that pushes to it.
struct Site {
    project: TestProject,
    address: String,
    _registry: DistributionRegistry,
}

impl Site {
    fn new(version: Version) -> Self {
        let registry = DistributionRegistry::start(version);
        let address = registry.address.clone();
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
            address,
            _registry: registry,
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

    #[track_caller]
    fn rbake(&self, args: &[&str]) -> CommandOutput {
        let output = self.project.rbake(args);
        assert_eq!(output.code, Some(0), "{output}");
        output
    }

    // Removes the record of `run` from the registry.
    fn remove_record(&self, run: &str) {
        for repository in ["site/api", "site/web"] {
            let url = format!(
                "http://{}/v2/{repository}/manifests/rbake-run-{run}",
                self.address
            );
            let output = Command::new("curl")
                .args([
                    "-sS",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code}",
                    "-X",
                    "DELETE",
                ])
                .arg(&url)
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), "202", "{url}");
        }
    }

    /// The digest to which a tag points. `None` if it does not exist.
    fn digest(&self, name: &str) -> Option<String> {
        let (repository, tag) = name.split_once(':').unwrap();
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let output = Command::new("curl")
            .args(["-sSI", "-H", ACCEPT, &url])
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

    /// The content of a manifest.
    fn manifest(&self, name: &str) -> Vec<u8> {
        let (repository, tag) = name.split_once(':').unwrap();
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let output = Command::new("curl")
            .args(["-sSf", "-H", ACCEPT, &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// Points a tag to a manifest.
    fn put(&self, name: &str, manifest: &[u8]) {
        let (repository, tag) = name.split_once(':').unwrap();
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let parsed: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        let kind = format!("Content-Type: {}", parsed["mediaType"].as_str().unwrap());
        let file = self.project.home().join("manifest");
        std::fs::write(&file, manifest).unwrap();
        let output = Command::new("curl")
            .args(["-sSf", "-X", "PUT", "-H", &kind, "--data-binary"])
            .arg(format!("@{}", file.display()))
            .arg(&url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Forgets the runs of this machine, as on another one.
    fn forget(&self) {
        let state = self.project.home().join(".local/state/rbake/journals");
        std::fs::remove_dir_all(state).unwrap();
    }
}

/// A journal of an earlier attempt may be that of a run with other tags, for example of a repository that was renamed. A
/// promotion that continued it would record those as its own, and an undo would move them.
#[test]
#[ignore = "needs live peers"]
fn an_attempt_with_tags_that_the_held_run_does_not_have_is_not_continued() {
    let site = Site::new(V3);
    let (run, old, new) = held(&site);
    let attempt = "20261128T000000Z-00000001";
    let lines = format!(
        "{{\"journal\":1,\"run\":\"{attempt}\",\"started\":\"2026-11-28T00:00:00Z\",\"rbake\":\"0.1.0\",\"promotes\":\"{run}\"}}\n\
         {{\"state\":\"planned\",\"image\":\"{}/site/other\",\"tag\":\"latest\",\"class\":\"mutable\",\"was\":null,\"to\":\"{}\"}}\n\
         {{\"status\":\"moving\"}}\n",
        site.address,
        old.unwrap(),
    );
    let journals = site.project.home().join(".local/state/rbake/journals");
    let file = journals.join(format!("{attempt}.jsonl"));
    std::fs::write(&file, &lines).unwrap();
    let output = site.rbake(&["promote", &run, "--yes"]);
    assert_eq!(site.digest("site/web:latest"), new, "{output}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), lines);
    assert!(!output.stderr.contains(attempt), "{output}");
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
fn a_held_run_sets_its_immutable_tags_and_moves_nothing(version: Version) {
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

/// The run that is held after a first commit was published and a second was built. Returns both images of `web`.
#[track_caller]
fn held(site: &Site) -> (String, Option<String>, Option<String>) {
    site.commit("1");
    let _ = site.push(&[]);
    let old = site.digest("site/web:latest");
    let second = site.commit("2");
    let output = site.push(&["--hold"]);
    let new = site.digest(&format!("site/web:sha-{}", &second[..12]));
    assert!(old.is_some() && new.is_some() && old != new, "{output}");
    (run_in(&output), old, new)
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
fn a_promotion_moves_the_tags_and_completes_the_held_run(version: Version) {
    let site = Site::new(version);
    let (run, old, new) = held(&site);
    let shown = site.rbake(&["promote", "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(plan["run"], run.as_str());
    assert_eq!(plan["changes"].as_array().unwrap().len(), 2, "{plan}");
    let refused = site.project.rbake(&["promote"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("publish::not-confirmed"));
    assert_eq!(site.digest("site/web:latest"), old);

    let output = site.rbake(&["promote", "--yes"]);
    assert!(output.stderr.contains("2 tags changed"), "{output}");
    assert_eq!(site.digest("site/web:latest"), new);
    // Here and in the registry, the run is complete.
    for forget in [false, true] {
        if forget {
            site.forget();
        }
        let again = site.rbake(&["promote", &run, "--yes"]);
        assert!(again.stderr.contains("complete already"), "{again}");
    }
    let none = site.project.rbake(&["promote", "--yes"]);
    assert_eq!(none.code, Some(2), "{none}");
    assert!(none.stderr.contains("no run is held"), "{none}");

    // The undo of the held run takes back what the promotion moved.
    let _ = site.rbake(&["undo", &run, "--yes"]);
    assert_eq!(site.digest("site/web:latest"), old);
}

#[test]
#[ignore = "needs live peers"]
fn a_promotion_on_another_machine_finds_the_run_by_its_commit() {
    let site = Site::new(V3);
    let (run, _, new) = held(&site);
    let journals = site.project.home().join(".local/state/rbake/journals");
    let kept = site.project.home().join("kept");
    std::fs::rename(&journals, &kept).unwrap();
    let commit = site.git(&["rev-parse", "--short=8", "HEAD"]);
    let output = site.rbake(&["promote", &commit, "--yes"]);
    assert!(output.stderr.contains(&run), "{output}");
    assert_eq!(site.digest("site/web:latest"), new);
    // The first machine learns it from the registry.
    std::fs::remove_dir_all(&journals).unwrap();
    std::fs::rename(&kept, &journals).unwrap();
    let again = site.rbake(&["promote", &run, "--yes"]);
    assert!(again.stderr.contains("complete already"), "{again}");
    let wrong = site.project.rbake(&["promote", "0000000", "--yes"]);
    assert_eq!(wrong.code, Some(2), "{wrong}");
    assert!(
        wrong.stderr.contains("no record of a run of commit"),
        "{wrong}"
    );
}

#[test]
#[ignore = "needs live peers"]
fn a_promotion_leaves_tags_of_newer_commits_unless_it_is_forced() {
    let site = Site::new(V3);
    let (run, _, new) = held(&site);
    site.commit("3");
    let _ = site.push(&[]);
    let newest = site.digest("site/web:latest");
    let shown = site.rbake(&["promote", "--dry-run"]);
    assert!(shown.stderr.contains("stays: the newer commit"), "{shown}");
    let forced = site.rbake(&["promote", "--force-backwards", "--dry-run"]);
    assert!(forced.stderr.contains(" → "), "{forced}");
    assert_eq!(site.digest("site/web:latest"), newest);
    let output = site.rbake(&["promote", &run, "--force-backwards", "--yes"]);
    assert_eq!(site.digest("site/web:latest"), new, "{output}");
}

#[test]
#[ignore = "needs live peers"]
fn a_promotion_that_was_interrupted_is_continued() {
    let site = Site::new(V3);
    let (run, old, new) = held(&site);
    let record = site.manifest(&format!("site/api:rbake-run-{run}"));
    let latest = site.manifest("site/api:latest");
    let _ = site.rbake(&["promote", &run, "--yes"]);
    assert_eq!(site.digest("site/web:latest"), new);
    // As if it had been killed after it had moved the tag of `web`.
    site.put("site/api:latest", &latest);
    for repository in ["api", "web"] {
        site.put(&format!("site/{repository}:rbake-run-{run}"), &record);
    }
    let journals = site.project.home().join(".local/state/rbake/journals");
    let mut promotions = 0;
    for entry in std::fs::read_dir(&journals).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let last = if text.contains("\"promotes\"") {
            promotions += 1;
            "moving"
        } else if path.to_string_lossy().contains(&run) {
            "held"
        } else {
            continue;
        };
        let end = text.find(&format!("\"{last}\"")).unwrap();
        std::fs::write(&path, format!("{}\"{last}\"}}\n", &text[..end])).unwrap();
    }
    assert_eq!(promotions, 1);
    let again = site.rbake(&["promote", "--yes"]);
    assert!(again.stderr.contains("1 tag changed"), "{again}");
    assert_eq!(site.digest("site/web:latest"), new);
    let commit = site.git(&["rev-parse", "--short=12", "HEAD"]);
    assert_eq!(
        site.digest("site/api:latest"),
        site.digest(&format!("site/api:sha-{commit}"))
    );
    // Nothing is left open, and the undo of the promotion knows where both tags were.
    let none = site.project.rbake(&["resume"]);
    assert!(none.stderr.contains("no run was interrupted"), "{none}");
    let _ = site.rbake(&["undo", &run, "--yes"]);
    assert_eq!(site.digest("site/web:latest"), old);
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
fn an_untag_removes_what_a_held_run_added(version: Version) {
    let site = Site::new(version);
    let (run, old, _) = held(&site);
    let commit = site.git(&["rev-parse", "--short=12", "HEAD"]);
    let output = site.rbake(&["untag", "--yes"]);
    assert!(
        output
            .stderr
            .contains(&format!("run {run} taken back: 2 tags")),
        "{output}"
    );
    for image in ["web", "api"] {
        assert_eq!(site.digest(&format!("site/{image}:sha-{commit}")), None);
    }
    assert_eq!(site.digest("site/web:latest"), old);
    let again = site.rbake(&["untag", &run, "--yes"]);
    assert!(again.stderr.contains("nothing is left to do"), "{again}");
    let promoted = site.project.rbake(&["promote", &run, "--yes"]);
    assert_eq!(promoted.code, Some(2), "{promoted}");
    assert!(promoted.stderr.contains("was taken back"), "{promoted}");
}

#[test]
#[ignore = "needs live peers"]
fn an_untag_refuses_a_complete_run_and_spares_what_a_later_run_published() {
    let site = Site::new(V3);
    let (first, _, new) = held(&site);
    let commit = site.git(&["rev-parse", "HEAD"]);
    // The same commit again: the images are there, and only the mutable tags move.
    let _ = site.push(&[]);
    assert_eq!(site.digest("site/web:latest"), new);
    let refused = site.project.rbake(&["untag", &commit, "--yes"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("publish::complete"), "{refused}");
    assert!(refused.stderr.contains("rbake undo"), "{refused}");

    let output = site.rbake(&["untag", &first, "--yes"]);
    assert!(
        output.stderr.contains("has published its image"),
        "{output}"
    );
    assert_eq!(site.digest(&format!("site/web:sha-{}", &commit[..12])), new);
    assert_eq!(site.digest("site/web:latest"), new);
}

#[test]
#[ignore = "needs live peers"]
fn a_digest_is_printed_only_for_what_was_released() {
    let site = Site::new(V3);
    let (run, old, new) = held(&site);
    let commit = site.git(&["rev-parse", "--short=12", "HEAD"]);
    let var = format!("SHA={commit}");
    let name = |digest: &Option<String>| {
        let digest = digest.as_deref().unwrap();
        format!("{}/site/web@{digest}\n", site.address)
    };
    let latest = format!("{}/site/web:latest", site.address);
    assert_eq!(site.rbake(&["digest", &latest]).stdout, name(&old));
    let refused = site.project.rbake(&["digest", "web", "--var", &var]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused.stderr.contains("publish::not-released"),
        "{refused}"
    );
    assert!(refused.stderr.contains(&run), "{refused}");
    assert_eq!(refused.stdout, "");
    let args = ["digest", "web", "--var", &var, "--even-if-held"];
    assert_eq!(site.rbake(&args).stdout, name(&new));

    let _ = site.rbake(&["promote", "--yes"]);
    assert_eq!(
        site.rbake(&["digest", "web", "--var", &var]).stdout,
        name(&new)
    );
    let missing = format!("{}/site/web:no", site.address);
    assert_eq!(site.project.rbake(&["digest", &missing]).code, Some(1));
    assert_eq!(site.project.rbake(&["digest", "default"]).code, Some(2));
    // Somebody else has set this tag.
    site.put("site/web:other", &site.manifest("site/web:latest"));
    let other = format!("{}/site/web:other", site.address);
    assert_eq!(site.rbake(&["digest", &other]).stdout, name(&new));
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
fn a_rollback_moves_mutable_tags_together_and_the_next_build_moves_them_forward(version: Version) {
    let site = Site::new(version);
    let first = site.commit("1");
    let _ = site.push(&[]);
    let old = ["web", "api"].map(|image| site.digest(&format!("site/{image}:latest")));
    let second = site.commit("2");
    let _ = site.push(&[]);
    let new = ["web", "api"].map(|image| site.digest(&format!("site/{image}:latest")));
    let latest = || ["web", "api"].map(|image| site.digest(&format!("site/{image}:latest")));

    let shown = site.rbake(&["rollback", &first, "--dry-run"]);
    assert!(shown.stderr.contains("latest → "), "{shown}");
    assert_eq!(latest(), new);
    let output = site.rbake(&["rollback", &first, "--yes"]);
    assert!(output.stderr.contains("2 tags changed"), "{output}");
    assert_eq!(latest(), old);
    // The image of the second commit keeps its tag.
    assert_eq!(
        site.digest(&format!("site/web:sha-{}", &second[..12])),
        new[0]
    );
    let again = site.rbake(&["rollback", &first, "--yes"]);
    assert!(again.stderr.contains("0 tags changed"), "{again}");

    site.commit("3");
    let _ = site.push(&[]);
    assert_ne!(latest(), old);
    assert_ne!(latest(), new);
    let none = site.project.rbake(&["rollback", "--yes"]);
    assert_eq!(none.code, Some(2), "{none}");
}

#[test]
#[ignore = "needs live peers"]
fn a_rollback_that_was_interrupted_does_not_come_back_to_the_newer_image() {
    let site = Site::new(V3);
    let first = site.commit("1");
    let _ = site.push(&[]);
    let old = site.digest("site/web:latest");
    site.commit("2");
    let _ = site.push(&[]);
    let output = site.rbake(&["rollback", &first, "--yes"]);
    let journals = site.project.home().join(".local/state/rbake/journals");
    let mut rollbacks = 0;
    for entry in std::fs::read_dir(&journals).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if let Some(end) = text.find("{\"status\":\"complete\"}")
            && text.contains("\"rolls-back-to\"")
        {
            rollbacks += 1;
            std::fs::write(&path, &text[..end]).unwrap();
            // The registry would say that the run is complete.
            site.remove_record(path.file_stem().unwrap().to_str().unwrap());
        }
    }
    assert_eq!(rollbacks, 1, "{output}");
    let resumed = site.rbake(&["resume"]);
    assert!(resumed.stderr.contains("finished"), "{resumed}");
    assert_eq!(site.digest("site/web:latest"), old, "{resumed}");
}

#[test]
#[ignore = "needs live peers"]
fn a_rollback_refuses_a_run_that_is_held() {
    let site = Site::new(V3);
    let (run, old, _) = held(&site);
    let refused = site.project.rbake(&["rollback", &run, "--yes"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(
        refused.stderr.contains("publish::not-complete"),
        "{refused}"
    );
    assert_eq!(site.digest("site/web:latest"), old);
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
fn the_releases_say_what_points_where(version: Version) {
    let site = Site::new(version);
    let (held, old, new) = held(&site);
    let _ = site.rbake(&["promote", "--yes"]);
    let shown = site.rbake(&["releases", "--json"]);
    let runs: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let runs = runs.as_array().unwrap();
    assert_eq!(runs.len(), 3, "{shown}");
    let current = |run: &serde_json::Value| -> Vec<serde_json::Value> {
        let tags = run["tags"].as_array().unwrap().iter();
        tags.filter(|tag| tag["current"] == true).cloned().collect()
    };
    let [promotion, build, first] = &runs[..] else {
        panic!("{shown}")
    };
    assert_eq!(promotion["promotes"], held.as_str());
    assert_eq!(build["run"], held.as_str());
    assert_eq!(build["status"], "complete");
    assert_eq!(build["commit"], site.git(&["rev-parse", "HEAD"]).as_str());
    assert_eq!(current(build).len(), 2, "{build}");
    let old = old.unwrap();
    assert!(current(build).iter().any(|tag| tag["was"] == old.as_str()));
    let web = current(promotion)
        .into_iter()
        .find(|tag| tag["to"] == new.clone().unwrap());
    assert!(web.is_some(), "{promotion}");
    assert!(current(first).is_empty(), "{first}");

    site.forget();
    let name = format!("{}/site/api", site.address);
    let text = site.rbake(&["releases", &name]).stdout;
    assert!(
        text.contains("← now") && text.contains("promotes"),
        "{text}"
    );
    let none = site.rbake(&["releases", &format!("{}/site/none", site.address)]);
    assert!(none.stderr.contains("no run is recorded"), "{none}");
}

/// The runs of a machine are those of all its projects.
#[test_case(&["promote", "--yes"]; "promote")]
#[test_case(&["untag", "--yes"]; "untag")]
#[ignore = "needs live peers"]
fn a_held_run_of_another_project_is_not_meant(verb: &[&str]) {
    let site = Site::new(V3);
    let (run, old, _) = held(&site);
    let commit = site.git(&["rev-parse", "--short=12", "HEAD"]);
    let bake = format!(
        "target \"default\" {{ tags = [\"{}/other/web:latest\"] }}\n",
        site.address
    );
    let other = TestProject::new()
        .file("docker-bake.hcl", bake)
        .env("HOME", site.project.home().to_str().unwrap());
    let output = other.rbake(verb);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains(&run), "{output}");
    assert!(output.stderr.contains("other/web"), "{output}");
    assert_eq!(site.digest("site/web:latest"), old);
    assert!(site.digest(&format!("site/web:sha-{commit}")).is_some());
    // With its name, and where nothing is defined, it is found.
    let nowhere = TestProject::new().env("HOME", site.project.home().to_str().unwrap());
    for (project, words) in [
        (&other, &[verb, &[&run], &["--dry-run"]].concat()),
        (&nowhere, &[verb, &["--dry-run"]].concat()),
    ] {
        let output = project.rbake(words);
        assert_eq!(output.code, Some(0), "{output}");
        assert!(output.stderr.contains(&run), "{output}");
    }
}
