//! Runs the worked examples of `docs/publishing/`, and compares what they print with the pages.
//!
//! A page is a session: the commands of its blocks of the language `console` run one after the other, in the project that
//! `docs/publishing.md` shows, against a registry that is empty at first. Comments in a page prepare what it does not show:
//! `<!-- setup` lists commands, and `<!-- kill worker:latest` says that SIGKILL ends the next command that begins with `rbake`
//! when it has set the tag `latest` of another image and is about to set it here. `RBAKE_UPDATE_DOCS=1` writes what the commands print into the pages.

mod compare;
mod page;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use test_case::test_case;

use self::compare::Names;
use self::page::{Page, Step};
use crate::support::distribution::{DistributionRegistry, Version};
use crate::support::interrupted::Run;
use crate::support::peers;
use crate::support::project::TestProject;
use crate::support::pty::Terminal;
use crate::support::registry_faults::Gate;
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy, Stage, Verdict};

/// The registries of the pages.
const REGISTRY: &str = "registry.example.com";
const PRODUCTION: &str = "prod.example.com";
const DIRECTORY: &str = "/home/acme/shop";
const QUESTION: &str = "[y/N] ";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The project of the pages, and two registries.
struct Example {
    project: TestProject,
    registry: RegistryProxy,
    production: DistributionRegistry,
    _behind: DistributionRegistry,
    code: i32,
}

impl Example {
    async fn new() -> Self {
        let behind = DistributionRegistry::start(Version::V3);
        let registry = RegistryProxy::start(&behind.address).await;
        let model = std::fs::read_to_string(docs().join("publishing.md")).unwrap();
        let rbake = Path::new(env!("CARGO_BIN_EXE_rbake")).parent().unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", rbake.display());
        let mut project = TestProject::new()
            .env("PATH", path)
            .env("BUILDKIT_HOST", peers::peer("RBAKE_TEST_BUILDKIT_ADDR"))
            .env("REGISTRY", registry.address())
            .env("NO_COLOR", "1");
        let home = project.home();
        project = project.env("TMPDIR", home.display());
        for (name, language) in [("docker-bake.hcl", "hcl"), ("Dockerfile", "dockerfile")] {
            let block = page::block(&model, language).expect("the project of the examples");
            project = project.file(name, block);
        }
        for (name, value) in [
            ("NAME", "a"),
            ("EMAIL", "a@example.com"),
            ("DATE", "2026-11-29T08:00:00Z"),
        ] {
            for who in ["AUTHOR", "COMMITTER"] {
                project = project.env(&format!("GIT_{who}_{name}"), value);
            }
        }
        let mut example = Self {
            project: project.file("shop.txt", "one\n"),
            registry,
            production: DistributionRegistry::start(Version::V3),
            _behind: behind,
            code: 0,
        };
        example.run("git init -q -b main && git add . && git commit -qm one", "");
        assert_eq!(example.code, 0);
        example
    }

    fn here(&self, text: &str) -> String {
        text.replace(REGISTRY, &self.registry.address())
            .replace(PRODUCTION, &self.production.address)
    }

    fn on_the_page(&self, text: &str) -> String {
        text.replace(&self.registry.address(), REGISTRY)
            .replace(&self.production.address, PRODUCTION)
            .replace(&self.project.path().display().to_string(), DIRECTORY)
            .replace('\r', "")
    }

    /// A shell that runs `line`. `$?` is the exit code of the line before it.
    fn shell(&self, line: &str) -> Command {
        let line = format!(
            "export GITHUB_SHA=$(git rev-parse HEAD 2>/dev/null); exec 2>&1; (exit {}); {}",
            self.code,
            self.here(line)
        );
        self.project.program(Path::new("/bin/sh"), &["-c", &line])
    }

    /// Runs a line of a page, which prints `expected`, and returns what it prints.
    fn run(&mut self, line: &str, expected: &str) -> String {
        let asked = expected.split_once(QUESTION);
        let answer = asked.map(|(_, after)| after.lines().next().unwrap_or_default());
        let Some(answer) = answer else {
            let output = self.shell(line).output().unwrap();
            self.code = output.status.code().expect("an exit code");
            return self.on_the_page(&String::from_utf8_lossy(&output.stdout));
        };
        let code = self.project.home().join("code");
        let line = format!("{line}; echo $? >{}", code.display());
        let mut terminal = Terminal::start(Path::new("/bin/sh"), &self.shell(&line));
        let shown = terminal.read_until(QUESTION);
        terminal.type_in(&format!("{answer}\n"));
        let rest = String::from_utf8(terminal.read_to_end()).unwrap();
        let text = std::fs::read_to_string(code).unwrap();
        self.code = text.trim().parse().unwrap();
        self.on_the_page(&(shown + &rest))
    }

    /// Whether the newest run on this machine has recorded that it has set `tag`.
    fn has_recorded(&self, tag: &str) -> bool {
        let journals = self.project.home().join(".local/state/rbake/journals");
        let journals = std::fs::read_dir(journals).into_iter().flatten().flatten();
        let newest = journals.map(|entry| entry.path()).max();
        let text = newest.and_then(|path| std::fs::read_to_string(path).ok());
        let is_set = |line: &str| line.contains("\"done\"") && line.contains(&format!("{tag:?}"));
        text.is_some_and(|text| text.lines().any(is_set))
    }

    /// Runs a line that SIGKILL ends when it is about to set the tag `image`, and has set the tag of the same name of another
    /// image.
    async fn kill(&mut self, line: &str, image: &str) -> String {
        let (repository, tag) = image.split_once(':').expect("an image with a tag");
        let (path, name) = (format!("/{repository}/manifests/{tag}"), tag.to_owned());
        let gate = Gate::new(Stage::Before, 0, move |request| {
            request.sets(&name) && request.path.ends_with(&path)
        });
        self.registry.clear().await;
        self.registry.set_hook(Some(gate.hook()));
        let run = Run::start(&self.shell(&format!("exec {line}")));
        let reached = async {
            gate.reached().await;
            let has_set = |request: &ProxiedRequest| request.sets(tag) && request.succeeded();
            // What the record says of the other tag must not depend on when the signal comes.
            while !self.registry.log().iter().any(has_set) || !self.has_recorded(tag) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_mins(1), reached).await;
        assert!(reached.is_ok(), "`{line}` does not set `{image}`");
        run.signal(Signal::KILL);
        let _ = run.ended(Duration::from_secs(30)).await;
        gate.release(Verdict::Reset);
        self.registry.quiet().await;
        self.registry.set_hook(None);
        self.code = 137;
        "Killed\n".to_owned()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an environment variable selects whether the test writes the page"
)]
fn updates() -> bool {
    std::env::var_os("RBAKE_UPDATE_DOCS").is_some()
}

#[test_case("gates"; "gates")]
#[test_case("hold"; "hold")]
#[test_case("promote"; "promote")]
#[test_case("untag"; "untag")]
#[test_case("resume"; "resume")]
#[test_case("undo"; "undo")]
#[test_case("rollback"; "rollback")]
#[test_case("releases"; "releases")]
#[test_case("digest"; "digest")]
#[test_case("preflight"; "preflight")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_examples_of_a_page_print_what_it_shows(name: &str) {
    let path = docs().join("publishing").join(format!("{name}.md"));
    let text = std::fs::read_to_string(&path).unwrap();
    let page = Page::parse(&text);
    // When a gate fails, images that are complete by then have been pushed. Which ones these are depends on the load of the
    // machine.
    let mut attempts = 3;
    loop {
        let played = page_played(&page, name).await;
        attempts -= 1;
        if updates() {
            std::fs::write(&path, played.updated).unwrap();
            return;
        }
        assert!(played.commands > 0, "{name}.md has no example");
        if played.wrong.is_empty() {
            return;
        }
        assert!(attempts > 0, "{}", played.wrong.join("\n\n"));
    }
}

/// What came of the examples of a page.
struct Played {
    commands: usize,
    /// Where the output is not what the page shows.
    wrong: Vec<String>,
    /// The page with the output.
    updated: String,
}

async fn page_played(page: &Page, name: &str) -> Played {
    let (mut example, mut names) = (Example::new().await, Names::default());
    let (mut updated, mut wrong) = (page.clone(), Vec::new());
    let mut kill = None;
    let mut commands = 0;
    for (number, step) in page.steps.iter().enumerate() {
        let (line, expected) = match step {
            Step::Kill(tag) => {
                kill = Some(tag);
                continue;
            }
            Step::Setup(line) => {
                let _ = example.run(line, "");
                continue;
            }
            Step::Command { line, output } => (line, output),
        };
        commands += 1;
        let line = names.placeholders(line);
        let here = names.here(&line);
        let actual = match kill.take_if(|_| line.starts_with("rbake")) {
            Some(tag) => example.kill(&here, tag).await,
            None => example.run(&here, expected),
        };
        if let Err(why) = names.compare(expected, &actual) {
            wrong.push(format!("{name}.md: $ {line}\n{why}\nit prints:\n{actual}"));
        }
        let output = names.on_the_page(expected, &actual);
        updated.steps[number] = Step::Command { line, output };
    }
    Played {
        commands,
        wrong,
        updated: names.named(&updated.to_string()),
    }
}

#[test]
fn each_page_has_a_test() {
    let this = include_str!("mod.rs");
    for entry in std::fs::read_dir(docs().join("publishing")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            this.contains(&format!("#[test_case({name:?}; ")),
            "no test runs {name}.md"
        );
    }
}
