//! The manual page: the program's flags, and what is not a flag.

use std::io;

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use rbake::cli::args::BakeArgs;
use rbake::cli::verb::Verb;

/// Where the page is kept, below the checkout's root.
pub(crate) const PATH: &str = "docs/man/rbake.1";

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "BUILDX_BAKE_FILE",
        "Definition files if --file is not given, separated by `:` or by BUILDX_BAKE_PATH_SEPARATOR.",
    ),
    (
        "BUILDX_BAKE_FILE_RELATIVE_PATHS",
        "Whether paths of contexts are relative to the file that names them instead of the working directory.",
    ),
    (
        "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP",
        "Whether variables of the definition take no values from the environment.",
    ),
    (
        "BUILDX_BAKE_ENTITLEMENTS_FS",
        "Whether reading and writing outside of the working directory must be granted; by default it must.",
    ),
    (
        "BAKE_ALLOW_REMOTE_FS_ACCESS",
        "Whether a remote definition may read and write local files without a grant; by default it may not.",
    ),
    (
        "SOURCE_DATE_EPOCH",
        "A build argument of every target that does not set it.",
    ),
    ("BUILDX_BUILDER", "The builder if --builder is not given."),
    (
        "BUILDKIT_HOST",
        "The address of a BuildKit daemon; BUILDKIT_TLS_DIR, _CACERT, _CERT, _KEY and _SERVERNAME set up TLS.",
    ),
    (
        "DOCKER_HOST, DOCKER_CONTEXT",
        "The Docker Engine; DOCKER_TLS_VERIFY and DOCKER_CERT_PATH set up TLS.",
    ),
    (
        "DOCKER_CONFIG, BUILDX_CONFIG",
        "The folders of Docker's and buildx's configuration.",
    ),
    (
        "DOCKER_AUTH_CONFIG",
        "Credentials of registries, in the format of Docker's config.json.",
    ),
    (
        "BUILDX_NO_DEFAULT_ATTESTATIONS, BUILDX_NO_DEFAULT_LOAD, BUILDX_GIT_INFO, BUILDX_GIT_CHECK_DIRTY",
        "As for buildx.",
    ),
    ("BUILDKIT_PROGRESS", "What --progress=auto means."),
    (
        "BUILDKIT_COLORS, BUILDKIT_TTY_LOG_LINES",
        "Colours and lines of output in the live view.",
    ),
    (
        "NO_COLOR, CLICOLOR_FORCE",
        "No colours; colours even if standard error is not a terminal.",
    ),
    (
        "RBAKE_DATA_DIR, RBAKE_CACHE_DIR, RBAKE_CONFIG_DIR, RBAKE_STATE_DIR",
        "rbake's own folders, instead of those that the XDG variables give.",
    ),
    (
        "RBAKE_LOG",
        "What is logged: a level such as debug, or info,rbake::engine=trace. Without --log-file the log goes to standard error, or to ~/.local/state/rbake/rbake.log while the live view is shown.",
    ),
    (
        "RBAKE_GITHUB_REGISTRY, GITHUB_API_URL",
        "The registry and the API of a GitHub Enterprise Server, for prune.",
    ),
    (
        "RBAKE_REGISTRY_KINDS",
        "Registries of other names, for prune: registry.example=gitlab; the kinds are distribution, github, gitlab, google, ecr, ecr-public and docker-hub.",
    ),
    (
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL_ECR, DOCKER_HUB_API_URL",
        "The keys and the addresses of the APIs by which Amazon's registry and Docker Hub delete, for prune.",
    ),
    (
        "RBAKE_BUILDER_TIMEOUT",
        "How long a builder may be silent before rbake gives up: 90s, 5m or never; a minute if it is not set.",
    ),
    (
        "RBAKE_BUILDER_IDLE, RBAKE_BUILDKITD_CONFIG, RBAKE_BUILDKIT_RELEASES",
        "The embedded builder: idle time, configuration, where its programs come from.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml, docker-bake.json, docker-bake.hcl, docker-bake.override.json, docker-bake.override.hcl",
        "All of these that exist are read, in this order, if neither --file nor BUILDX_BAKE_FILE is given. If none exists, rbake looks in bake/.",
    ),
    (
        "~/.docker/config.json",
        "Credentials, proxies, the current context.",
    ),
    (
        "~/.docker/buildx/",
        "Builders of buildx; rbake reads them and never changes them.",
    ),
    (
        "~/.docker/cli-plugins/docker-rbake",
        "A link to rbake here makes it `docker rbake`.",
    ),
    (
        "~/.config/rbake/buildkitd.toml",
        "The configuration of the embedded builder.",
    ),
    (
        "~/.local/share/rbake/",
        "The embedded builder, with its programs, cache and log.",
    ),
];

const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "rbake did everything that it was asked to do."),
    (
        "1",
        "One or more targets failed, a push was refused, or the output could not be written.",
    ),
    ("2", "The command line is wrong, or privileges are missing."),
    ("3", "A definition, or the plan made from it, is wrong."),
    ("4", "No builder could be reached, or it was lost."),
    ("5", "Images were built, but publishing them failed."),
    ("101", "rbake failed because of a fault of its own."),
    ("124", "The run took longer than `--timeout` allows."),
    (
        "100, 102",
        "BuildKit answered Internal or ResourceExhausted.",
    ),
    ("129", "The terminal was closed (SIGHUP)."),
    ("130", "Interrupted by Ctrl-C or SIGTERM."),
];

/// The page, in roff.
pub(crate) fn page() -> io::Result<String> {
    let command = BakeArgs::command()
        .name("rbake")
        .bin_name("rbake")
        .override_usage("rbake [OPTIONS] [TARGET...]")
        .after_help("");
    let man = Man::new(command)
        .manual("User commands")
        .source("rbake")
        .date("");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut rest = Roff::new();
    rest.control("SH", ["VERBS"]);
    rest.text([
        roman("Words are verbs unless a target or group has the same name; "),
        bold("rbake +"),
        italic("VERB"),
        roman(" always means the verb, and "),
        bold("rbake "),
        italic("VERB"),
        bold(" --help"),
        roman(" shows more."),
    ]);
    for verb in Verb::ALL {
        item(&mut rest, verb.name(), verb.about());
    }
    for (title, items) in [
        ("ENVIRONMENT", ENVIRONMENT),
        ("FILES", FILES),
        ("EXIT STATUS", EXIT_CODES),
    ] {
        rest.control("SH", [title]);
        for (name, about) in items {
            item(&mut rest, name, about);
        }
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text([
        bold("docker-buildx-bake"),
        roman("(1), "),
        bold("buildkitd"),
        roman("(1)"),
    ]);
    rest.to_writer(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}

fn item(roff: &mut Roff, name: &str, about: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(about)]);
}
