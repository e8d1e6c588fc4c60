//! Counts the requests to a registry.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

/// How many requests were sent to a registry, by method. Repeated and redirected requests count again. Requests to
/// token servers are not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RequestCounts {
    /// `HEAD`
    pub(crate) head: u64,
    /// `GET`
    pub(crate) get: u64,
    /// `POST`
    pub(crate) post: u64,
    /// `PUT`
    pub(crate) put: u64,
    /// `DELETE`
    pub(crate) delete: u64,
}

impl RequestCounts {
    /// All requests.
    pub(crate) const fn total(&self) -> u64 {
        self.head + self.get + self.post + self.put + self.delete
    }

    /// The sum of both.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            head: self.head + other.head,
            get: self.get + other.get,
            post: self.post + other.post,
            put: self.put + other.put,
            delete: self.delete + other.delete,
        }
    }
}

/// For logs: `3 requests (2 HEAD, 1 PUT)`.
impl fmt::Display for RequestCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.head, "HEAD"),
            (self.get, "GET"),
            (self.post, "POST"),
            (self.put, "PUT"),
            (self.delete, "DELETE"),
        ];
        let total = self.total();
        write!(f, "{total} request{}", if total == 1 { "" } else { "s" })?;
        let parts = counts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> = parts
            .map(|(count, name)| format!("{count} {name}"))
            .collect();
        if parts.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", parts.join(", "))
    }
}

/// The counts while they change.
#[derive(Debug, Default)]
pub(super) struct RequestCounter {
    head: AtomicU64,
    get: AtomicU64,
    post: AtomicU64,
    put: AtomicU64,
    delete: AtomicU64,
}

impl RequestCounter {
    pub(super) fn add(&self, method: &Method) {
        let counter = match *method {
            Method::HEAD => &self.head,
            Method::POST => &self.post,
            Method::PUT => &self.put,
            Method::DELETE => &self.delete,
            _ => &self.get,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            head: read(&self.head),
            get: read(&self.get),
            post: read(&self.post),
            put: read(&self.put),
            delete: read(&self.delete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_method() {
        let counter = RequestCounter::default();
        assert_eq!(counter.counts().to_string(), "0 requests");
        counter.add(&Method::PUT);
        assert_eq!(counter.counts().to_string(), "1 request (1 PUT)");
        for method in [
            Method::HEAD,
            Method::HEAD,
            Method::GET,
            Method::DELETE,
            Method::POST,
        ] {
            counter.add(&method);
        }
        let expected = "6 requests (2 HEAD, 1 GET, 1 POST, 1 PUT, 1 DELETE)";
        assert_eq!(counter.counts().to_string(), expected);
    }
}
