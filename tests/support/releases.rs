//! A project whose images are published: small images, built from a git repository, with three tags each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::distribution::RegistryContents;
use super::project::{CommandOutput, TestProject};

/// A git repository with a definition of several images.
///
/// The tags of each image are the commit's id, which is immutable, `build-N` and `latest`.
pub(crate) struct ReleaseProject {
    project: TestProject,
    registry: String,
    images: Vec<String>,
}

/// The annotation of an index that names the commit.
pub(crate) const REVISION: &str = "org.opencontainers.image.revision";

/// One run of a project.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// The commit, which is the immutable tag.
    pub commit: String,
    /// The number N of the tag `build-N`.
    pub build: u64,
    /// A part of the images that is not in the commit, such as the digest of a base image.
    pub base: String,
}

impl Release {
    /// The release of `commit` as build number `build`.
    pub(crate) fn of(commit: &str, build: u64) -> Self {
        Self {
            commit: commit.to_owned(),
            build,
            base: "1".to_owned(),
        }
    }

    /// The tags of each image, the immutable one first.
    pub(crate) fn tags(&self) -> [String; 3] {
        [
            self.commit.clone(),
            format!("build-{}", self.build),
            "latest".to_owned(),
        ]
    }
}

impl ReleaseProject {
    /// A project with `count` images, which are called `<prefix>/a` and so on at `registry`. It has no commit yet.
    pub(crate) fn new(registry: &str, prefix: &str, count: u8) -> Self {
        let letters: Vec<char> = (0..count).map(|n| char::from(b'a' + n)).collect();
        let mut definition = String::from(
            "variable \"REGISTRY\" {}\nvariable \"COMMIT\" {}\nvariable \"BUILD\" {}\nvariable \"BASE\" {}\n\
             function \"tags\" {\n  params = [image]\n  \
             result = [for tag in [COMMIT, \"build-${BUILD}\", \"latest\"] : \"${REGISTRY}/${image}:${tag}\"]\n}\n",
        );
        let images: Vec<String> = letters
            .iter()
            .map(|letter| format!("{prefix}/{letter}"))
            .collect();
        let _ = writeln!(
            definition,
            "group \"default\" {{ targets = [{}] }}",
            letters
                .iter()
                .map(|letter| format!("\"{letter}\""))
                .collect::<Vec<_>>()
                .join(", ")
        );
        for (letter, image) in letters.iter().zip(&images) {
            let _ = writeln!(
                definition,
                "target \"{letter}\" {{\n  dockerfile-inline = \"FROM scratch\\nCOPY {letter}.txt /\\n\"\n  \
                 labels = {{ base = BASE }}\n  tags = tags(\"{image}\")\n}}",
            );
        }
        let project = TestProject::new()
            .file("docker-bake.hcl", definition)
            .file(".gitignore", "metadata.json\n");
        let releases = Self {
            project,
            registry: registry.to_owned(),
            images,
        };
        releases.git(&["init", "--quiet", "--initial-branch=main"]);
        releases
    }

    /// A clone of the project at its commit, in another directory and with another home. With `depth`, it has only so
    /// many commits.
    pub(crate) fn cloned(&self, depth: Option<u32>) -> Self {
        let cloned = Self {
            project: TestProject::new(),
            registry: self.registry.clone(),
            images: self.images.clone(),
        };
        // A path would be copied whole.
        let source = format!("file://{}", self.project.path().display());
        let depth = depth.map(|depth| format!("--depth={depth}"));
        let mut words = vec!["clone", "--quiet"];
        words.extend(depth.as_deref());
        words.extend([source.as_str(), "."]);
        cloned.git(&words);
        cloned
    }

    /// Gets all commits of the project from which this one was cloned, and checks out `commit`.
    pub(crate) fn check_out(&self, commit: &str) {
        if !self.git(&["remote"]).is_empty() {
            self.git(&["fetch", "--quiet", "origin"]);
        }
        self.git(&["checkout", "--quiet", "--detach", commit]);
    }

    /// Writes `content` into the file of each image, and commits it. Returns the id.
    pub(crate) fn commit(&self, content: &str) -> String {
        for image in &self.images {
            let (_, letter) = image.rsplit_once('/').unwrap();
            let path = self.project.path().join(format!("{letter}.txt"));
            std::fs::write(path, format!("{image} {content}\n")).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=a change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the project, and returns what it prints.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let mut words = vec!["-c", "user.name=test", "-c", "user.email=test@localhost"];
        words.extend(arguments);
        let output = self
            .project
            .program(Path::new("git"), &words)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The command that publishes `release`, whose commit is checked out.
    pub(crate) fn command(&self, release: &Release, arguments: &[&str]) -> Command {
        let mut words = vec!["--push", "--progress=plain"];
        words.extend(arguments);
        self.with_variables(self.project.command(&words), release)
    }

    /// The command `rbake` with `arguments`, such as those of `rbake undo`.
    pub(crate) fn verb(&self, arguments: &[&str]) -> Command {
        let release = Release::of("none", 0);
        self.with_variables(self.project.command(arguments), &release)
    }

    fn with_variables(&self, mut command: Command, release: &Release) -> Command {
        let builder = super::peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
        command
            .env("BUILDKIT_HOST", builder)
            .env("REGISTRY", &self.registry)
            .env("COMMIT", &release.commit)
            .env("BUILD", release.build.to_string())
            .env("BASE", &release.base);
        command
    }

    /// Publishes `release`, whose commit is checked out.
    pub(crate) fn publish(&self, release: &Release, arguments: &[&str]) -> CommandOutput {
        self.run(&mut self.command(release, arguments))
    }

    /// Runs `command`.
    pub(crate) fn run(&self, command: &mut Command) -> CommandOutput {
        self.project.read(&command.output().unwrap())
    }

    /// Where `tag` of the images points, if there are two.
    pub(crate) async fn both(&self, contents: &RegistryContents, tag: &str) -> [Option<String>; 2] {
        let [first, second] = self.images() else {
            panic!("two images");
        };
        [
            contents.digest(first, tag).await,
            contents.digest(second, tag).await,
        ]
    }

    /// The repositories, without the host.
    pub(crate) fn images(&self) -> &[String] {
        &self.images
    }

    /// The directory of the project.
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.project.path()
    }
}

/// Which images the tags of a release point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReleaseState {
    /// All mutable tags point to the image of this release, and so do the immutable ones.
    New,
    /// No mutable tag points to it.
    Old,
    /// Some do and others do not, or something else is wrong.
    Mixed(String),
}

/// Where `latest` of each image pointed before a release.
pub(crate) type LatestTags = BTreeMap<String, Option<String>>;

impl ReleaseProject {
    /// Where `latest` of each image points.
    pub(crate) async fn latest(&self, registry: &RegistryContents) -> LatestTags {
        let mut latest = LatestTags::new();
        for image in &self.images {
            latest.insert(image.clone(), registry.digest(image, "latest").await);
        }
        latest
    }

    /// Reads all tags of `release`, whose number no other release has. `before` is where `latest` pointed before it.
    pub(crate) async fn state(
        &self,
        registry: &RegistryContents,
        release: &Release,
        before: &LatestTags,
    ) -> ReleaseState {
        let mut text = String::new();
        let (mut new, mut old, mut immutable, mut is_wrong) = (0, 0, 0, false);
        for image in &self.images {
            let mut images = BTreeSet::new();
            for tag in release.tags() {
                let is = registry.digest(image, &tag).await;
                let index = match is {
                    Some(_) => registry.json(image, &tag).await,
                    None => None,
                };
                let revision = index
                    .and_then(|index| Some(index["annotations"][REVISION].as_str()?.to_owned()));
                let is_new = revision.as_ref() == Some(&release.commit);
                if is_new {
                    images.insert(is.clone());
                }
                let was = if tag == "latest" {
                    before[image].clone()
                } else {
                    None
                };
                if tag == release.commit {
                    immutable += usize::from(is_new);
                    is_wrong |= is.is_some() && !is_new;
                } else {
                    new += usize::from(is_new);
                    old += usize::from(is == was);
                }
                let _ = writeln!(
                    text,
                    "  {image}:{tag} {is:?}, before {was:?}, of commit {revision:?}"
                );
            }
            is_wrong |= images.len() > 1;
        }
        let (mutable, all) = (self.images.len() * 2, self.images.len());
        if !is_wrong && new == mutable && immutable == all {
            ReleaseState::New
        } else if !is_wrong && old == mutable {
            ReleaseState::Old
        } else {
            ReleaseState::Mixed(text)
        }
    }
}
