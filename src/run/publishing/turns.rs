//! Lets images that share layers be pushed one after the other.
//!
//! BuildKit mounts a layer from another repository of the registry if it has pushed the layer there before
//! (`containerd.io/distribution.source` labels). If two images with a new layer in common are pushed at the same time,
//! neither push knows of the other one, and both send the layer.

use std::collections::BTreeSet;

use serde::Deserialize;
use tokio::sync::watch;

use crate::publish::compare::MANIFEST_LIMIT;
use crate::publisher::{ContentReader, ImageToPublish};
use crate::types::Digest;

/// The most manifests of an index that are looked at.
const MANIFESTS: usize = 64;

/// A layer at a registry.
pub(super) type LayerAtRegistry = (String, Digest);

/// The layers that the builder is pushing.
#[derive(Debug, Default)]
pub(super) struct PushTurns {
    busy: watch::Sender<BTreeSet<LayerAtRegistry>>,
}

/// The right to push layers. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct PushTurn<'a> {
    turns: &'a PushTurns,
    layers: BTreeSet<LayerAtRegistry>,
}

impl PushTurns {
    /// Waits until none of `layers` is being pushed, and claims them all.
    pub(super) async fn turn(&self, layers: BTreeSet<LayerAtRegistry>) -> PushTurn<'_> {
        let mut changes = self.busy.subscribe();
        loop {
            let is_ours = self.busy.send_if_modified(|busy| {
                let is_free = busy.is_disjoint(&layers);
                if is_free {
                    busy.extend(layers.iter().cloned());
                }
                is_free
            });
            if is_ours {
                let turns = self;
                return PushTurn { turns, layers };
            }
            // The sender is in `self`, so it cannot be gone.
            let _ = changes.changed().await;
        }
    }
}

impl Drop for PushTurn<'_> {
    fn drop(&mut self) {
        let layers = std::mem::take(&mut self.layers);
        self.turns
            .busy
            .send_modify(|busy| busy.retain(|layer| !layers.contains(layer)));
    }
}

/// A manifest or an index, of which only references are read.
#[derive(Deserialize)]
struct References {
    #[serde(default)]
    manifests: Vec<Referred>,
    #[serde(default)]
    layers: Vec<Referred>,
}

#[derive(Deserialize)]
struct Referred {
    digest: String,
}

/// The layers of the image whose top-level manifest is `top`. Contents that cannot be read are left out.
pub(super) async fn layers(top: &[u8], reader: &impl ContentReader) -> BTreeSet<Digest> {
    let mut layers = BTreeSet::new();
    let Ok(top) = serde_json::from_slice::<References>(top) else {
        return layers;
    };
    let digests = |referred: &[Referred]| {
        let parsed = referred.iter().map(|one| one.digest.parse().ok());
        parsed.flatten().collect::<Vec<Digest>>()
    };
    layers.extend(digests(&top.layers));
    for manifest in digests(&top.manifests).iter().take(MANIFESTS) {
        let read = reader.read(manifest, MANIFEST_LIMIT).await;
        let parsed = read.and_then(|bytes| serde_json::from_slice::<References>(&bytes).ok());
        if let Some(manifest) = parsed {
            layers.extend(digests(&manifest.layers));
        }
    }
    layers
}

/// `layers` at each registry of `images`.
pub(super) fn at_registries(
    layers: &BTreeSet<Digest>,
    images: &[&ImageToPublish],
) -> BTreeSet<LayerAtRegistry> {
    let registries = images.iter().map(|image| image.repository.domain());
    let at = |registry: &str| {
        let registry = registry.to_owned();
        let layers = layers.iter().cloned();
        layers.map(move |layer| (registry.clone(), layer))
    };
    registries.flat_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn layers_of(names: &[&str]) -> BTreeSet<LayerAtRegistry> {
        let layer = |name: &&str| ("r.example".to_owned(), Digest::sha256(name.as_bytes()));
        names.iter().map(layer).collect()
    }

    #[test]
    fn images_without_a_common_layer_are_pushed_at_the_same_time() {
        let turns = PushTurns::default();
        let one = turns.turn(layers_of(&["a", "b"])).now_or_never();
        let other = turns.turn(layers_of(&["c"])).now_or_never();
        assert!(one.is_some() && other.is_some());
        // An image of which nothing is known waits for nobody.
        assert!(turns.turn(BTreeSet::new()).now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_image_waits_for_the_push_of_a_layer_that_it_shares() {
        let turns = PushTurns::default();
        let first = turns.turn(layers_of(&["a", "b"])).await;
        let mut second = Box::pin(turns.turn(layers_of(&["b", "c"])));
        assert!(second.as_mut().now_or_never().is_none());
        // The same layer at another registry is another layer.
        let elsewhere = BTreeSet::from([("s.example".to_owned(), Digest::sha256(b"b"))]);
        assert!(turns.turn(elsewhere).now_or_never().is_some());
        drop(first);
        drop(second.await);
        assert!(
            turns
                .turn(layers_of(&["a", "b", "c"]))
                .now_or_never()
                .is_some()
        );
    }
}
