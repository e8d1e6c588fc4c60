//! Slash-separated paths that are UTF-8 text, as Go's `path` treats them. [`super::filepath`] does the same for
//! bytes.

use super::filepath;

/// Returns `path` without `.`, `..` and doubled slashes (`path.Clean`). Looks at no file, so links are not followed.
pub(crate) fn clean(path: &str) -> String {
    if is_clean(path) {
        return path.to_owned();
    }
    text(filepath::clean(path.as_bytes()))
}

/// Returns `true` only if [`clean`] returns `path` unchanged. It is `false` for some clean paths, too: those that
/// begin with `..`.
pub(crate) fn is_clean(path: &str) -> bool {
    let relative = path.strip_prefix('/').unwrap_or(path);
    matches!(path, "." | "/")
        || !relative
            .split('/')
            .any(|part| matches!(part, "" | "." | ".."))
}

/// Joins `base` and `path` and cleans the result (`path.Join`). An absolute `path` is appended like any other and
/// does not replace `base`.
pub(crate) fn join(base: &str, path: &str) -> String {
    text(filepath::join(&[base.as_bytes(), path.as_bytes()]))
}

/// Returns all but the last element, cleaned (`path.Dir`).
pub(crate) fn dir(path: &str) -> String {
    text(filepath::dir(path.as_bytes()))
}

/// Returns the last element (`path.Base`): `.` for the empty path, `/` for slashes alone.
pub(crate) fn base(path: &str) -> &str {
    // An element begins and ends at slashes, which are ASCII, so it is valid UTF-8, too.
    std::str::from_utf8(filepath::base(path.as_bytes())).unwrap_or(path)
}

// `filepath` only removes and joins whole elements of valid UTF-8, so the result is valid, and nothing is lost
// here.
fn text(path: Vec<u8>) -> String {
    String::from_utf8(path)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("", "." ; "empty")]
    #[test_case("./dir/", "dir")]
    #[test_case("a/../..", "..")]
    #[test_case("../../a/./b//c", "../../a/b/c")]
    #[test_case("/../a", "/a")]
    #[test_case("/", "/")]
    #[test_case("a/b/../../..", ".."; "more parents than elements")]
    #[test_case("docker-image://x", "docker-image:/x")]
    #[test_case("//a", "/a"; "two slashes")]
    #[test_case(".a/b..", ".a/b.."; "dots in names")]
    fn paths_are_cleaned(path: &str, expected: &str) {
        assert_eq!(clean(path), expected);
        assert!(is_clean(expected) || expected.starts_with(".."));
    }
}
