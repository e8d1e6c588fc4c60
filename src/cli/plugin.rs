//! rbake as a plugin of the `docker` command: `docker rbake …`.
//!
//! Docker runs `~/.docker/cli-plugins/docker-NAME` with its own command line, including the global flags before the
//! name. The values of those flags are put into the environment, from which the rest of the program reads them.

use clap::{Args, Parser, Subcommand};

use super::args::go_bool;
use crate::builder::DEFAULT_CONTEXT;
use crate::diag::{Class, Diagnostic};
use crate::types::Environment;

/// The word with which docker asks a plugin for its metadata.
const METADATA: &str = "docker-cli-plugin-metadata";
/// docker sets this variable for plugins, to the first word of its own command line.
const ORIGINAL_COMMAND: &str = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND";

/// The role in which this process was started.
pub(super) enum ProcessRole {
    /// The program `rbake`.
    Command,
    /// docker asks for the plugin's metadata.
    Metadata,
    /// docker runs the plugin of this name.
    Plugin(String),
}

/// The parts of docker's command line for a plugin.
pub(super) struct PluginCall {
    /// The words before the plugin's own, as they were typed.
    pub(super) program: Vec<String>,
    /// The plugin's own words.
    pub(super) words: Vec<String>,
    /// The environment, with the values of docker's global flags.
    pub(super) environment: Environment,
    /// Docker's global flag `--debug`.
    pub(super) debug: Option<bool>,
}

/// Docker's global flags, and what follows them.
#[derive(Debug, Parser)]
#[command(
    name = "docker",
    disable_help_flag = true,
    disable_help_subcommand = true,
    args_override_self = true
)]
struct Globals {
    #[command(flatten)]
    client: Client,
    #[arg(short = 'D', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    debug: Option<bool>,
    // The level of docker's own log, to which a plugin does not write.
    #[arg(short, long, allow_hyphen_values = true)]
    log_level: Option<String>,
    #[arg(short, long)]
    help: bool,
    #[command(subcommand)]
    rest: Option<Rest>,
}

#[derive(Debug, Args)]
struct Client {
    #[arg(long, allow_hyphen_values = true)]
    config: Option<String>,
    #[arg(short, long, allow_hyphen_values = true)]
    context: Option<String>,
    #[arg(short = 'H', long, allow_hyphen_values = true)]
    host: Vec<String>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    tls: Option<bool>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    tlsverify: Option<bool>,
    #[arg(long, allow_hyphen_values = true)]
    tlscacert: Option<String>,
    #[arg(long, allow_hyphen_values = true)]
    tlscert: Option<String>,
    #[arg(long, allow_hyphen_values = true)]
    tlskey: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Rest {
    #[command(external_subcommand)]
    Words(Vec<String>),
}

/// Finds the role from the program's name, its first word and the environment.
pub(super) fn role(arguments: &[String], environment: &Environment) -> ProcessRole {
    let program = arguments.first().map_or("", String::as_str);
    let file = program.rsplit(['/', '\\']).next().unwrap_or_default();
    let file = file.strip_suffix(".exe").unwrap_or(file);
    let Some(name) = file.strip_prefix("docker-").filter(|name| !name.is_empty()) else {
        return ProcessRole::Command;
    };
    if arguments.get(1).is_some_and(|word| word == METADATA) {
        ProcessRole::Metadata
    } else if environment.non_empty(ORIGINAL_COMMAND).is_some() {
        ProcessRole::Plugin(name.to_owned())
    } else {
        ProcessRole::Command
    }
}

/// The plugin's metadata as JSON, in the form that docker expects.
pub(super) fn metadata() -> String {
    let answer = serde_json::json!({
        "SchemaVersion": "0.1.0",
        "Vendor": "rbake",
        "Version": concat!("v", env!("CARGO_PKG_VERSION")),
        "ShortDescription": "Build targets from a bake file, directly on BuildKit",
        "URL": env!("CARGO_PKG_REPOSITORY"),
    });
    format!("{answer:#}\n")
}

/// Parses the command line that docker passes to its plugin `name`.
///
/// # Errors
/// clap rejects docker's part of the command line.
pub(super) fn call(
    name: &str,
    arguments: &[String],
    environment: &Environment,
) -> Result<Result<PluginCall, Diagnostic>, clap::Error> {
    let docker = environment.get(ORIGINAL_COMMAND).unwrap_or("docker");
    let words = arguments.get(1..).unwrap_or_default();
    let globals =
        Globals::try_parse_from(std::iter::once("docker").chain(words.iter().map(String::as_str)))?;
    let rest = match globals.rest {
        Some(Rest::Words(rest)) => rest,
        None => Vec::new(),
    };
    let typed = words.len() - rest.len();
    let mut program = vec![docker.to_owned()];
    program.extend_from_slice(&words[..typed]);
    let mut own: Vec<String> = rest;
    // These words come before the plugin's name: `docker help rbake`, and a request for completions.
    let leading = own
        .first()
        .filter(|word| matches!(word.as_str(), "help" | "__complete" | "__completeNoDesc"))
        .cloned();
    if leading.is_some() {
        own.remove(0);
    }
    if own.first().is_some_and(|word| word == name) {
        own.remove(0);
        program.push(name.to_owned());
    } else if !own.is_empty() {
        return Ok(Err(Diagnostic::error(
            Class::Usage,
            "cli::plugin",
            format!("docker runs `{}`, but this is the plugin `{name}`", own[0]),
        )));
    }
    match leading.as_deref() {
        Some("help") => own = vec!["--help".to_owned()],
        Some(question) => own.insert(0, question.to_owned()),
        None if globals.help => own = vec!["--help".to_owned()],
        None => {}
    }
    Ok(
        with_flags(&globals.client, environment).map(|environment| PluginCall {
            program,
            words: own,
            environment,
            debug: globals.debug,
        }),
    )
}

/// Returns the environment with the values of docker's global flags, which take precedence over variables
/// (docker/cli `resolveContextName`). An empty context counts as not given. An empty address means the default one,
/// whatever the variables say.
fn with_flags(flags: &Client, environment: &Environment) -> Result<Environment, Diagnostic> {
    let mut environment = environment.clone();
    if let Some(dir) = flags.config.as_deref().filter(|dir| !dir.is_empty()) {
        environment = environment.with("DOCKER_CONFIG", Some(dir));
    }
    let context = flags.context.as_deref().filter(|name| !name.is_empty());
    match (context, flags.host.as_slice()) {
        (Some(_), [_, ..]) => {
            return Err(usage(
                "docker's flags `--context` and `--host` cannot be combined",
            ));
        }
        (_, [_, _, ..]) => return Err(usage("docker's flag `--host` may be given only once")),
        (Some(context), []) => {
            environment = environment
                .with("DOCKER_CONTEXT", Some(context))
                .with("DOCKER_HOST", None);
        }
        (None, [host]) => {
            environment = environment
                .with("DOCKER_HOST", Some(host))
                .with("DOCKER_CONTEXT", Some(DEFAULT_CONTEXT));
        }
        (None, []) => {}
    }
    let word = |on: bool| on.then_some("1");
    if let Some(on) = flags.tls {
        environment = environment.with("DOCKER_TLS", word(on));
    }
    match flags.tlsverify {
        Some(true) => environment = environment.with("DOCKER_TLS_VERIFY", Some("1")),
        // With `--tlsverify=false`, docker still uses TLS, but does not check the certificate. This is what
        // `DOCKER_TLS` means.
        Some(false) => {
            environment = environment
                .with("DOCKER_TLS_VERIFY", None)
                .with("DOCKER_TLS", Some("1"));
        }
        None => {}
    }
    let files = [
        ("--tlscacert", &flags.tlscacert),
        ("--tlscert", &flags.tlscert),
        ("--tlskey", &flags.tlskey),
    ];
    match files.into_iter().find(|(_, file)| file.is_some()) {
        None => Ok(environment),
        Some((flag, _)) => Err(usage(&format!("docker's flag `{flag}` is not supported"))
        .help("set `DOCKER_CERT_PATH` to the folder with `ca.pem`, `cert.pem` and `key.pem`, or use a context")),
    }
}

fn usage(message: &str) -> Diagnostic {
    Diagnostic::error(Class::Usage, "cli::plugin", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn environment() -> Environment {
        Environment::of(
            [
                (ORIGINAL_COMMAND, "docker"),
                ("DOCKER_HOST", "unix:///x"),
                ("DOCKER_CONTEXT", "old"),
            ],
            "/",
        )
    }

    fn called(text: &str) -> PluginCall {
        call("rbake", &words(text), &environment())
            .unwrap()
            .unwrap_or_else(|problem| panic!("{}", problem.message))
    }

    #[test]
    fn a_plugin_has_its_name_and_is_started_by_docker() {
        let role = |text: &str, environment: &Environment| match role(&words(text), environment) {
            ProcessRole::Command => "command".to_owned(),
            ProcessRole::Metadata => "metadata".to_owned(),
            ProcessRole::Plugin(name) => name,
        };
        let bare = Environment::default();
        assert_eq!(role("rbake rbake", &environment()), "command");
        assert_eq!(role("/x/docker-rbake web", &bare), "command");
        assert_eq!(role("/x/docker-rbake rbake", &environment()), "rbake");
        assert_eq!(role("C:\\x\\docker-bake.exe bake", &environment()), "bake");
        assert_eq!(
            role("/x/docker-rbake docker-cli-plugin-metadata", &bare),
            "metadata"
        );
        assert_eq!(role("rbake docker-cli-plugin-metadata", &bare), "command");
    }

    #[test]
    fn flags_of_docker_come_before_the_name_of_the_plugin() {
        let call = called("/p/docker-rbake --context far -D --config=/c rbake web --debug=0");
        assert_eq!(
            call.program.join(" "),
            "docker --context far -D --config=/c rbake"
        );
        assert_eq!(call.words, ["web", "--debug=0"]);
        assert_eq!(call.debug, Some(true));
        assert_eq!(call.environment.get("DOCKER_CONFIG"), Some("/c"));
        assert_eq!(call.environment.get("DOCKER_CONTEXT"), Some("far"));
        assert_eq!(call.environment.get("DOCKER_HOST"), None);
        let call = called("/p/docker-rbake -Htcp://h:1 --tlsverify rbake");
        assert_eq!(call.environment.get("DOCKER_HOST"), Some("tcp://h:1"));
        assert_eq!(call.environment.get("DOCKER_CONTEXT"), Some("default"));
        assert_eq!(call.environment.get("DOCKER_TLS_VERIFY"), Some("1"));
    }

    #[test]
    fn requests_for_help_and_completions_come_before_the_name() {
        assert_eq!(called("/p/docker-rbake help rbake").words, ["--help"]);
        assert_eq!(called("/p/docker-rbake --help rbake").words, ["--help"]);
        assert_eq!(
            called("/p/docker-rbake __complete rbake --print we").words,
            ["__complete", "--print", "we"]
        );
    }

    #[test]
    fn empty_flags_mean_the_same_as_for_docker() {
        let call = called("/p/docker-rbake --context= --config= rbake");
        assert_eq!(call.environment.get("DOCKER_CONTEXT"), Some("old"));
        assert_eq!(call.environment.get("DOCKER_HOST"), Some("unix:///x"));
        assert_eq!(call.environment.get("DOCKER_CONFIG"), None);
        let call = called("/p/docker-rbake --host= rbake");
        assert_eq!(call.environment.get("DOCKER_CONTEXT"), Some("default"));
        assert_eq!(call.environment.get("DOCKER_HOST"), Some(""));
    }

    #[test]
    fn tls_without_verification_is_not_a_plain_connection() {
        let call = called("/p/docker-rbake --tlsverify=false rbake");
        assert_eq!(call.environment.get("DOCKER_TLS"), Some("1"));
        assert_eq!(call.environment.get("DOCKER_TLS_VERIFY"), None);
    }

    #[test]
    fn flags_that_name_two_engines_are_refused() {
        for line in [
            "/p/docker-rbake --context far -H tcp://h:1 rbake",
            "/p/docker-rbake -H tcp://h:1 -H tcp://h:2 rbake",
        ] {
            let problem = call("rbake", &words(line), &environment()).unwrap();
            assert!(problem.is_err(), "{line}");
        }
    }

    #[test]
    fn flags_of_docker_that_rbake_does_not_support_are_refused() {
        let problem = call(
            "rbake",
            &words("/p/docker-rbake --tlskey k rbake"),
            &environment(),
        );
        assert!(problem.unwrap().is_err());
        assert!(
            call(
                "rbake",
                &words("/p/docker-rbake --nope rbake"),
                &environment()
            )
            .is_err()
        );
        assert!(
            call("rbake", &words("/p/docker-rbake buildx"), &environment())
                .unwrap()
                .is_err()
        );
    }
}
