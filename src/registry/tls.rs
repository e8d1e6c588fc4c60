//! Recognises failures of TLS in the errors of the HTTP client.

use std::error::Error;
use std::io;
use std::iter::successors;

use crate::types::causes::causes;

/// The TLS error that caused `error`. `None` if something else did.
pub(super) fn cause(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|cause| {
        // An I/O error does not name the error that it contains as its cause.
        let inner = successors(Some(cause), |cause| {
            let inner = cause.downcast_ref::<io::Error>()?.get_ref()?;
            Some(inner as &(dyn Error + 'static))
        });
        inner
            .last()
            .and_then(|cause| cause.downcast_ref::<rustls::Error>())
    })
}

/// The I/O error that caused `error`. `None` if something else did.
pub(super) fn io_cause(error: &reqwest::Error) -> Option<&io::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Whether the server did not speak TLS, but answered with something else.
pub(super) fn is_not_tls(error: &reqwest::Error) -> bool {
    matches!(cause(error), Some(rustls::Error::InvalidMessage(_)))
}
