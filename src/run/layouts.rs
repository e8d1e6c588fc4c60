//! Images in layouts on this machine: those that targets use as named contexts (`oci-layout://`), and those that they write
//! (`tar=false`).
//!
//! An image that is read is found before the build. Every session of a solve that reads it serves the layout as a store,
//! which the daemon may only read. To a layout that is written, the daemon adds blobs; the index is written after the solve.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::locate::{NamedTree, TargetPlaces};
use super::lower::ExportDestination;
use crate::diag::Diagnostic;
use crate::engine::session::content::{
    ContentStores, IndexName, LayoutDirectory, LayoutError, LayoutImage, LayoutImageError,
    StoreAccess, find_image,
};
use crate::engine::spec::{SolveContext, SolveSpec};
use crate::plan::OciLayout;
use crate::types::blocking::unblock;
use crate::types::{Digest, ImageName, TargetName};

/// The tag of an image that is named without one.
const LATEST: &str = "latest";

/// An image in a layout, as a named context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayoutContext {
    image: LayoutImage,
    /// The tag that was asked for, if there is one.
    tag: Option<String>,
}

impl LayoutContext {
    /// Finds the image that `wanted` names in the layout at `root`. Blocks.
    pub(super) fn find(root: &Path, wanted: &OciLayout) -> Result<Self, LayoutImageError> {
        let tag = wanted.tag.as_deref();
        let image = find_image(root, tag.unwrap_or(LATEST), wanted.digest.as_ref())?;
        let tag = tag.map(str::to_owned);
        Ok(Self { image, tag })
    }

    /// The context as the solve names it.
    pub(super) fn in_solve(&self) -> SolveContext {
        SolveContext::OciLayout {
            store: store_name(self.image.layout.root()),
            tag: self.tag.clone(),
            digest: self.image.digest.clone(),
        }
    }

    /// A warning if the image is not the one that the context `name` of `target` asks for, but the only one there is.
    /// buildx uses it silently. Without a tag, any image will do.
    pub(super) fn notice(&self, target: &TargetName, name: &str) -> Option<Diagnostic> {
        let tag = self.tag.as_deref().filter(|tag| *tag != LATEST)?;
        let root = self.image.layout.root().display();
        let message = format!(
            "the context `{name}` of target `{target}` is not tagged `{tag}` in `{root}`: the only image there is used, {}",
            self.image.digest
        );
        self.image.is_other.then(|| {
            Diagnostic::warning("run::layout-tag", message)
                .help("name the image by its own tag or its digest, or leave out the tag")
        })
    }
}

/// The stores that a session must serve for the layouts of `places`, by the id that the daemon uses.
pub(super) fn stores(places: &TargetPlaces) -> BTreeMap<String, StoreAccess> {
    let layouts = places.named.values().filter_map(|tree| match tree {
        NamedTree::Layout(context) => Some(&context.image.layout),
        NamedTree::Tree(_) | NamedTree::Image(_) | NamedTree::Linked(_) => None,
    });
    let store = |layout: &LayoutDirectory| {
        let id = format!("oci:{}", store_name(layout.root()));
        (id, StoreAccess::Read(layout.clone()))
    };
    layouts.map(store).collect()
}

/// The id by which the daemon asks for the store of an exporter. There is only one, so a solve can have only one output of
/// this kind (`exporter/oci/export.go`).
const EXPORT: &str = "export";

/// The key of the response that has the descriptor of the image, in base64, and that with its names.
const DESCRIPTOR: &str = "containerimage.descriptor";
const NAMES: &str = "image.name";

/// The layout to which a target writes its image.
#[derive(Debug, Clone)]
pub(super) struct LayoutOutput {
    layout: LayoutDirectory,
    /// The index of the export in the solve's list.
    at: usize,
}

impl LayoutOutput {
    /// Opens the layout among `sinks`, and makes it if it is missing. Blocks. `None` if there is none.
    pub(super) fn open(
        sinks: &BTreeMap<usize, ExportDestination>,
    ) -> Result<Option<Self>, LayoutError> {
        let mut sinks = sinks.iter();
        let found = sinks.find_map(|(at, sink)| match sink {
            ExportDestination::Layout(path) => Some((*at, path)),
            _ => None,
        });
        let open = |(at, path): (usize, &PathBuf)| {
            let layout = LayoutDirectory::create(path)?;
            Ok(Self { layout, at })
        };
        found.map(open).transpose()
    }

    /// The store for the session of the target.
    pub(super) fn store(&self) -> (String, StoreAccess) {
        (EXPORT.to_owned(), StoreAccess::Write(self.layout.clone()))
    }

    /// Enters the image that the solve of `spec` has written to `stores` into the index, under its names, or as `latest` if it
    /// has none. `response` is that of all exporters.
    ///
    /// # Errors If the daemon has written no image, or the index cannot be changed.
    pub(super) async fn enter(
        &self,
        stores: Option<&ContentStores>,
        spec: &SolveSpec,
        response: &BTreeMap<String, String>,
    ) -> Result<(), LayoutError> {
        let written = stores.and_then(|stores| stores.last_written(EXPORT));
        let descriptor = match written {
            Some(digest) => self.descriptor(digest, response).await?,
            None => {
                return Err(LayoutError::Malformed {
                    path: self.layout.root().to_owned(),
                    reason: "the builder has written no image".to_owned(),
                });
            }
        };
        self.layout
            .enter(&descriptor, &self.names(spec, response))
            .await
    }

    /// The descriptor of the image whose manifest or index is `digest`. The response has only one descriptor for all exporters.
    /// If that is the descriptor of another one's image, a plain one is made.
    async fn descriptor(
        &self,
        digest: Digest,
        response: &BTreeMap<String, String>,
    ) -> Result<String, LayoutError> {
        let told = response.get(DESCRIPTOR).and_then(|text| {
            let text = BASE64.decode(text).ok()?;
            let descriptor: Value = serde_json::from_slice(&text).ok()?;
            (descriptor["digest"] == digest.as_str()).then_some(descriptor)
        });
        if let Some(told) = told {
            return Ok(told.to_string());
        }
        let layout = self.layout.clone();
        unblock(move || layout.describe(&digest)).await
    }

    /// The names of the image in the index.
    fn names(&self, spec: &SolveSpec, response: &BTreeMap<String, String>) -> Vec<IndexName> {
        let own = spec
            .exports
            .get(self.at)
            .map_or(&[][..], |export| &export.names);
        if !own.is_empty() {
            return own
                .iter()
                .map(|name| IndexName::Image(whole(name)))
                .collect();
        }
        match response.get(NAMES) {
            Some(names) => {
                let names = names.split(',');
                names
                    .map(|name| IndexName::Image(name.to_owned()))
                    .collect()
            }
            None => vec![IndexName::Tag(LATEST.to_owned())],
        }
    }
}

/// The name with its registry and a tag, as the daemon completes it (`normalizedNames` in `exporter/oci/export.go`).
fn whole(name: &ImageName) -> String {
    let reference = name.reference();
    match reference.tag_or_latest() {
        Some(tag) if !reference.has_digest() => format!("{}:{tag}", reference.repository()),
        _ => reference.to_string(),
    }
}

/// The name of the store at `root`. It is the same in every solve, so several of one job can name the same store, and it
/// does not tell the daemon the path. The daemon parses it as the name of an image, so it is short and in lower case.
fn store_name(root: &Path) -> String {
    let digest = Digest::sha256(root.as_os_str().as_bytes());
    format!("layout-{}", digest.short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Resolver;
    use crate::run::locate::locate;
    use crate::run::testing::planned;

    #[test]
    fn layouts_become_stores_and_contexts_with_the_digest_of_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("layout");
        let layout = LayoutDirectory::create(&root).unwrap();
        let digest = layout.write_blob(b"manifest").unwrap();
        let index = format!(r#"{{"manifests":[{{"digest":"{digest}"}}]}}"#);
        std::fs::write(root.join("index.json"), index).unwrap();
        std::fs::write(dir.path().join("Dockerfile"), "FROM scratch").unwrap();
        let body = format!(
            r#"contexts = {{
              a = "oci-layout://layout"
              b = "oci-layout://./layout:1.0"
              c = "oci-layout://{}@{digest}"
            }}"#,
            root.display()
        );
        let places = locate(&planned(&body), &Resolver::new(&root.join(".."))).unwrap();
        let served = stores(&places);
        let name = store_name(&root);
        let store = StoreAccess::Read(layout);
        assert_eq!(served, BTreeMap::from([(format!("oci:{name}"), store)]));
        let target = "t".parse().unwrap();
        let contexts = places.named.iter().map(|(name, tree)| match tree {
            NamedTree::Layout(context) => {
                let notice = context.notice(&target, name);
                (context.in_solve(), notice.map(|notice| notice.message))
            }
            _ => panic!("{tree:?}"),
        });
        let context = |tag: Option<&str>| SolveContext::OciLayout {
            store: name.clone(),
            tag: tag.map(str::to_owned),
            digest: digest.clone(),
        };
        let notice = format!(
            "the context `b` of target `t` is not tagged `1.0` in `{}`: the only image there is used, {digest}",
            root.display()
        );
        assert_eq!(
            contexts.collect::<Vec<_>>(),
            [
                (context(Some("latest")), None),
                (context(Some("1.0")), Some(notice)),
                (context(None), None)
            ]
        );
    }
}
