//! Calls of the functions of the language, mostly with arguments that fit.

use super::expression::{Kind, Maker};
use super::words;

/// A function: its name, a letter for what each argument is ([`Maker::argument`]; a last `*` repeats the one before), and what
/// it returns.
pub(super) type Signature = (&'static str, &'static str, Kind);

use Kind::{Any, Bool, Map, Number, Numbers, Text, Texts};

/// All functions except those whose results are never the same twice: `timestamp`, `uuidv4`, `bcrypt`.
#[rustfmt::skip]
pub(super) const SIGNATURES: &[Signature] = &[
    ("absolute", "n", Number), ("add", "nn", Number), ("and", "bb", Bool), ("base64decode", "B", Text), ("base64encode", "t", Text), ("basename", "p", Text),
    ("byteslen", "t", Number), ("bytesslice", "tii", Any), ("can", "a", Bool), ("ceil", "n", Number), ("chomp", "t", Text), ("chunklist", "li", Any),
    ("cidrhost", "ci", Text), ("cidrnetmask", "c", Text), ("cidrsubnet", "cjj", Text), ("cidrsubnets", "ci*", Texts), ("coalesce", "a*", Any), ("coalescelist", "l*", Any),
    ("compact", "l", Texts), ("concat", "l*", Any), ("contains", "la", Bool), ("csvdecode", "C", Any), ("dirname", "p", Text),
    ("distinct", "l", Any), ("divide", "nn", Number), ("element", "li", Any), ("equal", "aa", Bool), ("flatten", "l", Any), ("floor", "n", Number),
    ("format", "fa*", Text), ("formatdate", "dz", Text), ("formatlist", "fa*", Texts), ("formattimestamp", "dz", Text), ("greaterthan", "nn", Bool),
    ("greaterthanorequalto", "nn", Bool), ("hasindex", "xk", Bool), ("homedir", "", Text), ("indent", "it", Text), ("index", "xk", Any), ("indexof", "la", Number),
    ("int", "n", Number), ("join", "tl*", Text), ("jsondecode", "J", Any), ("jsonencode", "a", Text), ("keys", "m", Texts), ("length", "x", Number), ("lessthan", "nn", Bool),
    ("lessthanorequalto", "nn", Bool), ("log", "nn", Number), ("lookup", "mka", Any), ("lower", "t", Text), ("max", "n*", Number), ("md5", "t", Text), ("merge", "m*", Map),
    ("min", "n*", Number), ("modulo", "nn", Number), ("multiply", "nn", Number), ("negate", "n", Number), ("not", "b", Bool), ("notequal", "aa", Bool), ("or", "bb", Bool),
    ("parseint", "ti", Number), ("pow", "ni", Number), ("range", "i*", Numbers), ("regex", "rt", Any), ("regex_replace", "trt", Text), ("regexall", "rt", Any),
    ("replace", "ttt", Text), ("reverse", "t", Text), ("reverselist", "l", Any), ("rsadecrypt", "Bt", Text), ("sanitize", "t", Text), ("semvercmp", "vV", Bool),
    ("sethaselement", "la", Bool), ("setintersection", "l*", Any), ("setproduct", "l*", Any), ("setsubtract", "ll", Any), ("setsymmetricdifference", "l*", Any),
    ("setunion", "l*", Any), ("sha1", "t", Text), ("sha256", "t", Text), ("sha512", "t", Text), ("signum", "n", Number), ("slice", "lii", Any), ("sort", "l", Texts),
    ("split", "tt", Texts), ("strlen", "t", Number), ("substr", "tii", Text), ("subtract", "nn", Number), ("timeadd", "zu", Text), ("title", "t", Text), ("trim", "tt", Text),
    ("trimprefix", "tt", Text), ("trimspace", "t", Text), ("trimsuffix", "tt", Text), ("try", "a*", Any), ("unixtimestampparse", "n", Any), ("upper", "t", Text),
    ("urlencode", "t", Text), ("uuidv5", "Ut", Text), ("values", "m", Any), ("zipmap", "ll", Map),
];

impl Maker {
    /// A call of a library function that returns `kind`, or anything.
    pub(super) fn call(&mut self, kind: Option<Kind>, depth: usize) -> String {
        let fitting: Vec<&Signature> = SIGNATURES
            .iter()
            .filter(|(_, _, returned)| kind.is_none_or(|kind| *returned == kind))
            .collect();
        if fitting.is_empty() || self.wild() {
            let (name, arguments, _) = *self.random.pick(SIGNATURES);
            return self.call_of(name, arguments, depth);
        }
        let (name, arguments, returned) = **self.random.pick(&fitting);
        let call = self.call_of(name, arguments, depth);
        if self.probing || (self.wildness > 0 && self.random.percent(20)) {
            return call;
        }
        let fallback = match returned {
            Text => "\"t\"",
            Number => "1",
            Bool => "true",
            Texts | Any => "[]",
            Numbers => "[1]",
            Map => "{}",
        };
        format!("try({call}, {fallback})")
    }

    pub(super) fn call_of(&mut self, name: &str, arguments: &str, depth: usize) -> String {
        let mut given = Vec::new();
        let mut before = 'a';
        for letter in arguments.chars() {
            if letter == '*' {
                for _ in 0..self.random.below(3) {
                    given.push(self.argument(before, depth));
                }
            } else {
                given.push(self.argument(letter, depth));
                before = letter;
            }
        }
        if self.wild() {
            match self.random.below(3) {
                0 => given.push(self.any(depth)),
                1 => _ = given.pop(),
                _ => given.push("null".to_owned()),
            }
        }
        if self.random.percent(3) && !given.is_empty() {
            // The last argument is expanded from a list.
            let last = given.pop().unwrap_or_default();
            given.push(if self.random.percent(80) {
                format!("[{last}]...")
            } else {
                format!("{last}...")
            });
        }
        let separator = *self.random.pick(&[", ", ",", ", ", " , ", ",\n"]);
        let end = if !given.is_empty()
            && self.random.percent(3)
            && !given.last().is_some_and(|last| last.ends_with("..."))
        {
            ","
        } else {
            ""
        };
        format!("{name}({}{end})", given.join(separator))
    }

    /// An argument of the kind that a letter means.
    fn argument(&mut self, letter: char, depth: usize) -> String {
        if self.wild() {
            return self.any(depth);
        }
        let literal =
            |words: &[&str], random: &mut crate::Random| format!("\"{}\"", random.pick(words));
        match letter {
            't' => self.text(depth),
            'n' => self.number(depth),
            'i' => (*self.random.pick(words::SMALL)).to_owned(),
            // No negative numbers: the result of `cidrsubnet` would be random.
            'j' => (*self
                .random
                .pick(&["0", "1", "2", "8", "24", "33", "1.5", "\"4\"", "255"]))
            .to_owned(),
            'b' => self.bool(depth),
            'l' => match self.random.below(6) {
                0 => self.numbers(depth),
                1 => self.call(Some(Any), depth.saturating_sub(1)),
                2 => {
                    let elements: Vec<String> = (0..self.random.below(4))
                        .map(|_| self.any(depth.saturating_sub(1)))
                        .collect();
                    format!("[{}]", elements.join(", "))
                }
                3 => self.typed(depth),
                _ => self.texts(depth),
            },
            'm' => self.map(depth),
            'x' => match self.random.below(3) {
                0 => self.map(depth),
                1 => self.texts(depth),
                _ => self.typed(depth),
            },
            'k' => match self.random.below(3) {
                0 => (*self.random.pick(words::SMALL)).to_owned(),
                1 => self.text(depth),
                _ => format!("\"{}\"", self.random.pick(&["a", "b", "K"])),
            },
            'c' => literal(words::CIDRS, &mut self.random),
            'r' => literal(words::REGEXES, &mut self.random),
            'f' => literal(words::FORMATS, &mut self.random).replace("%{", "%%{"),
            'd' => literal(words::DATES, &mut self.random),
            'z' => literal(words::TIMES, &mut self.random),
            'u' => literal(words::DURATIONS, &mut self.random),
            'v' => literal(words::VERSIONS, &mut self.random),
            'V' => literal(words::CONSTRAINTS, &mut self.random),
            'J' => match self.random.below(3) {
                0 => format!("jsonencode({})", self.any(depth)),
                _ => literal(words::JSONS, &mut self.random),
            },
            'C' => literal(words::CSVS, &mut self.random),
            'B' => literal(words::BASE64S, &mut self.random),
            'U' => literal(
                &[
                    "dns",
                    "url",
                    "oid",
                    "x500",
                    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                    "x",
                ],
                &mut self.random,
            ),
            'p' => literal(
                &[
                    "", "/", "a/b", "/a/b/", "a", "..", "a//b", "./a", "é/ü", "a/.",
                ],
                &mut self.random,
            ),
            'y' => self.type_expression(),
            _ => self.any(depth),
        }
    }

    /// A type expression, rarely a wrong one.
    pub(super) fn type_expression(&mut self) -> String {
        let pool = if self.random.percent(4) {
            words::BAD_TYPES
        } else {
            words::TYPES
        };
        (*self.random.pick(pool)).to_owned()
    }

    /// A list, set or map with one element type.
    pub(super) fn typed(&mut self, depth: usize) -> String {
        let (value, keyword, collection) = match self.random.below(5) {
            0 => (self.texts(depth), "string", "list"),
            1 => (self.texts(depth), "string", "set"),
            2 => (self.numbers(depth), "number", "set"),
            3 => (self.map(depth), "string", "map"),
            _ => (self.numbers(depth), "number", "list"),
        };
        // buildx reports the second use of a type's name as a variable cycle.
        if self.keywords.insert(keyword) {
            return format!("convert({value}, {collection}({keyword}))");
        }
        match collection {
            "set" => format!("setunion({value})"),
            "map" => format!("merge({value}, {{}})"),
            _ => format!("concat({value})"),
        }
    }
}
