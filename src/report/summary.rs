//! The summary at the end of a run: each target, the totals, the slowest steps, the warnings of the Dockerfile
//! checks.

use std::time::Duration;

use super::frame::target_names;
use super::model::{Model, Row, State, TargetId, TargetModel, TargetState, Warning};
use super::style::{Look, StyledLine, TextRole};
use super::{clipped, format, signs, text};
use crate::diag::Diagnostic;
use crate::outcome::{ExportedCache, Outcome, TargetFacts, TargetOutcome};

/// If there are more targets than this, each gets only one line.
const MANY: usize = 12;
/// The most tags that are shown of a target.
const MAX_TAGS: usize = 20;
/// The most steps that are listed as slowest.
const SLOWEST: usize = 3;
/// Steps that took less than this are not listed as slow.
const SLOW: Duration = Duration::from_secs(1);
/// The most steps with clipped output that are listed.
const MAX_CLIPPED: usize = 5;
/// The most warnings that are listed.
const MAX_WARNINGS: usize = 10;

/// Returns the summary of a run, `columns` wide.
pub(crate) fn lines(
    model: &Model,
    outcome: &Outcome,
    facts: &[TargetFacts],
    columns: usize,
    look: &Look,
) -> Vec<StyledLine> {
    let mut lines = Vec::new();
    let compact = outcome.targets.len() > MANY;
    let names = outcome
        .targets
        .iter()
        .map(|(name, _)| text::width(name.as_str()));
    let width = names.max().unwrap_or(0).min(columns / 3).min(32);
    let mut built = 0;
    for (name, end) in &outcome.targets {
        let TargetOutcome::Succeeded(_) = **end else {
            continue;
        };
        built += 1;
        let target = model.target_named(name);
        let facts = facts.iter().find(|facts| facts.target == *name);
        lines.extend(target_lines(
            name.as_str(),
            target,
            end,
            facts,
            &Form {
                compact,
                width,
                columns,
            },
            look,
        ));
    }
    lines.extend(outcome.caches.iter().map(|cache| cache_line(cache, look)));
    if !lines.is_empty() {
        lines.push(StyledLine::new());
    }
    lines.push(whole(model, outcome, built));
    lines.extend(clipped_steps(model, columns));
    lines.extend(changed_contexts(model, columns));
    if built == outcome.targets.len() {
        lines.extend(slowest(model, columns));
    }
    lines.extend(warnings(model));
    lines
}

struct Form {
    compact: bool,
    width: usize,
    columns: usize,
}

/// Returns the lines of one built target: only one if there are many targets, or else with its digest and tags.
fn target_lines(
    name: &str,
    target: Option<&TargetModel>,
    end: &TargetOutcome,
    facts: Option<&TargetFacts>,
    form: &Form,
    look: &Look,
) -> Vec<StyledLine> {
    let (sign, role) = signs::target(TargetState::Succeeded, Duration::ZERO, look);
    let mut line = StyledLine::new()
        .with(role, format!(" {sign} "))
        .with(TextRole::Strong, text::pad(name, form.width));
    let TargetOutcome::Succeeded(solved) = end else {
        return Vec::new();
    };
    line.push(
        TextRole::Plain,
        format!("  {:>6}", format::duration(solved.elapsed)),
    );
    if let Some(target) = target {
        let steps = target.steps();
        let cached = format!("{}/{}", steps.cached, steps.ended);
        line.push(TextRole::Plain, format!("  {cached:>7} cached"));
    }
    let size = facts.and_then(|facts| facts.size);
    line.push(
        TextRole::Plain,
        size.map_or(String::new(), |size| {
            format!("  {:>7}", format::bytes(size))
        }),
    );
    let digest = facts
        .and_then(|facts| facts.digest.clone())
        .or_else(|| solved.digest());
    let tags = facts.map_or(&[][..], |facts| &facts.tags);
    let destinations = facts.map_or(String::new(), |facts| facts.destinations.join(", "));
    let destinations = text::clean_name(&destinations, 500);
    if form.compact {
        if let Some(digest) = digest {
            line.push(
                TextRole::Quiet,
                format!("  {}:{}", digest.algorithm(), digest.short()),
            );
        }
        if let Some(tag) = tags.first() {
            line.push(TextRole::Plain, format!("  {}", text::clean_name(tag, 300)));
        }
        if tags.len() > 1 {
            line.push(TextRole::Quiet, format!(" +{}", tags.len() - 1));
        }
        return vec![line.fit(form.columns)];
    }
    if !destinations.is_empty() {
        line.push(TextRole::Quiet, format!("  {destinations}"));
    }
    let mut lines = vec![line.fit(form.columns)];
    // Users copy tags and digests. The terminal may wrap them, but they must not be cut.
    if let Some(digest) = digest {
        lines.push(StyledLine::new().with(TextRole::Quiet, format!("     {digest}")));
    }
    for tag in tags.iter().take(MAX_TAGS) {
        lines.push(StyledLine::new().with(
            TextRole::Plain,
            format!("     {}", text::clean_name(tag, 300)),
        ));
    }
    if tags.len() > MAX_TAGS {
        lines.push(StyledLine::new().with(
            TextRole::Quiet,
            format!("     … {} more", tags.len() - MAX_TAGS),
        ));
    }
    lines
}

/// Returns the line of a cache that was exported after the targets.
fn cache_line(cache: &ExportedCache, look: &Look) -> StyledLine {
    let (sign, role) = signs::target(TargetState::Succeeded, Duration::ZERO, look);
    let size = cache.size.map_or(String::new(), format::bytes);
    let targets = format::count(cache.targets, "target");
    let holds = if cache.salvaged {
        format!("finished steps of {targets}")
    } else {
        format!("steps of {targets}")
    };
    StyledLine::new()
        .with(role, format!(" {sign} "))
        .with(TextRole::Strong, "cache")
        .with(
            TextRole::Plain,
            format!("  {:>6}  {size:>7}  ", format::duration(cache.elapsed)),
        )
        // Users copy the name, so it is not cut.
        .with(TextRole::Plain, text::clean_name(&cache.place, 500))
        .with(TextRole::Quiet, format!("  {holds}"))
}

/// Returns the line with the totals of the run.
fn whole(model: &Model, outcome: &Outcome, built: usize) -> StyledLine {
    let totals = model.totals();
    let elapsed = format::duration(outcome.elapsed);
    let mut line = StyledLine::new();
    if built == outcome.targets.len() {
        line.push(
            TextRole::Strong,
            format!("{} built in {elapsed}", format::count(built, "target")),
        );
    } else {
        line.push(
            TextRole::Strong,
            format!(
                "{built} of {} built in {elapsed}",
                format::count(outcome.targets.len(), "target")
            ),
        );
    }
    let steps = totals.steps;
    if let Some(percent) = format::percent(steps.cached as u64, steps.ended as u64) {
        line.push(
            TextRole::Plain,
            format!(
                " · {}/{} cached ({percent}%)",
                steps.cached,
                format::count(steps.ended, "step")
            ),
        );
    }
    let sent = if totals.files_sent == 0 && totals.bytes_sent == 0 {
        "nothing sent".to_owned()
    } else {
        let files = usize::try_from(totals.files_sent).unwrap_or(usize::MAX);
        format!(
            "{} sent in {}",
            format::bytes(totals.bytes_sent),
            format::count(files, "file")
        )
    };
    if model.transfers().len() > 0 {
        line.push(TextRole::Plain, format!(" · {sent}"));
    }
    line
}

/// Returns the lines of the steps whose output is not whole.
fn clipped_steps(model: &Model, columns: usize) -> Vec<StyledLine> {
    let clipped = model.rows().iter();
    let clipped: Vec<(&Row, &str)> = clipped
        .filter_map(|row| Some((row, row.clipped.as_deref()?)))
        .collect();
    let line = |(row, limit): &(&Row, &str)| {
        let limit_text = text::clean_name(limit, 40);
        let (variable, _) = clipped::variable(limit);
        let right = format!("limit of {limit_text}, `{variable}` of buildkitd");
        StyledLine::new()
            .with(TextRole::Warning, "output clipped")
            .with(TextRole::Plain, format!("  {}", row.name))
            .with_right(StyledLine::new().with(TextRole::Quiet, right), columns)
    };
    let mut lines: Vec<StyledLine> = clipped.iter().take(MAX_CLIPPED).map(line).collect();
    let more = clipped.len().saturating_sub(MAX_CLIPPED);
    if more > 0 {
        let more = format!("output clipped  of {more} more");
        lines.push(StyledLine::new().with(TextRole::Warning, more));
    }
    lines
}

/// Returns the lines of the slowest steps. Empty if no step was slow.
fn slowest(model: &Model, columns: usize) -> Vec<StyledLine> {
    let slow = |row: &&Row| row.elapsed(Duration::ZERO) >= SLOW && row.state == State::Done;
    let rows = model.slowest(SLOWEST).into_iter().filter(slow);
    let line = |(at, row): (usize, &Row)| {
        let head = if at == 0 { "slowest" } else { "" };
        let left = StyledLine::new()
            .with(TextRole::Quiet, format!("{head:<7}"))
            .with(
                TextRole::Plain,
                format!(
                    " {:>6}  {}",
                    format::duration(row.elapsed(Duration::ZERO)),
                    row.name
                ),
            );
        let right = StyledLine::new().with(TextRole::Quiet, target_names(model, &row.targets));
        left.with_right(right, columns)
    };
    rows.enumerate().map(line).collect()
}

/// Returns a line for each directory that changed while it was sent. The warnings themselves have been shown; these lines keep a
/// success from looking better than it is.
fn changed_contexts(model: &Model, columns: usize) -> Vec<StyledLine> {
    let changed = model
        .notices()
        .iter()
        .filter(|notice| notice.code == "run::context-changed");
    let line = |notice: &Diagnostic| {
        StyledLine::new()
            .with(TextRole::Warning, format!("  {}", notice.message))
            .fit(columns)
    };
    changed.take(MAX_WARNINGS).map(line).collect()
}

/// Returns the lines of the frontend's warnings. Those about targets that have failed come first, because they may say why.
fn warnings(model: &Model) -> Vec<StyledLine> {
    if model.warnings().is_empty() {
        return Vec::new();
    }
    let is_built = |target: TargetId| {
        let target = model.target(target);
        target.is_some_and(|target| target.state == TargetState::Succeeded)
    };
    let mut warnings: Vec<&Warning> = model.warnings().iter().collect();
    warnings.sort_by_key(|warning| warning.targets.iter().all(is_built));
    let mut lines = vec![
        StyledLine::new(),
        StyledLine::new().with(
            TextRole::Warning,
            format!("{}:", format::count(warnings.len(), "warning")),
        ),
    ];
    for warning in warnings.iter().take(MAX_WARNINGS) {
        let place = place(warning).map_or(String::new(), |place| format!("{place}: "));
        lines.push(
            StyledLine::new()
                .with(TextRole::Quiet, format!("  {place}"))
                // It may name what is wrong, so it is not cut.
                .with(TextRole::Plain, without_line(&warning.short)),
        );
        if !warning.url.is_empty() {
            lines.push(StyledLine::new().with(TextRole::Quiet, format!("    {}", warning.url)));
        }
    }
    if warnings.len() > MAX_WARNINGS {
        lines.push(StyledLine::new().with(
            TextRole::Quiet,
            format!("  … {} more", warnings.len() - MAX_WARNINGS),
        ));
    }
    lines
}

/// Removes the line number, such as ` (line 3)`, from the end of a warning. The place in front of it shows it
/// already.
fn without_line(short: &str) -> &str {
    match short.rsplit_once(" (line ") {
        Some((text, line)) if line.ends_with(')') => text,
        _ => short,
    }
}

/// Returns the place of a warning, such as `Dockerfile:12`. `None` if the daemon did not send one.
pub(super) fn place(warning: &Warning) -> Option<String> {
    let source = warning.source.as_ref()?;
    let file = text::clean_name(&source.filename, 200);
    Some(match source.lines.first() {
        Some((line, _)) => format!("{file}:{line}"),
        None => file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::recording;

    fn summary(text: &str, with_facts: bool, columns: usize) -> String {
        let events = recording::read(text).unwrap();
        let mut model = Model::new();
        for event in &events {
            model.apply(event);
        }
        let outcome = recording::outcome_of(&events);
        let tags = |name: &str| {
            ["build-12", "latest"]
                .map(|tag| format!("registry.example.org/site/{name}:{tag}"))
                .to_vec()
        };
        let facts: Vec<TargetFacts> = outcome
            .targets
            .iter()
            .filter(|_| with_facts)
            .map(|(target, _)| TargetFacts {
                target: target.clone(),
                digest: None,
                tags: tags(target.as_str()),
                size: Some(21_400_000),
                destinations: vec!["pushed".into()],
            })
            .collect();
        let lines = lines(&model, &outcome, &facts, columns, &Look::default());
        lines
            .iter()
            .map(StyledLine::plain)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_first_build() {
        insta::assert_snapshot!(summary(include_str!("../../tests/fixtures/status/cold.jsonl"), true, 100), @r#"
         ✔ celery    7.3s      0/8 cached  21.4 MB  pushed
             sha256:5b65f566c06e546a0d61d0fc2ba429f8ab0d332364b01844c91f39f38b587f00
             registry.example.org/site/celery:build-12
             registry.example.org/site/celery:latest
         ✔ flower    8.0s      1/9 cached  21.4 MB  pushed
             sha256:82e667876a4408a56b8bdd18c0f600aa1b2eb76c77f38cf76565bd8db61607d6
             registry.example.org/site/flower:build-12
             registry.example.org/site/flower:latest
         ✔ web       9.3s     0/11 cached  21.4 MB  pushed
             sha256:98caa310c82bcffa9cd0a559a96f95299f93d6af2db9bdd838fc86ae16370cc0
             registry.example.org/site/web:build-12
             registry.example.org/site/web:latest

        3 targets built in 9.3s · 1/15 steps cached (6%)
        slowest   2.9s  [builder 2/2] RUN for p in django celery redis psycopg gunicorn whit… web, celery +1
                  2.9s  [assets 2/2] RUN echo "> site@1.0.0 build"; sleep 1; for i in $(seq 1 12); do e… web
                  2.1s  [flower 2/2] RUN sleep 2; echo done                                           flower
        "#);
    }

    #[test]
    fn a_cached_build_in_40_columns() {
        insta::assert_snapshot!(summary(include_str!("../../tests/fixtures/status/cached.jsonl"), false, 40), @r#"
         ✔ celery    0.1s      8/8 cached
             sha256:5b65f566c06e546a0d61d0fc2ba429f8ab0d332364b01844c91f39f38b587f00
         ✔ flower    0.1s      8/8 cached
             sha256:82e667876a4408a56b8bdd18c0f600aa1b2eb76c77f38cf76565bd8db61607d6
         ✔ web       0.1s    11/11 cached
             sha256:98caa310c82bcffa9cd0a559a96f95299f93d6af2db9bdd838fc86ae16370cc0

        3 targets built in 0.1s · 23/23 steps cached (100%)
        "#);
    }

    #[test]
    fn exported_caches_are_listed() {
        let cache = |salvaged, size, targets| ExportedCache {
            place: "registry.example.org/site:cache".to_owned(),
            targets,
            salvaged,
            size,
            elapsed: Duration::from_millis(1_234),
        };
        let line = |cache| cache_line(&cache, &Look::default()).plain();
        insta::assert_snapshot!(line(cache(false, Some(43_200_000), 3)), @" ✔ cache    1.2s  43.2 MB  registry.example.org/site:cache  steps of 3 targets");
        insta::assert_snapshot!(line(cache(true, None, 1)), @" ✔ cache    1.2s           registry.example.org/site:cache  finished steps of 1 target");
    }

    #[test]
    fn warnings_are_listed() {
        insta::assert_snapshot!(summary(include_str!("../../tests/fixtures/status/lint.jsonl"), false, 100), @r#"
         ✔ lint    0.2s      0/1 cached

        1 target built in 0.2s · 0/1 step cached (0%)

        6 warnings:
          Dockerfile:1: FromAsCasing: 'AS' and 'from' keywords' casing do not match
            https://docs.docker.com/go/dockerfile/rule/from-as-casing/
          Dockerfile:3: MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label
            https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
          Dockerfile:1: ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)
            https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/
          Dockerfile:2: LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format
            https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/
          Dockerfile:4: WorkdirRelativePath: Relative workdir "rel" can have unexpected results if the base image changes
            https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/
          Dockerfile:5: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
            https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
        "#);
    }

    #[test]
    fn a_failed_run_lists_only_what_was_built() {
        insta::assert_snapshot!(summary(include_str!("../../tests/fixtures/status/failure.jsonl"), false, 100), @"0 of 3 targets built in 7.2s · 2/13 steps cached (15%)");
    }
}
