//! Where a file is written that a flag names as an output.

use std::path::Path;

use crate::files::{Resolved, Resolver};

/// Where `path`, the value of a flag, leads.
///
/// # Errors
/// If it leads nowhere, with the reason.
pub(super) fn resolve(path: &str, paths: &Resolver) -> Result<Resolved, String> {
    paths.resolve(path).map_err(|error| error.reason())
}

/// Whether the file at `place` is one that the user named as `path`: in the directory that was named, rather than behind a link that
/// leads out of it, which a project that was fetched may hold.
///
/// # Errors
/// If the directory cannot be followed, with the reason.
pub(super) fn is_as_named(place: &Resolved, path: &str, paths: &Resolver) -> Result<bool, String> {
    let named = match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => resolve("/", paths)?,
        Some((above, _)) => resolve(above, paths)?,
        None => resolve(".", paths)?,
    };
    // Nobody but the system makes links in /proc.
    Ok(place.descriptor().is_some()
        || place.path().starts_with(named.path())
        || named.path().starts_with("/proc"))
}

/// Where `path` leads, for a file that nothing but the command line can name.
///
/// # Errors
/// If it leads to a directory, to nowhere, or out of the directory that was named, with the reason.
pub(super) fn named(path: &str, paths: &Resolver) -> Result<Resolved, String> {
    let place = resolve(path, paths)?;
    if !is_as_named(&place, path, paths)? {
        return Err(format!("it is a link to `{}`", place.path().display()));
    }
    match missing_directory(place.path()) {
        Some(above) if place.descriptor().is_none() => {
            Err(format!("there is no directory `{}`", above.display()))
        }
        _ => Ok(place),
    }
}

/// The directory of `path` that is not there.
pub(super) fn missing_directory(path: &Path) -> Option<&Path> {
    path.parent().filter(|above| !above.is_dir())
}
