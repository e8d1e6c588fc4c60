//! `rbake builder ls`: all builders with their nodes, and which one a run would use.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::text::{columns, few_platforms, platforms};
use super::{block_on, report_json};
use crate::builder::ChooseError;
use crate::builder::roster::{
    self, BuilderEntry, BuilderReport, CurrentBuilder, NodeReport, NodeStatus,
};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::Diagnostics;
use crate::golang::time::parse_duration;
use crate::types::blocking::unblock;
use crate::types::{Environment, terminal};

/// How long builders may take to answer, as for buildx.
pub(super) const ANSWER_LIMIT: &str = "20s";

/// The flags of `rbake builder ls`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Show all platforms
    #[arg(long)]
    no_trunc: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Wait at most this long for the builders, such as `5s`
    #[arg(long, value_name = "TIME", value_parser = answer_limit, default_value = ANSWER_LIMIT)]
    timeout: Duration,
}

/// Parses a duration as in Go that is longer than zero.
pub(super) fn answer_limit(text: &str) -> Result<Duration, String> {
    let nanoseconds = parse_duration(text)
        .ok()
        .and_then(|n| u64::try_from(n).ok());
    match nanoseconds {
        Some(nanoseconds @ 1..) => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err(format!(
            "`{text}` is not a valid time (expected one such as `5s` or `1m30s`)"
        )),
    }
}

/// All builders, and the current one.
pub(super) struct BuilderListing {
    pub(super) reports: Vec<BuilderReport>,
    pub(super) current: Result<CurrentBuilder, ChooseError>,
}

impl BuilderListing {
    /// Looks at all builders. `flag` is the value of `--builder`.
    pub(super) async fn of(flag: Option<&str>, limit: Duration, environment: &Environment) -> Self {
        let (flag, asked) = (flag.map(str::to_owned), environment.clone());
        let (entries, current) = unblock(move || {
            let current = roster::current_by_settings(flag.as_deref(), &asked);
            (BuilderEntry::all(&asked), current)
        })
        .await;
        let reports = roster::look(entries, limit, environment).await;
        let current = current.map(|named| match named {
            Some((_, current)) => current,
            None => roster::current_by_state(&reports),
        });
        Self { reports, current }
    }

    fn why(&self, name: &str) -> Option<&str> {
        let current = self.current.as_ref().ok()?;
        (current.name == name).then_some(current.why.as_str())
    }
}

pub(super) fn list(
    args: &ListArgs,
    flag: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let listing = match block_on(BuilderListing::of(flag, args.timeout, environment), screen) {
        Ok(listing) => listing,
        Err(exit) => return exit,
    };
    let written = if args.json {
        let builders: Vec<_> = listing
            .reports
            .iter()
            .map(|report| report_json::builder(report, listing.why(&report.name)))
            .collect();
        screen.data(&format!("{:#}\n", serde_json::Value::Array(builders)))
    } else {
        screen.data(&as_text(&listing, args.no_trunc))
    };
    if !args.json {
        let problems = problems(&listing.reports);
        if !problems.is_empty() {
            screen.message(&format!("\n{}\n", problems.join("\n")));
        }
    }
    match &listing.current {
        Ok(_) => written,
        Err(error) => screen.diagnostics(&Diagnostics::from(error.diagnostic())),
    }
}

fn as_text(listing: &BuilderListing, whole: bool) -> String {
    let mut rows = vec![
        [
            "NAME/NODE",
            "DRIVER/ENDPOINT",
            "STATUS",
            "BUILDKIT",
            "PLATFORMS",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for report in &listing.reports {
        let star = if listing.why(&report.name).is_some() {
            "*"
        } else {
            ""
        };
        let status = report.problem.as_ref().map_or("", |_| "error");
        rows.push(vec![
            format!("{}{star}", report.name),
            report.driver.clone(),
            status.to_owned(),
            String::new(),
            String::new(),
        ]);
        rows.extend(report.nodes.iter().map(|node| node_row(node, whole)));
    }
    let mut text = columns(&rows);
    if let Ok(current) = &listing.current {
        // Names and addresses come from files.
        let line = format!("* {}: {}", current.name, current.why);
        let _ = writeln!(text, "\n{}", terminal::visible(&line));
    }
    text
}

fn node_row(report: &NodeReport, whole: bool) -> Vec<String> {
    let fixed = report.node.platforms.as_deref().unwrap_or_default();
    let all = platforms(fixed, &report.facts.platforms);
    vec![
        format!(" \\_ {}", report.node.name),
        match report.node.endpoint.as_str() {
            "" => String::new(),
            endpoint => format!(" \\_ {endpoint}"),
        },
        report.status.name().to_owned(),
        report.facts.version.clone().unwrap_or_default(),
        if whole {
            all.join(", ")
        } else {
            few_platforms(&all)
        },
    ]
}

/// Why builders and nodes cannot be used.
fn problems(reports: &[BuilderReport]) -> Vec<String> {
    let mut lines = Vec::new();
    for report in reports {
        if let Some(problem) = &report.problem {
            lines.push(format!("`{}`: {problem}", report.name));
        }
        for node in &report.nodes {
            let is_only = report.nodes.len() == 1 && report.name == node.node.name;
            if let (NodeStatus::Error | NodeStatus::Inactive, Some(reason)) =
                (node.status, &node.reason)
            {
                lines.push(if is_only {
                    format!("`{}`: {reason}", report.name)
                } else {
                    format!("`{}` of `{}`: {reason}", node.node.name, report.name)
                });
            }
        }
    }
    lines
}
