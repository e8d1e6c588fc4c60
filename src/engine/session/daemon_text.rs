//! Shortens error texts of the daemon.

/// The most that is kept of an error text, in bytes.
const MOST: usize = 4 << 10;

/// The beginning of `text`, which the daemon influences. The limit matters because the text of every failed call is
/// kept until the session ends, and there may be thousands of calls.
pub(super) fn shortened(text: &[u8]) -> String {
    match text.split_at_checked(MOST) {
        Some((beginning, rest)) if !rest.is_empty() => {
            format!("{}…", String::from_utf8_lossy(beginning))
        }
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_long_text_is_kept() {
        assert_eq!(shortened(b"no \xff space"), "no \u{fffd} space");
        assert_eq!(shortened(&[b'x'; MOST]).len(), MOST);
        let cut = shortened("é".repeat(MOST).as_bytes());
        assert!(
            cut.len() <= MOST + "…".len() && cut.ends_with("é…"),
            "{cut}"
        );
    }
}
