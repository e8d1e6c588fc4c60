//! The flags with which buildkitd is started in a container.

/// The text with the flags ends within quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the flags for buildkitd end within quotes")]
pub(crate) struct UnclosedQuote;

const ENTITLEMENT: &str = "--allow-insecure-entitlement";
const HOST_NETWORK: &str = "network.host";

/// Splits `text` into words, with the quotes and comments of a shell (`google/shlex`, which buildx uses).
pub(super) fn split(text: &str) -> Result<Vec<String>, UnclosedQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(UnclosedQuote)? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(UnclosedQuote)? {
                        '"' => break,
                        '\\' => word.push(chars.next().ok_or(UnclosedQuote)?),
                        c => word.push(c),
                    }
                }
            }
            '\\' => word
                .get_or_insert_default()
                .push(chars.next().ok_or(UnclosedQuote)?),
            '#' if word.is_none() => {
                // A comment, to the end of the line.
                if !chars.by_ref().any(|c| c == '\n') {
                    break;
                }
            }
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Adds the entitlement for the host's network to the flags of a builder in a container, as buildx does: a container's
/// network is a separate one anyway, so steps may have it. Not added if the user has decided on entitlements, unless the
/// container itself has the host's network.
pub(super) fn with_entitlement(
    flags: &mut Vec<String>,
    network: Option<&str>,
    config_allows_it: bool,
) {
    let given = entitlements(flags);
    let has_it = given.contains(&HOST_NETWORK);
    if network == Some("host") && !has_it || given.is_empty() && !config_allows_it {
        flags.push(format!("{ENTITLEMENT}={HOST_NETWORK}"));
    }
}

/// The entitlements in `flags` that buildx sees: it reads no further than to a flag that it does not know (`pflag`).
fn entitlements(flags: &[String]) -> Vec<&str> {
    let mut given = Vec::new();
    let mut words = flags.iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        if name == ENTITLEMENT {
            let Some(value) = value.or_else(|| words.next().map(String::as_str)) else {
                break;
            };
            given.push(value);
        } else if word.starts_with('-') && word.len() > 1 {
            break;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("", &[]; "nothing")]
    #[test_case("--debug --root /x", &["--debug", "--root", "/x"]; "words")]
    #[test_case(" 'a b'\"c\\\"d\" e\\ f ", &["a bc\"d", "e f"]; "quotes")]
    #[test_case("a '' # rest\nb#c", &["a", "", "b#c"]; "comments and empty words")]
    fn flags_are_split_as_by_a_shell(text: &str, expected: &[&str]) {
        assert_eq!(split(text).unwrap(), expected);
    }

    #[test_case("'a")]
    #[test_case("\"a\\\"")]
    #[test_case("a\\")]
    fn unfinished_quotes_are_refused(text: &str) {
        assert_eq!(split(text), Err(UnclosedQuote));
    }

    #[test_case(&[], None, false, true; "nothing was decided")]
    #[test_case(&["--debug"], None, true, false; "the configuration has it")]
    #[test_case(&["--allow-insecure-entitlement", "security.insecure"], None, false, false; "others were chosen")]
    #[test_case(&["--allow-insecure-entitlement=security.insecure"], Some("host"), true, true; "the host's network")]
    #[test_case(&["--allow-insecure-entitlement=network.host"], Some("host"), false, false; "it is there")]
    #[test_case(&["--debug", "--allow-insecure-entitlement", "security.insecure"], None, false, true; "after a flag that buildx does not know")]
    #[test_case(&["word", "--allow-insecure-entitlement", "security.insecure", "--debug"], None, false, false; "before one")]
    fn the_hosts_network_is_allowed_as_by_buildx(
        flags: &[&str],
        network: Option<&str>,
        config: bool,
        added: bool,
    ) {
        let mut all: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        with_entitlement(&mut all, network, config);
        assert_eq!(all.len() > flags.len(), added, "{all:?}");
    }
}
