//! Predicts from the Dockerfile which parts of its context a target reads.
//!
//! The daemon asks for a context with filters made from the sources of `COPY`, `ADD` and bind mounts. Targets with
//! equal filters can share one transfer, and a later run can use the daemon's copy of a directory only with equal
//! filters. The prediction is good enough to group targets by their filters. A wrong one costs a transfer, but
//! never makes a wrong build.

use std::collections::{BTreeMap, BTreeSet};

use crate::golang::path;

/// What a stage, including the stages that it is made from, reads from the context.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Sources {
    /// These absolute paths in the context.
    Paths(BTreeSet<String>),
    /// The Dockerfile could not be understood.
    Unknown,
}

impl Sources {
    fn whole() -> Self {
        Self::Paths(BTreeSet::from(["/".to_owned()]))
    }
}

#[derive(Debug, Default)]
struct Stage {
    name: Option<String>,
    /// What it is made `FROM`.
    base: String,
    reads: BTreeSet<Read>,
    uses: BTreeSet<String>,
    /// Whether it has a `RUN` instruction.
    runs: bool,
}

/// A path that an instruction reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Read {
    /// The name in `from`, in lower case. `None` is the main context.
    from: Option<String>,
    path: String,
    line: usize,
}

/// Returns what building the stage `target` of `dockerfile`, or the last stage for `None`, reads from the context.
pub(crate) fn of_stage(dockerfile: &str, target: Option<&str>) -> Sources {
    let reads = reads_of_stage(dockerfile, target);
    reads.map_or(Sources::Unknown, |reads| paths_of(&reads, None))
}

/// Returns what building the stage `target` of `dockerfile`, or the last stage for `None`, reads from the context named
/// `name`. The name may have capitals.
pub(crate) fn of_named(dockerfile: &str, target: Option<&str>, name: &str) -> Sources {
    let name = name.to_ascii_lowercase();
    let stages = stages(dockerfile);
    let Some(reached) = reached(&stages, target) else {
        return Sources::Unknown;
    };
    let is_base = |stage: &&Stage| stage.base.eq_ignore_ascii_case(&name);
    if reached.iter().any(is_base) {
        return Sources::whole();
    }
    let reads = reached.iter().flat_map(|stage| stage.reads.iter().cloned());
    paths_of(&reads.collect(), Some(&name))
}

/// Returns the paths that are read from `source`; `None` is the main context. They are as the daemon asks for them: if one
/// is the whole context, it asks for no other (BuildKit's `normalizeContextPaths`).
fn paths_of(reads: &BTreeSet<Read>, source: Option<&str>) -> Sources {
    let own = reads.iter().filter(|read| read.from.as_deref() == source);
    let paths: BTreeSet<String> = own.map(|read| path::join("/", &read.path)).collect();
    if paths.contains("/") {
        return Sources::whole();
    }
    Sources::Paths(paths)
}

/// Whether the Dockerfile names a frontend (`# syntax=`), which is an image.
pub(crate) fn has_syntax(dockerfile: &str) -> bool {
    let comments = dockerfile.lines().map(str::trim_start);
    let comments = comments.map_while(|line| line.strip_prefix('#'));
    let mut keys = comments.map_while(|line| Some(line.split_once('=')?.0.trim()));
    keys.any(|key| key.eq_ignore_ascii_case("syntax"))
}

/// Returns the paths that the daemon cannot ask for, with the line numbers of their instructions. gRPC headers
/// hold only printable characters, and the daemon keeps paths as UTF-8.
///
/// `is_served` says whether paths of a source are requested from this machine; `None` is the main context, and the
/// others are named contexts. If one path of a source is not ASCII, the daemon encodes all of its paths, which
/// also makes control characters possible.
pub(crate) fn unsendable(
    dockerfile: &[u8],
    target: Option<&str>,
    is_served: impl Fn(Option<&str>) -> bool,
) -> Vec<(String, usize)> {
    let text = String::from_utf8_lossy(dockerfile);
    let mut reads = reads_of_stage(&text, target).unwrap_or_default();
    reads.retain(|read| is_served(read.from.as_deref()));
    let is_text = matches!(text, std::borrow::Cow::Borrowed(_));
    let encoded: BTreeSet<Option<String>> = reads
        .iter()
        .filter(|read| !read.path.is_ascii())
        .map(|read| read.from.clone())
        .collect();
    reads
        .into_iter()
        .filter(|read| {
            let altered = !is_text && read.path.contains(char::REPLACEMENT_CHARACTER);
            let has_control = read.path.chars().any(|c| c.is_ascii_control());
            altered || has_control && !encoded.contains(&read.from)
        })
        .map(|read| (read.path, read.line))
        .collect()
}

/// Returns what the stage `target` reads, or `None` if there is no such stage.
fn reads_of_stage(dockerfile: &str, target: Option<&str>) -> Option<BTreeSet<Read>> {
    let stages = stages(dockerfile);
    let reached = reached(&stages, target)?;
    let reads = reached.iter().flat_map(|stage| stage.reads.iter().cloned());
    Some(reads.collect())
}

/// Returns the images that the stage `target` of `dockerfile`, or the last stage for `None`, is made from, if
/// their names can be known. `arguments` returns the values that replace the defaults of `ARG`.
pub(crate) fn images(
    dockerfile: &str,
    target: Option<&str>,
    arguments: impl Fn(&str) -> Option<String>,
) -> BTreeSet<String> {
    let stages = stages(dockerfile);
    let index = numbered(&stages);
    let defaults = defaults(dockerfile);
    let value = |name: &str| arguments(name).or_else(|| defaults.get(name).cloned());
    let reached = reached(&stages, target).unwrap_or_default();
    let used = reached.iter().flat_map(|stage| &stage.uses);
    // `scratch` is not an image.
    let used = used.filter(|name| *name != "scratch");
    let used = used.filter(|name| !index.contains_key(&name.to_ascii_lowercase()));
    used.filter_map(|name| expanded(name, &value)).collect()
}

/// Returns the default values of the `ARG`s before the first `FROM`.
fn defaults(dockerfile: &str) -> BTreeMap<String, String> {
    let of_arg = |instruction: &str| {
        let (keyword, rest) = instruction.split_once(char::is_whitespace)?;
        keyword.eq_ignore_ascii_case("ARG").then(|| rest.to_owned())
    };
    let before = instructions(dockerfile).into_iter();
    let arguments = before.map_while(|(_, instruction)| of_arg(&instruction));
    let mut defaults = BTreeMap::new();
    for argument in arguments {
        for word in argument.split_whitespace() {
            if let Some((name, value)) = word.split_once('=') {
                defaults.insert(name.to_owned(), value.trim_matches(['"', '\'']).to_owned());
            }
        }
    }
    defaults
}

/// Returns `text` with `$NAME` and `${NAME}` replaced. `None` if a value is unknown or another form of expansion
/// is used.
fn expanded(text: &str, value: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, after) = if let Some(inner) = after.strip_prefix('{') {
            inner.split_once('}')?
        } else {
            let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            after.split_at(after.find(|c| !of_name(c)).unwrap_or(after.len()))
        };
        out.push_str(&value(name)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// Returns the index of each stage by its name and by its number as text.
fn numbered(stages: &[Stage]) -> BTreeMap<String, usize> {
    let numbered = stages.iter().enumerate();
    numbered
        .flat_map(|(at, stage)| {
            let number = Some((at.to_string(), at));
            let name = stage.name.clone().map(|name| (name, at));
            number.into_iter().chain(name)
        })
        .collect()
}

/// Returns the index of the stage `target`, or of the last one for `None` and for an empty name, as in BuildKit.
fn index_of(stages: &[Stage], target: Option<&str>) -> Option<usize> {
    match target {
        None | Some("") => stages.len().checked_sub(1),
        Some(name) => numbered(stages).get(&name.to_ascii_lowercase()).copied(),
    }
}

/// Returns the stages that `target` is made from, including itself. `None` if there is no such stage.
fn reached<'a>(stages: &'a [Stage], target: Option<&str>) -> Option<Vec<&'a Stage>> {
    let index = numbered(stages);
    let start = index_of(stages, target);
    let mut reached = Vec::new();
    let mut seen = BTreeSet::new();
    let mut todo = vec![start?];
    while let Some(at) = todo.pop() {
        if !seen.insert(at) {
            continue;
        }
        let stage = &stages[at];
        reached.push(stage);
        // A stage uses only earlier stages. A later stage with the same name is another one.
        todo.extend(
            stage
                .uses
                .iter()
                .filter_map(|name| index.get(&name.to_ascii_lowercase()))
                .copied()
                .filter(|used| *used < at),
        );
    }
    Some(reached)
}

/// Whether the stage `target` of `dockerfile` itself, or the last stage for `None`, has a `RUN` instruction. `None` if
/// there is no such stage.
pub(crate) fn has_run(dockerfile: &str, target: Option<&str>) -> Option<bool> {
    let stages = stages(dockerfile);
    let at = index_of(&stages, target)?;
    stages.get(at).map(|stage| stage.runs)
}

/// Returns the names of the stages of `dockerfile`, in lower case.
pub(crate) fn stage_names(dockerfile: &str) -> Vec<String> {
    let stages = stages(dockerfile).into_iter();
    stages.filter_map(|stage| stage.name).collect()
}

/// Reads the stages of a Dockerfile. Instructions before the first `FROM` are skipped.
fn stages(dockerfile: &str) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (line, instruction) in instructions(dockerfile) {
        let (keyword, rest) = instruction
            .split_once(char::is_whitespace)
            .unwrap_or((&instruction, ""));
        let keyword = keyword.to_ascii_uppercase();
        if keyword == "FROM" {
            let mut words = rest
                .split_whitespace()
                .filter(|word| !word.starts_with("--"));
            let base = words.next().unwrap_or_default().to_owned();
            let name = match words.next() {
                Some(word) if word.eq_ignore_ascii_case("as") => {
                    words.next().map(str::to_ascii_lowercase)
                }
                _ => None,
            };
            stages.push(Stage {
                name,
                uses: BTreeSet::from([base.clone()]),
                base,
                ..Stage::default()
            });
            continue;
        }
        let Some(stage) = stages.last_mut() else {
            continue;
        };
        match keyword.as_str() {
            "COPY" | "ADD" => copy(rest, line, stage),
            "RUN" => {
                stage.runs = true;
                mounts(rest, line, stage);
            }
            _ => {}
        }
    }
    stages
}

/// Adds the sources of a `COPY` or `ADD`. The last word is the destination; addresses and here-documents are not
/// read from a context.
fn copy(rest: &str, line: usize, stage: &mut Stage) {
    let (flags, rest) = flags(rest);
    let from = flags.iter().find_map(|flag| flag.strip_prefix("--from="));
    stage.uses.extend(from.map(str::to_owned));
    let from = from.map(str::to_ascii_lowercase);
    let mut words: Vec<String> = match serde_json::from_str(rest) {
        Ok(words) => words,
        Err(_) => rest.split_whitespace().map(str::to_owned).collect(),
    };
    words.pop();
    let remote = |word: &String| word.contains("://") || word.starts_with("<<");
    let words = words.into_iter().filter(|word| !remote(word));
    stage.reads.extend(words.map(|path| Read {
        from: from.clone(),
        path,
        line,
    }));
}

/// Adds the sources of the bind mounts of a `RUN`. A mount without `type` is a bind mount.
fn mounts(rest: &str, line: usize, stage: &mut Stage) {
    for flag in flags(rest).0 {
        let Some(spec) = flag.strip_prefix("--mount=") else {
            continue;
        };
        let fields: BTreeMap<&str, &str> = spec
            .split(',')
            .map(|field| field.split_once('=').unwrap_or((field, "")))
            .collect();
        let from = fields.get("from");
        stage.uses.extend(from.map(ToString::to_string));
        let from = from.map(|from| from.to_ascii_lowercase());
        if matches!(fields.get("type"), None | Some(&"bind")) {
            let source = fields
                .get("source")
                .or_else(|| fields.get("src"))
                .copied()
                .unwrap_or(".");
            stage.reads.insert(Read {
                from,
                path: source.to_owned(),
                line,
            });
        }
    }
}

/// Splits off the leading words that begin with `--`, and returns them and the rest.
fn flags(mut rest: &str) -> (Vec<&str>, &str) {
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
fn instructions(dockerfile: &str) -> Vec<(usize, String)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERFILE: &str = "
# syntax=docker/dockerfile:1
FROM alpine AS base
RUN --mount=type=bind,source=setup.sh,target=/s --mount=type=cache,target=/c sh /s
FROM base AS build
COPY --chown=1 src/ lib \\
  # inside
  /app/
COPY <<EOF /file
COPY not-an-instruction /x
EOF
ADD https://example.com/x /x
FROM scratch AS lonely
COPY [\"with space\", \"/\"]
FROM base
COPY --from=build /app /app
";

    fn paths<const N: usize>(paths: [&str; N]) -> Sources {
        Sources::Paths(paths.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn scratch_is_not_an_image() {
        let dockerfile = "FROM scratch AS a\nFROM busybox\nCOPY --from=a / /\n";
        let images = images(dockerfile, None, |_| None);
        assert_eq!(images.into_iter().collect::<Vec<_>>(), ["busybox"]);
    }

    #[test]
    fn a_frontend_is_named_before_everything_else() {
        for text in [
            "# syntax=a/b",
            "#check=skip=all\n#  Syntax = a",
            "#syntax=x\r\nFROM y",
        ] {
            assert!(has_syntax(text), "{text}");
        }
        for text in [
            "FROM x\n# syntax=a",
            "",
            "# text\n# syntax=a",
            "syntax=a",
            "\n# syntax=a",
        ] {
            assert!(!has_syntax(text), "{text}");
        }
    }

    #[test]
    fn a_stage_reads_the_sources_of_the_stages_that_it_uses() {
        assert_eq!(
            of_stage(DOCKERFILE, None),
            paths(["/lib", "/setup.sh", "/src"])
        );
        assert_eq!(of_stage(DOCKERFILE, Some("")), of_stage(DOCKERFILE, None));
        assert_eq!(of_stage(DOCKERFILE, Some("BASE")), paths(["/setup.sh"]));
        assert_eq!(of_stage(DOCKERFILE, Some("lonely")), paths(["/with space"]));
        assert_eq!(
            of_stage(DOCKERFILE, Some("1")),
            paths(["/lib", "/setup.sh", "/src"])
        );
    }

    #[test]
    fn a_stage_that_reads_the_whole_context_reads_nothing_else() {
        for all in [".", "./", "/", "./sub/.."] {
            let dockerfile = format!("FROM scratch\nCOPY a {all} b /\n");
            assert_eq!(of_stage(&dockerfile, None), paths(["/"]), "{all}");
        }
        let mounted = "FROM scratch\nCOPY a /\nRUN --mount=target=/src make\n";
        assert_eq!(of_stage(mounted, None), paths(["/"]));
        let alike = ["COPY a /x", "COPY ./a /", "COPY /a/ y"];
        for copy in alike {
            let dockerfile = format!("FROM scratch\n{copy}\n");
            assert_eq!(of_stage(&dockerfile, None), paths(["/a"]), "{copy}");
        }
    }

    #[test]
    fn a_stage_reads_of_a_named_context_what_names_it() {
        let dockerfile = "FROM scratch AS one\nCOPY --from=Src a b /\nRUN --mount=from=src,source=c,target=/c x\n\
                          FROM one\nCOPY own /\nCOPY --from=other . /\nFROM src AS last\nCOPY --from=one /x /y\n";
        let of = |stage, name| of_named(dockerfile, stage, name);
        assert_eq!(of(Some("1"), "src"), paths(["/a", "/b", "/c"]));
        assert_eq!(of(Some("1"), "SRC"), paths(["/a", "/b", "/c"]));
        assert_eq!(of(Some("1"), "other"), paths(["/"]));
        assert_eq!(of(Some("one"), "other"), paths([]));
        assert_eq!(of(None, "src"), paths(["/"]), "the base of a stage");
        assert_eq!(of(Some("none"), "src"), Sources::Unknown);
    }

    #[test]
    fn a_dockerfile_that_cannot_be_understood_has_unknown_sources() {
        assert_eq!(of_stage(DOCKERFILE, Some("missing")), Sources::Unknown);
        assert_eq!(of_stage("", None), Sources::Unknown);
        assert_eq!(of_stage("RUN x", None), Sources::Unknown);
    }

    #[test]
    fn paths_that_no_header_can_hold_are_reported_with_their_line() {
        let odd = "FROM scratch\nCOPY [\"a\\nb\", \"c\", \\\n  \"/\"]\nCOPY d\u{1} e /\n";
        let found = unsendable(odd.as_bytes(), None, |from| from.is_none());
        assert_eq!(found, [("a\nb".to_owned(), 2), ("d\u{1}".to_owned(), 4)]);
        assert!(unsendable(format!("{odd}COPY é /\n").as_bytes(), None, |_| true).is_empty());
        let found = unsendable(b"FROM scratch\nCOPY a\xff* b /\n", None, |_| true);
        assert_eq!(found, [("a\u{fffd}*".to_owned(), 2)]);
        assert!(unsendable("FROM scratch\nCOPY a\u{fffd} /".as_bytes(), None, |_| true).is_empty());
    }

    #[test]
    fn each_named_context_is_checked_by_itself() {
        let text = "FROM scratch\nCOPY é /\nCOPY --from=Files [\"a\\nb\", \"/\"]\nCOPY --from=alpine [\"c\\td\", \"/\"]\n\
                    RUN --mount=from=files,source=e\u{1}f true\n";
        let is_served = |from: Option<&str>| matches!(from, None | Some("files"));
        let found = unsendable(text.as_bytes(), None, is_served);
        assert_eq!(found, [("a\nb".to_owned(), 3), ("e\u{1}f".to_owned(), 5)]);
        let text = format!("{text}COPY --from=files é /\n");
        assert!(unsendable(text.as_bytes(), None, is_served).is_empty());
        assert_eq!(of_stage(&text, None), paths(["/é"]));
    }

    #[test]
    fn images_are_those_of_the_stages_that_are_built() {
        let dockerfile = "ARG REG=r.example/team TAG=\"1\"\nARG BARE\nFROM ${REG}/base:$TAG AS Base\nFROM other.example/x AS unused\nFROM base\nCOPY --from=tools.example/T:2 / /\nRUN --mount=from=0,target=/x --mount=from=mnt.example/m true\nFROM $BARE/y\n";
        let of = |target: Option<&str>, given: Option<&str>| {
            let images = images(dockerfile, target, |name| {
                given.filter(|_| name == "REG").map(str::to_owned)
            });
            images.into_iter().collect::<Vec<_>>()
        };
        let others = ["mnt.example/m", "tools.example/T:2"];
        let all = |base: &str| {
            let mut all = vec![base.to_owned()];
            all.extend(others.map(str::to_owned));
            all.sort();
            all
        };
        assert_eq!(of(Some("2"), None), all("r.example/team/base:1"));
        assert_eq!(of(Some("2"), Some("q.example")), all("q.example/base:1"));
        assert_eq!(of(Some("base"), None), ["r.example/team/base:1"]);
        // Names that cannot be known are left out.
        assert!(of(None, None).is_empty() && of(Some("nosuch"), None).is_empty());
    }

    #[test]
    fn a_stage_that_names_itself_causes_no_endless_loop() {
        assert_eq!(of_stage("FROM a AS a\nCOPY x /\n", None), paths(["/x"]));
    }
}
