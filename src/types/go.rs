//! Readings of text that Go's standard library gives, where users of buildx rely on them.

/// A boolean by the words of `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// `path` with `.`, `..` and doubled slashes resolved without looking at any file (`path.Clean`).
pub fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") | None if rooted => {}
                Some(&"..") | None => parts.push(".."),
                Some(_) => {
                    parts.pop();
                }
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `base` and `path` joined and cleaned, as `path.Join` does: an absolute `path` is appended, too.
pub fn join_path(base: &str, path: &str) -> String {
    match (base.is_empty(), path.is_empty()) {
        (true, true) => String::new(),
        (true, false) => clean_path(path),
        (false, true) => clean_path(base),
        (false, false) => clean_path(&format!("{base}/{path}")),
    }
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
    #[test_case("a/b/../../..", ".."; "beyond its start")]
    #[test_case("docker-image://x", "docker-image:/x")]
    fn cleaned(path: &str, expected: &str) {
        assert_eq!(clean_path(path), expected);
    }

    #[test]
    fn booleans_are_words_not_cases() {
        assert_eq!(parse_bool("True"), Some(true));
        assert_eq!(parse_bool("tRUE"), None);
        assert_eq!(parse_bool(""), None);
    }
}
