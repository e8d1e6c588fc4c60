//! What is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::Daemon;
use super::definitions;
use super::measure::{self, Sample};
use super::relay::Relay;
use super::table::{Goal, Row};
use super::{Args, Error, io};

/// The two programs, ready to talk to one daemon.
pub(super) struct Clients {
    rbake: PathBuf,
    buildx: PathBuf,
    daemon: Option<String>,
    relay: Option<Relay>,
    /// The daemon's process.
    process: Option<Daemon>,
    home: PathBuf,
}

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Rbake,
    Buildx,
}

/// Which way to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Counted,
}

impl Clients {
    pub(super) fn prepare(args: &Args, work: &Path) -> Result<Self, Error> {
        let absolute =
            |path: &Path| io(|| format!("find `{}`", path.display()), path.canonicalize());
        let relay = match &args.daemon {
            Some(address) => {
                let path = address
                    .strip_prefix("unix://")
                    .ok_or_else(|| Error::Address(address.clone()))?;
                Some(io(
                    || "listen for clients".into(),
                    Relay::start(&work.join("relay.sock"), Path::new(path)),
                )?)
            }
            None => None,
        };
        let socket = args
            .daemon
            .as_deref()
            .and_then(|address| address.strip_prefix("unix://"));
        let process = socket.map(|socket| {
            io(
                || "find the daemon's process".into(),
                Daemon::behind(Path::new(socket)),
            )
        });
        let clients = Self {
            rbake: absolute(&args.rbake)?,
            buildx: absolute(&args.buildx)?,
            daemon: args.daemon.clone(),
            relay,
            process: process.transpose()?.flatten(),
            home: work.join("home"),
        };
        io(
            || "make a home".into(),
            std::fs::create_dir_all(&clients.home),
        )?;
        for way in [Way::Direct, Way::Counted] {
            if let Some(address) = clients.address(way) {
                let mut create = Command::new(&clients.buildx);
                create.args([
                    "create",
                    "--driver",
                    "remote",
                    "--name",
                    name(way),
                    &address,
                ]);
                create.envs(clients.environment(Who::Buildx, way));
                io(|| "create a builder with buildx".into(), create.output())?;
            }
        }
        Ok(clients)
    }

    pub(super) fn versions(&self) -> Result<Vec<String>, Error> {
        let version = |program: &Path, argument: &str| {
            let output = io(
                || format!("run `{}`", program.display()),
                Command::new(program).arg(argument).output(),
            )?;
            Ok(String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" "))
        };
        Ok(vec![
            version(&self.rbake, "--version")?,
            version(&self.buildx, "version")?,
        ])
    }

    fn address(&self, way: Way) -> Option<String> {
        match way {
            Way::Direct => self.daemon.clone(),
            Way::Counted => self.relay.as_ref().map(Relay::address),
        }
    }

    fn environment(&self, who: Who, way: Way) -> Vec<(String, String)> {
        let mut variables = vec![("HOME".to_owned(), self.home.display().to_string())];
        match (who, self.address(way)) {
            (Who::Rbake, Some(address)) => variables.push(("BUILDKIT_HOST".into(), address)),
            (Who::Buildx, Some(_)) => variables.push(("BUILDX_BUILDER".into(), name(way).into())),
            (_, None) => {}
        }
        variables
    }

    fn command(&self, who: Who, arguments: &[&str]) -> Vec<String> {
        let own = match who {
            Who::Rbake => vec![self.rbake.display().to_string()],
            Who::Buildx => vec![self.buildx.display().to_string(), "bake".to_owned()],
        };
        own.into_iter()
            .chain(arguments.iter().map(|argument| (*argument).to_owned()))
            .collect()
    }

    /// Measures one run of rbake alone, without a daemon.
    pub(super) fn measure_rbake(&self, dir: &Path, arguments: &[&str]) -> Result<Sample, Error> {
        self.measure(Who::Rbake, Way::Direct, dir, arguments)
    }

    fn measure(&self, who: Who, way: Way, dir: &Path, arguments: &[&str]) -> Result<Sample, Error> {
        measure::once(
            &self.command(who, arguments),
            &self.environment(who, way),
            dir,
        )
    }

    /// Like [`Self::measure`], with what the daemon uses until it is at rest again.
    fn measure_with_daemon(
        &self,
        who: Who,
        way: Way,
        dir: &Path,
        arguments: &[&str],
    ) -> Result<Sample, Error> {
        let read = |used: Option<std::io::Result<f64>>| {
            io(
                || "read the daemon's processor time".into(),
                used.unwrap_or(Ok(0.0)),
            )
        };
        let before = read(self.process.as_ref().map(Daemon::cpu))?;
        let mut sample = self.measure(who, way, dir, arguments)?;
        sample.daemon = read(self.process.as_ref().map(Daemon::rest))? - before;
        Ok(sample)
    }
}

fn name(way: Way) -> &'static str {
    match way {
        Way::Direct => "bench",
        Way::Counted => "bench-counted",
    }
}

/// A piece of work that both programs do.
pub(super) enum Scenario {
    /// Two targets, everything cached.
    NothingToDo,
    /// A context of many files that the daemon has already.
    Unchanged { files: usize },
    /// A context of many files that the daemon has never seen.
    FirstTime { files: usize },
    /// Many targets whose steps print much. Needs the image `busybox`.
    Output { targets: usize, lines: usize },
    /// `--print` of many targets.
    Print { targets: usize },
    /// `--print` of a definition of ten million bytes.
    PrintLarge,
}

impl Scenario {
    pub(super) fn all(files: usize) -> Vec<Self> {
        vec![
            Self::NothingToDo,
            Self::Unchanged { files },
            Self::FirstTime { files },
            Self::Output {
                targets: 300,
                lines: 310,
            },
            Self::Print { targets: 100 },
            Self::Print { targets: 1_000 },
            Self::Print { targets: 4_000 },
            Self::Print { targets: 10_000 },
            Self::PrintLarge,
        ]
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::NothingToDo => "no-op, 2 cached targets".into(),
            Self::Unchanged { files } => format!("{files} files, unchanged"),
            Self::FirstTime { files } => format!("{files} files, first time"),
            Self::Output { targets, lines } => format!("{targets} targets, {lines} lines each"),
            Self::Print { targets } => format!("--print, {targets} targets"),
            Self::PrintLarge => "--print, 10 MB".into(),
        }
    }

    pub(super) fn needs_daemon(&self) -> bool {
        !matches!(self, Self::Print { .. } | Self::PrintLarge)
    }

    fn goal(&self) -> Goal {
        match self {
            Self::NothingToDo => Goal {
                wall: Some(0.5),
                cpu: Some(0.2),
                memory: Some(0.25),
                ..Goal::default()
            },
            Self::Unchanged { .. } => Goal {
                wall: Some(0.6),
                cpu: Some(0.2),
                ..Goal::default()
            },
            Self::FirstTime { .. } => Goal {
                wall: Some(0.9),
                ..Goal::default()
            },
            Self::Output { .. } => Goal {
                cpu: Some(0.3),
                memory: Some(0.3),
                ..Goal::default()
            },
            Self::Print { targets } => Goal {
                wall: match targets {
                    100 => Some(1.0 / 20.0),
                    1_000 => Some(1.0 / 100.0),
                    4_000 => Some(1.0 / 300.0),
                    _ => None,
                },
                // buildx does not print more than 4,000: it would take minutes per run.
                memory: (*targets <= 4_000).then_some(0.2),
                ..Goal::default()
            },
            Self::PrintLarge => Goal {
                seconds: Some(0.2),
                ..Goal::default()
            },
        }
    }

    fn write(&self, dir: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        match self {
            Self::NothingToDo => write_project(&dir.join("context"), 20)?,
            Self::Unchanged { files } | Self::FirstTime { files } => {
                write_project(&dir.join("context"), *files)?;
            }
            Self::Output { .. } | Self::Print { .. } | Self::PrintLarge => {}
        }
        let definition = match self {
            Self::Output { targets, lines } => definitions::with_output(*targets, *lines),
            Self::Print { targets } => definitions::many_targets(*targets),
            Self::PrintLarge => definitions::large(10_000_000),
            Self::NothingToDo => TWO_TARGETS.to_owned(),
            Self::Unchanged { .. } | Self::FirstTime { .. } => ONE_TARGET.to_owned(),
        };
        std::fs::write(dir.join("docker-bake.hcl"), definition)
    }

    // buildx takes minutes for ten thousand targets; its line for that size stays empty. For four thousand it takes about ten
    // seconds, so it runs only once.
    fn runs(&self, who: Who, runs: usize) -> usize {
        match self {
            Self::Print { targets } if who == Who::Buildx => match targets {
                ..=1_000 => runs,
                1_001..=4_000 => runs.min(1),
                _ => 0,
            },
            Self::PrintLarge if who == Who::Buildx => 0,
            _ => runs,
        }
    }

    /// Runs it with both programs.
    pub(super) fn run(&self, clients: &Clients, dir: &Path, runs: usize) -> Result<Row, Error> {
        io(|| format!("write `{}`", dir.display()), self.write(dir))?;
        let mut row = Row::new(self.name(), self.goal());
        let mut turn = 0;
        for counted in 0..=runs {
            for who in [Who::Rbake, Who::Buildx] {
                let wanted = self.runs(who, runs);
                if counted > wanted || wanted == 0 {
                    continue;
                }
                turn += 1;
                let sample = self.once(clients, who, Way::Direct, dir, turn)?;
                // The first run of each program fills caches; it is not counted.
                if counted > 0 {
                    match who {
                        Who::Rbake => row.rbake.push(sample),
                        Who::Buildx => row.buildx.push(sample),
                    }
                }
            }
        }
        if let Some(relay) = clients.relay.as_ref().filter(|_| self.needs_daemon()) {
            for who in [Who::Rbake, Who::Buildx] {
                // The bytes of the first run are not counted: to the daemon, this is a new client.
                self.once(clients, who, Way::Counted, dir, 1_000_000 + turn)?;
                relay.take();
                self.once(clients, who, Way::Counted, dir, 2_000_000 + turn)?;
                turn += 1;
                let bytes = relay.take();
                match who {
                    Who::Rbake => row.rbake_bytes = Some(bytes),
                    Who::Buildx => row.buildx_bytes = Some(bytes),
                }
            }
        }
        Ok(row)
    }

    fn once(
        &self,
        clients: &Clients,
        who: Who,
        way: Way,
        dir: &Path,
        turn: usize,
    ) -> Result<Sample, Error> {
        match self {
            Self::Print { .. } | Self::PrintLarge => {
                clients.measure(who, way, dir, &["--print", "all"])
            }
            Self::NothingToDo | Self::Unchanged { .. } => {
                clients.measure_with_daemon(who, way, dir, &["--progress=plain"])
            }
            Self::Output { .. } => {
                // Another argument, so that all steps run.
                let turn = format!("*.args.TURN={who:?}-{turn}");
                clients.measure_with_daemon(who, way, dir, &["--progress=plain", "--set", &turn])
            }
            Self::FirstTime { .. } => {
                // To both programs and to the daemon, another name is another directory.
                let name = format!("context-{turn}");
                let rename = |from: &str, to: &str| {
                    io(
                        || format!("rename `{from}`"),
                        std::fs::rename(dir.join(from), dir.join(to)),
                    )
                };
                rename("context", &name)?;
                let context = format!("*.context={name}");
                let sample = clients.measure_with_daemon(
                    who,
                    way,
                    dir,
                    &["--progress=plain", "--set", &context],
                );
                rename(&name, "context")?;
                sample
            }
        }
    }
}

const TWO_TARGETS: &str = r#"
group "default" { targets = ["one", "two"] }
target "one" {
  context = "context"
}
target "two" {
  context = "context"
  target  = "second"
}
"#;

const ONE_TARGET: &str = r#"
target "default" {
  context = "context"
}
"#;

// Everything is built from scratch, so that no registry is needed.
const DOCKERFILE: &str =
    "FROM scratch AS second\nCOPY . /context\nFROM scratch\nCOPY --from=second /context /context\n";

fn write_project(dir: &Path, files: usize) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("Dockerfile"), DOCKERFILE)?;
    for file in 0..files {
        let folder = dir
            .join(format!("d{:03}", file % 250))
            .join(format!("e{}", file % 7));
        if file < 250 * 7 {
            std::fs::create_dir_all(&folder)?;
        }
        let text = format!("{file}\n").repeat(200);
        std::fs::write(folder.join(format!("file-{file}.txt")), text)?;
    }
    Ok(())
}
