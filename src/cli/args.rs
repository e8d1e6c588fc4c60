//! The flags of `buildx bake`, parsed with clap. The doc comments of the fields are the help texts.
//!
//! Booleans take Go's spellings (`--push`, `--push=0`, `--push=False`), as buildx's flag library does.

use std::fmt::Write as _;

use crate::engine::session::export::SpecialPolicy;
use crate::golang::strconv::parse_bool;
use clap::builder::{StyledStr, TypedValueParser, ValueParser};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};

/// Builds the targets of a bake file with `BuildKit`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "rbake",
    version,
    about = "Build targets from a bake file, directly on BuildKit",
    after_help = after_help(),
    // As in Go's flag library: the last of a repeated flag counts.
    args_override_self = true,
    max_term_width = 100
)]
pub struct BakeArgs {
    /// Targets and groups to build; glob patterns are allowed. Default: `default`. An address before them names a
    /// definition to fetch
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,

    /// Grant builds access to more resources, such as `network.host` or `fs.read=/data`
    #[arg(long, value_name = "ENTITLEMENT", allow_hyphen_values = true)]
    pub(crate) allow: Vec<String>,

    /// Use this builder instead of looking for one
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub builder: Option<String>,

    /// Run this method instead of the build: `check`, `outline`, `targets`
    #[arg(long, value_name = "METHOD", allow_hyphen_values = true)]
    pub call: Vec<String>,

    /// Short for `--call=check`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub check: Vec<bool>,

    /// The method that `--call` and `--check` together ask for: the last one on the command line.
    #[arg(skip)]
    pub method: Option<String>,

    /// Show stack traces and requests in errors
    #[arg(long, short = 'D', value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub debug: Option<bool>,

    /// What to do with set-id files, devices and security attributes in outputs of `type=local`: keep, deny
    #[arg(long, value_name = "POLICY", value_parser = special_policy())]
    pub(crate) export_special: Option<SpecialPolicy>,

    /// Move mutable tags to this commit, even if a newer commit holds them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) force_backwards: Option<bool>,

    /// Move mutable tags only if this target is built, too; it tests in its `RUN` steps. May be repeated
    #[arg(long = "gate", value_name = "TARGET")]
    pub(crate) gates: Vec<String>,

    /// Build the image of this target for the command of `--gate-run`, without its tags; may be repeated
    #[arg(long = "gate-image", value_name = "TARGET")]
    pub(crate) gate_images: Vec<String>,

    /// Move mutable tags only if this command succeeds; `$RBAKE_IMAGE_WEB` is the image of the target `web`
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(crate) gate_run: Option<String>,

    /// Save the files that `rbake.toml` names for gates in this directory, not in the one that it names
    #[arg(long, value_name = "DIR", allow_hyphen_values = true)]
    pub(crate) gate_save_to: Option<String>,

    /// Push the images, but do not move mutable tags: `rbake promote` moves them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) hold: Option<bool>,

    /// Tags that are set once and never moved, such as `build-*`; may be repeated. Replaces the list in `rbake.toml`
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) immutable_tags: Vec<String>,

    /// Tags that may be moved, although they look immutable; may be repeated. Replaces the list in `rbake.toml`
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) mutable_tags: Vec<String>,

    /// Ignore the gates of `rbake.toml`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) no_gates: Option<bool>,

    /// What becomes of immutable tags if a target or a gate fails: keep, untag
    #[arg(long, value_name = "ACTION", allow_hyphen_values = true)]
    pub(crate) on_failure: Option<String>,

    /// Check everything that can be checked before the build, and stop there
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) preflight_only: Option<bool>,

    /// Who pushes images: rbake (tags last, recorded), buildx (the builder, each target alone)
    #[arg(long, value_name = "MODE", allow_hyphen_values = true)]
    pub(crate) publish: Option<String>,

    /// Replace immutable tags that point to another image
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) replace: Option<bool>,

    /// Solve at most this many targets at once. Default: all
    #[arg(long, short = 'j', value_name = "N", allow_hyphen_values = true)]
    pub(crate) jobs: Option<String>,

    /// Read this definition file; may be repeated, `-` is standard input
    #[arg(
        long = "file",
        short = 'f',
        value_name = "FILE",
        allow_hyphen_values = true
    )]
    pub files: Vec<String>,

    /// After a target has failed, build the others that do not link to it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) keep_going: Option<bool>,

    /// Compare files of contexts with the copies of the builder by content, too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) verify_context: Option<bool>,

    /// Say which node of the builder builds each target, and why
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) explain_placement: Option<bool>,

    /// List `targets` or `variables`, optionally with `,format=json`
    #[arg(long, value_name = "SPEC", allow_hyphen_values = true)]
    pub list: Option<String>,

    /// Short for `--list=targets`
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) list_targets: Option<bool>,

    /// Short for `--list=variables`
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) list_variables: Option<bool>,

    /// Load the images into Docker: `--set=*.output=type=docker`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub load: Option<bool>,

    /// Write a log of what happens between rbake and the builder to this file; `RBAKE_LOG` sets its filter, as in `RBAKE_LOG=trace`
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) log_file: Option<String>,

    /// Write the digests, names, provenance and build references of the results to this file
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) metadata_file: Option<String>,

    /// Do not use the cache
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub no_cache: Option<bool>,

    /// Source policy options
    #[arg(long, value_name = "POLICY", allow_hyphen_values = true)]
    pub(crate) policy: Vec<String>,

    /// Print what would be built as JSON, without building
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub print: Option<bool>,

    /// How to show progress: auto, plain, tty, quiet, rawjson
    #[arg(long, value_name = "MODE", allow_hyphen_values = true)]
    pub progress: Option<String>,

    /// Short for `--set=*.attest=type=provenance,…`
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) provenance: Option<String>,

    /// Always look for newer versions of the images that the build uses
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) pull: Option<bool>,

    /// Push the images: `--set=*.output=type=registry`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub push: Option<bool>,

    /// Export the finished steps of a build that fails to its caches; the default. `--salvage=false` does not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    pub(crate) salvage: Option<bool>,

    /// Short for `--set=*.attest=type=sbom,…`
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) sbom: Option<String>,

    /// Override an attribute of targets, such as `web.args.VERSION=1` or `*.platform+=linux/arm64`
    #[arg(long, value_name = "TARGET.KEY=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,

    /// End the whole run after this time, such as `90s` or `1h30m`, as Ctrl-C would
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) timeout: Option<String>,

    /// Set a variable of the definition
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub var: Vec<String>,
}

/// Parses the words after the program's name. Help and errors call the program `name`.
///
/// # Errors
/// An error from clap. This includes help and version, which clap also reports as errors.
pub(crate) fn parse(name: &str, words: &[String]) -> Result<BakeArgs, clap::Error> {
    let command = BakeArgs::command()
        .bin_name(name.to_owned())
        .override_usage(format!("{name} [OPTIONS] [TARGET...]"));
    let words = std::iter::once(name).chain(words.iter().map(String::as_str));
    let matches = command.try_get_matches_from(words)?;
    let mut args = BakeArgs::from_arg_matches(&matches)?;
    args.method = method(&args, &matches);
    // An empty value means that the flag was not given. An empty `--gate-run` is an error: without a gate, tags would move.
    for value in [
        &mut args.builder,
        &mut args.gate_save_to,
        &mut args.list,
        &mut args.log_file,
        &mut args.metadata_file,
        &mut args.on_failure,
        &mut args.publish,
    ] {
        value.take_if(|value| value.is_empty());
    }
    Ok(args)
}

/// The last method on the command line. Each `--check` that is true means `--call=check` at its position.
fn method(args: &BakeArgs, matches: &ArgMatches) -> Option<String> {
    let places = |id: &str| matches.indices_of(id).into_iter().flatten();
    let calls = places("call").zip(args.call.iter().map(String::as_str));
    let checks = places("check").zip(&args.check);
    let checks = checks.filter(|(_, on)| **on).map(|(at, _)| (at, "check"));
    let last = calls.chain(checks).max_by_key(|(at, _)| *at);
    last.map(|(_, method)| method.to_owned())
}

// The verbs are not clap subcommands, because whether a word is a verb depends on the names in the definition.
fn after_help() -> StyledStr {
    let mut text = String::from(
        "Verbs (unless a target or group has that name; `rbake +VERB` always means the verb):\n",
    );
    for verb in super::verb::Verb::ALL {
        let _ = writeln!(text, "  {:<11} {}", verb.name(), verb.about());
    }
    text.push_str("\nExit codes: 0 success, 1 a target failed, 2 wrong usage, 3 wrong definition, 4 no connection to a builder, 5 tags could not be moved, 124 `--timeout`, 100 and 102 gRPC errors of the builder, 129 and 130 interrupted\n");
    text.into()
}

fn special_policy() -> ValueParser {
    let names = clap::builder::PossibleValuesParser::new(["keep", "deny"]);
    ValueParser::new(names.map(|name| SpecialPolicy::parse(&name).unwrap_or_default()))
}

/// A parser for the values that Go's `strconv.ParseBool` accepts.
pub(super) fn go_bool() -> ValueParser {
    ValueParser::new(
        clap::builder::NonEmptyStringValueParser::new().try_map(|text| {
            parse_bool(&text).ok_or_else(|| format!("`{text}` is neither true nor false"))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<const N: usize>(args: [&str; N]) -> BakeArgs {
        BakeArgs::try_parse_from(std::iter::once("rbake").chain(args)).unwrap()
    }

    #[test]
    fn booleans_parse_as_in_go_and_never_swallow_a_target() {
        let args = parse(["--print", "web", "--push=0", "--no-cache=True"]);
        assert_eq!(
            (args.print, args.push, args.no_cache, args.pull),
            (Some(true), Some(false), Some(true), None)
        );
        assert_eq!(args.targets, ["web"]);
        assert!(BakeArgs::try_parse_from(["rbake", "--push=yes"]).is_err());
    }

    #[test]
    fn values_of_repeated_flags_accumulate() {
        let args = parse([
            "-f",
            "a.hcl",
            "--file=b.hcl",
            "--set",
            "a.b=c",
            "--set=*.d+=e",
            "x",
            "y",
        ]);
        assert_eq!(args.files, ["a.hcl", "b.hcl"]);
        assert_eq!(args.set, ["a.b=c", "*.d+=e"]);
        assert_eq!(args.targets, ["x", "y"]);
    }

    #[test]
    fn the_last_of_check_and_call_takes_effect() {
        let method = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            super::parse("rbake", &words).unwrap().method
        };
        assert_eq!(method("--check --call=outline").as_deref(), Some("outline"));
        assert_eq!(method("--call=outline --check").as_deref(), Some("check"));
        assert_eq!(
            method("--call=outline --check=0").as_deref(),
            Some("outline")
        );
        assert_eq!(method("--check --check=false x").as_deref(), Some("check"));
        assert_eq!(method("--check=false"), None);
    }

    #[test]
    fn the_command_is_well_formed() {
        BakeArgs::command().debug_assert();
    }
}
