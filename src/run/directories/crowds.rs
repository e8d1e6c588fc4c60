//! Finds the targets that seem to read large parts of one directory in common, by a look at their Dockerfiles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::frontends::Answerer;
use super::overlap::{self, Paths};
use super::served::dockerfile_text;
use super::size::{SMALL, TreeSize, exceeds};
use crate::run::Ready;
use crate::run::locate::{NamedTree, SourceTree};
use crate::run::sources::{self, Sources};
use crate::types::TargetName;
use crate::types::blocking::unblock;

/// If an image is asked, its answer costs as much time for each target (35 ms were measured) as a transfer of about this size to
/// a builder that is reached through a network.
const FRONTEND_IMAGE: TreeSize = TreeSize {
    entries: 1_000,
    bytes: 4 << 20,
};

/// The same for a builder on this machine. There, 400 MB took one second.
const FRONTEND_IMAGE_HERE: TreeSize = TreeSize {
    entries: 2_000,
    bytes: 16 << 20,
};

/// If Dockerfiles name base images, the frontends ask registries for them before they answer, and again when the targets are
/// built. A transfer of about this size takes as long.
const BASE_IMAGES: TreeSize = TreeSize {
    entries: 4_000,
    bytes: 16 << 20,
};

/// Targets that seem to read large parts of a directory in common.
pub(super) type Crowd = BTreeSet<TargetName>;

/// A target whose main context is on this machine.
struct Reader {
    name: TargetName,
    /// What the Dockerfile says. `None` if it could not be understood.
    paths: Option<Paths>,
    answerer: Answerer,
    has_base_image: bool,
}

/// Finds the crowds among `targets`, by what their Dockerfiles say. `is_here` says whether the builder is on this machine.
pub(super) async fn crowds(targets: &[Ready], is_here: bool) -> Vec<Crowd> {
    let mut readers: BTreeMap<PathBuf, Vec<Reader>> = BTreeMap::new();
    for ready in targets {
        if let SourceTree::Dir(dir) = &ready.places.context
            && is_simple(ready)
        {
            let reader = reader(ready).await;
            readers.entry(dir.clone()).or_default().push(reader);
        }
    }
    readers.retain(|_, readers| readers.len() > 1);
    let image = if is_here {
        FRONTEND_IMAGE_HERE
    } else {
        FRONTEND_IMAGE
    };
    let find = move || {
        let found = readers
            .into_iter()
            .flat_map(|(dir, readers)| of(&dir, readers, image));
        found.collect()
    };
    unblock(find).await
}

/// Whether a session with directories and credentials is enough for the frontend to answer.
pub(super) fn is_simple(ready: &Ready) -> bool {
    let mut named = ready.places.named.values();
    !ready.planned.is_called() && !named.any(|tree| matches!(tree, NamedTree::Layout(_)))
}

async fn reader(ready: &Ready) -> Reader {
    let planned = &ready.planned;
    let arguments = |name: &str| planned.argument(name);
    let text = dockerfile_text(&ready.places.dockerfile).await;
    let sources = text
        .as_deref()
        .map(|text| sources::of_stage(text, planned.stage(), &arguments));
    let paths = sources.and_then(|sources| match sources {
        Sources::Paths(paths) => Some(Some(paths)),
        Sources::Unknown => None,
    });
    Reader {
        name: ready.planned.name.clone(),
        paths,
        has_base_image: !ready.places.images.is_empty(),
        answerer: Answerer::with_text(planned, text.as_deref()),
    }
}

/// The crowds among `readers` of `dir`. `image` is what the answer of an image costs. Blocking.
fn of(dir: &Path, readers: Vec<Reader>, image: TreeSize) -> Vec<Crowd> {
    let images = readers
        .iter()
        .filter(|reader| reader.answerer == Answerer::Image);
    let bases = readers.iter().any(|reader| reader.has_base_image);
    let limit = SMALL
        .and(image.times(images.count()))
        .and(BASE_IMAGES.times(usize::from(bases)));
    let paths: Option<Vec<Paths>> = readers.iter().map(|reader| reader.paths.clone()).collect();
    match paths {
        Some(paths) => {
            let groups = overlap::groups(dir, &paths, limit).into_iter();
            // Targets that read the same share a session without this.
            let differ = |group: &BTreeSet<usize>| {
                let mut members = group.iter().filter_map(|member| paths.get(*member));
                let first = members.next();
                members.any(|paths| Some(paths) != first)
            };
            let groups = groups.filter(differ);
            let name = |member: &usize| readers.get(*member).map(|reader| reader.name.clone());
            groups
                .map(|group| group.iter().filter_map(name).collect())
                .collect()
        }
        None if exceeds(dir, limit.for_each_of(readers.len().saturating_sub(1))) => {
            vec![readers.into_iter().map(|reader| reader.name).collect()]
        }
        None => Vec::new(),
    }
}
