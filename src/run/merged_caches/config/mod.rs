//! The configuration of a cache: the JSON that says which steps a cache holds, and in which layers their results are.
//!
//! The form is that of BuildKit's `cache/remotecache/v1`: records are steps, identified by a digest and by the records
//! of their inputs; a result is a layer with all its parents. Records and layers refer to each other by their index.

mod join;
mod leaf;
mod split;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use split::CannotSplit;

/// The media type of a configuration (`cache/remotecache/v1/types`).
pub(super) const CONFIG_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The largest configuration, in bytes, that BuildKit imports (`cache/remotecache/import.go`).
pub(super) const IMPORT_LIMIT: usize = 1 << 20;
/// The largest configuration that rbake reads, in bytes.
pub(super) const READ_LIMIT: usize = 16 << 20;

/// A configuration. All its indices are valid, and no record or layer needs itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CacheConfig {
    #[serde(default)]
    layers: Vec<CacheLayer>,
    #[serde(default)]
    records: Vec<CacheRecord>,
}

/// A layer on top of another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CacheLayer {
    blob: String,
    /// -1 if it has no parent. Go leaves out a zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    parent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Value>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CacheRecord {
    #[serde(default, rename = "layers", skip_serializing_if = "Vec::is_empty")]
    results: Vec<StepResult>,
    #[serde(default, rename = "chains", skip_serializing_if = "Vec::is_empty")]
    chains: Vec<ChainedResult>,
    digest: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Vec<RecordLink>>,
}

/// A result that is a layer with its parents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StepResult {
    layer: usize,
    #[serde(rename = "createdAt")]
    created: String,
}

/// A result that is a list of layers, whose parents do not matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ChainedResult {
    layers: Vec<usize>,
    #[serde(rename = "createdAt")]
    created: String,
}

/// A record that a step needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct RecordLink {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    selector: String,
    link: usize,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Why a configuration is not valid.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidConfig {
    /// It is not JSON of this form.
    #[error("the configuration of the cache cannot be read")]
    Form(#[source] serde_json::Error),
    /// It refers to a record or layer that it does not have.
    #[error("the configuration of the cache has a broken link")]
    Link,
    /// A record or layer needs itself.
    #[error("the configuration of the cache has a loop")]
    Loop,
}

impl CacheConfig {
    /// Parses a configuration, and checks its links. Without the record of [`Self::with_one_last_record`].
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, InvalidConfig> {
        let config: Self = serde_json::from_slice(bytes).map_err(InvalidConfig::Form)?;
        config.check()?;
        Ok(config.without_last_record())
    }

    /// The text that BuildKit reads.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The blobs of all layers, in the order of the layers. A blob may be in several of them.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.blob.as_str())
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        for record in &self.records {
            let layers = record.results.iter().map(|result| result.layer);
            let chained = record
                .chains
                .iter()
                .flat_map(|chain| &chain.layers)
                .copied();
            if layers
                .chain(chained)
                .any(|layer| layer >= self.layers.len())
            {
                return Err(InvalidConfig::Link);
            }
            let mut links = record.inputs.iter().flatten();
            if links.any(|input| input.link >= self.records.len())
                || record.inputs.iter().any(Vec::is_empty)
            {
                return Err(InvalidConfig::Link);
            }
        }
        let parents = self.layers.iter().map(CacheLayer::parent);
        let parents: Vec<Vec<usize>> = parents
            .map(|parent| Ok(parent?.into_iter().collect()))
            .collect::<Result<_, InvalidConfig>>()?;
        if parents
            .iter()
            .flatten()
            .any(|parent| *parent >= self.layers.len())
        {
            return Err(InvalidConfig::Link);
        }
        in_order(&parents)?;
        in_order(&self.inputs())?;
        Ok(())
    }

    /// The records that each record needs.
    fn inputs(&self) -> Vec<Vec<usize>> {
        let inputs = |record: &CacheRecord| {
            let links = record.inputs.iter().flatten();
            links.map(|input| input.link).collect()
        };
        self.records.iter().map(inputs).collect()
    }
}

impl CacheLayer {
    /// The index of the parent. `None` if it has none.
    fn parent(&self) -> Result<Option<usize>, InvalidConfig> {
        match self.parent {
            -1 => Ok(None),
            parent => usize::try_from(parent)
                .map(Some)
                .map_err(|_| InvalidConfig::Link),
        }
    }
}

/// All indices in an order in which each comes after those that it needs.
fn in_order(needs: &[Vec<usize>]) -> Result<Vec<usize>, InvalidConfig> {
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    let mut missing: Vec<usize> = Vec::with_capacity(needs.len());
    for (at, all) in needs.iter().enumerate() {
        missing.push(all.len());
        for need in all {
            needed_by
                .get_mut(*need)
                .ok_or(InvalidConfig::Link)?
                .push(at);
        }
    }
    let mut order: Vec<usize> = Vec::with_capacity(needs.len());
    let mut ready: Vec<usize> = (0..needs.len())
        .rev()
        .filter(|at| missing[*at] == 0)
        .collect();
    while let Some(at) = ready.pop() {
        order.push(at);
        for by in needed_by[at].iter().rev() {
            missing[*by] -= 1;
            if missing[*by] == 0 {
                ready.push(*by);
            }
        }
    }
    if order.len() == needs.len() {
        Ok(order)
    } else {
        Err(InvalidConfig::Loop)
    }
}

#[cfg(test)]
mod tests;
