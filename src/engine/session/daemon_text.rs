//! Errors of the daemon as text.

/// Bytes of an error of the daemon that are kept.
const MOST: usize = 4 << 10;

/// The beginning of `text`, which the daemon has a say in. It is kept until the session ends, with that of thousands of calls.
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
