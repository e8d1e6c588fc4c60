//! Checks the types and attributes of outputs, caches and attestations against those that BuildKit has.
//!
//! An unknown type, or a value that cannot be parsed, is an error before any work. An unknown attribute is passed
//! on with a warning, because a newer BuildKit may have it. Start at [`check`].

mod names;
mod table;

use std::collections::HashSet;

use self::table::{KnownAttributes, Takes};
use crate::definition::model::{Attrs, CacheKind, ExportKind, Sink};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::golang::strconv;
use crate::plan::{Plan, PlannedTarget};
use crate::types::Digest;

/// Finds outputs, caches and attestations of `plan` that BuildKit would refuse or silently ignore.
pub(super) fn check(plan: &Plan) -> Diagnostics {
    let mut check = Check {
        problems: Diagnostics::default(),
        told: HashSet::new(),
    };
    for target in plan.targets.values() {
        check.target(target);
    }
    check.problems
}

struct Check {
    problems: Diagnostics,
    /// The place and the subject of each reported problem. Several targets may inherit one entry, and its problem
    /// is reported once.
    told: HashSet<(Span, String)>,
}

/// One entry of a list attribute of a target.
struct Entry<'a> {
    target: &'a PlannedTarget,
    attribute: &'static str,
    kind: &'a str,
    span: Option<Span>,
}

impl Entry<'_> {
    fn place(&self, problem: Diagnostic) -> Diagnostic {
        problem.at(self.span.or_else(|| self.target.span()), "")
    }

    /// Describes, for messages, what the entry is and which target it belongs to.
    fn of(&self) -> String {
        format!(
            "`type={}` in `{}` of target `{}`",
            self.kind, self.attribute, self.target.name
        )
    }
}

impl Check {
    fn target(&mut self, target: &PlannedTarget) {
        let attributes = &target.attributes;
        for (problem, span) in names::check(target) {
            let entry = Entry {
                target,
                attribute: "",
                kind: "",
                span,
            };
            self.push(&entry, problem.code, problem.clone());
        }
        for export in &attributes.output {
            let entry = Entry {
                target,
                attribute: "output",
                kind: export.kind.name(),
                span: export.span,
            };
            match table::exporter(&export.kind) {
                Some(known) => self.attributes(&entry, &known, &export.attrs),
                None => self.unknown_type(&entry, table::EXPORTERS),
            }
            self.replaced_name(&entry, &export.attrs);
            let is_known = !matches!(export.kind, ExportKind::Other(_));
            if export.dest.is_some() && export.sink() == Sink::None && is_known {
                self.unused_destination(&entry);
            }
        }
        for (attribute, caches, known) in [
            (
                "cache-from",
                &attributes.cache_from,
                table::cache_import as fn(&CacheKind) -> Option<KnownAttributes>,
            ),
            ("cache-to", &attributes.cache_to, table::cache_export),
        ] {
            for cache in caches {
                let entry = Entry {
                    target,
                    attribute,
                    kind: cache.kind.name(),
                    span: cache.span,
                };
                match known(&cache.kind) {
                    Some(known) => self.attributes(&entry, &known, &cache.attrs),
                    None => self.unknown_type(&entry, table::CACHES),
                }
                match cache.kind {
                    CacheKind::Inline if attribute == "cache-from" => self.inline_import(&entry),
                    CacheKind::Local => self.local_cache(&entry, &cache.attrs),
                    _ => {}
                }
            }
        }
        for attest in &attributes.attest {
            let entry = Entry {
                target,
                attribute: "attest",
                kind: &attest.kind,
                span: attest.span,
            };
            match table::attestation(&attest.kind) {
                Some(known) => self.attributes(&entry, &known, &attest.attrs),
                None => self.unknown_type(&entry, table::ATTESTATIONS),
            }
        }
    }

    /// Adds a problem about `about`, unless another target has inherited the same entry and it was added then.
    fn push(&mut self, entry: &Entry<'_>, about: &str, problem: Diagnostic) {
        let is_new = match entry.span {
            Some(span) => self.told.insert((span, about.to_owned())),
            None => true,
        };
        if is_new {
            self.problems.push(entry.place(problem));
        }
    }

    fn unknown_type(&mut self, entry: &Entry<'_>, known: &[&str]) {
        let problem = Diagnostic::error(
            Class::Definition,
            "run::unknown-type",
            format!("BuildKit does not know {}", entry.of()),
        );
        let known = known.iter().copied();
        self.push(
            entry,
            "type",
            problem.did_you_mean("a type", entry.kind, known),
        );
    }

    /// Warns of `type=inline` in `cache-from`, which the daemon silently ignores.
    fn inline_import(&mut self, entry: &Entry<'_>) {
        let problem = Diagnostic::warning(
            "run::unknown-type",
            format!("no cache is imported from {}", entry.of()),
        )
        .help("an inline cache is part of the image: write `type=registry,ref=IMAGE`, or only the image's name");
        self.push(entry, "type", problem);
    }

    /// Warns of a `name` of an output that has no effect. As in buildx, `tags` replace it.
    fn replaced_name(&mut self, entry: &Entry<'_>, attrs: &Attrs) {
        let tags = &entry.target.attributes.tags;
        let Some(name) = attrs.get("name").filter(|name| !name.is_empty()) else {
            return;
        };
        let is_tag = |name: &str| tags.iter().any(|tag| *tag.value == *name);
        let is_image = matches!(entry.kind, "image" | "registry" | "oci" | "docker");
        if !is_image || tags.is_empty() || name.split(',').all(is_tag) {
            return;
        }
        let message = format!(
            "the image is not named `{name}`: `tags` replace the `name` of {}",
            entry.of()
        );
        let problem = Diagnostic::warning("run::attribute-value", message)
            .help(format!("add `{name}` to `tags`, or remove `name`"));
        self.push(entry, "name", problem);
    }

    /// Checks the directory and the digest of a local cache. buildx checks both when it chooses the builder.
    fn local_cache(&mut self, entry: &Entry<'_>, attrs: &Attrs) {
        const CODE: &str = "run::local-cache";
        let (key, other) = match entry.attribute {
            "cache-from" => ("src", "dest"),
            _ => ("dest", "src"),
        };
        let of = entry.of();
        let get = |key: &str| attrs.get(key).filter(|value| !value.is_empty());
        if get(key).is_none() {
            let message = format!("{of} names no directory: `{key}` is missing");
            let problem = Diagnostic::error(Class::Definition, CODE, message);
            let directory = get(other).map_or("DIRECTORY", |directory| directory);
            let problem = problem.help(format!("write `type=local,{key}={directory}`"));
            self.push(entry, key, problem);
        }
        if let Some(text) = attrs.get("digest").filter(|_| key == "src")
            && let Err(error) = text.parse::<Digest>()
        {
            let message = format!("`{text}` for `digest` of {of} cannot be used: {error}");
            let problem = Diagnostic::error(Class::Definition, CODE, message);
            let problem = problem.help("remove it to import the cache that `tag` names");
            self.push(entry, "digest", problem);
        }
    }

    fn attributes(&mut self, entry: &Entry<'_>, known: &KnownAttributes, attrs: &Attrs) {
        for (key, value) in attrs {
            // `annotation.KEY`, `annotation-index.KEY` and the like. `run::annotations` checks them.
            if entry.attribute == "output" && key.starts_with("annotation") {
                continue;
            }
            match known.takes(key) {
                Some(takes) => self.value(entry, key, value, takes),
                None if known.any => {}
                None => self.unknown_attribute(entry, key, known),
            }
        }
    }

    fn unused_destination(&mut self, entry: &Entry<'_>) {
        let message = format!("`dest` has no effect on {}", entry.of());
        let problem = Diagnostic::warning("run::unknown-attribute", message)
            .help("`dest` is for the types that write to this machine: `local`, `tar`, `oci` and `docker`");
        self.push(entry, "dest", problem);
    }

    fn unknown_attribute(&mut self, entry: &Entry<'_>, key: &str, known: &KnownAttributes) {
        let problem = Diagnostic::warning(
            "run::unknown-attribute",
            format!(
                "`{key}` is not a known attribute of {}; rbake passes it on unchanged",
                entry.of()
            ),
        );
        let problem = match (entry.attribute, key) {
            ("cache-from", "mode" | "ignore-error") => {
                problem.help(format!("`{key}` is for `cache-to`"))
            }
            _ => problem,
        };
        self.push(
            entry,
            key,
            problem.did_you_mean("an attribute", key, known.names()),
        );
    }

    /// Reports an error if BuildKit could not parse `value`.
    fn value(&mut self, entry: &Entry<'_>, key: &str, value: &str, takes: Takes) {
        let is_whole = || value.parse::<i64>().is_ok();
        let (fits, wanted) = match takes {
            Takes::Text => return,
            Takes::OneOf(values) => return self.one_of(entry, key, value, values),
            Takes::Bool => (strconv::parse_bool(value).is_some(), "a boolean"),
            Takes::Flag => (
                value.is_empty() || strconv::parse_bool(value).is_some(),
                "a boolean",
            ),
            Takes::Whole => (is_whole(), "a whole number"),
            Takes::WholeOrNothing => (value.is_empty() || is_whole(), "a whole number"),
        };
        if fits {
            return;
        }
        let problem = Diagnostic::error(
            Class::Definition,
            "run::attribute-value",
            format!("`{value}` for `{key}` of {} is not {wanted}", entry.of()),
        );
        let problem = match wanted {
            "a boolean" => problem.help(format!("write `{key}=true` or `{key}=false`")),
            _ => problem.help(format!("write `{key}=NUMBER`")),
        };
        self.push(entry, key, problem);
    }

    /// Warns of a value that is not in `values`. It is not an error, because a newer BuildKit may have more
    /// values.
    fn one_of(&mut self, entry: &Entry<'_>, key: &str, value: &str, values: &'static [&str]) {
        // `full` is an old name of `max`.
        let old = entry.attribute == "attest" && (key, value) == ("mode", "full");
        if values.contains(&value) || old {
            return;
        }
        let problem = Diagnostic::warning(
            "run::attribute-value",
            format!(
                "`{value}` for `{key}` of {} is not a known value; rbake passes it on unchanged",
                entry.of()
            ),
        );
        let problem = match (entry.attribute, key) {
            ("cache-to", "mode") => problem.note("BuildKit treats an unknown mode as `min`"),
            _ => problem,
        };
        self.push(
            entry,
            key,
            problem.did_you_mean("a value", value, values.iter().copied()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Severity;
    use crate::run::testing::plan;
    use test_case::test_case;

    fn found(body: &str) -> Vec<Diagnostic> {
        check(&plan(body)).0
    }

    #[test_case(r#"output = ["type=loca,dest=x"]"#, "`local`"; "output")]
    #[test_case(r#"cache-to = ["type=loca,dest=x"]"#, "`local`"; "cache export")]
    #[test_case(r#"cache-from = [{type = "registri", ref = "x"}]"#, "`registry`"; "cache import")]
    #[test_case(r#"attest = ["type=provenence"]"#, "`provenance`"; "attestation")]
    fn unknown_types_are_errors_that_list_the_known_ones(body: &str, meant: &str) {
        let problems = found(body);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let problem = &problems[0];
        assert_eq!(
            (problem.code, problem.severity),
            ("run::unknown-type", Severity::Error)
        );
        assert!(problem.help[0].contains(meant), "{problem:?}");
        assert!(problem.notes[0].starts_with("there are "), "{problem:?}");
        assert_eq!(problem.labels.len(), 1, "{problem:?}");
    }

    #[test_case(r#"output = ["type=image,name=a,registry-insecure=true"]"#, Some("`registry.insecure`"); "image")]
    #[test_case(r#"output = ["type=oci,dest=x,registry.insecure=true"]"#, None; "of another exporter")]
    #[test_case(r#"output = ["type=image,name=a,dest=x"]"#, Some("`local`"); "a destination of an image")]
    #[test_case(r#"output = ["type=cacheonly,dest=x"]"#, Some("`local`"); "a destination of nothing")]
    #[test_case(r#"output = ["type=tar,dest=x,mode=delete"]"#, None; "a mode of an archive")]
    #[test_case(r#"output = ["type=local,dest=x,platform-splitt=true"]"#, Some("`platform-split`"); "local")]
    #[test_case(r#"cache-to = ["type=registry,ref=x,image-manifests=true"]"#, Some("`image-manifest`"); "cache")]
    #[test_case(r#"cache-from = ["type=registry,ref=x,mode=max"]"#, Some("`cache-to`"); "of the other direction")]
    #[test_case(r#"attest = ["type=provenance,mod=max"]"#, Some("`mode`"); "attestation")]
    fn unknown_attributes_cause_a_warning(body: &str, meant: Option<&str>) {
        let problems = found(body);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let problem = &problems[0];
        assert_eq!(
            (problem.code, problem.severity),
            ("run::unknown-attribute", Severity::Warning)
        );
        if let Some(meant) = meant {
            assert!(
                problem.help.iter().any(|help| help.contains(meant)),
                "{problem:?}"
            );
        }
    }

    #[test_case(r#"output = ["type=image,name=a,push=ture"]"#; "push")]
    #[test_case(r#"output = ["type=image,name=a,registry.insecure=ture"]"#; "insecure")]
    #[test_case(r#"output = ["type=image,oci-mediatypes="]"#; "empty where that means nothing")]
    #[test_case(r#"output = ["type=docker,tar=nope"]"#; "archive")]
    #[test_case(r#"output = ["type=tar,dest=x,platform-split=yes"]"#; "files")]
    #[test_case(r#"output = ["type=oci,dest=x,compression-level=high"]"#; "number")]
    #[test_case(r#"cache-to = ["type=registry,ref=x,registry.insecure=ture"]"#; "cache export")]
    #[test_case(r#"cache-from = ["type=registry,ref=x,registry.insecure=ture"]"#; "cache import")]
    #[test_case(r#"cache-to = ["type=inline,ignore-error=ja"]"#; "what the daemon passes over")]
    #[test_case(r#"attest = ["type=provenance,reproducible=ja"]"#; "attestation")]
    fn values_that_cannot_be_parsed_are_errors(body: &str) {
        let problems = found(body);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            (problems[0].code, problems[0].severity),
            ("run::attribute-value", Severity::Error)
        );
        assert!(problems[0].help[0].contains("write `"), "{problems:?}");
    }

    #[test_case(r#"cache-to = ["type=registry,ref=x,mode=mex"]"#; "cache")]
    #[test_case(r#"output = ["type=image,compression=gzipp"]"#; "compression")]
    #[test_case(r#"attest = ["type=provenance,mode=mux"]"#; "attestation")]
    fn words_that_a_newer_buildkit_may_know_cause_a_warning(body: &str) {
        let problems = found(body);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            (problems[0].code, problems[0].severity),
            ("run::attribute-value", Severity::Warning)
        );
        assert!(!problems[0].help.is_empty(), "{problems:?}");
    }

    #[test_case(r#"cache-to = ["type=local"]"#, "write `type=local,dest=DIRECTORY`"; "export")]
    #[test_case(r#"cache-to = ["type=local,dest="]"#, "write `type=local,dest=DIRECTORY`"; "export to an empty path")]
    #[test_case(r#"cache-from = [{ type = "local" }]"#, "write `type=local,src=DIRECTORY`"; "import")]
    #[test_case(r#"cache-from = ["type=local,src=x,digest=sha256:12"]"#, "remove it to import the cache that `tag` names"; "digest")]
    fn local_caches_need_a_directory_and_a_valid_digest(body: &str, help: &str) {
        let problems = found(body);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            (problems[0].code, problems[0].severity),
            ("run::local-cache", Severity::Error)
        );
        assert_eq!(problems[0].help, [help]);
    }

    #[test_case(r#"["type=image,name=a"]"#, 1; "another name")]
    #[test_case(r#"["type=oci,dest=x,\"name=b,a\""]"#, 1; "one of several names")]
    #[test_case(r#"["type=image,name=b"]"#, 0; "the same name")]
    #[test_case(r#"["type=image,name="]"#, 0; "no name")]
    fn names_that_tags_replace_cause_a_warning(output: &str, expected: usize) {
        let problems = found(&format!("tags = [\"b\"]\noutput = {output}"));
        assert_eq!(problems.len(), expected, "{problems:?}");
        assert_eq!(found(&format!("output = {output}")), []);
    }

    #[test]
    fn the_directory_under_the_wrong_key_is_suggested_under_the_right_one() {
        let problems = found(r#"cache-from = ["type=local,dest=x"]"#);
        let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["run::unknown-attribute", "run::local-cache"]);
        assert_eq!(problems[1].help, ["write `type=local,src=x`"]);
    }

    #[test]
    fn valid_attributes_cause_no_problem() {
        let body = r#"
            output = [
              "type=image,name=a,push=,registry.insecure=1,compression=zstd,compression-level=3,annotation-index.a=b,source-date-epoch=",
              "type=registry,store=false,unpack=F",
              "type=docker,context=x,tar=true",
              "type=oci,dest=x,tar=",
              "type=local,dest=x,mode=copy,platform-split=t,attestation-prefix=x",
              "type=cacheonly", "type=moby,name=x", "-", "out",
            ]
            cache-to = [
              "type=registry,ref=x,mode=max,image-manifest=true,force-compression=,ignore-error=true",
              "type=local,dest=x,tag=a,reset=true", "type=gha,scope=x,timeout=5m,mode=min",
              "type=inline", "x/y",
              "type=s3,region=a,bucket=b,name=c;d,use_path_style=true,retry_mode=standard",
              "type=azblob,account_url=u,name=n",
            ]
            cache-from = ["type=local,src=x,tag=y", "x/y:z", "type=gha"]
            attest = ["type=sbom,generator=x,SELECT=all", "type=provenance,mode=full,version=v0.2,disabled=false"]
        "#;
        assert_eq!(found(body), []);
    }

    #[test]
    fn a_problem_of_an_inherited_entry_is_reported_once() {
        let body = r#"output = ["type=image,foo=1"]
          }
          target "u" { inherits = ["t"] }
          group "default" {
            targets = ["t", "u"]"#;
        assert_eq!(found(body).len(), 1);
    }
}
