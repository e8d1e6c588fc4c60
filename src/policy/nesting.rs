//! How deep brackets are nested in a module.

/// The deepest nesting of `(`, `[` and `{` in `text`, without those in strings and comments. Brackets that do not match count, too.
pub(super) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'#' => skip_to(&mut bytes, b'\n'),
            b'`' => skip_to(&mut bytes, b'`'),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_to(bytes: &mut std::str::Bytes<'_>, end: u8) {
    let _ = bytes.find(|byte| *byte == end);
}

/// Skips the rest of a string. A string ends with its line.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                let _ = bytes.next();
            }
            b'"' | b'\n' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("x := 1", 0; "none")]
    #[test_case("x := [f({1})] with y as [[]]", 3; "all kinds")]
    #[test_case("x := \"[[[[\\\"[[\" # [[[\ny := [`[[\n[`]", 1; "strings and comments")]
    #[test_case("]]] [[", 2; "brackets that do not match")]
    #[test_case("x := \"[\ny := [[", 2; "a string without an end")]
    fn brackets_count_outside_of_strings(text: &str, expected: usize) {
        assert_eq!(depth(text), expected);
    }
}
