//! Warnings about single words with a surprising meaning: `cache-to = ["inline"]` means an image called `inline`,
//! and `output = ["registry"]` a directory called `registry`.
//!
//! rbake reads such words in the same way as buildx. The warning shows what the user may have meant.

use super::{List, Target};
use crate::diag::{Diagnostic, Span};
use crate::golang::csv;

const CODE: &str = "definition::word-for-type";

/// Whether `problem`, which was found when an attribute was read, still applies to `target`.
///
/// An entry that the target inherits, or that its block contains, may have been replaced by inheritance or an
/// override. A warning about a word that is no longer used would only confuse. All other problems apply.
pub(crate) fn concerns(problem: &Diagnostic, target: &Target) -> bool {
    let Some(place) = problem.labels.first().filter(|_| problem.code == CODE) else {
        return true;
    };
    uses(&target.cache_from, place.span)
        || uses(&target.cache_to, place.span)
        || uses(&target.output, place.span)
}

fn uses<T>(entries: &List<T>, span: Span) -> bool {
    entries.iter().any(|entry| entry.span == Some(span))
}

/// Returns warnings if `text`, an entry of `attribute`, probably does not mean what the user intended.
///
/// Only `cache-from`, `cache-to` and `output` are checked; for other attributes the result is empty.
pub(crate) fn doubts(attribute: &str, text: &str) -> Vec<Diagnostic> {
    match attribute {
        "output" if text.contains('=') => field_alone(text).into_iter().collect(),
        _ if text.contains('=') => Vec::new(),
        "cache-from" | "cache-to" => {
            let fields = csv::fields(text).unwrap_or_default();
            let words = fields.iter().map(|field| field.trim());
            words.filter_map(|word| cache(attribute, word)).collect()
        }
        "output" => output(text.trim()).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn cache(attribute: &str, word: &str) -> Option<Diagnostic> {
    let imports = attribute == "cache-from";
    let meant = match word.to_ascii_lowercase().as_str() {
        "inline" if imports => "type=registry,ref=IMAGE",
        "inline" => "type=inline",
        "gha" => "type=gha",
        "local" if imports => "type=local,src=DIRECTORY",
        "local" => "type=local,dest=DIRECTORY",
        "registry" => "type=registry,ref=IMAGE",
        "s3" => "type=s3,region=REGION,bucket=NAME",
        "azblob" => "type=azblob,name=NAME",
        _ => return None,
    };
    Some(doubt(
        format!("`{word}` in `{attribute}` means the image `docker.io/library/{word}`"),
        format!("write `{meant}` if you mean that type of cache"),
        format!("write `type=registry,ref={word}` if you mean the image"),
    ))
}

fn output(word: &str) -> Option<Diagnostic> {
    let meant = match word.to_ascii_lowercase().as_str() {
        "image" => "type=image",
        "registry" => "type=registry",
        "docker" | "load" => "type=docker",
        "oci" => "type=oci,dest=FILE",
        "tar" => "type=tar,dest=FILE",
        "local" => "type=local,dest=DIRECTORY",
        "cacheonly" => "type=cacheonly",
        "push" => "type=image,push=true",
        _ => return None,
    };
    Some(doubt(
        format!("`{word}` in `output` means a directory of that name for the files of the result"),
        format!("write `{meant}` if you mean that type of output"),
        format!("write `./{word}` if you mean the directory"),
    ))
}

/// Checks an output with one field that does not start with `type=`, such as `Type=image` or `dest=out`.
fn field_alone(text: &str) -> Option<Diagnostic> {
    let fields = csv::fields(text).ok()?;
    let [field] = fields.as_slice() else {
        return None;
    };
    if text.starts_with("type=") {
        return None;
    }
    let (key, value) = field.split_once('=')?;
    let key = key.trim().to_ascii_lowercase();
    let meant = match key.as_str() {
        "type" => format!("type={value}"),
        "dest" => format!("type=local,dest={value}"),
        "name" | "push" | "compression" | "oci-mediatypes" => format!("type=image,{key}={value}"),
        _ => return None,
    };
    Some(doubt(
        format!("`{text}` in `output` means a directory of that name for the files of the result"),
        format!("write `{meant}` if you mean attributes of an output"),
        format!("write `./{text}` if you mean the directory"),
    ))
}

fn doubt(message: String, meant: String, otherwise: String) -> Diagnostic {
    Diagnostic::warning(CODE, message)
        .help(meant)
        .help(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("cache-to", "inline", Some("`type=inline`"))]
    #[test_case("cache-to", "GHA", Some("`type=gha`"); "case")]
    #[test_case("cache-to", "app,inline", Some("`type=inline`"); "one of several")]
    #[test_case("cache-from", "local", Some("`type=local,src=DIRECTORY`"))]
    #[test_case("cache-from", "s3", Some("`type=s3,"))]
    #[test_case("cache-from", "app/inline", None; "a repository")]
    #[test_case("cache-to", "type=registry,ref=inline", None; "written in full")]
    #[test_case("output", "registry", Some("`type=registry`"))]
    #[test_case("output", "Docker", Some("`type=docker`"))]
    #[test_case("output", "./registry", None; "written as a path")]
    #[test_case("output", "type=local,dest=registry", None; "output written in full")]
    #[test_case("output", "Type=image", Some("`type=image`"); "type in another case")]
    #[test_case("output", " type=oci", Some("`type=oci`"); "type after a space")]
    #[test_case("output", "dest=out", Some("`type=local,dest=out`"); "a destination without a type")]
    #[test_case("output", "push=true", Some("`type=image,push=true`"); "an attribute without a type")]
    #[test_case("output", "dest=out,name=x", None; "several fields without a type, which are an error")]
    #[test_case("output", "a=b", None; "a directory with an equals sign")]
    #[test_case("output", "out", None)]
    #[test_case("tags", "inline", None; "another attribute")]
    fn words_that_look_like_types_are_recognised(attribute: &str, text: &str, meant: Option<&str>) {
        let found = doubts(attribute, text);
        assert_eq!(found.len(), usize::from(meant.is_some()), "{found:?}");
        if let (Some(meant), [doubt]) = (meant, found.as_slice()) {
            assert!(doubt.help[0].contains(meant), "{doubt:?}");
        }
    }
}
