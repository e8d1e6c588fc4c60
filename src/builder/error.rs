//! The errors for a run without a usable builder, and advice on what to do.

use std::time::Duration;

use super::advice::{self, SearchedPlace};
use super::candidate::{Offers, Settings};
use super::container::DriverOptionError;
use super::create::option_help;
use super::docker_context::DockerContextError;
use super::embedded::{ConfigError, EmbeddedError, ProgramError, RecipeError};
use super::kubernetes::ObjectsError;
use super::named::MOST_NODES;
use super::store::StoreError;
use super::tls::TlsError;
use crate::diag::{Class, Diagnostic};
use crate::engine::ConnectionError;
use crate::engine::docker::DockerError;
use crate::engine::endpoint::InvalidEndpoint;
use crate::engine::kubernetes::KubernetesError;
use crate::types::causes::in_one_line;
use crate::types::reference::InvalidReference;
use crate::types::requirements::Need;
use crate::types::terminal::shell_word;

/// No builder could be chosen for the run.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// No builder has the name that was given.
    #[error("{from} names the builder `{name}`, which does not exist")]
    Unknown {
        /// The name.
        name: String,
        /// The setting that names it, for messages.
        from: String,
        /// The names of the builders that exist.
        known: Vec<String>,
    },
    /// A setting that names a builder contains only blanks.
    #[error("{0} is blank, so it does not name a builder")]
    Blank(String),
    /// The builder has a driver that rbake does not support.
    #[error("{from} is `{name}`, whose driver `{driver}` rbake does not support")]
    Driver {
        /// The builder.
        name: String,
        /// The setting that names it, for messages.
        from: String,
        /// Its driver.
        driver: String,
    },
    /// The builder has no node, or too many.
    #[error(
        "{from} is `{name}`, which has {count} nodes, and rbake uses builders with 1 to {MOST_NODES} nodes"
    )]
    Nodes {
        /// The builder.
        name: String,
        /// The setting that names it, for messages.
        from: String,
        /// How many nodes it has.
        count: usize,
    },
    /// The address cannot be used.
    #[error("{from} does not lead to a builder")]
    Address {
        /// The setting that holds the address.
        from: String,
        /// The underlying error.
        #[source]
        source: InvalidEndpoint,
    },
    /// The certificates or keys that a setting names cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The builder has certificates, but its address is not `tcp://…`, and rbake uses TLS only with those.
    #[error(
        "{from} leads to `{address}` with certificates, but rbake supports TLS only for addresses `tcp://…`"
    )]
    TlsWithoutTcp {
        /// The setting that leads there.
        from: String,
        /// The address.
        address: String,
    },
    /// buildx's store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Docker's settings cannot be used.
    #[error(transparent)]
    Context(#[from] DockerContextError),
    /// The builder that the user named cannot be used.
    #[error("{builder}, named by {from}, cannot be used")]
    Named {
        /// The builder, as messages call it.
        builder: String,
        /// The setting that names it, for messages.
        from: String,
        /// The place at which it was looked for.
        place: Box<SearchedPlace>,
        /// Why it cannot be used.
        #[source]
        refusal: Box<BuilderRefusal>,
    },
    /// The user named no builder, and none of those that were tried can be used.
    #[error("there is no usable builder")]
    Nothing {
        /// The builders that were tried before, in order, and why they were not taken.
        passed_over: Vec<PassedOver>,
        /// Why the last choice, the embedded builder, cannot be used either.
        #[source]
        last: Box<BuilderRefusal>,
    },
}

/// A builder, or a place to look for one, that was tried and not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// The builder or place, for messages.
    pub(crate) what: String,
    /// Why it was not taken, as a fragment.
    pub(crate) reason: String,
}

/// Why a builder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BuilderRefusal {
    /// Nothing listens at its address. This is normal for a default address.
    #[error("not found")]
    Absent,
    /// It did not answer all questions within this time.
    #[error("it did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// Its container does not exist.
    #[error("its container `{0}` does not exist")]
    NoContainer(String),
    /// Its container is paused.
    #[error("its container `{0}` is paused")]
    Paused(String),
    /// Its container was started, but buildkitd does not answer.
    #[error("the buildkitd in the container `{container}` does not answer")]
    Unready {
        /// The container.
        container: String,
        /// The last lines of its log.
        tail: Vec<String>,
        /// Why there is no connection.
        #[source]
        source: Box<ConnectionError>,
    },
    /// The options of its driver cannot be used.
    #[error(transparent)]
    Option(#[from] DriverOptionError),
    /// The name of its image is not valid.
    #[error("`{image}` is not a valid name of an image")]
    Image {
        /// The name.
        image: String,
        /// Why.
        #[source]
        source: InvalidReference,
    },
    /// The files of its configuration cannot be copied into its container.
    #[error("the files of its configuration cannot be used")]
    Files(#[source] std::io::Error),
    /// Docker's settings do not lead to its Docker Engine.
    #[error(transparent)]
    Settings(#[from] DockerContextError),
    /// It cannot be reached, for this reason.
    #[error("{0}")]
    Unusable(String),
    /// It lacks abilities that the plan needs.
    #[error("it cannot {}", list(.0))]
    Lacks(Vec<Need>),
    /// It builds for another operating system.
    #[error("it runs containers of {0}, not of Linux")]
    NotLinux(String),
    /// The connection to BuildKit failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The Docker Engine does not answer, or refuses.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// Its Deployment or StatefulSet does not exist.
    #[error("{0} does not exist")]
    WorkloadGone(String),
    /// None of its pods can be used.
    #[error("no pod of {0} runs")]
    NoPod(String),
    /// Not enough of its pods are ready in time.
    #[error("after {} s, {ready} of {wanted} pods of {workload} are ready", after.as_secs())]
    PodsUnready {
        /// The Deployment or the StatefulSet.
        workload: String,
        /// The labels of the pods.
        selector: String,
        /// Their namespace.
        namespace: String,
        /// How many are ready.
        ready: u64,
        /// How many should be.
        wanted: u64,
        /// How long we waited.
        after: Duration,
        /// Why they are not ready, as Kubernetes reports it.
        reasons: Vec<String>,
    },
    /// It cannot be described to Kubernetes.
    #[error(transparent)]
    Manifest(#[from] ObjectsError),
    /// The API server of the cluster does not answer, or refuses.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// rbake's own builder cannot be used.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
}

fn list(needs: &[Need]) -> String {
    let mut all: Vec<String> = needs.iter().take(3).map(ToString::to_string).collect();
    if needs.len() > all.len() {
        all.push(format!("and {} more", needs.len() - all.len()));
    }
    all.join("; ")
}

impl ChooseError {
    /// The error as it is reported to the user, with notes and help.
    pub fn diagnostic(&self) -> Diagnostic {
        let told = Diagnostic::error(Class::Engine, self.code(), self.to_string());
        match self {
            Self::Unknown { name, known, .. } => told
                .note(format!("known builders: {}", known.join(", ")))
                .similar("a builder", name, known.iter().map(String::as_str)),
            Self::Driver { name, .. } => told
                .note("supported drivers: remote, docker, docker-container, kubernetes")
                .help(format!(
                    "choose another builder with `--builder`, or remove the setting that names `{name}`"
                )),
            Self::Nodes { name, count: 0, .. } => told.help(format!(
                "add a node: `rbake builder create --append --name {} …`",
                shell_word(name)
            )),
            Self::Nodes { .. } => told.help("divide the nodes among several builders"),
            Self::Blank(_) => told.help("`rbake builder status` lists the builders"),
            Self::Address { source, .. } => {
                advice::for_address(told.note(source.to_string()), source)
            }
            Self::Tls(error) => advice::for_tls(told.caused_by(error), error),
            Self::TlsWithoutTcp { .. } => {
                told.help("give the builder a TCP address, or create it again without certificates")
            }
            Self::Store(error) => told.caused_by(error),
            Self::Context(error) => explain_context(error),
            Self::Named { refusal, place, .. } => refusal.explain(told, place),
            Self::Nothing { passed_over, last } => {
                let told = passed_over.iter().fold(told, |told, one| {
                    told.note(format!("{}: {}", one.what, one.reason))
                });
                let mut why = in_one_line(last.as_ref());
                if !why.starts_with("the embedded builder") {
                    why = format!("the embedded builder: {why}");
                }
                let told = told.note(why);
                match last.as_ref() {
                    BuilderRefusal::Embedded(error) => ways_out(error, told),
                    _ => told,
                }
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::Blank(_) => "builder::unknown",
            Self::Driver { .. } => "builder::unsupported-driver",
            Self::Nodes { .. } => "builder::several-nodes",
            Self::Address { .. } => "builder::invalid-address",
            Self::Tls(_)
            | Self::TlsWithoutTcp { .. }
            | Self::Context(DockerContextError::Tls(_)) => "builder::tls",
            Self::Store(_) => "builder::unreadable-store",
            Self::Context(_) => "builder::docker-context",
            Self::Named { refusal, .. } => match refusal.as_ref() {
                BuilderRefusal::Lacks(_) => "builder::lacks",
                BuilderRefusal::Embedded(_) => "builder::embedded",
                _ => "builder::unreachable",
            },
            Self::Nothing { .. } => "builder::none",
        }
    }
}

/// An error in Docker's settings as it is reported to the user, with notes and help.
pub(super) fn explain_context(error: &DockerContextError) -> Diagnostic {
    let code = match error {
        DockerContextError::Tls(_) => "builder::tls",
        _ => "builder::docker-context",
    };
    let told = Diagnostic::error(Class::Engine, code, error.to_string()).caused_by(error);
    match error {
        DockerContextError::Unknown { name, known, .. } => told
            .note(format!("known Docker contexts: {}", known.join(", ")))
            .similar("a Docker context", name, known.iter().map(String::as_str))
            .help("choose another with `docker context use`, or use rbake's own builder with `--builder embedded`"),
        DockerContextError::Host { source, .. } => advice::for_address(told, source),
        DockerContextError::Tls(error) => advice::for_tls(told, error),
        _ => told,
    }
}

impl BuilderRefusal {
    fn explain(&self, told: Diagnostic, place: &SearchedPlace) -> Diagnostic {
        const OTHERS: &str = "`rbake builder status` lists the other builders";
        // Without a name, the verbs are about the current builder.
        let builder = match &place.settings {
            Settings::Store(name) => format!(" {}", shell_word(name)),
            _ => String::new(),
        };
        match self {
            Self::Lacks(needs) => {
                let told = needs
                    .iter()
                    .fold(told, |told, need| told.note(format!("it cannot {need}")));
                // The other store would not help.
                let mut abilities = needs.iter().map(|need| &need.ability);
                if abilities.any(|ability| !Offers::DockerContainerd.has(ability)) {
                    told.help("use another builder: no Docker Engine can do this")
                } else {
                    told.help("turn on the containerd image store of the Docker Engine, or use another builder")
                }
            }
            Self::NoContainer(name) => {
                told.note(self.to_string())
                    .help(match name.strip_prefix("buildx_buildkit_") {
                        Some(node) => {
                            let builder = node.trim_end_matches(|c: char| c.is_ascii_digit());
                            format!("`rbake builder start {builder}` makes it")
                        }
                        None => "`docker ps --all` lists the containers".to_owned(),
                    })
            }
            Self::Paused(name) => told
                .note(self.to_string())
                .help(format!("`docker unpause {}`", shell_word(name))),
            Self::WorkloadGone(_) => told
                .note(self.to_string())
                .help(format!("`rbake builder start{builder}` makes it")),
            Self::NoPod(_) => told
                .note(self.to_string())
                .help(format!("`rbake builder start{builder}` waits until its pods are ready")),
            Self::PodsUnready {
                selector,
                namespace,
                reasons,
                ..
            } => reasons
                .iter()
                .fold(told.note(self.to_string()), |told, reason| told.note(reason.clone()))
                .help(format!(
                    "`kubectl --namespace {namespace} describe pods --selector {selector}` shows more; the driver's option `timeout` sets how long rbake waits"
                )),
            Self::Kubernetes(error) => {
                advice::for_kubernetes(told.note(in_one_line(error)), error).help(OTHERS)
            }
            Self::Embedded(error) => ways_out(error, told.note(in_one_line(error))),
            Self::Connection(_) | Self::Docker(_) => {
                advice::for_connection(told, self, place).help(OTHERS)
            }
            Self::Unready { tail, .. } => tail
                .iter()
                .fold(told.note(in_one_line(self)), |told, line| {
                    told.note(format!("| {line}"))
                })
                .help(format!("`rbake builder logs{builder}` shows its log")),
            Self::Option(error) => option_help(told.note(error.to_string()), error)
                .help("correct it with `rbake builder create --name … --node … --driver-opt …`"),
            Self::Image { .. }
            | Self::Files(_)
            | Self::Manifest(_)
            | Self::Settings(_)
            | Self::Unusable(_) => {
                told.note(in_one_line(self))
            }
            Self::NotLinux(_) | Self::Absent | Self::Silent(_) => {
                told.note(in_one_line(self)).help(OTHERS)
            }
        }
    }
}

impl EmbeddedError {
    /// The error as it is reported to the user, with notes and help.
    pub fn diagnostic(&self) -> Diagnostic {
        let told = Diagnostic::error(Class::Engine, "builder::embedded", self.to_string());
        ways_out(self, told.caused_by(self))
    }
}

/// What builds for a system on which the embedded builder cannot run.
pub(super) fn without_linux(told: Diagnostic) -> Diagnostic {
    told.help("start Docker Desktop or colima: rbake uses the engine of Docker's current context")
        .help("or name a BuildKit on a Linux machine: `BUILDKIT_HOST=tcp://HOST:PORT`, or `--builder NAME`")
}

fn ways_out(error: &EmbeddedError, told: Diagnostic) -> Diagnostic {
    const OTHERS: &str =
        "or name a BuildKit with `BUILDKIT_HOST` or `--builder`, or start a Docker Engine";
    match error {
        EmbeddedError::Recipe(RecipeError::Program(program)) => match program {
            ProgramError::Missing(_) => told
                .help("`rbake builder install` installs what the embedded builder needs")
                .help(OTHERS),
            ProgramError::NeedsRootlesskit => told
                .help("run as root, or install `rootlesskit` and `newuidmap` (Debian: rootlesskit, uidmap)")
                .help(OTHERS),
            ProgramError::NotLinux(_) => without_linux(told),
            ProgramError::Untrusted { source, .. } => source
                .help()
                .into_iter()
                .fold(told, Diagnostic::help)
                .help("or run `rbake builder install`: rbake prefers the programs that it installs to those in PATH"),
            ProgramError::Version { .. } => told,
        },
        EmbeddedError::Recipe(RecipeError::Config(ConfigError::Untrusted { source, .. })) => source
            .help()
            .into_iter()
            .fold(told, Diagnostic::help)
            .help("or name a file of your own with `RBAKE_BUILDKITD_CONFIG`"),
        EmbeddedError::Recipe(RecipeError::Config(ConfigError::NamesUntrusted {
            source, ..
        })) => source
            .help()
            .into_iter()
            .fold(told, Diagnostic::help)
            .help("or name a copy of your own in the configuration"),
        EmbeddedError::Places(error) => error.help().into_iter().fold(told, Diagnostic::help),
        EmbeddedError::Stranger { .. } => told
            .help("set `RBAKE_DATA_DIR` to a folder of your own that nobody else can write to"),
        EmbeddedError::Control {
            supervisor: Some(process),
            ..
        } => told.help(format!(
            "it is process {process}; if it hangs, `kill -KILL {process}` ends it, and the next run starts another"
        )),
        EmbeddedError::Recipe(RecipeError::Config(ConfigError::Form { why, .. })) => {
            told.note(why.clone())
        }
        EmbeddedError::Failed { tail, log, .. } => tail
            .iter()
            .fold(told, |told, line| told.note(format!("| {line}")))
            .help(format!("its log is `{}`", log.display())),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{SourceMap, Style, render};
    use crate::types::requirements::Ability;

    fn shown(error: &ChooseError) -> String {
        render(&error.diagnostic(), &SourceMap::default(), Style::default())
    }

    #[test]
    fn the_error_lists_what_was_tried_and_gives_help() {
        let error = ChooseError::Nothing {
            passed_over: vec![PassedOver {
                what: "the Docker Engine at unix:///var/run/docker.sock".into(),
                reason: "not found".into(),
            }],
            last: Box::new(BuilderRefusal::Embedded(EmbeddedError::Recipe(
                RecipeError::Program(ProgramError::Missing("buildkitd")),
            ))),
        };
        insta::assert_snapshot!(shown(&error), @r"
        error[builder::none]: there is no usable builder
         |
         = note: the Docker Engine at unix:///var/run/docker.sock: not found
         = note: the embedded builder: there is no `buildkitd` on this machine
         = help: `rbake builder install` installs what the embedded builder needs
         = help: or name a BuildKit with `BUILDKIT_HOST` or `--builder`, or start a Docker Engine
        ");
    }

    #[test]
    fn on_macos_the_help_names_ways_to_a_builder_on_linux() {
        let error = ChooseError::Nothing {
            passed_over: Vec::new(),
            last: Box::new(BuilderRefusal::Embedded(EmbeddedError::Recipe(
                RecipeError::Program(ProgramError::NotLinux("macos")),
            ))),
        };
        insta::assert_snapshot!(shown(&error), @r"
        error[builder::none]: there is no usable builder
         |
         = note: the embedded builder runs on Linux only, and this is macOS
         = help: start Docker Desktop or colima: rbake uses the engine of Docker's current context
         = help: or name a BuildKit on a Linux machine: `BUILDKIT_HOST=tcp://HOST:PORT`, or `--builder NAME`
        ");
    }

    /// The error for the default Docker Engine, which lacks `ability`.
    fn lacking(ability: Ability, attribute: &'static str) -> ChooseError {
        let web = "web".parse().unwrap();
        ChooseError::Named {
            builder: "the Docker Engine at unix:///var/run/docker.sock".into(),
            from: "`BUILDX_BUILDER`".into(),
            place: Box::new(SearchedPlace {
                settings: Settings::Default,
                endpoint: None,
                answer: None,
            }),
            refusal: Box::new(BuilderRefusal::Lacks(vec![Need {
                ability,
                target: web,
                attribute,
            }])),
        }
    }

    #[test]
    fn the_error_says_what_a_named_builder_cannot_do() {
        insta::assert_snapshot!(shown(&lacking(Ability::Push, "output")), @r"
        error[builder::lacks]: the Docker Engine at unix:///var/run/docker.sock, named by `BUILDX_BUILDER`, cannot be used
         |
         = note: it cannot push images, which `output` of target `web` asks for
         = help: turn on the containerd image store of the Docker Engine, or use another builder
        ");
        let cache = Ability::CacheExport("s3".to_owned());
        insta::assert_snapshot!(shown(&lacking(cache, "cache-to")), @r"
        error[builder::lacks]: the Docker Engine at unix:///var/run/docker.sock, named by `BUILDX_BUILDER`, cannot be used
         |
         = note: it cannot export the cache with `type=s3`, which `cache-to` of target `web` asks for
         = help: use another builder: no Docker Engine can do this
        ");
    }

    #[test]
    fn a_typo_in_a_name_gets_a_suggestion() {
        let error = ChooseError::Unknown {
            name: "farr".into(),
            from: "`--builder`".into(),
            known: vec!["default".into(), "far".into()],
        };
        let help = error.diagnostic().help;
        assert_eq!(help, ["a builder with a similar name exists: `far`"]);
    }
}
