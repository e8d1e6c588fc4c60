//! `rbake builder inspect`: one builder with its nodes and what they report.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use clap::Args;

use super::listing::{ANSWER_LIMIT, BuilderListing, answer_limit};
use super::text::{LabelledLines, binary_size, go_duration, platforms};
use super::{bars, block_on, program, report_json, until_signal};
use crate::builder::ChooseError;
use crate::builder::embedded::Launcher;
use crate::builder::roster::{self, BuilderEntry, BuilderReport, NodeReport};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::Diagnostics;
use crate::engine::facts::GcRule;
use crate::types::blocking::unblock;
use crate::types::secret::redact_urls;
use crate::types::{Environment, terminal};

/// The flags of `rbake builder inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The builder. Default: the one that a run would use
    #[arg(id = "builder_name", value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Start the builder first if it does not run
    #[arg(long)]
    bootstrap: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Wait at most this long for an answer, such as `5s`
    #[arg(long, value_name = "TIME", value_parser = answer_limit, default_value = ANSWER_LIMIT)]
    timeout: Duration,
}

/// A builder that a verb acts on.
pub(super) struct Wanted {
    pub(super) entry: BuilderEntry,
    /// Why it is the current one. `None` if another one is, or if that is not known.
    pub(super) why: Option<String>,
}

/// The builder called `name`, or the one that a run would use.
pub(super) async fn wanted(
    name: Option<&str>,
    limit: Duration,
    environment: &Environment,
) -> Result<Wanted, ChooseError> {
    let (name, asked) = (name.map(str::to_owned), environment.clone());
    let found = unblock(move || {
        let current = roster::current_by_settings(None, &asked);
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return current.map(|found| {
                found.map(|(entry, current)| Wanted {
                    entry,
                    why: Some(current.why),
                })
            });
        };
        let entry = BuilderEntry::named(&name, "the command line", &asked)?;
        let current = current.ok().flatten();
        let why = current.filter(|(_, current)| current.name == entry.name);
        Ok(Some(Wanted {
            entry,
            why: why.map(|(_, current)| current.why),
        }))
    })
    .await?;
    if let Some(found) = found {
        return Ok(found);
    }
    // The settings name none, so the state of all decides.
    let listing = BuilderListing::of(None, limit, environment).await;
    let current = listing.current?;
    let asked = environment.clone();
    let entries = unblock(move || BuilderEntry::all(&asked)).await;
    let entry = entries.into_iter().find(|entry| entry.name == current.name);
    Ok(Wanted {
        entry: entry.unwrap_or_else(BuilderEntry::embedded),
        why: Some(current.why),
    })
}

pub(super) fn inspect(
    args: &InspectArgs,
    before: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let name = args.name.as_deref().or(before);
    let (events, reporter) = bars(environment, screen);
    let work = async {
        let mut wanted = wanted(name, args.timeout, environment).await?;
        let mut warnings = Vec::new();
        if args.bootstrap {
            let launcher = Launcher { program: program() };
            let asked = environment.clone();
            let name = wanted.entry.name.clone();
            let origin = wanted.entry.origin;
            warnings = roster::boot(wanted.entry, environment, &launcher, &events).await?;
            let entries = unblock(move || BuilderEntry::all(&asked)).await;
            let same = |entry: &BuilderEntry| entry.name == name && entry.origin == origin;
            wanted.entry = entries
                .into_iter()
                .find(same)
                .unwrap_or_else(BuilderEntry::embedded);
        }
        let reports = roster::look(vec![wanted.entry], args.timeout, environment).await;
        Ok::<_, ChooseError>((reports, wanted.why, warnings))
    };
    let outcome = block_on(until_signal(work), screen).and_then(|outcome| outcome);
    drop(reporter);
    let (reports, why, warnings) = match outcome {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => return exit,
    };
    screen.diagnostics(&Diagnostics(warnings));
    let Some(report) = reports.first() else {
        return Exit::Success;
    };
    if args.json {
        let value = report_json::builder(report, why.as_deref());
        return screen.data(&format!("{value:#}\n"));
    }
    screen.data(&as_text(report, why.as_deref()))
}

fn as_text(report: &BuilderReport, why: Option<&str>) -> String {
    let mut head = LabelledLines::default();
    head.line("Name", &report.name);
    head.line("Driver", &report.driver);
    if let Some(time) = report.last_activity {
        let time = time.rfc3339().replace('T', " ").replace('Z', " +0000 UTC");
        head.line("Last Activity", time);
    }
    if let Some(why) = why {
        head.line("Current", why);
    }
    if let Some(problem) = &report.problem {
        head.line("Error", problem);
        return head.text();
    }
    let mut text = head.text();
    text.push_str("\nNodes:\n");
    for (number, node) in report.nodes.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        node_text(&mut text, node);
    }
    text
}

fn node_text(text: &mut String, report: &NodeReport) {
    let (node, facts) = (&report.node, &report.facts);
    let mut block = LabelledLines::default();
    block.line("Name", &node.name);
    block.line("Endpoint", &node.endpoint);
    let options = node.driver_opts.iter();
    let options: Vec<String> = options
        .map(|(name, value)| format!("{name}=\"{}\"", redact_urls(value)))
        .collect();
    if !options.is_empty() {
        block.line("Driver Options", options.join(" "));
    }
    if report.status == roster::NodeStatus::Error {
        block.line("Error", report.reason.clone().unwrap_or_default());
        text.push_str(&block.text());
        return;
    }
    block.line("Status", report.status.name());
    if let Some(reason) = &report.reason {
        block.line("Reason", reason);
    }
    let flags = node.flags.as_deref().unwrap_or_default();
    if !flags.is_empty() {
        block.line("BuildKit daemon flags", flags.join(" "));
    }
    if let Some(version) = &facts.version {
        block.line("BuildKit version", version);
    }
    let fixed = node.platforms.as_deref().unwrap_or_default();
    let platforms = platforms(fixed, &facts.platforms);
    if !platforms.is_empty() {
        block.line("Platforms", platforms.join(", "));
    }
    text.push_str(&block.text());
    if !facts.labels.is_empty() {
        let mut block = LabelledLines::default();
        block.heading("Labels");
        for (name, value) in &facts.labels {
            block.below(name, value);
        }
        text.push_str(&block.text());
    }
    if !facts.devices.is_empty() {
        let mut block = LabelledLines::default();
        block.heading("Devices");
        for device in &facts.devices {
            block.below("Name", &device.name);
            if device.on_demand {
                block.below("On-Demand", "true");
            } else {
                block.below("Automatically allowed", device.is_allowed.to_string());
            }
        }
        text.push_str(&block.text());
    }
    for (number, rule) in facts.gc_rules.iter().enumerate() {
        text.push_str(&rule_text(number, rule));
    }
    for (name, content) in &node.files {
        text.push_str(&file_text(name, content.expose()));
    }
}

fn rule_text(number: usize, rule: &GcRule) -> String {
    let mut block = LabelledLines::default();
    block.heading(&format!("GC Policy rule#{number}"));
    block.below("All", rule.all.to_string());
    if !rule.filters.is_empty() {
        block.below("Filters", rule.filters.join(" "));
    }
    if !rule.keep_duration.is_zero() {
        block.below("Keep Duration", go_duration(rule.keep_duration));
    }
    for (label, size) in [
        ("Reserved Space", rule.reserved_space),
        ("Max Used Space", rule.max_used_space),
        ("Min Free Space", rule.min_free_space),
    ] {
        if size > 0 {
            block.below(label, binary_size(size));
        }
    }
    block.text()
}

/// The content of buildkitd's configuration. Of other files, which may be keys, only the names are shown.
fn file_text(name: &str, content: &str) -> String {
    let mut text = format!("File#{}:\n", terminal::visible(name));
    if name == report_json::SHOWN_FILE {
        let bytes = base64::prelude::BASE64_STANDARD.decode(content);
        let content = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        for line in content
            .unwrap_or_else(|_| "(not valid base64)".to_owned())
            .lines()
        {
            let _ = writeln!(text, " > {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests;
