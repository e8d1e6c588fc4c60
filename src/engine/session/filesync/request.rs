//! The daemon's request for a directory, which is in the metadata of its call.

use http::HeaderMap;
use tonic::Status;

use crate::context::FilterSpec;

const DIR_NAME: &str = "dir-name";
const INCLUDE: &str = "include-patterns";
const EXCLUDE: &str = "exclude-patterns";
const FOLLOW: &str = "followpaths";

/// A requested directory and its filter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TransferRequest {
    /// The name of the directory, as the frontend knows it.
    pub(super) local: String,
    /// Which part of the directory is requested.
    pub(super) filter: FilterSpec,
}

impl TransferRequest {
    /// Reads the request from the metadata of a call.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Status> {
        let local = values(headers, DIR_NAME)?.into_iter().next();
        let local = String::from_utf8(local.unwrap_or_default())
            .map_err(|_| Status::invalid_argument("the name of the directory is not UTF-8"))?;
        Ok(Self {
            local,
            filter: limited(FilterSpec {
                include: values(headers, INCLUDE)?,
                exclude: values(headers, EXCLUDE)?,
                follow: values(headers, FOLLOW)?,
            })?,
        })
    }
}

/// The most patterns of one transfer, and the most bytes in them. Each pattern is tested on each file, so the number
/// must be limited; real ignore files have a few hundred at most.
const PATTERNS: usize = 400_000;
const PATTERN_BYTES: usize = 16 << 20;

/// Fails if there are too many patterns.
fn limited(filter: FilterSpec) -> Result<FilterSpec, Status> {
    let patterns = || {
        [&filter.include, &filter.exclude, &filter.follow]
            .into_iter()
            .flatten()
    };
    let bytes: usize = patterns().map(Vec::len).sum();
    if patterns().count() > PATTERNS || bytes > PATTERN_BYTES {
        return Err(Status::resource_exhausted(format!(
            "more than {PATTERNS} patterns, or {} MiB of them, are not accepted",
            PATTERN_BYTES >> 20
        )));
    }
    Ok(filter)
}

/// Returns all values of `key` in order. Values are never split at commas, because patterns may contain commas. If
/// the header `KEY-encoded` is true, the values are query-escaped.
fn values(headers: &HeaderMap, key: &str) -> Result<Vec<Vec<u8>>, Status> {
    let encoded = headers.get(format!("{key}-encoded")).is_some_and(|value| {
        matches!(
            value.as_bytes(),
            b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True"
        )
    });
    headers
        .get_all(key)
        .iter()
        .map(|value| {
            if encoded {
                query_unescape(value.as_bytes()).ok_or_else(|| {
                    Status::invalid_argument(format!("a value of `{key}` is not correctly encoded"))
                })
            } else {
                Ok(value.as_bytes().to_vec())
            }
        })
        .collect()
}

/// Reverses Go's `url.QueryEscape`: `%` with two hexadecimal digits, and `+` for a space. `None` if the text is
/// malformed.
fn query_unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).ok()?;
                out.push(byte[0]);
            }
            byte => out.push(byte),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn values_keep_their_order_and_their_commas() {
        let request = TransferRequest::read(&headers(&[
            ("dir-name", "context"),
            ("exclude-patterns", "b,c"),
            ("exclude-patterns", "a+%41"),
            ("followpaths", "x%2Fy+z"),
            ("followpaths", "%C3%A9"),
            ("followpaths-encoded", "1"),
        ]))
        .unwrap();
        assert_eq!(request.local, "context");
        assert_eq!(request.filter.exclude, [b"b,c".to_vec(), b"a+%41".to_vec()]);
        let follow = [b"x/y z".to_vec(), "é".as_bytes().to_vec()];
        assert_eq!(request.filter.follow, follow);
        assert!(request.filter.include.is_empty());
    }

    #[test]
    fn too_many_patterns_are_refused() {
        let refused = |count: usize, len: usize| {
            let filter = FilterSpec {
                exclude: vec![vec![b'a'; len]; count],
                ..FilterSpec::default()
            };
            limited(filter).is_err()
        };
        assert!(!refused(PATTERNS, 1));
        assert!(refused(PATTERNS + 1, 1));
        assert!(!refused(2, PATTERN_BYTES / 2));
        assert!(refused(2, PATTERN_BYTES / 2 + 1));
    }

    #[test]
    fn broken_encoding_is_refused() {
        for value in ["%", "%4", "%zz"] {
            let headers = headers(&[("dir-name", value), ("dir-name-encoded", "1")]);
            let status = TransferRequest::read(&headers).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
        }
    }
}
