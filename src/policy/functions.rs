//! The functions that buildx adds to Rego, and those of OPA that `regorus` lacks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use regorus::unstable::{BUILTINS, Expr, Ref, Span};
use regorus::{Engine, Source, Value};

use super::files::{FileNeed, KnownFiles};
use super::format;
use super::input::GitObject;
use super::openpgp::SignedDownload;
use super::signature::{self, NotVerified};
use crate::types::Digest;
use crate::types::build_source::{DownloadQuestion, SuffixedDigest};

/// The functions of OPA that policies may call: those that buildx lists (`policy/builtins.go`), without those that Rego v1 does
/// not have any more.
pub(super) const PERMITTED: &[&str] = &[
    "abs",
    "and",
    "assign",
    "div",
    "eq",
    "equal",
    "gt",
    "gte",
    "lt",
    "lte",
    "minus",
    "mul",
    "neq",
    "or",
    "plus",
    "rem",
    "array.concat",
    "array.flatten",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.lsh",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.marshal_with_options",
    "json.patch",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "numbers.range",
    "numbers.range_step",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "print",
    "product",
    "rand.intn",
    "regex.find_all_string_submatch_n",
    "regex.find_n",
    "regex.globs_match",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "regex.template_match",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.render_template",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.format",
    "time.now_ns",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "units.parse",
    "units.parse_bytes",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
    "uuid.parse",
    "uuid.rfc4122",
    "yaml.is_valid",
    "yaml.marshal",
    "yaml.unmarshal",
];

/// The functions that are defined here.
pub(super) const OWN: &[&str] = &[
    "array.flatten",
    "artifact_attestation",
    "github_attestation",
    "internal.template_string",
    "load_json",
    "pin_image",
    "verify_git_signature",
    "verify_http_pgp_signature",
];

/// Functions whose results are larger than what they are given. What they are given is limited.
const BOUNDED: &[&str] = &[
    "array.concat",
    "base64.encode",
    "base64url.encode",
    "concat",
    "format_int",
    "hex.encode",
    "object.union",
    "object.union_n",
    "urlquery.encode",
    "yaml.marshal",
];

/// The longest list or text that a function may make, in items or bytes. Policies are untrusted.
const LARGEST: usize = 8 << 20;
/// The longest range of numbers.
const LONGEST_RANGE: i128 = 1 << 20;
/// The most bits by which a number may be shifted.
const WIDEST_SHIFT: u64 = 1 << 16;

/// The part of a source that functions need.
#[derive(Debug, Default)]
pub(super) struct CallScene {
    pub(super) image: InputValue,
    pub(super) http: InputValue,
    pub(super) commit: Option<(InputValue, GitObject)>,
    pub(super) tag: Option<(InputValue, GitObject)>,
    pub(super) is_git: bool,
    /// The digests that are known of a download.
    pub(super) suffixed: Vec<SuffixedDigest>,
    pub(super) files: Arc<KnownFiles>,
}

/// A value of the document, or undefined.
#[derive(Debug)]
pub(super) struct InputValue(pub(super) Value);

impl Default for InputValue {
    fn default() -> Self {
        Self(Value::Undefined)
    }
}

/// What functions have found out during an evaluation.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Files that must be read first.
    pub(super) missing: BTreeSet<FileNeed>,
    /// The digests to which the image is pinned.
    pub(super) pins: BTreeSet<String>,
    /// Fields of the source that must be known first.
    pub(super) wanted: BTreeSet<&'static str>,
    /// The digest of the download that must be known first.
    pub(super) digest: Option<DownloadQuestion>,
    /// The function that cannot be evaluated, and why. Then nothing may be decided.
    pub(super) impossible: Option<String>,
}

type Shared = Arc<Mutex<Calls>>;

/// Adds the functions to `engine`. What they find out is in the result.
pub(super) fn add(engine: &mut Engine, scene: CallScene) -> Shared {
    let calls = Shared::default();
    let scene = Arc::new(scene);
    let mut own =
        |name: &str, arguments: u8, call: fn(&CallScene, &mut Calls, &[Value]) -> Option<Value>| {
            let (scene, calls) = (Arc::clone(&scene), Arc::clone(&calls));
            let call = move |arguments: Vec<Value>| {
                let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(call(&scene, &mut calls, &arguments).unwrap_or(Value::Undefined))
            };
            // The names are different, so none is refused.
            let _ = engine.add_extension(name.to_owned(), arguments, Box::new(call));
        };
    own("load_json", 1, load_json);
    own("pin_image", 2, pin_image);
    own("verify_git_signature", 2, verify_git_signature);
    own("verify_http_pgp_signature", 3, verify_http_pgp_signature);
    own("artifact_attestation", 2, artifact_attestation);
    own("github_attestation", 2, github_attestation);
    own("array.flatten", 1, |_, _, arguments| flatten(arguments));
    own("internal.template_string", 1, |_, _, arguments| {
        super::template::joined(arguments)
    });
    own("bits.lsh", 2, |_, calls, arguments| shift(calls, arguments));
    own("replace", 3, |_, calls, arguments| {
        replace(calls, arguments)
    });
    own("numbers.range", 2, |_, calls, arguments| {
        range("numbers.range", calls, arguments, None)
    });
    own("numbers.range_step", 3, |_, calls, arguments| {
        let step = arguments.get(2).cloned();
        range("numbers.range_step", calls, arguments, step)
    });
    own("sprintf", 2, |_, calls, arguments| {
        sprintf(calls, arguments)
    });
    own("count", 1, |_, _, arguments| count(arguments));
    own("lower", 1, |_, _, arguments| {
        cased(arguments, |c| c.to_lowercase().next())
    });
    own("upper", 1, |_, _, arguments| {
        cased(arguments, |c| {
            Some(c.to_uppercase()).filter(|all| all.len() == 1)?.next()
        })
    });
    own("strings.replace_n", 2, |_, calls, arguments| {
        replace_n(calls, arguments)
    });
    own("json.marshal", 1, |_, calls, arguments| {
        marshal(calls, arguments)
    });
    own("to_number", 1, |_, _, arguments| {
        let is_padded = |text: &str| text.trim() != text;
        if arguments.first().and_then(text).is_some_and(is_padded) {
            return None;
        }
        builtin("to_number", arguments)
    });
    own("semver.is_valid", 1, |_, _, arguments| {
        builtin("semver.is_valid", &without_v(arguments))
    });
    own("semver.compare", 2, |_, _, arguments| {
        builtin("semver.compare", &without_v(arguments))
    });
    for bounded in BOUNDED.iter().copied() {
        let calls = Arc::clone(&calls);
        let call = move |arguments: Vec<Value>| {
            let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
            if size_of(&arguments) > LARGEST {
                impossible(&mut calls, bounded, "a value is too large");
                return Ok(Value::Undefined);
            }
            drop(calls);
            Ok(builtin(bounded, &arguments).unwrap_or(Value::Undefined))
        };
        if let Some((_, count)) = BUILTINS.get(bounded) {
            let _ = engine.add_extension(bounded.to_owned(), *count, Box::new(call));
        }
    }
    calls
}

/// Calls the function `name` of `regorus`. `None` if it fails: an error in a function makes the call undefined.
fn builtin(name: &str, arguments: &[Value]) -> Option<Value> {
    let (call, _) = BUILTINS.get(name)?;
    let source = Source::from_contents(name.to_owned(), name.to_owned()).ok()?;
    let span = Span {
        source,
        line: 1,
        col: 1,
        start: 0,
        end: 0,
    };
    let null = || {
        Ref::new(Expr::Null {
            span: span.clone(),
            value: Value::Null,
            eidx: 0,
        })
    };
    let parameters: Vec<Ref<Expr>> = arguments.iter().map(|_| null()).collect();
    call(&span, &parameters, arguments, true).ok()
}

/// The size of `values`, in bytes and items. No larger than a little more than [`LARGEST`], where counting ends. The places of a
/// shift count as bytes.
fn size_of(values: &[Value]) -> usize {
    let mut size = 0_usize;
    let mut left: Vec<&Value> = values.iter().collect();
    while let Some(value) = left.pop() {
        size += match value {
            Value::String(text) => text.len(),
            _ => 1,
        };
        if size > LARGEST {
            return size;
        }
        match value {
            Value::Array(items) => left.extend(items.iter()),
            Value::Set(items) => left.extend(items.iter()),
            Value::Object(fields) => {
                left.extend(fields.iter().flat_map(|(key, value)| [key, value]));
            }
            _ => {}
        }
    }
    size
}

fn sprintf(calls: &mut Calls, arguments: &[Value]) -> Option<Value> {
    let [format, values] = arguments else {
        return None;
    };
    let (format, values) = (text(format)?, values.as_array().ok()?);
    if size_of(arguments) > LARGEST {
        impossible(calls, "sprintf", "a value is too large");
        return None;
    }
    let values: Vec<Value> = values.iter().cloned().collect();
    let text = format::sprintf(format, &values);
    if text.is_err() {
        let reason = "its format has a part that rbake does not know";
        impossible(calls, "sprintf", reason);
    }
    text.ok().map(Value::from)
}

/// The length of a value. That of a text is counted in characters.
fn count(arguments: &[Value]) -> Option<Value> {
    match arguments.first().and_then(text) {
        Some(text) => Some(Value::from(u64::try_from(text.chars().count()).ok()?)),
        None => builtin("count", arguments),
    }
}

/// A text whose characters are mapped one by one, as Go does. Those for which `map` has nothing stay.
fn cased(arguments: &[Value], map: fn(char) -> Option<char>) -> Option<Value> {
    let text = text(arguments.first()?)?;
    let text: String = text.chars().map(|c| map(c).unwrap_or(c)).collect();
    Some(Value::from(text))
}

/// Replaces several texts at once. What was put in is not replaced again.
fn replace_n(calls: &mut Calls, arguments: &[Value]) -> Option<Value> {
    let [patterns, whole] = arguments else {
        return None;
    };
    let mut pairs = Vec::new();
    for (old, new) in patterns.as_object().ok()?.iter_sorted() {
        pairs.push((text(old)?, text(new)?));
    }
    let mut rest = text(whole)?;
    let mut out = String::new();
    while let Some(next) = rest.chars().next() {
        let pair = pairs
            .iter()
            .find(|(old, _)| !old.is_empty() && rest.starts_with(old));
        let (new, taken) = match pair {
            Some((old, new)) => (*new, old.len()),
            None => (&rest[..next.len_utf8()], next.len_utf8()),
        };
        out.push_str(new);
        rest = &rest[taken..];
        if out.len() > LARGEST || pairs.iter().any(|(old, _)| old.is_empty()) {
            impossible(
                calls,
                "strings.replace_n",
                "the text is too long, or an empty text is replaced",
            );
            return None;
        }
    }
    Some(Value::from(out))
}

/// JSON in which the characters that matter in HTML are escaped, as Go does.
fn marshal(calls: &mut Calls, arguments: &[Value]) -> Option<Value> {
    if size_of(arguments) > LARGEST {
        impossible(calls, "json.marshal", "a value is too large");
        return None;
    }
    let json = builtin("json.marshal", arguments)?;
    let mut escaped = String::new();
    for character in text(&json)?.chars() {
        if matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    Some(Value::from(escaped))
}

/// Versions without the `v` with which they may begin.
fn without_v(arguments: &[Value]) -> Vec<Value> {
    let plain = |value: &Value| match text(value).and_then(|text| text.strip_prefix('v')) {
        Some(version) => Value::from(version),
        None => value.clone(),
    };
    arguments.iter().map(plain).collect()
}

fn shift(calls: &mut Calls, arguments: &[Value]) -> Option<Value> {
    let is_narrow = arguments
        .get(1)?
        .as_u64()
        .is_ok_and(|bits| bits <= WIDEST_SHIFT);
    if !is_narrow {
        impossible(calls, "bits.lsh", "the shift is too wide");
        return None;
    }
    builtin("bits.lsh", arguments)
}

fn replace(calls: &mut Calls, arguments: &[Value]) -> Option<Value> {
    let texts = [
        text(arguments.first()?)?,
        text(arguments.get(1)?)?,
        text(arguments.get(2)?)?,
    ];
    let [whole, _, new] = texts;
    if whole.len().saturating_mul(new.len().max(1)) > LARGEST {
        impossible(calls, "replace", "the text is too long");
        return None;
    }
    builtin("replace", arguments)
}

fn text(value: &Value) -> Option<&str> {
    value.as_string().ok().map(AsRef::as_ref)
}

fn read(scene: &CallScene, calls: &mut Calls, name: &Value, limit: u64) -> Option<bytes::Bytes> {
    let need = FileNeed {
        name: text(name)?.to_owned(),
        limit,
    };
    scene.files.content(&need, &mut calls.missing)
}

fn load_json(scene: &CallScene, calls: &mut Calls, arguments: &[Value]) -> Option<Value> {
    let content = read(scene, calls, arguments.first()?, 4 << 20)?;
    Value::from_json_str(std::str::from_utf8(&content).ok()?).ok()
}

/// Pins the image to a digest. The daemon then uses the image with that digest, whatever the tag names.
fn pin_image(scene: &CallScene, calls: &mut Calls, arguments: &[Value]) -> Option<Value> {
    let [image, digest] = arguments else {
        return None;
    };
    if scene.image.0 == Value::Undefined {
        return Some(Value::from(false));
    }
    if *image != scene.image.0 {
        return None;
    }
    let digest: Digest = text(digest)?.parse().ok()?;
    let known = scene.image.0.as_object().ok()?;
    let known = known.get(&Value::from("checksum")).and_then(text);
    if known != Some(digest.as_str()) {
        calls.pins.insert(digest.to_string());
    }
    Some(Value::from(true))
}

fn verify_git_signature(
    scene: &CallScene,
    calls: &mut Calls,
    arguments: &[Value],
) -> Option<Value> {
    let [object, key] = arguments else {
        return None;
    };
    if !scene.is_git {
        return Some(Value::from(false));
    }
    if scene.commit.is_none() {
        calls.wanted.insert("git.commit");
        return Some(Value::from(false));
    }
    let mut objects = scene.commit.iter().chain(&scene.tag);
    let (_, signed) = objects.find(|(value, _)| value.0 == *object)?;
    let key = read(scene, calls, key, 128 << 10)?;
    match signature::verify(&signed.signature, signed.signed.as_bytes(), &key) {
        Ok(()) => Some(Value::from(true)),
        Err(NotVerified::Wrong) => None,
        Err(NotVerified::Unsupported(what)) => {
            impossible(calls, "verify_git_signature", what);
            None
        }
    }
}

fn verify_http_pgp_signature(
    scene: &CallScene,
    calls: &mut Calls,
    arguments: &[Value],
) -> Option<Value> {
    let [http, signature, key] = arguments else {
        return None;
    };
    if scene.http.0 == Value::Undefined {
        return Some(Value::from(false));
    }
    if *http != scene.http.0 {
        return None;
    }
    let signature = read(scene, calls, signature, 512 << 10);
    let key = read(scene, calls, key, 512 << 10);
    // Without the files, nothing is verified.
    let (signature, key) = signature.zip(key)?;
    let mut unknown = |what| {
        impossible(calls, "verify_http_pgp_signature", what);
        None
    };
    let signed = match SignedDownload::read(&signature, &key) {
        Ok(signed) => signed,
        // The files are wrong.
        Err(NotVerified::Wrong) => return None,
        Err(NotVerified::Unsupported(what)) => return unknown(what),
    };
    let question = signed.question();
    let mut known = scene.suffixed.iter();
    let known = known.find(|known| {
        known.suffix == question.suffix && known.digest.algorithm() == question.algorithm.name()
    });
    let Some(known) = known else {
        calls.digest = Some(question);
        return Some(Value::from(false));
    };
    match signed.verify(&known.digest) {
        Ok(()) => Some(Value::from(true)),
        Err(NotVerified::Wrong) => Some(Value::from(false)),
        Err(NotVerified::Unsupported(what)) => unknown(what),
    }
}

fn artifact_attestation(
    scene: &CallScene,
    calls: &mut Calls,
    arguments: &[Value],
) -> Option<Value> {
    attested(scene, calls, arguments.first()?)?;
    // Without the file, there is no attestation.
    read(scene, calls, arguments.get(1)?, 8 << 20)?;
    impossible(calls, "artifact_attestation", SIGSTORE);
    None
}

fn github_attestation(scene: &CallScene, calls: &mut Calls, arguments: &[Value]) -> Option<Value> {
    attested(scene, calls, arguments.first()?)?;
    text(arguments.get(1)?)?;
    impossible(calls, "github_attestation", SIGSTORE);
    None
}

const SIGSTORE: &str = "rbake cannot check signatures of Sigstore yet";

/// Whether an attestation of `http` can be looked for.
fn attested(scene: &CallScene, calls: &mut Calls, http: &Value) -> Option<()> {
    if scene.http.0 == Value::Undefined || *http != scene.http.0 {
        return None;
    }
    let known = scene.http.0.as_object().ok()?;
    if known.get(&Value::from("checksum")).is_none() {
        calls.wanted.insert("http.checksum");
        return None;
    }
    Some(())
}

fn impossible(calls: &mut Calls, function: &str, why: &str) {
    let reason = format!("the function `{function}` cannot be evaluated: {why}");
    calls.impossible.get_or_insert(reason);
}

/// A list with the items of the lists in `arguments[0]`, and its other items.
fn flatten(arguments: &[Value]) -> Option<Value> {
    let list = arguments.first()?.as_array().ok()?;
    let mut flat = Vec::new();
    for item in list {
        match item.as_array() {
            Ok(items) => flat.extend(items.iter().cloned()),
            Err(_) => flat.push(item.clone()),
        }
        if flat.len() > LARGEST {
            return None;
        }
    }
    Some(Value::from(flat))
}

/// The whole numbers from one argument to the other, both included.
fn range(name: &str, calls: &mut Calls, arguments: &[Value], step: Option<Value>) -> Option<Value> {
    let number = |value: &Value| value.as_i128().ok();
    let (first, last) = (number(arguments.first()?)?, number(arguments.get(1)?)?);
    let step = match step {
        Some(step) => number(&step).filter(|step| *step > 0)?,
        None => 1,
    };
    if first.abs_diff(last) / step.unsigned_abs() > LONGEST_RANGE.unsigned_abs() {
        impossible(calls, name, "the range is too long");
        return None;
    }
    let sign = if first <= last { 1 } else { -1 };
    let count = first.abs_diff(last) / step.unsigned_abs();
    let count = i128::try_from(count).ok()?;
    let numbers = (0..=count).map(|at| Value::from(first + sign * step * at));
    Some(Value::from(numbers.collect::<Vec<_>>()))
}
