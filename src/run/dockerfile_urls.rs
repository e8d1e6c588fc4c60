//! Dockerfiles at addresses: `dockerfile = "https://…"`.
//!
//! `docker buildx build` accepts them, and lets the builder download them. In buildx's bake they do not work: it takes the address for
//! a path.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::locate::DockerfilePlace;
use super::{Ready, served};
use crate::builder::Notice;
use crate::definition::model::SharedText;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::Connection;
use crate::engine::download::{self, RemoteFileError};
use crate::event::EventSink;
use crate::types::Environment;
use crate::types::causes::in_one_line;
use crate::types::secret::{redact_url, redact_urls};

/// The most bytes of a Dockerfile, as in buildx.
const LIMIT: usize = 2 << 20;

/// What the daemon puts before the reason (BuildKit `solver/edge.go`).
const PREFIX: &str = "failed to load cache key: ";

/// Downloads the Dockerfiles of `targets`, each address once.
///
/// # Errors
/// One cannot be downloaded or used.
pub(super) async fn download(
    targets: &mut [Ready],
    connection: &Connection,
    environment: &Environment,
    events: &EventSink,
) -> Result<(), Diagnostics> {
    let urls: BTreeSet<SharedText> = targets
        .iter()
        .filter_map(|ready| url_of(ready).cloned())
        .collect();
    let downloads = urls
        .into_iter()
        .enumerate()
        .map(|(number, url)| async move {
            let shown = redact_url(&url);
            let notice = Notice::begin(
                events,
                &format!("dockerfile-{number}"),
                &format!("load the Dockerfile {shown}"),
            );
            let read = download::file(connection, &url, LIMIT).await;
            let failed = read
                .as_ref()
                .err()
                .map(|error| redact_urls(&in_one_line(error)).into_owned());
            notice.end(failed.as_deref());
            (url, read)
        });
    let files: BTreeMap<SharedText, Result<Bytes, RemoteFileError>> =
        futures_util::future::join_all(downloads)
            .await
            .into_iter()
            .collect();
    let mut problems = Diagnostics::default();
    for ready in targets {
        let Some(url) = url_of(ready).cloned() else {
            continue;
        };
        let text = match files.get(&url) {
            Some(Ok(bytes)) => std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()),
            Some(Err(error)) => Err(in_one_line(error)),
            None => continue,
        };
        match text {
            Ok(text) => {
                ready.places.dockerfile = DockerfilePlace::Url {
                    url,
                    text: Some(text.into()),
                };
                let places = ready.places.clone();
                match served::check(places, &ready.planned, environment.current_dir()) {
                    Ok(places) => ready.places = places,
                    Err(found) => problems.add_new(found),
                }
            }
            Err(why) => problems.push(unusable(ready, &url, &why)),
        }
    }
    problems.into_result(())
}

/// The address of the Dockerfile of `ready`, if it is at one.
fn url_of(ready: &Ready) -> Option<&SharedText> {
    match &ready.places.dockerfile {
        DockerfilePlace::Url { url, .. } => Some(url),
        _ => None,
    }
}

fn unusable(ready: &Ready, url: &str, why: &str) -> Diagnostic {
    let why = why.strip_prefix(PREFIX).unwrap_or(why);
    let message = format!(
        "the Dockerfile of target `{}` cannot be loaded from `{}`: {}",
        ready.planned.name,
        redact_url(url),
        redact_urls(why)
    );
    let dockerfile = ready.planned.attributes.dockerfile.as_ref();
    let span = dockerfile.and_then(|text| text.span);
    Diagnostic::error(Class::Build, "run::dockerfile-download", message)
        .at(span.or_else(|| ready.planned.span()), "")
        .help("the builder downloads it, without credentials")
}
