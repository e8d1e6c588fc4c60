//! rbake's own client of registries: manifests, tags and small blobs, by the OCI distribution API (`/v2/…`).
#![allow(dead_code, reason = "the client, the next step, uses it")]

mod address;
mod challenge;
mod counts;
mod error;
mod retry;
mod tls;
mod words;
