//! Where caches of `type=s3` and `type=azblob` are stored.
//!
//! BuildKit (v0.32, `cache/remotecache/s3`, `cache/remotecache/azblob`) writes the list of a cache's steps as an object for each of
//! its names, `PREFIX + manifests_prefix + NAME`, and each layer as an object that is named by its digest. Exports with one
//! name overwrite each other.

use super::CacheKind;
use crate::golang::path;

/// The name of a cache that names none.
const DEFAULT_NAME: &str = "buildkit";

/// A kind of storage for objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectStore {
    /// An S3 bucket.
    S3,
    /// A container of Azure Blob Storage.
    AzBlob,
}

impl ObjectStore {
    /// The storage of caches of `kind`. `None` if they are not stored as objects.
    pub(crate) const fn of(kind: &CacheKind) -> Option<Self> {
        match kind {
            CacheKind::S3 => Some(Self::S3),
            CacheKind::AzBlob => Some(Self::AzBlob),
            _ => None,
        }
    }

    /// Whether `value` is what the daemon takes if the attribute `key` is missing.
    pub(crate) fn is_default(self, key: &str, value: &str) -> bool {
        match (self, key) {
            (_, "prefix") => value.is_empty(),
            (Self::S3, "manifests_prefix") => value == "manifests/",
            (Self::S3, "blobs_prefix") => value == "blobs/",
            (Self::AzBlob, "manifests_prefix") => value == "manifests",
            (Self::AzBlob, "blobs_prefix") => value == "blobs",
            (Self::AzBlob, "container") => value == "buildkit-cache",
            _ => false,
        }
    }
}

/// A cache in such a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectCache {
    store: ObjectStore,
    /// The storage: the address and the bucket, or the account and the container.
    at: String,
    /// What precedes each name.
    prefix: String,
    /// The same for messages.
    shown: String,
    names: Vec<String>,
}

impl ObjectCache {
    /// The cache whose attributes `attr` returns.
    pub(crate) fn of<'a>(store: ObjectStore, attr: impl Fn(&str) -> Option<&'a str>) -> Self {
        let prefix = attr("prefix").unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        for name in attr("name").unwrap_or(DEFAULT_NAME).split(';') {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let (at, shown) = match store {
            ObjectStore::S3 => {
                // The daemon may have a bucket of its own.
                let bucket = attr("bucket").unwrap_or("$AWS_BUCKET");
                let endpoint = attr("endpoint_url").unwrap_or_default();
                let at = format!("{}\n{bucket}", endpoint.trim_end_matches('/'));
                (at, format!("s3:{bucket}/{prefix}"))
            }
            ObjectStore::AzBlob => {
                let container = attr("container").unwrap_or("buildkit-cache");
                let account = attr("account_url").map_or_else(
                    || "$BUILDKIT_AZURE_STORAGE_ACCOUNT_URL".to_owned(),
                    address_of,
                );
                let at = format!("{account}/{container}");
                let shown = path::join(&at, prefix);
                (at, format!("azblob:{shown}/"))
            }
        };
        let prefix = match store {
            ObjectStore::S3 => {
                format!(
                    "{prefix}{}",
                    attr("manifests_prefix").unwrap_or("manifests/")
                )
            }
            ObjectStore::AzBlob => {
                path::join(prefix, attr("manifests_prefix").unwrap_or("manifests"))
            }
        };
        Self {
            store,
            at,
            prefix,
            shown,
            names,
        }
    }

    /// The names of the cache, without duplicates. The daemon writes all of them.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Identifies the object of each name. Two exports to one object overwrite each other.
    pub(crate) fn objects(&self) -> Vec<String> {
        let key = |name: &String| match self.store {
            ObjectStore::S3 => format!("{}{name}", self.prefix),
            ObjectStore::AzBlob => path::join(&self.prefix, name),
        };
        let keys = self.names.iter().map(key);
        keys.map(|key| format!("{}\n{key}", self.at)).collect()
    }

    /// The object of each name for messages.
    pub(crate) fn each_shown(&self) -> impl Iterator<Item = String> {
        self.names
            .iter()
            .map(|name| format!("{}{name}", self.shown))
    }

    /// The place for messages, such as `s3:bucket/prefix/name`. It has no credentials.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.shown, self.names.join(";"))
    }
}

/// The host and the path of the URL of an account, without its credentials.
fn address_of(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    let host_ends = address.find('/').unwrap_or(address.len());
    let (host, path) = address.split_at(host_ends);
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{host}{path}").trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::model::CacheEntry;
    use test_case::test_case;

    fn cache(text: &str) -> ObjectCache {
        let entry = CacheEntry::from_text(text).unwrap().remove(0);
        ObjectCache::of(ObjectStore::of(&entry.kind).unwrap(), |key| entry.attr(key))
    }

    #[test_case("type=s3,bucket=b", "s3:b/buildkit"; "the default name")]
    #[test_case("type=s3,bucket=b,prefix=p/,name=x;y;x", "s3:b/p/x;y"; "a prefix and names")]
    #[test_case("type=s3", "s3:$AWS_BUCKET/buildkit"; "the bucket of the builder")]
    #[test_case("type=azblob,account_url=https://a.blob.core.windows.net/,name=x", "azblob:a.blob.core.windows.net/buildkit-cache/x"; "an account")]
    #[test_case("type=azblob,account_url=https://u:hunter2@h/a?sig=hunter2,container=c,prefix=p,name=x", "azblob:h/a/c/p/x"; "credentials in a URL")]
    #[test_case("type=azblob", "azblob:$BUILDKIT_AZURE_STORAGE_ACCOUNT_URL/buildkit-cache/buildkit"; "the account of the builder")]
    fn places_are_shown_without_credentials(text: &str, expected: &str) {
        let shown = cache(text).shown();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(shown, expected);
    }

    #[test_case("type=s3,bucket=b,prefix=a/", "type=s3,bucket=b,region=r,manifests_prefix=a/manifests/", true; "prefixes are joined")]
    #[test_case("type=s3,bucket=b,endpoint_url=http://h/", "type=s3,bucket=b,endpoint_url=http://h", true; "a slash at the end of an address")]
    #[test_case("type=s3,bucket=b,endpoint_url=http://h", "type=s3,bucket=b", false; "another address")]
    #[test_case("type=s3,bucket=b", "type=s3,bucket=c", false; "another bucket")]
    #[test_case("type=azblob,account_url=https://a,prefix=p/", "type=azblob,account_url=https://a/,manifests_prefix=p//manifests/", true; "paths are cleaned")]
    #[test_case("type=azblob,account_url=https://a,container=c", "type=azblob,account_url=https://a", false; "another container")]
    fn equal_objects_are_one_place(one: &str, other: &str, same: bool) {
        assert_eq!(cache(one).objects() == cache(other).objects(), same);
    }

    #[test]
    fn each_name_is_an_object() {
        let objects = cache("type=s3,bucket=b,name=x;y").objects();
        assert_eq!(objects, ["\nb\nmanifests/x", "\nb\nmanifests/y"]);
    }
}
