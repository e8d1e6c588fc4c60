//! The flags of `rbake prune`. The doc comments are the help texts.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::cli::args::go_bool;
use crate::cli::commands::recovery::session::PlaceArgs;
use crate::golang::time::parse_duration;
use crate::prune::plan::MAX_DELETE;
use crate::prune::policy::{
    BranchPattern, CachePolicy, GRACE, ImagePolicy, RecordRetention, RetentionPolicy, TagGroup,
};
use crate::publish::pattern::TagPattern;
use crate::types::Digest;
use crate::types::size::parse_size;

const DAY: u64 = 24 * 60 * 60;

/// Deletes from registries.
#[derive(Debug, Parser)]
#[command(
    name = "rbake prune",
    about = "Delete images or caches that nobody needs any more from registries",
    long_about = "Delete images or caches that nobody needs any more from registries. Without `--yes`, it only shows what it would delete. It deletes from distribution and from the registries of GitHub, GitLab, Google, Amazon (ECR) and Docker Hub.",
    max_term_width = 100
)]
pub(super) struct PruneArgs {
    // These two flags of building may stand before the verb.
    #[arg(long, hide = true, allow_hyphen_values = true)]
    builder: Option<String>,
    #[arg(long, short = 'D', hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    debug: Option<bool>,
    #[command(subcommand)]
    pub(super) what: PruneWhat,
}

#[derive(Debug, Subcommand)]
pub(super) enum PruneWhat {
    /// Delete images
    #[command(
        long_about = "Delete the tags that no rule keeps, the manifests that only they lead to, and the records of old runs. A tag that no `--keep-newest` is about stays. Caches stay. Platforms, attestations and signatures stay with their image.",
        max_term_width = 100
    )]
    Images(Box<ImageArgs>),
    /// Delete caches
    #[command(
        long_about = "Delete the caches of branches and pull requests that are over. The caches of kept branches and of the last pull requests stay. Whose a cache is, its annotations tell. Images stay.",
        max_term_width = 100
    )]
    Cache(Box<CacheArgs>),
}

/// The flags of `rbake prune images`.
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    /// Of the tags that match one of these patterns, keep the newest N images; may be repeated, each for its own tags
    #[arg(long, value_name = "PATTERN[,PATTERN]=N", value_parser = tag_group)]
    keep_newest: Vec<TagGroup>,
    /// Keep the tags that match this pattern in any case; may be repeated
    #[arg(long, value_name = "PATTERN")]
    keep: Vec<TagPattern>,
    /// Keep tags whose image is younger than this, such as `30d`
    #[arg(long, value_name = "AGE", value_parser = age, default_value = "0s")]
    keep_younger: Duration,
    /// Keep the records of the newest N runs, and the images that they name
    #[arg(long, value_name = "N", default_value_t = RecordRetention::default().newest)]
    keep_runs: usize,
    /// Keep the records of younger runs, too
    #[arg(long, value_name = "AGE", value_parser = age, default_value = "30d")]
    keep_runs_for: Duration,
    #[command(flatten)]
    pub(super) shared: SharedArgs,
}

/// The flags of `rbake prune cache`.
#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    /// Keep the caches of the branches that match this pattern, such as `release/*`; may be repeated
    #[arg(long, value_name = "PATTERN", default_values = ["main", "master"])]
    keep_branch: Vec<BranchPattern>,
    /// Keep the caches of the N pull requests that wrote one last
    #[arg(long, value_name = "N", default_value_t = 10)]
    keep_pull_requests: usize,
    /// If all caches are larger than this, such as `20g`, also delete the oldest ones of pull requests
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Delete caches that do not say whose they are, too
    #[arg(long)]
    unowned: bool,
    #[command(flatten)]
    pub(super) shared: SharedArgs,
}

/// The flags of both.
#[derive(Debug, Clone, Args)]
pub(super) struct SharedArgs {
    /// The repositories. Default: those of the definition
    #[arg(value_name = "REPOSITORY")]
    pub(super) repositories: Vec<String>,
    /// Delete. Without it, only the plan is shown
    #[arg(long, short = 'y')]
    pub(super) yes: bool,
    /// Only show the plan, also with `--yes`
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Delete only if the plan has this digest, which an earlier run has shown
    #[arg(long, value_name = "DIGEST")]
    pub(super) plan: Option<Digest>,
    /// Refuse to delete more than this part of the manifests of a repository, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = MAX_DELETE, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(super) max_delete: u8,
    /// Keep everything younger than this, because a build may be about to use it. Default: a day
    #[arg(long, value_name = "AGE", value_parser = age)]
    grace: Option<Duration>,
    /// Keep the digests in this file, such as a lock file or a list of what runs; `-` is standard input; may be repeated
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(super) keep_digests: Vec<String>,
    #[command(flatten)]
    pub(super) places: PlaceArgs,
}

impl SharedArgs {
    /// Everything younger than this stays.
    pub(super) fn grace(&self) -> Duration {
        self.grace.unwrap_or(GRACE)
    }
}

impl ImageArgs {
    /// The rules.
    pub(super) fn policy(self) -> RetentionPolicy {
        RetentionPolicy::Images(ImagePolicy {
            keep: self.keep,
            groups: self.keep_newest,
            younger_than: self.keep_younger,
            records: RecordRetention {
                newest: self.keep_runs,
                younger_than: self.keep_runs_for,
            },
        })
    }
}

impl CacheArgs {
    /// The rules.
    pub(super) fn policy(self) -> RetentionPolicy {
        RetentionPolicy::Caches(CachePolicy {
            branches: self.keep_branch,
            pull_requests: self.keep_pull_requests,
            ceiling: self.max_size,
            removes_unowned: self.unowned,
        })
    }
}

/// Parses `build-*,sha-*=10`.
fn tag_group(text: &str) -> Result<TagGroup, String> {
    let form = || format!("`{text}` is not of the form `PATTERN=N`, such as `build-*=10`");
    let (patterns, newest) = text.rsplit_once('=').ok_or_else(form)?;
    let newest = newest.parse().map_err(|_| form())?;
    let patterns = patterns.split(',').map(|pattern| {
        let parsed: Result<TagPattern, _> = pattern.parse();
        parsed.map_err(|error| error.to_string())
    });
    Ok(TagGroup {
        patterns: patterns.collect::<Result<_, _>>()?,
        newest,
    })
}

/// Parses an age: a number of days (`30d`) or weeks (`2w`), or a duration as in Go (`36h`, `1h30m`).
fn age(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is not a valid age (expected one such as `30d`, `2w` or `36h`)");
    let days = |text: &str, days: u64| {
        let number: u64 = text.parse().map_err(|_| wrong())?;
        let seconds = number.checked_mul(days * DAY).ok_or_else(wrong)?;
        Ok(Duration::from_secs(seconds))
    };
    if let Some(number) = text.strip_suffix('d') {
        return days(number, 1);
    }
    if let Some(number) = text.strip_suffix('w') {
        return days(number, 7);
    }
    let nanoseconds = parse_duration(text).map_err(|_| wrong())?;
    let nanoseconds = u64::try_from(nanoseconds).map_err(|_| wrong())?;
    Ok(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("30d", Some(30 * DAY); "days")]
    #[test_case("2w", Some(14 * DAY); "weeks")]
    #[test_case("36h", Some(36 * 3600); "hours")]
    #[test_case("1h30m", Some(5400); "hours and minutes")]
    #[test_case("0", Some(0); "nothing")]
    #[test_case("-1h", None; "negative")]
    #[test_case("99999999999999999d", None; "too long")]
    #[test_case("d", None; "no number")]
    #[test_case("30", None; "no unit")]
    fn ages_are_durations_with_days_and_weeks(text: &str, seconds: Option<u64>) {
        assert_eq!(age(text).ok(), seconds.map(Duration::from_secs));
    }

    #[test]
    fn a_group_has_patterns_and_a_number() {
        let group = tag_group("build-*,sha-*=10").unwrap();
        let patterns: Vec<_> = group.patterns.iter().map(ToString::to_string).collect();
        assert_eq!(
            (patterns, group.newest),
            (vec!["build-*".to_owned(), "sha-*".to_owned()], 10)
        );
        for wrong in ["build-*", "=3", "build-*=", "build-*=-1", "a/b=1", ",a=1"] {
            assert!(tag_group(wrong).is_err(), "{wrong}");
        }
    }
}
