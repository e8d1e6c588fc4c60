//! The attributes of targets, each in all the forms it takes.

use super::document::{Block, Key, Value, quote};
use super::expression::{Kind, Maker};
use super::words;

/// The attributes, and how often each is chosen.
const ATTRIBUTES: &[(&str, usize)] = &[
    ("description", 2),
    ("inherits", 6),
    ("annotations", 3),
    ("attest", 3),
    ("context", 4),
    ("contexts", 4),
    ("dockerfile", 3),
    ("dockerfile-inline", 2),
    ("args", 8),
    ("labels", 4),
    ("tags", 6),
    ("cache-from", 4),
    ("cache-to", 3),
    ("target", 2),
    ("secret", 3),
    ("ssh", 1),
    ("platforms", 3),
    ("output", 5),
    ("pull", 2),
    ("no-cache", 2),
    ("network", 2),
    ("no-cache-filter", 2),
    ("shm-size", 2),
    ("ulimits", 2),
    ("resources", 2),
    ("call", 1),
    ("entitlements", 2),
    ("extra-hosts", 2),
    ("policy", 2),
    ("unknown", 1),
];

const OUTPUTS: &[&str] = &[
    "type=image",
    "type=image,name=x/y,push=true",
    "type=registry",
    "type=docker",
    "type=docker,dest=out/i.tar",
    "type=oci,dest=o.tar",
    "type=local,dest=out",
    "out/dir",
    "type=tar,dest=o.tar",
    "type=cacheonly",
    "",
    "!type=local",
    "dest=x",
    "!-",
    "!type=oci,tar=false,dest=d",
    "!TYPE=image",
    "type=image,\"name=a,b\"",
    "type=x,a=b",
    "type=local,dest=out,mode=delete",
    "!type=local,dest=out,mode=zz",
    "!type=image,push",
    "! type=image",
    "type=image, push=true",
    "!type=local,dest=secret.txt",
    "type=image,compression=zstd,compression-level=3",
    "!type=oci",
    "!type=tar",
    "type=registry,name=r.test/a:1",
    "type=image,name=\"a\"",
    "!a,b",
    "type=local,dest=~/x",
    "type=image,Push=true",
    "type=image,a=b=c",
    "type=docker,context=x",
];
const CACHES: &[&str] = &[
    "type=registry,ref=r.test/cache",
    "r.test/cache:1",
    "type=local,src=cache",
    "type=local,dest=cache",
    "type=inline",
    "type=gha",
    "type=gha,scope=x,version=2",
    "a,b",
    "",
    "type=s3,region=eu,bucket=b",
    "!ref=x",
    "type=local,src=cache,tag=v",
    "type=local,dest=cache,mode=max,compression=zstd",
    "TYPE=inline",
    "type=registry",
    "type=x",
    "type=local",
    "a b",
    "type=registry,REF=x",
    " r.test/c",
    "type=azblob,account_url=x,name=y",
    "!type=inline,a",
];
const SECRETS: &[&str] = &[
    "id=a,src=secret.txt",
    "id=b,env=TOKEN",
    "!id=c",
    "!id=d,src=missing.txt",
    "!src=secret.txt",
    "",
    "id=a,type=env,src=TOKEN",
    "id=a,type=file,src=secret.txt",
    "id=e,source=secret.txt",
    "!x",
    "!id=a,foo=b",
    "id=TOKEN",
    "!id=a,type=env",
    "type=env,id=a,env=TOKEN",
    "!id=a,env=TOKEN,src=missing.txt",
    "ID=a,SRC=secret.txt",
    "!id=a,type=x",
    "!id=,src=secret.txt",
    "id=a,src=sub",
    "\"id=q\",env=TOKEN",
];
const ATTESTS: &[&str] = &[
    "type=provenance,mode=max",
    "type=sbom",
    "type=provenance,disabled=true",
    "type=sbom,generator=x/y",
    "",
    "!mode=max",
    "!type=sbom,disabled=x",
    "type=provenance,mode=min,inline-only=true",
    "type=x",
    "type=sbom,disabled=1",
    "!TYPE=sbom",
    "type=provenance,reproducible=true,\"builder-id=a,b\"",
    "!provenance",
    "type=sbom,disabled=false",
    "type=,a=b",
];
const POLICIES: &[&str] = &[
    "filename=a.rego",
    "filename=a.rego,strict=true",
    "!reset=true",
    "!disabled=true",
    "strict=false",
    "log-level=info",
    "!log-level=zz",
    "",
    "filename=a.rego,filename=b.rego",
    "!x=y",
    "!strict=x",
    "!a.rego",
    "log-level=warning,filename=p",
    "filename=",
    "reset=false,filename=a.rego",
    "LOG-LEVEL=debug",
    "log-level=WARN",
];
const ENTITLEMENTS: &[&str] = &[
    "network.host",
    "security.insecure",
    "device",
    "device=x.test/y=z",
    "foo",
    "",
    "network.host ",
    "ssh",
    "fs.read=/",
];
const HOSTS: &[&str] = &[
    "1.2.3.4",
    "::1",
    "[::1]",
    "1.2.3.4,::1",
    "host-gateway",
    "x",
    "",
    "1.2.3.4 ",
    "[1.2.3.4]",
    "1.2.3",
];

impl Maker {
    /// The name of an attribute that a target may have.
    pub(super) fn attribute_name(&mut self) -> &'static str {
        let weights: Vec<usize> = ATTRIBUTES.iter().map(|(_, weight)| *weight).collect();
        let place = self.random.weighted(&weights);
        ATTRIBUTES.get(place).map_or("args", |(name, _)| *name)
    }

    /// A value for an attribute of a target.
    pub(super) fn attribute_value(&mut self, name: &str) -> Value {
        if self.wild() {
            return match self.random.below(3) {
                0 => Value::Null,
                1 => Value::Expression(self.any(2)),
                _ => {
                    let other = *self
                        .random
                        .pick(&["tags", "args", "pull", "output", "context"]);
                    self.fitting(other)
                }
            };
        }
        self.fitting(name)
    }

    #[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
    fn fitting(&mut self, name: &str) -> Value {
        match name {
            "description" => Value::text(self.choose(&["a \"d\"", "", "é", "${x}"])),
            "dockerfile" | "target" => self.scalar(&[
                "Dockerfile",
                "a.Dockerfile",
                "stage",
                "",
                "cwd://Dockerfile",
                "sub/D",
                "text $${x}",
                "D \"q\"",
                "../Dockerfile",
                "/abs/D",
            ]),
            "dockerfile-inline" => {
                if self.random.percent(60) {
                    Value::Expression(self.heredoc(1))
                } else {
                    self.scalar(&["FROM scratch\n", "", "RUN ${x}"])
                }
            }
            "context" => self.scalar(words::PATHS),
            "network" => self.scalar(&["host", "none", "default", "", "bridge"]),
            "shm-size" => self.scalar(words::SIZES),
            "call" => self.scalar(&[
                "check",
                "outline",
                "targets",
                "build",
                "",
                "lint",
                "x",
                "check,format=json",
            ]),
            "pull" | "no-cache" => match self.random.below(10) {
                0 => Value::Null,
                1 => Value::text(self.choose(&["true", "1", "0", "!True"])),
                2 => Value::Expression(self.bool(2)),
                place => Value::Bool(place % 2 == 0),
            },
            "tags" => self.strings(&[
                "r.test/a:1",
                "a",
                "a:b",
                "a",
                "",
                "r.test/a:1",
                "UPPER",
                "a:${V}",
                "localhost:5000/x@y",
            ]),
            "platforms" => self.strings(words::PLATFORMS),
            "annotations" => self.strings(words::ANNOTATIONS),
            "no-cache-filter" => self.strings(&["s1", "s2", "", "s1", "a,b"]),
            "ulimits" => self.strings(words::ULIMITS),
            "entitlements" => self.strings(ENTITLEMENTS),
            "inherits" => {
                let targets = self.targets.clone();
                if targets.is_empty() || self.wild() {
                    return Value::texts(["missing"]);
                }
                let count = self.random.between(1, 2);
                Value::texts(
                    (0..count)
                        .map(|_| self.random.pick(&targets).clone())
                        .collect::<Vec<_>>(),
                )
            }
            "args" | "labels" => {
                self.entries(&["A", "B", "a.b", "VERSION", "with space", "é"], None)
            }
            "extra-hosts" => self.entries(&["h1", "h2", "a.b"], Some(HOSTS)),
            "contexts" => self.entries(&["x", "y", "base", "alpine"], Some(words::PATHS)),
            "output" => self.structured(
                OUTPUTS,
                &[
                    ("type", &["image", "local", "docker", "registry", "oci"]),
                    ("dest", &["out", "o.tar", "!"]),
                    ("push", &["true", "false"]),
                    ("name", &["a", "r.test/b"]),
                    ("Key", &["v"]),
                ],
            ),
            "cache-from" | "cache-to" => self.structured(
                CACHES,
                &[
                    ("type", &["registry", "local", "inline", "gha"]),
                    ("ref", &["r.test/c"]),
                    ("src", &["cache"]),
                    ("dest", &["cache"]),
                    ("mode", &["max"]),
                    ("Key", &["v", ""]),
                ],
            ),
            "secret" => self.structured(
                SECRETS,
                &[
                    ("id", &["a", "b", "!c", "TOKEN", "!"]),
                    ("src", words::SECRET_FILES),
                    ("env", &["TOKEN", ""]),
                    ("type", &["env", "file"]),
                ],
            ),
            "ssh" => self.structured(
                &[
                    "!default",
                    "!k=key.pem",
                    "!k=a,b",
                    "",
                    "!default=sock",
                    "!=x",
                ],
                &[("id", &["!default", "!k", "!"]), ("x", &["y"])],
            ),
            "attest" => self.structured(
                ATTESTS,
                &[
                    ("type", &["provenance", "sbom", "x"]),
                    ("mode", &["max", "min"]),
                    ("disabled", &["true", "false", "!x", "1"]),
                ],
            ),
            "policy" => self.structured(
                POLICIES,
                &[
                    ("filename", &["a.rego", ""]),
                    ("strict", &["true", "!x"]),
                    ("reset", &["true", "false"]),
                    ("disabled", &["!true", "false"]),
                    ("log-level", &["info", "!zz"]),
                ],
            ),
            "resources" => self.resources(),
            _ => Value::Expression(self.any(2)),
        }
    }

    /// One of the texts. Those that begin with `!` are wrong, are chosen rarely, and lose the `!`.
    pub(super) fn choose(&mut self, pool: &[&'static str]) -> &'static str {
        for _ in 0..20 {
            let text = *self.random.pick(pool);
            match text.strip_prefix('!') {
                None => return text,
                Some(wrong) if self.wild() => return wrong,
                Some(_) => {}
            }
        }
        pool.first()
            .copied()
            .unwrap_or_default()
            .trim_start_matches('!')
    }

    // Mostly one of the given texts, else an expression.
    fn scalar(&mut self, pool: &[&'static str]) -> Value {
        match self.random.below(12) {
            0 => Value::Null,
            1 | 2 => Value::Expression(self.text(2)),
            3 => Value::Template(self.template(1)),
            4 if self.wildness > 0 => Value::Number((*self.random.pick(words::NUMBERS)).to_owned()),
            _ => Value::text(self.choose(pool)),
        }
    }

    fn strings(&mut self, pool: &[&'static str]) -> Value {
        match self.random.below(12) {
            0 => Value::Null,
            1 => Value::List(Vec::new()),
            2 | 3 => Value::Expression(self.texts(2)),
            _ => {
                let count = self.random.between(1, 3);
                Value::List((0..count).map(|_| self.element(pool)).collect())
            }
        }
    }

    fn element(&mut self, pool: &[&'static str]) -> Value {
        match self.random.below(16) {
            0 => Value::Expression(self.text(1)),
            1 => Value::Template(self.template(1)),
            2 if self.wildness > 0 => Value::Null,
            3 if self.wildness > 0 => Value::Bool(true),
            _ => Value::text(self.choose(pool)),
        }
    }

    fn entries(&mut self, keys: &[&str], pool: Option<&[&'static str]>) -> Value {
        if self.random.percent(15) && pool.is_none() {
            return Value::Expression(self.map(2));
        }
        if self.random.percent(5) {
            return Value::Null;
        }
        let count = self.random.below(4);
        let entries = (0..count).map(|_| {
            let key = if self.random.percent(6) {
                Key::Expression(self.text(1))
            } else {
                Key::Text((*self.random.pick(keys)).to_owned())
            };
            let value = match pool {
                Some(pool) => self.element(pool),
                None => match self.random.below(10) {
                    0 => Value::Null,
                    1 => Value::Number((*self.random.pick(words::NUMBERS)).to_owned()),
                    2 => Value::Bool(false),
                    3 => Value::Expression(self.heredoc(1)),
                    4 => Value::Template(self.template(2)),
                    5 => Value::text(*self.random.pick(words::TEXTS)),
                    _ => Value::Expression(self.text(3)),
                },
            };
            (key, value)
        });
        let mut entries: Vec<(Key, Value)> = entries.collect();
        if self.wildness == 0 {
            // The JSON syntax does not accept a key twice.
            let mut seen = std::collections::HashSet::new();
            entries.retain(|(key, _)| seen.insert(key.expression()));
        }
        Value::Object(entries)
    }

    fn structured(
        &mut self,
        pool: &[&'static str],
        fields: &[(&'static str, &[&'static str])],
    ) -> Value {
        if self.wild() {
            return self.element(pool);
        }
        if self.random.percent(4) {
            let text = self.choose(pool);
            return Value::Expression(format!("[for x in [{}] : x]", quote(text)));
        }
        let count = self.random.below(4);
        Value::List(
            (0..count)
                .map(|_| {
                    if self.wild() {
                        return self.element(pool);
                    }
                    if self.random.percent(60) {
                        return Value::text(self.choose(pool));
                    }
                    self.object(fields)
                })
                .collect(),
        )
    }

    fn object(&mut self, fields: &[(&'static str, &[&'static str])]) -> Value {
        let mut entries = Vec::new();
        for (place, (name, pool)) in fields.iter().enumerate() {
            if (place == 0 && !self.wild()) || (place > 0 && self.random.percent(40)) {
                let value = match (self.choose(pool), self.random.below(30)) {
                    (_, 0) if self.wildness > 0 => Value::Null,
                    (_, 1) => Value::Number("1".to_owned()),
                    ("true", 2..15) => Value::Bool(true),
                    ("false", 2..15) => Value::Bool(false),
                    (text, _) => Value::text(text),
                };
                entries.push((Key::Text((*name).to_owned()), value));
            }
        }
        if fields.iter().any(|(name, _)| *name == "id")
            && fields.len() == 2
            && self.random.percent(40)
        {
            entries.push((Key::Text("paths".to_owned()), Value::texts(["key.pem"])));
        }
        Value::Object(entries)
    }

    fn resources(&mut self) -> Value {
        let fields: &[(&'static str, &[&'static str])] = &[
            ("memory", &["512m", "1g", "", "!x", "!-1", "4k"]),
            ("memory-swap", &["-1", "1g", "", "2g"]),
            ("cpu-shares", &["512", "0", "-1", "!x", "!1.5"]),
            ("cpu-period", &["100000", "1"]),
            ("cpu-quota", &["50000", "-1"]),
            ("cpuset-cpus", &["0", "0-3", "0,1", "!x", ""]),
            ("cpuset-mems", &["0"]),
            ("unknown", &["x"]),
        ];
        let mut entries = Vec::new();
        for (name, pool) in fields {
            if self.random.percent(if *name == "unknown" { 2 } else { 30 }) {
                let text = self.choose(pool);
                let value = if text.parse::<f64>().is_ok() && self.random.percent(60) {
                    Value::Number(text.to_owned())
                } else {
                    Value::text(text)
                };
                entries.push((Key::Text((*name).to_owned()), value));
            }
        }
        Value::Object(entries)
    }

    /// A kind for the value of a variable or global.
    pub(super) fn kind(&mut self) -> Kind {
        *self.random.pick(&[
            Kind::Text,
            Kind::Text,
            Kind::Number,
            Kind::Bool,
            Kind::Texts,
            Kind::Map,
        ])
    }

    /// Gives a target some attributes.
    pub(super) fn fill(&mut self, block: &mut Block, count: usize) {
        for _ in 0..count {
            let name = self.attribute_name();
            if block
                .attributes
                .iter()
                .any(|attribute| attribute.name == name)
                && !self.wild()
            {
                continue;
            }
            let value = self.attribute_value(name);
            block.set(name, value);
        }
    }
}
