//! Divides a Dockerfile into its instructions, as far as it matters which files they read.

/// Splits off the leading words that begin with `--`, and returns them and the rest.
pub(super) fn flags(mut rest: &str) -> (Vec<&str>, &str) {
    let mut flags = Vec::new();
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        flags.push(&rest[..end]);
        rest = &rest[end..];
    }
}

/// Returns the instructions with the numbers of their first lines. Continued lines are joined, comments and the
/// text of here-documents are left out.
pub(super) fn instructions(dockerfile: &str) -> Vec<(usize, String)> {
    let escape = escape_character(dockerfile);
    let mut found = Vec::new();
    let mut lines = dockerfile.lines().zip(1..);
    let mut current = String::new();
    let mut first = 0;
    while let Some((line, number)) = lines.next() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if current.is_empty() {
            first = number;
        }
        if let Some(part) = trimmed.strip_suffix(escape) {
            current.push_str(part);
            current.push(' ');
            continue;
        }
        current.push_str(trimmed);
        for end in heredocs(&current) {
            lines
                .by_ref()
                .find(|(line, _)| line.trim_start_matches('\t') == end);
        }
        found.push((first, std::mem::take(&mut current)));
    }
    if !current.is_empty() {
        found.push((first, current));
    }
    found
}

/// Returns the character that continues lines, which a directive at the start of the file may change.
fn escape_character(dockerfile: &str) -> char {
    dockerfile
        .lines()
        .map_while(|line| line.trim().strip_prefix('#'))
        .filter_map(|directive| directive.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("escape"))
        .and_then(|(_, value)| value.trim().chars().next())
        .unwrap_or('\\')
}

/// Returns the end markers of the here-documents in an instruction: `EOF` for `<<EOF` and `<<-"EOF"`.
fn heredocs(instruction: &str) -> Vec<String> {
    let takes_them = ["RUN", "COPY", "ADD"].iter().any(|word| {
        instruction
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    });
    if !takes_them {
        return Vec::new();
    }
    instruction
        .split("<<")
        .skip(1)
        .map(|rest| rest.trim_start_matches('-').trim_start_matches(['"', '\'']))
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        })
        .filter(|marker| !marker.is_empty() && !marker.starts_with(|c: char| c.is_ascii_digit()))
        .collect()
}
