//! Joins two configurations into one.

use std::collections::HashMap;

use super::{CacheConfig, CacheLayer, CacheRecord, InvalidConfig, RecordLink, in_order};

impl CacheConfig {
    /// The configuration of a cache that holds everything of `self` and of `other`. Equal layers and records are in it
    /// once; results of `self` come first.
    pub(in super::super) fn joined(&self, other: &Self) -> Result<Self, InvalidConfig> {
        let mut joined = Joined::default();
        joined.add(self)?;
        joined.add(other)?;
        Ok(joined.config)
    }
}

#[derive(Default)]
struct Joined {
    config: CacheConfig,
    layers: HashMap<(String, i64), usize>,
    records: HashMap<(String, Vec<Vec<RecordLink>>), usize>,
}

impl Joined {
    fn add(&mut self, config: &CacheConfig) -> Result<(), InvalidConfig> {
        let layers = self.add_layers(config)?;
        let layer = |at: usize| layers.get(at).copied().ok_or(InvalidConfig::Link);
        let mut places: Vec<usize> = vec![0; config.records.len()];
        for at in in_order(&config.inputs())? {
            let mut record = config.records[at].clone();
            for result in &mut record.results {
                result.layer = layer(result.layer)?;
            }
            for place in record.chains.iter_mut().flat_map(|chain| &mut chain.layers) {
                *place = layer(*place)?;
            }
            for links in &mut record.inputs {
                for input in &mut *links {
                    input.link = places[input.link];
                }
                links.sort();
                links.dedup();
            }
            places[at] = self.add_record(record);
        }
        Ok(())
    }

    /// Adds all layers, and returns where each of them is.
    fn add_layers(&mut self, config: &CacheConfig) -> Result<Vec<usize>, InvalidConfig> {
        let parents = config.layers.iter().map(CacheLayer::parent);
        let parents: Vec<Option<usize>> = parents.collect::<Result<_, _>>()?;
        let needs: Vec<Vec<usize>> = parents
            .iter()
            .map(|one| one.iter().copied().collect())
            .collect();
        let mut places: Vec<usize> = vec![0; config.layers.len()];
        for at in in_order(&needs)? {
            let mut layer = config.layers[at].clone();
            layer.parent = match parents[at] {
                Some(parent) => i64::try_from(places[parent]).map_err(|_| InvalidConfig::Link)?,
                None => -1,
            };
            let key = (layer.blob.clone(), layer.parent);
            let next = self.config.layers.len();
            let place = *self.layers.entry(key).or_insert(next);
            if place == next {
                self.config.layers.push(layer);
            }
            places[at] = place;
        }
        Ok(places)
    }

    /// Adds a record, whose links are those of the joined configuration, or its results to an equal one.
    fn add_record(&mut self, record: CacheRecord) -> usize {
        let key = (record.digest.clone(), record.inputs.clone());
        let next = self.config.records.len();
        let place = *self.records.entry(key).or_insert(next);
        match self.config.records.get_mut(place) {
            Some(known) => {
                for result in record.results {
                    if known.results.iter().all(|old| old.layer != result.layer) {
                        known.results.push(result);
                    }
                }
                for chain in record.chains {
                    if known.chains.iter().all(|old| old.layers != chain.layers) {
                        known.chains.push(chain);
                    }
                }
            }
            None => self.config.records.push(record),
        }
        place
    }
}
