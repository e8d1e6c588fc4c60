//! Splits a configuration into several, each of which BuildKit imports.
//!
//! BuildKit finds a step by the records of its inputs, so each part must have all records that its own need. Records at
//! the beginning of a build are therefore in several parts.

use serde::Serialize;

use super::{CacheConfig, CacheLayer, InvalidConfig, in_order};

/// The most parts. An import reads each of them.
const PART_LIMIT: usize = 16;
/// The bytes around the records and layers, and of the last record.
const FRAME: usize = 256;
/// The bytes by which the last record grows with each record that it needs.
const LINK: usize = 24;

/// Why a configuration is not split.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum CannotSplit {
    /// A step and those that it needs do not fit in one part.
    #[error("one of its steps needs too many others")]
    Deep,
    /// There are too many parts.
    #[error("it would have more than {PART_LIMIT} parts")]
    Long,
    /// The configuration is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
}

impl CacheConfig {
    /// Returns configurations of at most `limit` bytes that together hold everything of this one. Each has one last record.
    pub(in super::super) fn split(&self, limit: usize) -> Result<Vec<Self>, CannotSplit> {
        let inputs = self.inputs();
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); inputs.len()];
        for (at, all) in inputs.iter().enumerate() {
            for input in all {
                needed_by[*input].push(at);
            }
        }
        let record_sizes: Vec<usize> = self.records.iter().map(size).collect();
        let layer_sizes: Vec<usize> = self.layers.iter().map(size).collect();
        let budget = limit.saturating_sub(FRAME);
        let mut parts: Vec<Part> = Vec::new();
        let mut part = Part::new(self);
        // Records that share inputs come one after the other in this order, so that a part has few records of others.
        for last in in_order(&inputs)?
            .into_iter()
            .filter(|at| needed_by[*at].is_empty())
        {
            let mut grown = part.clone();
            grown.add(self, last, &inputs, (&record_sizes, &layer_sizes))?;
            grown.size += LINK;
            if grown.size <= budget {
                part = grown;
                continue;
            }
            if !part.is_empty() {
                parts.push(std::mem::replace(&mut part, Part::new(self)));
            }
            part.add(self, last, &inputs, (&record_sizes, &layer_sizes))?;
            part.size += LINK;
            if part.size > budget {
                return Err(CannotSplit::Deep);
            }
            if parts.len() >= PART_LIMIT {
                return Err(CannotSplit::Long);
            }
        }
        parts.push(part);
        let config = |part: &Part| part.config(self).with_one_last_record();
        Ok(parts.iter().map(config).collect())
    }
}

/// The bytes of `value` in a list.
fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |text| text.len() + 1)
}

/// Which records and layers are in a part.
#[derive(Clone)]
struct Part {
    records: Vec<bool>,
    layers: Vec<bool>,
    /// At least the bytes of its text. Indices in a part are never larger than those in the whole.
    size: usize,
}

impl Part {
    fn new(whole: &CacheConfig) -> Self {
        Self {
            records: vec![false; whole.records.len()],
            layers: vec![false; whole.layers.len()],
            size: 0,
        }
    }

    const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Adds a record, and everything that it needs.
    fn add(
        &mut self,
        whole: &CacheConfig,
        record: usize,
        inputs: &[Vec<usize>],
        (record_sizes, layer_sizes): (&[usize], &[usize]),
    ) -> Result<(), InvalidConfig> {
        let mut waiting = vec![record];
        while let Some(at) = waiting.pop() {
            if std::mem::replace(&mut self.records[at], true) {
                continue;
            }
            self.size += record_sizes[at];
            waiting.extend(&inputs[at]);
            let record = &whole.records[at];
            let layers = record.results.iter().map(|result| result.layer);
            let chained = record
                .chains
                .iter()
                .flat_map(|chain| &chain.layers)
                .copied();
            for layer in layers.chain(chained) {
                self.add_layer(whole, layer, layer_sizes)?;
            }
        }
        Ok(())
    }

    fn add_layer(
        &mut self,
        whole: &CacheConfig,
        layer: usize,
        sizes: &[usize],
    ) -> Result<(), InvalidConfig> {
        let mut next = Some(layer);
        while let Some(at) = next {
            if std::mem::replace(&mut self.layers[at], true) {
                break;
            }
            self.size += sizes[at];
            next = whole.layers[at].parent()?;
        }
        Ok(())
    }

    /// The configuration of the part.
    fn config(&self, whole: &CacheConfig) -> CacheConfig {
        let records = new_places(&self.records);
        let layers = new_places(&self.layers);
        let kept = |chosen: &[bool], at: usize| chosen.get(at).copied().unwrap_or_default();
        let layer = |(at, layer): (usize, &CacheLayer)| {
            let parent = usize::try_from(layer.parent).ok();
            let parent = parent.and_then(|parent| i64::try_from(layers[parent]).ok());
            kept(&self.layers, at).then(|| CacheLayer {
                parent: parent.unwrap_or(-1),
                ..layer.clone()
            })
        };
        let mut part = CacheConfig {
            layers: whole.layers.iter().enumerate().filter_map(layer).collect(),
            records: Vec::new(),
        };
        for (at, record) in whole.records.iter().enumerate() {
            if !kept(&self.records, at) {
                continue;
            }
            let mut record = record.clone();
            for result in &mut record.results {
                result.layer = layers[result.layer];
            }
            for place in record.chains.iter_mut().flat_map(|chain| &mut chain.layers) {
                *place = layers[*place];
            }
            for input in record.inputs.iter_mut().flatten() {
                input.link = records[input.link];
            }
            part.records.push(record);
        }
        part
    }
}

/// The index of each chosen one among the chosen ones.
fn new_places(chosen: &[bool]) -> Vec<usize> {
    let mut next = 0;
    let place = |is_chosen: &bool| {
        let place = next;
        next += usize::from(*is_chosen);
        place
    };
    chosen.iter().map(place).collect()
}
