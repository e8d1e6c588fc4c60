//! The materials of a provenance: what an image was built from, as sources.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::golang::path;
use crate::golang::url::GoUrl;
use crate::types::build_source::BuildSource;
use crate::types::{Digest, Platform, Reference};

/// The attribute of a git source with its whole address.
pub(super) const FULL_URL: &str = "git.fullurl";

/// A source that an image was built from, and the platform for which it was used if the provenance says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Material {
    pub(super) source: BuildSource,
    pub(super) platform: Option<Platform>,
}

/// The source that `uri` names. `None` if policies do not know such sources.
pub(super) fn parse(uri: &str, digests: &BTreeMap<String, String>) -> Option<Material> {
    if let Some(package) = uri.strip_prefix("pkg:docker/") {
        return image(package, digests);
    }
    let other = |identifier: String, attrs: BTreeMap<String, String>| Material {
        source: BuildSource { identifier, attrs },
        platform: None,
    };
    if let Some(identifier) = git(uri) {
        let attrs = BTreeMap::from([(FULL_URL.to_owned(), uri.to_owned())]);
        return Some(other(identifier, attrs));
    }
    let is_download = uri.starts_with("http://") || uri.starts_with("https://");
    is_download.then(|| other(uri.to_owned(), BTreeMap::new()))
}

/// The identifier of the git repository at `uri`: any address of `git` or SSH, and those of HTTP that end with `.git`.
fn git(uri: &str) -> Option<String> {
    let (host, below, fragment) = if let Ok(url) = GoUrl::parse(uri) {
        let is_http = ["http", "https"].contains(&&*url.scheme);
        let is_repository = if is_http {
            url.path.to_lowercase().ends_with(".git")
        } else {
            ["ssh", "git"].contains(&&*url.scheme)
        };
        if !is_repository {
            return None;
        }
        (url.host, url.path, url.fragment)
    } else {
        let scp = super::source::ScpAddress::parse(uri)?;
        let [host, path, fragment] = [scp.host, scp.path, scp.fragment].map(str::to_owned);
        (host, path, fragment)
    };
    let mut identifier = format!("git://{host}{}", path::join("/", &below));
    let (reference, directory) = super::source::reference_and_directory(&fragment);
    if !reference.is_empty() || !directory.is_empty() {
        identifier.push('#');
        identifier.push_str(reference);
        if !directory.is_empty() {
            identifier.push(':');
            identifier.push_str(&directory);
        }
    }
    Some(identifier)
}

/// The image of a package URL: `[namespace/]name[@version][?digest=…&platform=…]`.
fn image(package: &str, digests: &BTreeMap<String, String>) -> Option<Material> {
    let package = package.split('#').next()?;
    let (rest, qualifiers) = package.split_once('?').unwrap_or((package, ""));
    let (name, version) = match rest.rsplit_once('@') {
        Some((name, version)) => (name, decoded(version)?),
        None => (rest, String::new()),
    };
    let mut text = decoded(name)?;
    let mut digest = None;
    if let Ok(version) = version.parse::<Digest>() {
        digest = Some(version);
    } else if !version.is_empty() {
        text.push(':');
        text.push_str(&version);
    }
    let mut platform = None;
    for pair in qualifiers.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        let value = decoded(value)?;
        match key.to_ascii_lowercase().as_str() {
            "platform" => platform = Some(value.parse::<Platform>().ok()?),
            "digest" => agree(&mut digest, &value.parse().ok()?)?,
            _ => {}
        }
    }
    if digest.is_none() && version.is_empty() {
        text.push_str(":latest");
    }
    if let Some(sha256) = digests
        .get("sha256")
        .map(|hex| hex.trim())
        .filter(|hex| !hex.is_empty())
    {
        let known = sha256
            .parse()
            .or_else(|_| format!("sha256:{sha256}").parse());
        agree(&mut digest, &known.ok()?)?;
    }
    if let Some(digest) = &digest {
        text.push('@');
        text.push_str(digest.as_str());
    }
    let reference: Reference = text.parse().ok()?;
    Some(Material {
        source: BuildSource {
            identifier: format!("docker-image://{reference}"),
            attrs: BTreeMap::new(),
        },
        platform,
    })
}

/// Sets `digest`. `None` if it is known already, and another one.
fn agree(digest: &mut Option<Digest>, other: &Digest) -> Option<()> {
    let known = digest.get_or_insert_with(|| other.clone());
    (known == other).then_some(())
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    Some(text.into_owned())
}
