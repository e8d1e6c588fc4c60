//! The command line and the environment.

use super::blocks::Variable;
use super::expression::{Kind, Maker};
use super::words;
use crate::Case;

const SETS: &[(&str, &[&str])] = &[
    ("context", words::PATHS),
    ("dockerfile", &["D", "", "x"]),
    ("target", &["s", ""]),
    ("call", &["check", "build", ""]),
    ("shm-size", words::SIZES),
    ("no-cache", &["true", "false", "!x", "1", "!"]),
    ("pull", &["true", "F", "!", "!yes"]),
    ("push", &["true", "false", "0", "!x", "!"]),
    ("load", &["true", "false", "!"]),
    ("args.A", &["1", "", "a=b", "${x}"]),
    ("!args.", &["1"]),
    ("args.a.b", &["1"]),
    ("labels.l", &["v", ""]),
    ("!labels", &["v"]),
    ("contexts.x", &["sub", "", "target:a", "!target:missing"]),
    ("extra-hosts.h1", &["1.2.3.4", ""]),
    ("tags", &["t1", "t2", "", "a,b"]),
    (
        "platform",
        &["linux/amd64", "linux/arm64,linux/amd64", "!", "!x"],
    ),
    (
        "output",
        &[
            "type=image",
            "type=local,dest=out",
            "",
            "out",
            "type=registry",
            "type=docker",
        ],
    ),
    ("cache-from", &["r.test/c", "type=gha", "", "!x=y"]),
    ("cache-to", &["type=inline", "", "type=local,dest=cache"]),
    ("secrets", &["id=a,src=secret.txt", "", "id=q,env=TOKEN"]),
    ("ssh", &["!default", "", "!k=a"]),
    (
        "attest",
        &["type=sbom", "", "type=provenance,mode=max", "!x"],
    ),
    ("annotations", &["a=b", "!", "!bad"]),
    ("entitlements", &["network.host", "x", ""]),
    ("policy", &["filename=a.rego", "!disabled=true", "", "!x"]),
    (
        "!secret.a",
        &[
            "env=TOKEN",
            "src=secret.txt",
            "!id=b",
            "!",
            "!src=missing.txt",
        ],
    ),
    ("resources.memory", &["1g", "", "!x"]),
    ("resources.cpu-shares", &["5", "!x"]),
    ("!resources.x", &["1"]),
    ("network", &["host", "none", ""]),
    ("ulimits", &["nofile=1", "!", "!x"]),
    ("no-cache-filter", &["s1", ""]),
    ("!platforms", &["linux/amd64"]),
    ("!inherits", &["a"]),
    ("!unknown", &["x"]),
    ("!description", &["x"]),
    ("!dockerfile-inline", &["x"]),
    ("!", &["x"]),
    ("!matrix", &["x"]),
    ("!name", &["x"]),
    ("resources.memory-swap", &["-1", "!x"]),
    ("!resources", &["x"]),
    ("!args", &["x", "A"]),
    ("!secret", &["x"]),
    ("!secret.missing", &["env=X"]),
    ("labels.a.b", &["c"]),
    ("!cache_from", &["x"]),
];

impl Maker {
    /// Adds targets, flags and overrides to a case.
    pub(super) fn command(&mut self, case: &mut Case) {
        if self.random.percent(8) {
            let list = self.choose(&[
                "--list=targets",
                "--list=variables",
                "--list=type=targets,format=json",
                "--list=type=variables,format=json",
                "!--list=x",
                "!--list=variables,format=json",
            ]);
            case.args.push(list.to_owned());
            return;
        }
        if self.random.percent(30) {
            for _ in 0..self.random.between(1, 3) {
                let set = self.set();
                case.args.extend(["--set".to_owned(), set]);
            }
        }
        if self.random.percent(20) {
            let flags = &[
                "--push",
                "--load",
                "--no-cache",
                "--pull",
                "--no-cache=false",
                "--sbom=true",
                "--sbom=false",
                "--provenance=mode=max",
                "--provenance=false",
                "--call=check",
                "--check",
                "--call=outline",
                "--call=build",
                "--call=check,format=json",
                "--push=false",
                "--policy=disabled=true",
                "!--policy=filename=x",
                "!--sbom=generator=x",
                "!--provenance=x",
                "--policy=strict=true",
                "!--call=x,y=z",
                "--pull=false",
                "--load=false",
                "--policy=log-level=info",
                "--provenance=",
                "--sbom=",
                "--call=",
                "--progress=plain",
                "--allow=network.host",
                "!--allow=foo",
            ];
            for _ in 0..self.random.between(1, 2) {
                let flag = self.choose(flags);
                case.args.push(flag.to_owned());
            }
        }
        let default = self
            .targets
            .iter()
            .chain(&self.groups)
            .any(|name| name == "default");
        if !default || self.random.percent(60) {
            for _ in 0..self.random.between(1, 2) {
                let target = self.target_pattern();
                case.args.push(target);
            }
        }
        if self.random.percent(2) {
            case.environment
                .push(("SOURCE_DATE_EPOCH".to_owned(), "1".to_owned()));
        }
        if self.random.percent(3) {
            let value = self.choose(&["1", "true", "0", "!maybe", ""]);
            let name = *self.random.pick(&[
                "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP",
                "BUILDX_BAKE_FILE_RELATIVE_PATHS",
            ]);
            case.environment.push((name.to_owned(), value.to_owned()));
        }
        if self.random.percent(10) {
            case.environment
                .push(("TOKEN".to_owned(), "secret".to_owned()));
        }
    }

    fn set(&mut self) -> String {
        let targets = self.targets.clone();
        let pattern = match self.random.below(10) {
            0 => "*".to_owned(),
            1 => self
                .choose(&[
                    "*a*", "[a-z]*", "!?", "![", "!missing", "!app-*", "[^x]*", "!g", "!",
                ])
                .to_owned(),
            _ if targets.is_empty() => "default".to_owned(),
            _ => self.random.pick(&targets).clone(),
        };
        let keys: Vec<&str> = SETS.iter().map(|(key, _)| *key).collect();
        let key = self.choose(&keys);
        let values = SETS
            .iter()
            .find(|(found, _)| found.trim_start_matches('!') == key)
            .map_or(&["x"][..], |(_, values)| values);

        let equals = *self.random.pick(&["=", "=", "=", "=", "+=", "+="]);
        if self.random.percent(2) {
            return format!("{pattern}.{key}");
        }
        format!("{pattern}.{key}{equals}{}", self.choose(values))
    }

    fn target_pattern(&mut self) -> String {
        match self.random.below(30) {
            0 => self
                .choose(&[
                    "!missing", "!a.b", "*a*", "*", "![ab]", "![", "!app-*", "!_*", "!?", "!x_1",
                    "!", "!web.app", "![a-", "!\\a", "!a\\", "[!x]*", "[^x]*",
                ])
                .to_owned(),
            1..6 if !self.groups.is_empty() => self.random.pick(&self.groups).clone(),
            _ if self.targets.is_empty() => "default".to_owned(),
            _ => self.random.pick(&self.targets).clone(),
        }
    }

    /// Gives a variable a value on the command line or in the environment.
    pub(super) fn outside_value(&mut self, variable: &Variable, case: &mut Case) {
        let json = self.random.percent(20);
        let pool: &[&str] = if json {
            &[
                "\"a\"",
                "1",
                "[\"a\",\"b\"]",
                "{\"a\":\"x\"}",
                "{\"a\":\"x\",\"b\":2}",
                "null",
                "[]",
                "x",
                "",
                "[1,\"b\"]",
                "true",
                "{}",
                "[[\"a\"]]",
                "{\"a\":[\"x\"]}",
            ]
        } else {
            match (variable.ty, variable.kind) {
                (Some("number"), _) | (_, Kind::Number) => &[
                    "1",
                    "1e3",
                    "-0.5",
                    "0x10",
                    "0x1p4",
                    "1_000",
                    "",
                    "abc",
                    "NaN",
                    "123456789012345678901",
                    "0.1",
                    "Inf",
                    " 1",
                    "+1",
                    ".5",
                    "1e400",
                    "5.",
                    "0b1",
                    "1e-400",
                    "007",
                ],
                (Some("bool"), _) | (_, Kind::Bool) => {
                    &["true", "false", "1", "T", "yes", "", "TRUE", "tRUE", "on"]
                }
                (Some(_), Kind::Texts | Kind::Numbers | Kind::Any) => &[
                    "a,b",
                    "1,2",
                    "",
                    "a",
                    "\"a,b\",c",
                    "a,\"b",
                    "true,false",
                    " a, b",
                    "a,1",
                    "a\nb",
                    "x\"y",
                    "1",
                    "a,b,c",
                    "é",
                ],
                (Some(_), Kind::Map) => &[
                    "a:1",
                    "a:1,b:2",
                    "",
                    "a",
                    "a:b:c",
                    "\"a:x,y\"",
                    "\"a\":1",
                    ":1",
                    "a:",
                ],
                _ => words::TEXTS,
            }
        };
        let value = if self.wild() {
            "strange"
        } else {
            *self.random.pick(pool)
        };
        let name = if json {
            format!("{}_JSON", variable.name)
        } else {
            variable.name.clone()
        };
        if self.random.percent(40) {
            case.args
                .extend(["--var".to_owned(), format!("{name}={value}")]);
        } else if !name.contains(['=', '\0']) {
            case.environment.retain(|(found, _)| *found != name);
            case.environment.push((name, value.to_owned()));
        }
    }
}
