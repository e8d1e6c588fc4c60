//! Which frontend is asked what a target reads.
//!
//! A frontend that is an image runs in a container, also for an answer without a result. That takes some 35 ms of the builder for
//! each target, where its built-in frontend takes one or two. So the built-in one is asked in place of an image that is
//! `docker/dockerfile`, because both read a Dockerfile alike. Steps run with the frontend of the Dockerfile in any case.
//!
//! They differ in the variables that they know by themselves (before 0.13, the built-in frontend did not know `TARGETSTAGE`; images
//! before 1.7 do not, either), and images before 1.4 do not know named contexts. So the answer counts only if it is what the
//! Dockerfile says without such knowledge.

use std::collections::BTreeSet;

use super::served::dockerfile_text;
use crate::engine::llb::ContextRead;
use crate::engine::spec::Frontend;
use crate::golang::path;
use crate::plan::PlannedTarget;
use crate::run::Ready;
use crate::run::sources::{self, Arguments, Sources};
use crate::types::Reference;

/// The repositories of Dockerfile frontends. They are also found in mirrors, which may have other names before these.
const DOCKERFILE_FRONTENDS: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// Who says what a target reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answerer {
    /// The built-in frontend. The Dockerfile names no other.
    BuiltIn,
    /// The built-in frontend, although the Dockerfile names an image. It must say these paths.
    BuiltInForImage(BTreeSet<String>),
    /// The image that the Dockerfile names.
    Image,
}

impl Answerer {
    /// Who says what `ready` reads.
    pub(super) async fn of(ready: &Ready) -> Self {
        let text = dockerfile_text(&ready.places.dockerfile).await;
        Self::with_text(&ready.planned, text.as_deref())
    }

    /// Who says what `target` reads, whose Dockerfile is `text`, if that is known.
    pub(super) fn with_text(target: &PlannedTarget, text: Option<&str>) -> Self {
        Self::of_texts(text, target.stage(), &|name| target.argument(name))
    }

    fn of_texts(text: Option<&str>, stage: Option<&str>, arguments: Arguments<'_>) -> Self {
        // The argument comes before what the Dockerfile says.
        let argument = arguments("BUILDKIT_SYNTAX");
        let named = text.and_then(sources::syntax);
        let Some(image) = argument.as_deref().or(named.as_deref()) else {
            return Self::BuiltIn;
        };
        let Some(text) = text else {
            return Self::Image;
        };
        match sources::of_stage(text, stage, arguments) {
            Sources::Paths(paths)
                if is_dockerfile_frontend(image)
                    && sources::has_known_names(text, stage, arguments)
                    && !paths.iter().any(|path| sources::has_variables(path)) =>
            {
                Self::BuiltInForImage(paths)
            }
            Sources::Paths(_) | Sources::Unknown => Self::Image,
        }
    }

    /// Whether the target reads what the answer says. If not, a base image may have an `ONBUILD`, for example.
    pub(super) fn is_believed(&self, answer: &ContextRead) -> bool {
        let Self::BuiltInForImage(expected) = self else {
            return true;
        };
        let said: BTreeSet<String> = match &answer.paths {
            Some(paths) => paths.iter().map(|path| path::join("/", path)).collect(),
            None => BTreeSet::from(["/".to_owned()]),
        };
        said == *expected
    }

    /// The frontend for the request, where `own` is that of the target.
    pub(super) fn frontend(&self, own: Frontend) -> Frontend {
        match self {
            Self::BuiltInForImage(_) => Frontend::OnlyBuiltIn,
            Self::BuiltIn | Self::Image => own,
        }
    }
}

/// Whether `command`, an image name that arguments may follow, names a Dockerfile frontend.
fn is_dockerfile_frontend(command: &str) -> bool {
    let image = command.split_whitespace().next().unwrap_or_default();
    image.parse::<Reference>().is_ok_and(|image| {
        let names = DOCKERFILE_FRONTENDS.iter();
        let mut before = names.filter_map(|name| image.path().strip_suffix(name));
        before.any(|before| before.is_empty() || before.ends_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in(paths: &[&str]) -> Answerer {
        Answerer::BuiltInForImage(paths.iter().map(ToString::to_string).collect())
    }

    fn answerer(syntax: &str, copied: &str) -> Answerer {
        let text = format!("# syntax={syntax}\nFROM scratch\nCOPY {copied} /x\n");
        Answerer::of_texts(Some(&text), None, &|_| None)
    }

    #[test]
    fn images_of_dockerfile_frontends_are_not_run_for_an_answer() {
        for image in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker/dockerfile:1.7-labs --debug",
            "docker.io/docker/dockerfile-upstream:master",
            "mirror.example.com:5000/hub/docker/dockerfile:1",
        ] {
            assert_eq!(answerer(image, "a"), built_in(&["/a"]), "{image}");
        }
        for image in [
            "example.com/dockerfile:1",
            "notdocker/dockerfile:1",
            "docker/dockerfiles",
            "docker/dockerfile/x",
            "Docker/dockerfile",
        ] {
            assert_eq!(answerer(image, "a"), Answerer::Image, "{image}");
        }
    }

    #[test]
    fn an_image_is_asked_if_paths_have_variables() {
        for copied in ["a-$TARGETSTAGE", "b ${X:-y}/c"] {
            assert_eq!(answerer("docker/dockerfile:1", copied), Answerer::Image);
        }
        let copied = "--from=other $X";
        assert_eq!(answerer("docker/dockerfile:1", copied), built_in(&[]));
    }

    #[test]
    fn an_answer_counts_only_if_the_dockerfile_says_the_same() {
        let asked = built_in(&["/a", "/b/c"]);
        assert!(asked.is_believed(&ContextRead::of_texts(&["b/c", "a"], &["x"])));
        assert!(!asked.is_believed(&ContextRead::of_texts(&["a", "b/c", "more"], &[])));
        assert!(!asked.is_believed(&ContextRead::of_texts(&["a"], &[])));
        let whole = ContextRead::of_texts(&[], &[]);
        assert!(built_in(&["/"]).is_believed(&whole) && !asked.is_believed(&whole));
        assert!(Answerer::Image.is_believed(&whole) && Answerer::BuiltIn.is_believed(&whole));
    }

    #[test]
    fn an_image_is_asked_if_a_variable_names_a_stage() {
        for from in ["${TARGETSTAGE:-x}", "x-$TARGETOS", "$BASE"] {
            let text = format!(
                "# syntax=docker/dockerfile:1\nFROM scratch AS x\nCOPY a /\nFROM {from}\nCOPY b /\n"
            );
            let of = |stage| Answerer::of_texts(Some(&text), stage, &|_| None);
            assert_eq!(of(None), Answerer::Image, "{from}");
            assert_eq!(of(Some("x")), built_in(&["/a"]));
        }
    }

    #[test]
    fn the_argument_comes_before_the_dockerfile() {
        let text = "# syntax=docker/dockerfile:1\nFROM scratch\n";
        let of = |text, stage, argument: Option<&str>| {
            let given = |name: &str| {
                let is_syntax = name == "BUILDKIT_SYNTAX";
                argument.filter(|_| is_syntax).map(str::to_owned)
            };
            Answerer::of_texts(text, stage, &given)
        };
        let other = of(Some(text), None, Some("other/frontend"));
        assert_eq!(other, Answerer::Image);
        let command = Some("docker/dockerfile:1 --x");
        let same = of(Some(text), None, command);
        assert_eq!(same, built_in(&[]));
        assert_eq!(of(Some("FROM scratch"), None, None), Answerer::BuiltIn);
        assert_eq!(of(None, None, command), Answerer::Image);
        let no_stage = of(Some(text), Some("missing"), None);
        assert_eq!(no_stage, Answerer::Image);
    }
}
