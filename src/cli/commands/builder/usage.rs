//! `rbake builder du`: what is in the cache of a builder.

use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::{Value, json};

use super::filters::RecordFilter;
use super::inspect::{Wanted, wanted};
use super::listing::{ANSWER_LIMIT, answer_limit};
use super::text::{LabelledLines, columns, decimal_size, time_ago};
use super::{block_on, until_signal};
use crate::builder::roster::{self, ConnectError};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::engine::cache_records::{self, CacheRecord};
use crate::golang::time::Timestamp;
use crate::types::{Clock, Environment};

/// The flags of `rbake builder du`.
#[derive(Debug, Args)]
pub(super) struct UsageArgs {
    /// The builder. Default: the one that a run would use
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    /// Only records that match, such as `type=exec.cachemount`, `id=PREFIX` or `until=24h`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Show all facts of each record
    #[arg(long)]
    verbose: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
    /// Wait at most this long for the builder, such as `5s`
    #[arg(long, value_name = "TIME", value_parser = answer_limit, default_value = ANSWER_LIMIT)]
    timeout: Duration,
}

/// A record, and the node that has it.
struct Found {
    node: String,
    record: CacheRecord,
}

pub(super) fn disk_usage(
    args: &UsageArgs,
    before: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let filter = match RecordFilter::parse(&args.filter) {
        Ok(filter) => filter,
        Err(error) => return screen.diagnostics(&error.diagnostic().into()),
    };
    let name = args.builder.as_deref().or(before);
    let work = async {
        let Wanted { entry, .. } = wanted(name, args.timeout, environment).await?;
        let nodes = roster::connect(entry, args.timeout, environment).await?;
        let mut found = Vec::new();
        let asked = nodes.iter().map(|node| {
            cache_records::disk_usage(&node.connection, &filter.expressions, filter.unused_for)
        });
        let answers = futures_util::future::join_all(asked).await;
        for (node, answer) in nodes.iter().zip(answers) {
            let records = answer.map_err(|source| ConnectError::Records {
                node: node.name.clone(),
                source: Box::new(source),
            })?;
            found.extend(records.into_iter().map(|record| Found {
                node: node.name.clone(),
                record,
            }));
        }
        Ok::<_, ConnectError>(found)
    };
    let outcome = block_on(until_signal(work), screen).and_then(|outcome| outcome);
    let mut found = match outcome {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => return exit,
    };
    found.sort_by(|a, b| (a.record.size, &a.record.id).cmp(&(b.record.size, &b.record.id)));
    let now = Clock::system().now();
    if args.json {
        let list: Vec<Value> = found.iter().map(|found| as_json(found, now)).collect();
        return screen.data(&format!("{:#}\n", Value::Array(list)));
    }
    let records: Vec<&CacheRecord> = found.iter().map(|found| &found.record).collect();
    let mut text = if args.verbose {
        records
            .iter()
            .map(|record| verbose(record, now) + "\n")
            .collect()
    } else {
        let mut rows = vec![heading()];
        rows.extend(records.iter().map(|record| row(record, now)));
        columns(&rows)
    };
    // Like buildx: of a part of the cache, there is no sum.
    if args.filter.is_empty() {
        text.push_str(&summary(&records));
    }
    screen.data(&text)
}

/// The heading of the table of records.
pub(super) fn heading() -> Vec<String> {
    ["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"]
        .map(str::to_owned)
        .to_vec()
}

/// The row of a record in the table.
pub(super) fn row(record: &CacheRecord, now: SystemTime) -> Vec<String> {
    let star = |is_set: bool| if is_set { "*" } else { "" };
    vec![
        format!("{}{}", record.id, star(record.is_mutable)),
        (!record.in_use).to_string(),
        format!("{}{}", decimal_size(record.size), star(record.is_shared)),
        record
            .last_used
            .map(|time| time_ago(time, now))
            .unwrap_or_default(),
    ]
}

/// All facts of a record, as lines.
pub(super) fn verbose(record: &CacheRecord, now: SystemTime) -> String {
    let mut block = LabelledLines::default();
    block.line("ID", &record.id);
    if !record.parents.is_empty() {
        block.line("Parents", record.parents.join(", "));
    }
    if let Some(time) = record.created {
        block.line("Created at", Timestamp::from_system(time).rfc3339());
    }
    block.line("Mutable", record.is_mutable.to_string());
    block.line("Reclaimable", (!record.in_use).to_string());
    block.line("Shared", record.is_shared.to_string());
    block.line("Size", decimal_size(record.size));
    if !record.description.is_empty() {
        block.line("Description", &record.description);
    }
    block.line("Usage count", record.uses.to_string());
    if let Some(time) = record.last_used {
        block.line("Last used", time_ago(time, now));
    }
    if !record.kind.is_empty() {
        block.line("Type", &record.kind);
    }
    block.text()
}

/// The keys are those of `docker buildx du --format json`; `Bytes` and `Node` are added.
fn as_json(found: &Found, now: SystemTime) -> Value {
    let record = &found.record;
    let time = |time: SystemTime| Timestamp::from_system(time).rfc3339();
    json!({
        "Node": found.node,
        "ID": record.id,
        "Parents": record.parents,
        "CreatedAt": record.created.map(time),
        "Mutable": record.is_mutable,
        "Reclaimable": !record.in_use,
        "Shared": record.is_shared,
        "Size": decimal_size(record.size),
        "Bytes": record.size,
        "Description": record.description,
        "UsageCount": record.uses,
        "LastUsedAt": record.last_used.map(|time| time_ago(time, now)),
        "Type": record.kind,
    })
}

fn summary(records: &[&CacheRecord]) -> String {
    let sum = |keep: fn(&CacheRecord) -> bool| -> u64 {
        let sizes = records
            .iter()
            .filter(|record| keep(record))
            .map(|record| record.size);
        sizes.fold(0, u64::saturating_add)
    };
    let (total, shared) = (sum(|_| true), sum(|record| record.is_shared));
    let mut block = LabelledLines::default();
    if shared > 0 {
        block.line("Shared", decimal_size(shared));
        block.line("Private", decimal_size(total.saturating_sub(shared)));
    }
    block.line("Reclaimable", decimal_size(sum(|record| !record.in_use)));
    block.line("Total", decimal_size(total));
    block.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> CacheRecord {
        CacheRecord {
            id: "abc".into(),
            is_mutable: true,
            is_shared: true,
            size: 1_234_567,
            created: Some(SystemTime::UNIX_EPOCH),
            last_used: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)),
            uses: 2,
            parents: vec!["p".into(), "q".into()],
            description: "mount / from exec".into(),
            kind: "regular".into(),
            ..CacheRecord::default()
        }
    }

    #[test]
    fn records_are_printed_as_buildx_prints_them() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(3660);
        assert_eq!(
            row(&record(), now),
            ["abc*", "true", "1.235MB*", "About an hour ago"]
        );
        insta::assert_snapshot!(verbose(&record(), now), @r"
        ID:          abc
        Parents:     p, q
        Created at:  1970-01-01T00:00:00Z
        Mutable:     true
        Reclaimable: true
        Shared:      true
        Size:        1.235MB
        Description: mount / from exec
        Usage count: 2
        Last used:   About an hour ago
        Type:        regular
        ");
    }

    #[test]
    fn the_sum_tells_shared_and_reclaimable_sizes() {
        let used = CacheRecord {
            in_use: true,
            size: 1000,
            ..CacheRecord::default()
        };
        insta::assert_snapshot!(summary(&[&record(), &used]), @r"
        Shared:      1.235MB
        Private:     1kB
        Reclaimable: 1.235MB
        Total:       1.236MB
        ");
    }
}
