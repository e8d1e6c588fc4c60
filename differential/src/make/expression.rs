//! Expressions of a wanted type, in every form the language has.

use std::collections::HashSet;

use super::document::{escape, quote};
use super::words;
use crate::Random;

/// The kind of value that an expression must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
    Texts,
    Numbers,
    Map,
    Any,
}

/// A user function that may be called.
#[derive(Debug, Clone)]
pub(super) struct Callable {
    pub(super) name: String,
    pub(super) parameters: usize,
    pub(super) variadic: bool,
    pub(super) kind: Kind,
}

/// Makes a definition: random choices, and the names that they may use.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) random: Random,
    /// The number of places in a thousand that get something that does not fit.
    pub(super) wildness: usize,
    pub(super) variables: Vec<(String, Kind)>,
    pub(super) locals: Vec<(String, Kind)>,
    pub(super) functions: Vec<Callable>,
    pub(super) targets: Vec<String>,
    pub(super) groups: Vec<String>,
    /// Whether expressions may refer to targets and groups.
    pub(super) references: bool,
    /// Whether each expression is evaluated separately, so that one that fails does not affect others.
    pub(super) probing: bool,
    /// The names of types that were given to `convert`.
    pub(super) keywords: HashSet<&'static str>,
}

impl Maker {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let wildness = [0, 5, 25][random.weighted(&[6, 3, 2])];
        Self {
            random,
            wildness,
            variables: Vec::new(),
            locals: Vec::new(),
            functions: Vec::new(),
            targets: Vec::new(),
            groups: Vec::new(),
            references: false,
            probing: false,
            keywords: HashSet::new(),
        }
    }

    /// Whether this place gets something that does not fit.
    pub(super) fn wild(&mut self) -> bool {
        self.random.below(1000) < self.wildness
    }

    pub(super) fn of(&mut self, kind: Kind, depth: usize) -> String {
        match kind {
            Kind::Text => self.text(depth),
            Kind::Number => self.number(depth),
            Kind::Bool => self.bool(depth),
            Kind::Texts => self.texts(depth),
            Kind::Numbers => self.numbers(depth),
            Kind::Map => self.map(depth),
            Kind::Any => self.any(depth),
        }
    }

    /// Any value.
    pub(super) fn any(&mut self, depth: usize) -> String {
        let weights = [6, 4, 2, 3, 1, 3, 1, if depth == 0 { 0 } else { 3 }];
        match self.random.weighted(&weights) {
            0 => self.text(depth),
            1 => self.number(depth),
            2 => self.bool(depth),
            3 => self.texts(depth),
            4 => self.numbers(depth),
            5 => self.map(depth),
            6 => "null".to_owned(),
            _ => match self.random.below(4) {
                0 => self.call(None, depth - 1),
                1 => self.typed(depth - 1),
                2 => {
                    let elements: Vec<String> = (0..self.random.below(4))
                        .map(|_| self.any(depth - 1))
                        .collect();
                    format!("[{}]", elements.join(", "))
                }
                _ => {
                    let (a, b) = (self.any(depth - 1), self.any(depth - 1));
                    format!("{{a = {a}, b = {b}}}")
                }
            },
        }
    }

    /// A name that may be used for a value of the kind.
    fn name(&mut self, kind: Kind) -> Option<String> {
        let loose = self.wild();
        let fits = |found: Kind| {
            found == kind
                || (kind == Kind::Text && matches!(found, Kind::Number | Kind::Bool))
                || loose
        };
        let names: Vec<&String> = self
            .variables
            .iter()
            .chain(&self.locals)
            .filter(|(_, found)| fits(*found))
            .map(|(name, _)| name)
            .collect();
        if names.is_empty() || (self.wildness > 0 && self.random.below(400) == 0) {
            return (loose && self.random.percent(30)).then(|| "UNDEFINED".to_owned());
        }
        Some((*self.random.pick(&names)).clone())
    }

    fn user_call(&mut self, kind: Kind, depth: usize) -> Option<String> {
        let functions: Vec<Callable> = self
            .functions
            .iter()
            .filter(|f| f.kind == kind)
            .cloned()
            .collect();
        if functions.is_empty() {
            return None;
        }
        let function = self.random.pick(&functions).clone();
        let mut count = function.parameters;
        if function.variadic {
            count += self.random.below(3);
        }
        if self.wild() {
            count += 1;
        }
        let arguments: Vec<String> = (0..count)
            .map(|_| self.text(depth.saturating_sub(1)))
            .collect();
        Some(format!("{}({})", function.name, arguments.join(", ")))
    }

    // Forms that every kind has.
    fn common(&mut self, kind: Kind, depth: usize) -> Option<String> {
        if self.wild() {
            return Some(self.any(depth.saturating_sub(1)));
        }
        if self.random.percent(25)
            && let Some(name) = self.name(kind)
        {
            return Some(name);
        }
        if depth == 0 {
            return None;
        }
        let inner = depth - 1;
        match self.random.below(24) {
            0 => {
                let (condition, yes, no) =
                    (self.bool(inner), self.of(kind, inner), self.of(kind, inner));
                Some(format!("{condition} ? {yes} : {no}")).map(|text| format!("({text})"))
            }
            1 => {
                let (first, second) = (self.any(inner), self.of(kind, inner));
                Some(format!("try({first}.x, {second})"))
                    .filter(|_| first.ends_with(['}', ')', ']']))
            }
            2 => {
                let (place, element, other) = (
                    self.random.below(2),
                    self.of(kind, inner),
                    self.of(kind, inner),
                );
                Some(match self.random.below(3) {
                    0 => format!("[{element}, {other}][{place}]"),
                    1 => format!("[{element}, {other}].{place}"),
                    _ => format!("[{element}, {other}][\"{place}\"]"),
                })
            }
            3 => {
                let value = self.of(kind, inner);
                let key = *self.random.pick(&["a", "b", "key-1", "é"]);
                Some(match self.random.below(3) {
                    0 => format!("{{{key} = {value}}}.{key}"),
                    1 => format!("{{\"{key}\": {value}}}[\"{key}\"]"),
                    _ => format!("{{{key} = {value}, z = 1,}}.{key}"),
                })
            }
            4 => {
                let value = self.of(kind, inner);
                Some(format!("({value})"))
            }
            5 => self.user_call(kind, inner),
            6 => Some(self.call(Some(Kind::Any), inner)).filter(|_| kind == Kind::Any),
            7 | 8 => Some(self.call(Some(kind), inner)),
            9 => self.reference(kind),
            10 => {
                let (values, fallback) = (self.of(kind, inner), self.of(kind, inner));
                Some(format!("coalesce(null, {values}, {fallback})"))
            }
            11 => {
                let value = self.of(kind, inner);
                Some(format!("( # comment\n{value} /* é */)"))
            }
            _ => None,
        }
    }

    // An attribute of another target or group.
    fn reference(&mut self, kind: Kind) -> Option<String> {
        if !self.references || self.targets.is_empty() {
            return None;
        }
        let target = self.random.pick(&self.targets).clone();
        let attribute = match kind {
            Kind::Text => *self.random.pick(&[
                "dockerfile",
                "context",
                "target",
                "name",
                "description",
                "shm-size",
            ]),
            Kind::Texts => *self
                .random
                .pick(&["tags", "platforms", "inherits", "annotations"]),
            Kind::Map => *self.random.pick(&["args", "labels", "contexts"]),
            Kind::Bool => *self.random.pick(&["no-cache", "pull"]),
            Kind::Any => *self.random.pick(&[
                "output",
                "cache-from",
                "secret",
                "attest",
                "resources",
                "matrix",
            ]),
            Kind::Number | Kind::Numbers => return None,
        };
        if kind == Kind::Texts && !self.groups.is_empty() && self.random.percent(30) {
            let group = self.random.pick(&self.groups);
            return Some(format!("group.{group}.targets"));
        }
        let reference = match self.random.below(12) {
            0 if self.wild() => format!("target[\"{target}\"].{attribute}"),
            1 => format!("target.{target}[\"{attribute}\"]"),
            _ => format!("target.{target}.{attribute}"),
        };
        // An attribute that a target does not set is null.
        let fallback = match kind {
            Kind::Text => "\"t\"",
            Kind::Texts => "[]",
            Kind::Map => "{}",
            Kind::Bool => "false",
            _ => return Some(reference),
        };
        if self.random.percent(15) {
            return Some(reference);
        }
        Some(format!(
            "try(coalesce({reference}, {fallback}), {fallback})"
        ))
    }

    pub(super) fn text(&mut self, depth: usize) -> String {
        if let Some(common) = self.common(Kind::Text, depth) {
            return common;
        }
        match self
            .random
            .weighted(&[8, 2, 1, if depth == 0 { 0 } else { 6 }])
        {
            0 => self.plain_text(),
            1 => self.number(0),
            2 => (*self.random.pick(&["true", "false"])).to_owned(),
            _ => format!("\"{}\"", self.template(depth - 1)),
        }
    }

    /// A quoted text, in one of the ways to write it.
    pub(super) fn plain_text(&mut self) -> String {
        let text = *self.random.pick(words::TEXTS);
        match self.random.below(8) {
            0 => {
                let escaped: String = text
                    .chars()
                    .map(|c| {
                        let code = u32::from(c);
                        if code < 0x1_0000 {
                            format!("\\u{code:04x}")
                        } else {
                            format!("\\U{code:08x}")
                        }
                    })
                    .collect();
                format!("\"{escaped}\"")
            }
            1 => format!(
                "\"{}{}\"",
                escape(text),
                self.random.pick(&[
                    "\\u00e9",
                    "\\U0001F600",
                    "\\\"",
                    "$${a}",
                    "%%{b}",
                    "$$",
                    "%",
                    "$$$",
                    "$"
                ])
            ),
            _ => quote(text),
        }
    }

    pub(super) fn number(&mut self, depth: usize) -> String {
        if let Some(common) = self.common(Kind::Number, depth) {
            return common;
        }
        if depth == 0 || self.random.percent(55) {
            return (*self.random.pick(words::NUMBERS)).to_owned();
        }
        let inner = depth - 1;
        if self.random.percent(15) {
            let value = self.number(inner);
            return format!("-{value}");
        }
        let operator = *self.random.pick(&["+", "-", "*", "/", "%"]);
        let (left, right) = (self.number(inner), self.number(inner));
        match self.random.below(4) {
            0 => format!("({left}{operator}{right})"),
            1 => format!("({left} {operator}\n{right})"),
            _ => format!("({left} {operator} {right})"),
        }
    }

    pub(super) fn bool(&mut self, depth: usize) -> String {
        if let Some(common) = self.common(Kind::Bool, depth) {
            return common;
        }
        if depth == 0 || self.random.percent(40) {
            let pool: &[&str] = if self.random.percent(85) {
                &["true", "false"]
            } else {
                &["\"true\"", "\"false\"", "\"1\"", "\"0\""]
            };
            return (*self.random.pick(pool)).to_owned();
        }
        let inner = depth - 1;
        match self.random.below(4) {
            0 => {
                let operator = *self.random.pick(&["<", ">", "<=", ">="]);
                let (left, right) = (self.number(inner), self.number(inner));
                format!("({left} {operator} {right})")
            }
            1 => {
                let operator = *self.random.pick(&["==", "!="]);
                let (left, right) = (self.any(inner), self.any(inner));
                format!("({left} {operator} {right})")
            }
            2 => {
                let value = self.bool(inner);
                format!("!{value}")
            }
            _ => {
                let operator = *self.random.pick(&["&&", "||"]);
                let (left, right) = (self.bool(inner), self.bool(inner));
                format!("({left} {operator} {right})")
            }
        }
    }

    pub(super) fn texts(&mut self, depth: usize) -> String {
        if let Some(common) = self.common(Kind::Texts, depth) {
            return common;
        }
        if depth == 0 || self.random.percent(55) {
            return self.list(Kind::Text, depth);
        }
        let inner = depth - 1;
        match self.random.below(4) {
            0 => {
                let (list, body) = (
                    self.texts(inner),
                    self.within(&[("v", Kind::Text)], Kind::Text, inner),
                );
                let filter = if self.random.percent(30) {
                    " if v != \"\""
                } else {
                    ""
                };
                format!("[for v in {list}: {body}{filter}]")
            }
            1 => {
                let (map, body) = (
                    self.map(inner),
                    self.within(&[("k", Kind::Text), ("v", Kind::Text)], Kind::Text, inner),
                );
                format!("[for k, v in {map} : {body}]")
            }
            2 => {
                let (a, b) = (self.text(inner), self.text(inner));
                let splat = *self.random.pick(&["[*].a", ".*.a", "[*][\"a\"]"]);
                format!("[{{a = {a}}}, {{a = {b}}}]{splat}")
            }
            _ => {
                let value = self.text(inner);
                let splat = *self.random.pick(&["[*]", ".*"]);
                format!("({value}){splat}")
            }
        }
    }

    /// An expression that may also use `names`.
    pub(super) fn within(&mut self, names: &[(&str, Kind)], kind: Kind, depth: usize) -> String {
        let count = self.locals.len();
        self.locals
            .extend(names.iter().map(|(name, kind)| ((*name).to_owned(), *kind)));
        let body = self.of(kind, depth);
        self.locals.truncate(count);
        body
    }

    fn list(&mut self, kind: Kind, depth: usize) -> String {
        let elements: Vec<String> = (0..self.random.below(4))
            .map(|_| self.of(kind, depth.saturating_sub(1)))
            .collect();
        match self.random.below(5) {
            0 if !elements.is_empty() => format!("[\n{},\n]", elements.join(",\n")),
            1 if !elements.is_empty() => {
                format!("[ # first\n{} // last\n]", elements.join(" /* , */, "))
            }
            _ => format!("[{}]", elements.join(", ")),
        }
    }

    pub(super) fn numbers(&mut self, depth: usize) -> String {
        if let Some(common) = self.common(Kind::Numbers, depth) {
            return common;
        }
        self.list(Kind::Number, depth)
    }

    pub(super) fn map(&mut self, depth: usize) -> String {
        if let Some(common) = self.common(Kind::Map, depth) {
            return common;
        }
        if depth > 0 && self.random.percent(25) {
            let inner = depth - 1;
            return match self.random.below(3) {
                0 => {
                    let (list, body) = (
                        self.texts(inner),
                        self.within(&[("v", Kind::Text)], Kind::Text, inner),
                    );
                    let group = *self.random.pick(&["", "", "..."]);
                    let key = if group.is_empty() {
                        "\"${i}\""
                    } else {
                        "\"${v}\""
                    };
                    format!("{{for i, v in {list}: {key} => {body}{group}}}")
                }
                1 => {
                    let (map, body) = (
                        self.map(inner),
                        self.within(&[("k", Kind::Text), ("v", Kind::Text)], Kind::Text, inner),
                    );
                    format!("{{for k, v in {map} : k => {body} if k != \"b\"}}")
                }
                _ => {
                    let (a, b) = (self.map(inner), self.map(inner));
                    format!("merge({a}, {b})")
                }
            };
        }
        let count = self.random.below(4);
        let entries: Vec<String> = (0..count)
            .map(|_| {
                let value = self.text(depth.saturating_sub(1));
                let equals = *self.random.pick(&["=", " = ", ": ", " :"]);
                let key = self.key(depth);
                format!("{key}{equals}{value}")
            })
            .collect();
        match self.random.below(4) {
            0 if count > 0 => format!("{{\n{}\n}}", entries.join("\n")),
            1 if count > 0 => format!("{{ {}, // end\n }}", entries.join(", ")),
            2 if count > 0 => format!("{{\n# é\n\n{},\n/* x */\n}}", entries.join(",\n")),
            _ => format!("{{{}}}", entries.join(", ")),
        }
    }

    fn key(&mut self, depth: usize) -> String {
        match self.random.below(9) {
            0 => quote(self.pick_of(words::KEYS)),
            1 if depth > 0 => format!("({})", self.text(depth - 1)),
            2 if depth > 0 => format!("\"{}\"", self.template(depth - 1)),
            3 => (*self.random.pick(&["1", "true", "null", "for1"])).to_owned(),
            _ => (*self.random.pick(&["a", "b", "c", "K", "key-1", "é"])).to_owned(),
        }
    }
}
