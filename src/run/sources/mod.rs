//! Predicts from the Dockerfile which parts of its context a target reads.
//!
//! The daemon asks for a context with filters made from the sources of `COPY`, `ADD` and bind mounts. Targets with
//! equal filters can share one transfer, and a later run can use the daemon's copy of a directory only with equal
//! filters. The prediction is good enough to group targets by their filters. A wrong one costs a transfer, but
//! never makes a wrong build.

mod instructions;
mod variables;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::golang::path;
use instructions::{flags, instructions};
use variables::DockerfileVariables;
pub(crate) use variables::{Arguments, has_variables};

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
    /// The variables at its end.
    variables: DockerfileVariables,
}

/// A path that an instruction reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Read {
    /// The name in `from`, in lower case. `None` is the main context.
    from: Option<String>,
    path: String,
    line: usize,
}

/// Returns what building the stage `target` of `dockerfile`, or the last stage for `None`, reads from the context. `arguments` are
/// the build arguments. A variable that is not known stays in its path as it is.
pub(crate) fn of_stage(
    dockerfile: &str,
    target: Option<&str>,
    arguments: Arguments<'_>,
) -> Sources {
    let reads = reads_of_stage(dockerfile, target, arguments);
    reads.map_or(Sources::Unknown, |reads| paths_of(&reads, None))
}

/// Whether the names of all stages and images are known that building the stage `target` of `dockerfile` uses, like [`of_stage`].
/// If not, the frontend may build other stages than are predicted.
pub(crate) fn has_known_names(
    dockerfile: &str,
    target: Option<&str>,
    arguments: Arguments<'_>,
) -> bool {
    let stages = stages(dockerfile, arguments);
    let reached = reached(&stages, target).unwrap_or_default();
    let mut used = reached.iter().flat_map(|stage| &stage.uses);
    !used.any(|name| has_variables(name))
}

/// Returns what building the stage `target` of `dockerfile`, or the last stage for `None`, reads from the context named
/// `name`, like [`of_stage`]. The name may have capitals.
pub(crate) fn of_named(
    dockerfile: &str,
    target: Option<&str>,
    arguments: Arguments<'_>,
    name: &str,
) -> Sources {
    let name = name.to_ascii_lowercase();
    let stages = stages(dockerfile, arguments);
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

/// The frontend that the Dockerfile names (`# syntax=`), which is an image. `None` if it names none.
///
/// As in BuildKit (`parser.DetectSyntax`), comments may also begin with `//`, and a file in JSON names it as `syntax`.
pub(crate) fn syntax(dockerfile: &str) -> Option<Cow<'_, str>> {
    let text = dockerfile.trim_start_matches('\u{feff}');
    let text = match text.strip_prefix("#!") {
        Some(_) => text.split_once('\n')?.1,
        None => text,
    };
    let commented = ["#", "//"].iter().find_map(|comment| {
        let comments = text.lines().map(str::trim_start);
        let comments = comments.map_while(|line| line.strip_prefix(comment));
        let mut directives = comments.map_while(|line| line.split_once('='));
        let (_, value) = directives.find(|(key, _)| key.trim().eq_ignore_ascii_case("syntax"))?;
        value.split_whitespace().next().map(Cow::Borrowed)
    });
    commented.or_else(|| {
        let file: JsonFrontend = serde_json::from_str(text).ok()?;
        file.syntax.map(Cow::Owned)
    })
}

/// A file in JSON that only a frontend understands.
#[derive(serde::Deserialize)]
struct JsonFrontend {
    syntax: Option<String>,
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
    arguments: Arguments<'_>,
    is_served: impl Fn(Option<&str>) -> bool,
) -> Vec<(String, usize)> {
    let text = String::from_utf8_lossy(dockerfile);
    let mut reads = reads_of_stage(&text, target, arguments).unwrap_or_default();
    reads.retain(|read| is_served(read.from.as_deref()));
    let is_text = matches!(text, Cow::Borrowed(_));
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
fn reads_of_stage(
    dockerfile: &str,
    target: Option<&str>,
    arguments: Arguments<'_>,
) -> Option<BTreeSet<Read>> {
    let stages = stages(dockerfile, arguments);
    let reached = reached(&stages, target)?;
    let reads = reached.iter().flat_map(|stage| stage.reads.iter().cloned());
    Some(reads.collect())
}

/// Returns the images that the stage `target` of `dockerfile`, or the last stage for `None`, is made from, if
/// their names can be known. `arguments` are the build arguments.
pub(crate) fn images(
    dockerfile: &str,
    target: Option<&str>,
    arguments: Arguments<'_>,
) -> BTreeSet<String> {
    let stages = stages(dockerfile, arguments);
    let index = numbered(&stages);
    let reached = reached(&stages, target).unwrap_or_default();
    let used = reached.iter().flat_map(|stage| &stage.uses);
    // `scratch` is not an image.
    let used = used.filter(|name| *name != "scratch" && !has_variables(name));
    let used = used.filter(|name| !index.contains_key(&name.to_ascii_lowercase()));
    used.cloned().collect()
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
        let used = stage.uses.iter().flat_map(|name| {
            let name = name.to_ascii_lowercase();
            let known = index.get(&name).copied();
            known.into_iter().chain(possible(&stages[..at], &name))
        });
        // A stage uses only earlier stages. A later stage with the same name is another one.
        todo.extend(used.filter(|used| *used < at));
    }
    Some(reached)
}

/// The stages that `name` may mean, such as `bin-$TARGETOS`: all that begin like it. None if it has no variables, or begins with one,
/// because that is mostly an image.
fn possible<'a>(stages: &'a [Stage], name: &str) -> impl Iterator<Item = usize> + use<'a> {
    let beginning = name
        .split_once('$')
        .map(|(beginning, _)| beginning.to_owned());
    let beginning = beginning.filter(|beginning| !beginning.is_empty());
    let named = stages.iter().enumerate().filter(move |(_, stage)| {
        let own = stage.name.as_deref();
        beginning
            .as_deref()
            .zip(own)
            .is_some_and(|(beginning, own)| own.starts_with(beginning))
    });
    named.map(|(at, _)| at)
}

/// Whether the stage `target` of `dockerfile` itself, or the last stage for `None`, has a `RUN` instruction. `None` if
/// there is no such stage.
pub(crate) fn has_run(dockerfile: &str, target: Option<&str>) -> Option<bool> {
    let stages = stages(dockerfile, &|_| None);
    let at = index_of(&stages, target)?;
    stages.get(at).map(|stage| stage.runs)
}

/// Returns the names of the stages of `dockerfile`, in lower case.
pub(crate) fn stage_names(dockerfile: &str) -> Vec<String> {
    let stages = stages(dockerfile, &|_| None).into_iter();
    stages.filter_map(|stage| stage.name).collect()
}

/// Reads the stages of a Dockerfile.
fn stages(dockerfile: &str, arguments: Arguments<'_>) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut global = DockerfileVariables::default();
    for (line, instruction) in instructions(dockerfile) {
        let (keyword, rest) = instruction
            .split_once(char::is_whitespace)
            .unwrap_or((&instruction, ""));
        let keyword = keyword.to_ascii_uppercase();
        if keyword == "FROM" {
            let stage = from(rest, &global, &stages);
            stages.push(stage);
            continue;
        }
        let Some(stage) = stages.last_mut() else {
            if keyword == "ARG" {
                global.declare(rest, arguments, &DockerfileVariables::default());
            }
            continue;
        };
        match keyword.as_str() {
            "ARG" => stage.variables.declare(rest, arguments, &global),
            "ENV" => stage.variables.set(rest),
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

/// The stage that begins with `FROM` and the words `rest`, after `earlier` ones.
fn from(rest: &str, global: &DockerfileVariables, earlier: &[Stage]) -> Stage {
    let mut words = rest
        .split_whitespace()
        .filter(|word| !word.starts_with("--"));
    let base = global.expanded(words.next().unwrap_or_default());
    let name = match words.next() {
        Some(word) if word.eq_ignore_ascii_case("as") => words.next().map(str::to_ascii_lowercase),
        _ => None,
    };
    let parent = numbered(earlier).get(&base.to_ascii_lowercase()).copied();
    let parent = parent.and_then(|parent| earlier.get(parent));
    Stage {
        name,
        uses: BTreeSet::from([base.clone()]),
        base,
        variables: parent.map_or_else(DockerfileVariables::default, |parent| {
            parent.variables.clone()
        }),
        ..Stage::default()
    }
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
    let words = words
        .into_iter()
        .map(|word| stage.variables.expanded(&word));
    let words: Vec<String> = words.filter(|word| !remote(word)).collect();
    stage.reads.extend(words.into_iter().map(|path| Read {
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
        let from = from.map(|from| stage.variables.expanded(from));
        stage.uses.extend(from.clone());
        let from = from.map(|from| from.to_ascii_lowercase());
        if matches!(fields.get("type"), None | Some(&"bind")) {
            let source = fields
                .get("source")
                .or_else(|| fields.get("src"))
                .copied()
                .unwrap_or(".");
            stage.reads.insert(Read {
                from,
                path: stage.variables.expanded(source),
                line,
            });
        }
    }
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

    fn of_stage(dockerfile: &str, target: Option<&str>) -> Sources {
        super::of_stage(dockerfile, target, &|_| None)
    }

    fn unsendable(
        text: &[u8],
        target: Option<&str>,
        is_served: impl Fn(Option<&str>) -> bool,
    ) -> Vec<(String, usize)> {
        super::unsendable(text, target, &|_| None, is_served)
    }

    fn paths<const N: usize>(paths: [&str; N]) -> Sources {
        Sources::Paths(paths.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn scratch_is_not_an_image() {
        let dockerfile = "FROM scratch AS a\nFROM busybox\nCOPY --from=a / /\n";
        let images = images(dockerfile, None, &|_| None);
        assert_eq!(images.into_iter().collect::<Vec<_>>(), ["busybox"]);
    }

    #[test]
    fn a_frontend_is_named_before_everything_else() {
        for (text, expected) in [
            ("# syntax=a/b", "a/b"),
            ("#check=skip=all\n#  Syntax = a --with words", "a"),
            ("#syntax=x\r\nFROM y", "x"),
            ("\u{feff}#!/usr/bin/x\n# syntax=a", "a"),
            ("// syntax=a\n{}", "a"),
            (r#"{"syntax": "a", "more": []}"#, "a"),
        ] {
            assert_eq!(syntax(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "FROM x\n# syntax=a",
            "",
            "# text\n# syntax=a",
            "syntax=a",
            "\n# syntax=a",
            "#!/usr/bin/x",
            r#"{"more": "syntax"}"#,
        ] {
            assert_eq!(syntax(text), None, "{text}");
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
        let of = |stage, name| of_named(dockerfile, stage, &|_| None, name);
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
    fn variables_stand_for_what_the_instructions_before_say() {
        let dockerfile = "ARG DIR=src VERSION\nARG BASE=one\nFROM scratch AS one\nARG DIR\nENV SUB=$DIR/sub \\\n  OTHER=\"x\"\n\
                          COPY $SUB /\nFROM $BASE AS two\nARG DIR=own\nARG NEXT=${DIR}2\nCOPY ${SUB}/a $OTHER $DIR $NEXT /\n\
                          RUN --mount=from=$OTHER,source=$SUB,target=/m --mount=source=$DIR/m,target=/n true\n\
                          FROM scratch AS three\nCOPY $DIR ${VERSION} $TARGETARCH ${SUB:-x} '$DIR' \\$DIR /\n\
                          ARG VERSION TARGETARCH=x\nCOPY v$VERSION $TARGETARCH /\nENV VERSION 7\nARG VERSION=8\nCOPY e$VERSION /\n";
        let of = |stage| {
            let given = |name: &str| (name == "VERSION").then(|| "3".to_owned());
            super::of_stage(dockerfile, Some(stage), &given)
        };
        assert_eq!(of("one"), paths(["/src/sub"]));
        let two = ["/own", "/own/m", "/own2", "/src/sub", "/src/sub/a", "/x"];
        assert_eq!(of("two"), paths(two));
        let three = [
            "/$DIR",
            "/$TARGETARCH",
            "/'$DIR'",
            "/${SUB:-x}",
            "/${VERSION}",
            "/\\$DIR",
            "/e7",
            "/v3",
        ];
        assert_eq!(of("three"), paths(three));
        let given = |name: &str| (name == "DIR").then(|| "g".to_owned());
        let named = of_named(dockerfile, Some("two"), &given, "x");
        assert_eq!(named, paths(["/g/sub"]));
    }

    #[test]
    fn images_are_those_of_the_stages_that_are_built() {
        let dockerfile = "ARG REG=r.example/team TAG=\"1\"\nARG BARE\nFROM ${REG}/base:$TAG AS Base\nFROM other.example/x AS unused\nFROM base\nCOPY --from=tools.example/T:2 / /\nRUN --mount=from=0,target=/x --mount=from=mnt.example/m true\nFROM $BARE/y\n";
        let of = |target: Option<&str>, given: Option<&str>| {
            let images = images(dockerfile, target, &|name| {
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
    fn a_name_with_a_variable_means_all_stages_that_begin_like_it() {
        let dockerfile = "FROM scratch AS build\nCOPY src /\nFROM scratch AS bin-linux\nCOPY --from=build / /\n\
                          FROM scratch AS bin-windows\nCOPY win /\nFROM scratch AS other\nCOPY other /\nFROM bin-$TARGETOS AS bin\nCOPY own /\nFROM $BASE\n";
        assert_eq!(
            of_stage(dockerfile, Some("bin")),
            paths(["/own", "/src", "/win"])
        );
        assert_eq!(of_stage(dockerfile, None), paths([]));
    }

    #[test]
    fn a_stage_that_names_itself_causes_no_endless_loop() {
        assert_eq!(of_stage("FROM a AS a\nCOPY x /\n", None), paths(["/x"]));
    }
}
