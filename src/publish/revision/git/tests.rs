use std::path::Path;

use super::super::{CommitState, MoveNote, TagMove, decide};
use super::*;

/// A repository in a temporary directory.
struct TestRepository(tempfile::TempDir);

impl TestRepository {
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "-q", "-b", "main"]);
        // A partial clone and a clone of a single commit need these.
        repository.git(&["config", "uploadpack.allowFilter", "true"]);
        repository.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        repository
    }

    fn clone_of(&self, options: &[&str]) -> Self {
        let clone = Self(tempfile::tempdir().unwrap());
        let url = format!("file://{}", self.0.path().display());
        let mut args = vec!["clone", "-q"];
        args.extend_from_slice(options);
        args.extend([url.as_str(), "."]);
        clone.git(&args);
        clone
    }

    fn git(&self, args: &[&str]) -> String {
        git(self.0.path(), args)
    }

    /// Makes a commit and returns its id.
    fn commit(&self, message: &str) -> String {
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    fn history(&self) -> GitHistory {
        GitHistory::new(self.0.path().to_owned(), BTreeSet::new())
    }

    async fn ancestry(&self, older: &str, newer: &str) -> Ancestry {
        let (older, newer) = (older.parse().unwrap(), newer.parse().unwrap());
        self.history().is_ancestor(&older, &newer).await
    }

    async fn decide(&self, recorded: &str, ours: &str) -> TagMove {
        let ours: CommitState = ours.parse().unwrap();
        decide(Some(recorded), Some(&ours), false, &self.history()).await
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn kept(newer: &str) -> TagMove {
    TagMove::Kept {
        newer: newer.parse().unwrap(),
    }
}

const DIVERGED: TagMove = TagMove::MovesWithNote(MoveNote::Diverged);
const UNKNOWN: TagMove = TagMove::MovesWithNote(MoveNote::UnknownHistory);

#[tokio::test]
async fn a_revert_is_newer_than_what_it_reverts() {
    let repository = TestRepository::new();
    let write = |text: &str| std::fs::write(repository.0.path().join("f"), text).unwrap();
    write("a");
    repository.git(&["add", "f"]);
    let a = repository.commit("a");
    write("b");
    repository.git(&["add", "f"]);
    let b = repository.commit("b");
    repository.git(&["revert", "--no-edit", "HEAD"]);
    let c = repository.head();
    let tree = |commit: &str| repository.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
    assert_eq!(tree(&a), tree(&c));
    assert_eq!(repository.decide(&b, &c).await, TagMove::Forward);
    // The run of `b` is late: `c` is already published.
    assert_eq!(repository.decide(&c, &b).await, kept(&c));
    assert_eq!(repository.decide(&c, &a).await, kept(&c));
}

#[tokio::test]
async fn merged_commits_are_older_than_the_merge_and_branches_have_diverged() {
    let repository = TestRepository::new();
    let base = repository.commit("base");
    repository.git(&["checkout", "-q", "-b", "other"]);
    let other = repository.commit("other");
    repository.git(&["checkout", "-q", "main"]);
    let main = repository.commit("main");
    assert_eq!(repository.decide(&other, &main).await, DIVERGED);
    repository.git(&["merge", "-q", "--no-edit", "other"]);
    let merge = repository.head();
    for older in [&base, &other, &main] {
        assert_eq!(repository.decide(older, &merge).await, TagMove::Forward);
        assert_eq!(repository.decide(&merge, older).await, kept(&merge));
    }
}

#[tokio::test]
async fn criss_cross_and_octopus_merges_are_understood() {
    let repository = TestRepository::new();
    repository.commit("base");
    let tips = ["x", "y", "z"].map(|name| {
        repository.git(&["checkout", "-q", "-b", name, "main"]);
        repository.commit(name)
    });
    let merge = |branch: &str, at: &str, others: &[&str]| {
        repository.git(&["checkout", "-q", "-b", branch, at]);
        let mut args = vec!["merge", "-q", "--no-ff", "--no-edit"];
        args.extend_from_slice(others);
        repository.git(&args);
        repository.head()
    };
    // Each side merges the other, so that both tips are best common ancestors.
    let left = merge("left", &tips[0], &[&tips[1]]);
    let right = merge("right", &tips[1], &[&tips[0]]);
    assert_eq!(repository.decide(&left, &right).await, DIVERGED);
    assert_eq!(repository.decide(&tips[0], &right).await, TagMove::Forward);
    assert_eq!(repository.decide(&left, &tips[1]).await, kept(&left));
    let octopus = merge("octopus", &tips[0], &[&tips[1], &tips[2]]);
    for tip in &tips {
        assert_eq!(repository.decide(tip, &octopus).await, TagMove::Forward);
        assert_eq!(repository.decide(&octopus, tip).await, kept(&octopus));
    }
    assert_eq!(repository.decide(&octopus, &left).await, DIVERGED);
}

#[tokio::test]
async fn a_shallow_clone_knows_only_what_it_has() {
    let origin = TestRepository::new();
    let ids: Vec<String> = (0..4)
        .map(|n| origin.commit(&format!("commit {n}")))
        .collect();
    let one = origin.clone_of(&["--depth", "1"]);
    assert_eq!(one.ancestry(&ids[3], &ids[3]).await, Ancestry::Yes);
    assert_eq!(one.ancestry(&ids[2], &ids[3]).await, Ancestry::Unknown);
    assert_eq!(one.decide(&ids[2], &ids[3]).await, UNKNOWN);
    let two = origin.clone_of(&["--depth", "2"]);
    assert_eq!(two.decide(&ids[2], &ids[3]).await, TagMove::Forward);
    assert_eq!(two.decide(&ids[3], &ids[2]).await, kept(&ids[3]));
    // Both commits are here, but not the history between them, so that git itself says "no".
    one.git(&["fetch", "-q", "--depth", "1", "origin", &ids[0]]);
    assert_eq!(one.ancestry(&ids[0], &ids[3]).await, Ancestry::Unknown);
    assert_eq!(one.decide(&ids[0], &ids[3]).await, UNKNOWN);
    one.git(&["fetch", "-q", "--unshallow", "origin"]);
    assert_eq!(one.decide(&ids[0], &ids[3]).await, TagMove::Forward);
}

#[tokio::test]
async fn a_partial_clone_fetches_nothing() {
    let origin = TestRepository::new();
    let first = origin.commit("first");
    let clone = origin.clone_of(&["--filter=blob:none"]);
    let later = origin.commit("later");
    assert_eq!(clone.ancestry(&first, &later).await, Ancestry::Unknown);
    assert_eq!(clone.decide(&later, &first).await, UNKNOWN);
    let known = clone.git(&["cat-file", "--batch-all-objects", "--batch-check"]);
    assert!(!known.contains(&later), "{known}");
}

#[tokio::test]
async fn replacements_on_this_machine_do_not_count() {
    let repository = TestRepository::new();
    let (a, b) = (repository.commit("a"), repository.commit("b"));
    repository.git(&["replace", "--graft", &b]);
    assert_eq!(repository.ancestry(&a, &b).await, Ancestry::Yes);
}

#[tokio::test]
async fn unknown_commits_and_missing_repositories_give_no_answer() {
    let repository = TestRepository::new();
    let head = repository.commit("x");
    let missing = "0".repeat(40);
    assert_eq!(
        repository.ancestry(&missing, &head).await,
        Ancestry::Unknown
    );
    // A branch may have a name that looks like the id of a commit.
    let name = "0".repeat(64);
    repository.git(&["branch", &name]);
    assert_eq!(repository.ancestry(&name, &head).await, Ancestry::Unknown);
    let nowhere = GitHistory::new("/nonexistent".into(), BTreeSet::from(["HOME".to_owned()]));
    let id: Revision = head.parse().unwrap();
    assert_eq!(nowhere.is_ancestor(&id, &id).await, Ancestry::Unknown);
}
