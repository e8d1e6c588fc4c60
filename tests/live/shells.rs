//! Completions in real use: a real shell on a terminal, and the Tab key.

use std::path::Path;

use test_case::test_case;

use crate::support::peers;
use crate::support::project::TestProject;
use crate::support::pty::Terminal;

const DEFINITION: &str = r#"
variable "TAG" { description = "Of the images" }
group "essential" { targets = ["web", "worker"] }
target "web" {
  description = "Serves pages"
  args        = { GREETING = "hello" }
}
target "worker" {}
"#;

/// How a shell is started, and what is typed once to prepare it.
struct Setup {
    name: &'static str,
    arguments: &'static [&'static str],
    lines: &'static [&'static str],
}

const BASH: Setup = Setup {
    name: "bash",
    arguments: &["--noprofile", "--norc", "-i"],
    lines: &["source <(rbake completion bash)"],
};
const ZSH: Setup = Setup {
    name: "zsh",
    arguments: &["-f", "-i"],
    lines: &[
        "autoload -Uz compinit && compinit -D -u",
        "source <(rbake completion zsh)",
    ],
};
const FISH: Setup = Setup {
    name: "fish",
    arguments: &[
        "--no-config",
        "-i",
        "--init-command",
        "function fish_prompt; echo 'ready> '; end",
    ],
    lines: &["rbake completion fish | source"],
};

fn start(setup: &Setup) -> (TestProject, Terminal) {
    let shells = peers::program("RBAKE_TEST_SHELLS");
    let project = TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .file("other.hcl", "target \"elsewhere\" {}\n")
        .file("broken.hcl", "target \"web\" {\n");
    let program = Path::new(env!("CARGO_BIN_EXE_rbake"));
    let mut like = project.command(setup.arguments);
    like.env(
        "PATH",
        format!("{}:/usr/bin:/bin", program.parent().unwrap().display()),
    )
    .env("PS1", "ready> ");
    let mut terminal = Terminal::start(&shells.join(setup.name), &like);
    terminal.wait_for("ready>");
    for line in setup.lines {
        terminal.type_in(&format!("{line}\n"));
    }
    // The shell joins the text, so that the echo of the typed line does not match.
    terminal.type_in("clear; echo set''up\n");
    terminal.wait("a prompt", |screen| {
        let after = screen.split_once("setup");
        after.is_some_and(|(_, after)| after.contains("ready>"))
    });
    (project, terminal)
}

#[test_case(&BASH; "bash")]
#[test_case(&ZSH; "zsh")]
#[test_case(&FISH; "fish")]
#[ignore = "needs live peers"]
fn tab_completes(setup: &Setup) {
    // A new shell for each, because a list of completions may hide the next line. Each key waits for the effect of
    // the previous ones, because zsh treats a Tab among waiting keys as pasted text.
    let complete = |steps: &[(&str, &[&str])]| {
        let (_project, mut terminal) = start(setup);
        for (typed, wanted) in steps {
            terminal.type_in(typed);
            terminal.wait(&format!("{wanted:?} after `{typed}`"), |screen| {
                wanted.iter().all(|wanted| screen.contains(wanted))
            });
        }
    };
    let everything = &["essential", "web", "worker", "Serves pages"];
    // The first Tab inserts the common prefix, which is empty.
    complete(&[("rbake ", &["rbake"]), ("\t\t", everything)]);
    complete(&[("rbake --print es\t", &["rbake --print essential"])]);
    complete(&[("rbake --progress=ra\t", &["--progress=rawjson"])]);
    complete(&[("rbake --progress ra\t", &["--progress rawjson"])]);
    let name = ("rbake --set web.args.GR\t", &["web.args.GREETING="][..]);
    complete(&[name, ("x y", &["web.args.GREETING=x y"])]);
    let name = (
        "rbake --set=web.args.GR\t",
        &["--set=web.args.GREETING="][..],
    );
    complete(&[name, ("x y", &["GREETING=x y"])]);
    complete(&[("rbake --set 'web.args.GR\t", &["'web.args.GREETING="])]);
    complete(&[("rbake --var T\t", &["--var TAG="]), ("x", &["TAG=x"])]);
    let file = ("rbake -f oth\t", &["-f other.hcl"][..]);
    complete(&[file, ("els\t", &["other.hcl elsewhere"])]);
    let file = ("rbake --file=oth\t", &["--file=other.hcl"][..]);
    complete(&[file, (" els\t", &["other.hcl", "elsewhere"])]);
    // Nothing matches, so nothing is inserted.
    complete(&[
        ("rbake -f broken.hcl w", &["w"]),
        ("\t", &["w"]),
        ("x", &["wx"]),
    ]);
    let verb = ("rbake builder stat\t", &["builder status"][..]);
    complete(&[verb, ("--j\t", &["status --json"])]);
}
