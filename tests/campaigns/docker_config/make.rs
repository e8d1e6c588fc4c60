//! Random configurations, as people and programs write them, and with errors of many kinds.

mod stores;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rbake_differential::Random;

/// The key of the entry for Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";

/// The repositories in the questions.
const REPOSITORIES: [&str; 5] = [
    "proj-a/x",
    "proj-a",
    "proj-b/y",
    "proj-ab/z",
    "proj-a/x/deep",
];

/// The registries in the questions.
const HOSTS: [&str; 6] = [
    "r1.example",
    "r2.example:5000",
    "registry-1.docker.io",
    "localhost:5000",
    "[::1]:5000",
    "dhi.io",
];

/// Names of credential helpers. Some of these helpers do not exist.
pub(super) const HELPERS: [&str; 12] = [
    "good",
    "token",
    "none",
    "fails",
    "junk",
    "cases",
    "null",
    "leaky",
    "missing",
    "with space",
    "../good",
    "é",
];

/// One configuration and the questions about it.
#[derive(Debug, Default)]
pub(super) struct Case {
    /// `config.json`. `None` if there is no such file.
    pub file: Option<Vec<u8>>,
    /// `DOCKER_AUTH_CONFIG`.
    pub variable: Option<String>,
    /// The folders of buildx's configurations by scope, each with the text of its `config.json`.
    pub scoped: Vec<(String, String)>,
    /// A builder in buildx's store, and whether it has an error in a field that rbake does not read.
    pub builder: (Vec<u8>, bool),
    /// The same for a Docker context.
    pub context: (Vec<u8>, bool),
    /// `DOCKER_HOST`.
    pub engine: Option<&'static str>,
    /// Whether the system's usual helper is in PATH.
    pub usual_helper: bool,
    pub asks: Vec<Ask>,
    /// Texts that the program must not print.
    pub secrets: Vec<String>,
    /// What is special about the case, for the statistics.
    pub traits: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub host: &'static str,
    pub scopes: Vec<String>,
}

/// The case of a seed.
pub(super) fn case(seed: u64) -> Case {
    let mut maker = Maker {
        random: Random::new(seed),
        case: Case::default(),
        wildness: [0, 4, 12, 30][usize::try_from(seed % 4).unwrap_or(0)],
    };
    maker.make();
    maker.case
}

struct Maker {
    random: Random,
    case: Case,
    // How many of a hundred values have errors, roughly.
    wildness: usize,
}

impl Maker {
    fn make(&mut self) {
        let document = self.document();
        let file = self.bytes(document);
        self.case.file = (!self.random.percent(3)).then_some(file);
        if self.random.percent(35) {
            let variable = self.variable();
            let variable = String::from_utf8_lossy(&self.bytes(variable)).replace('\0', "");
            self.case.variable = Some(variable).filter(|text| !text.trim().is_empty());
            self.note("variable");
        }
        if self.random.percent(20) {
            self.scoped();
        }
        let (text, wrong) = self.builder();
        self.case.builder = (self.bytes(text), wrong);
        let (text, wrong) = self.context();
        self.case.context = (self.bytes(text), wrong);
        self.case.engine = self
            .random
            .percent(30)
            .then_some("tcp://engine.example:2375");
        self.case.usual_helper = self.random.percent(10);
        self.case
            .secrets
            .extend(["hunter-leak".to_owned(), "hunter-junk".to_owned()]);
        for _ in 0..self.random.between(3, 5) {
            let host = *self.random.pick(&HOSTS);
            let mut scopes = Vec::new();
            for _ in 0..[0, 1, 1, 2][self.random.below(4)] {
                let repository = *self.random.pick(&REPOSITORIES);
                let actions = *self.random.pick(&["pull", "push", "pull,push"]);
                scopes.push(format!("repository:{repository}:{actions}"));
            }
            self.case.asks.push(Ask { host, scopes });
        }
    }

    fn note(&mut self, what: &'static str) {
        if !self.case.traits.contains(&what) {
            self.case.traits.push(what);
        }
    }

    // Converts a text to bytes, sometimes with an error.
    fn bytes(&mut self, text: String) -> Vec<u8> {
        let mut bytes = text.into_bytes();
        if !self.random.percent(self.wildness.max(2)) {
            return bytes;
        }
        let what = self.random.weighted(&[2, 2, 3, 3, 2, 2, 3, 2]);
        match what {
            0 => bytes.clear(),
            1 => bytes = b" \t\r\n".to_vec(),
            2 => drop(bytes.splice(0..0, *b"\xef\xbb\xbf")),
            3 => bytes.extend_from_slice(
                self.random
                    .pick(&["  ", "x", "{}", "}", " ]", "\0"])
                    .as_bytes(),
            ),
            4 => bytes.truncate(self.random.below(bytes.len())),
            5 => {
                let at = self.random.below(bytes.len().max(1));
                bytes.insert(at.min(bytes.len()), 0xff);
            }
            6 => {
                let other =
                    *self
                        .random
                        .pick(&["null", "[]", "\"x\"", "5", "true", "[{\"auths\":{}}]"]);
                bytes = other.as_bytes().to_vec();
            }
            _ => {
                let depth = *self.random.pick(&[150, 9_998, 10_000, 12_000]);
                let nested = format!("{{\"deep\":{}{},", "[".repeat(depth), "]".repeat(depth));
                bytes.splice(
                    ..usize::from(bytes.first() == Some(&b'{')),
                    nested.into_bytes(),
                );
            }
        }
        let names = [
            "empty",
            "blank",
            "mark",
            "trailing",
            "cut",
            "bytes",
            "other root",
            "deep",
        ];
        self.note(names[what]);
        bytes
    }

    fn document(&mut self) -> String {
        let mut members = Vec::new();
        for _ in 0..[1, 1, 1, 1, 1, 2, 0][self.random.below(7)] {
            let auths = self.auths();
            members.push(self.member("auths", auths));
        }
        if self.random.percent(12) {
            let helper = self.helper();
            members.push(self.member("credsStore", helper));
            self.note("credsStore");
        }
        if self.random.percent(12) {
            let entries = (0..self.random.between(1, 3)).map(|_| {
                let host = *self.random.pick(&HOSTS);
                let key = if host == "registry-1.docker.io" {
                    HUB
                } else {
                    host
                };
                let helper = self.helper();
                (key.to_owned(), helper)
            });
            let entries: Vec<_> = entries.collect();
            let helpers = self.object(&entries);
            members.push(self.member("credHelpers", helpers));
            self.note("credHelpers");
        }
        if self.random.percent(40) {
            let proxies = self.proxies();
            members.push(self.member("proxies", proxies));
        }
        for _ in 0..[0, 1, 2][self.random.below(3)] {
            let value = *self.random.pick(&["\"far\"", "\"\"", "\"near\"", "null"]);
            members.push(self.member("currentContext", value.to_owned()));
        }
        for _ in 0..self.random.below(4) {
            let (key, value) = *self.random.pick(&[
                ("HttpHeaders", r#"{"X-Meta":"a","User-Agent":null}"#),
                ("plugins", r#"{"buildx":{"a":"b"},"x":null}"#),
                ("psFormat", r#""table {{.ID}}""#),
                ("detachKeys", r#""ctrl-e""#),
                ("aliases", r#"{"builder":"buildx"}"#),
                ("features", r#"{"buildkit":"true"}"#),
                ("pruneFilters", r#"["until=24h"]"#),
                ("cliPluginsExtraDirs", "null"),
                ("unknown", "123456789012345678901234567890e999"),
                ("experimental", r#"{"auths":[1,-0.5e-3]}"#),
            ]);
            members.push(self.member(key, value.to_owned()));
        }
        let start = self.random.below(members.len().max(1));
        members.rotate_left(start);
        format!(
            "{{{}}}",
            members.join(if self.random.percent(50) {
                ","
            } else {
                " ,\n\t"
            })
        )
    }

    fn member(&mut self, key: &str, value: String) -> String {
        let key = self.key(key);
        let value = self.or_wrong(value);
        format!("{key}:{value}")
    }

    // A member that, if wrong, is not a string: rbake would print a string as an address or a name.
    fn text_member(&mut self, key: &str, value: &str) -> String {
        let key = self.key(key);
        if !self.random.percent(self.wildness / 3 + 1) {
            return format!("{key}:{}", json(value));
        }
        let secret = self.secret();
        match self.random.below(3) {
            0 => format!("{key}:null"),
            1 => format!("{key}:[\"{secret}\"]"),
            _ => format!("{key}:{{\"{secret}\":1}}"),
        }
    }

    // A key, sometimes in other letter case, which Go accepts.
    fn key(&mut self, key: &str) -> String {
        if self.random.percent(70) {
            return format!("\"{key}\"");
        }
        self.note("key in another case");
        let mut text = String::new();
        for c in key.chars() {
            match (self.random.below(8), c) {
                (0 | 1, c) => text.extend(c.to_uppercase()),
                (2, c) => text.extend(c.to_lowercase()),
                (3, 's') => text.push('ſ'),
                (3, 'k') => text.push('\u{212a}'),
                (4, c) => write!(text, "\\u{:04x}", u32::from(c)).unwrap(),
                (_, c) => text.push(c),
            }
        }
        format!("\"{text}\"")
    }

    fn or_wrong(&mut self, value: String) -> String {
        if self.random.percent(self.wildness / 2 + 1) {
            self.note("null");
            return "null".to_owned();
        }
        if !self.random.percent(self.wildness / 2) {
            return value;
        }
        self.note("wrong type");
        let secret = self.secret();
        match self.random.below(6) {
            0 => format!("\"{secret}\""),
            1 => format!("[\"{secret}\"]"),
            2 => format!("{{\"auth\":\"{secret}\"}}"),
            3 => format!("{{\"h\":{{\"{secret}\":5}}}}"),
            4 => "1e999".to_owned(),
            _ => "true".to_owned(),
        }
    }

    fn object(&mut self, entries: &[(String, String)]) -> String {
        let entries: Vec<_> = entries
            .iter()
            .map(|(key, value)| {
                let value = self.or_wrong(value.clone());
                format!("{}:{value}", json(key))
            })
            .collect();
        format!("{{{}}}", entries.join(","))
    }

    fn helper(&mut self) -> String {
        let place = if self.random.percent(60) {
            self.random.below(8)
        } else {
            self.random.below(HELPERS.len())
        };
        if self.random.percent(5) {
            return "\"\"".to_owned();
        }
        json(HELPERS[place])
    }

    fn auths(&mut self) -> String {
        let entries: Vec<_> = (0..self.random.between(0, 5))
            .map(|_| {
                let key = self.entry_key();
                let value = self.entry();
                (key, value)
            })
            .collect();
        self.object(&entries)
    }

    fn entry_key(&mut self) -> String {
        let host = *self.random.pick(&HOSTS);
        if host == "registry-1.docker.io" {
            let forms = [
                HUB,
                HUB,
                HUB,
                "docker.io",
                "index.docker.io",
                "https://index.docker.io/v1",
                "registry-1.docker.io",
            ];
            return (*self.random.pick(&forms)).to_owned();
        }
        match self
            .random
            .weighted(&[8, 3, 2, 2, 3, 4, 3, 2, 1, 1, 1, 1, 1, 1])
        {
            0 => host.to_owned(),
            1 => format!("https://{host}/v1/"),
            2 => format!("http://{host}"),
            3 => format!("{host}/v2/"),
            4 => format!("{host}/proj-a"),
            5 => format!("{host}/proj-b"),
            6 => format!("{host}/proj-a/x"),
            7 => format!("https://{host}/proj-a/"),
            8 => host.to_uppercase(),
            9 => format!("HTTP://{host}/?q#f"),
            10 => format!("https://someone@{host}/"),
            11 => format!("https://{host}/%zz"),
            12 => format!("someone@{host}"),
            _ => (*self.random.pick(&[
                "",
                " ",
                "://",
                "http://",
                "h:x",
                "a:b:c",
                "http://h:x/",
                "é.example",
                "\u{1b}[2J",
                "\u{7f}",
            ]))
            .to_owned(),
        }
    }

    fn entry(&mut self) -> String {
        let mut members = Vec::new();
        match self.random.weighted(&[2, 8, 3, 2, 2, 2]) {
            0 => self.note("empty entry"),
            1 => {
                let auth = self.auth();
                members.push(self.member("auth", auth));
            }
            2 => {
                let (user, password) = (self.user(), self.secret());
                members.push(self.member("username", json(&user)));
                members.push(self.member("password", json(&password)));
            }
            3 => {
                let token = self.secret();
                members.push(self.member("identitytoken", json(&token)));
                if self.random.percent(50) {
                    let auth = self.auth();
                    members.push(self.member("auth", auth));
                }
            }
            4 => {
                let token = self.secret();
                members.push(self.member("registrytoken", json(&token)));
                if self.random.percent(50) {
                    let auth = self.auth();
                    members.push(self.member("auth", auth));
                }
            }
            _ => {
                let lone = *self.random.pick(&["username", "password"]);
                let secret = self.secret();
                members.push(self.member(lone, json(&secret)));
            }
        }
        if self.random.percent(20) {
            let more = *self.random.pick(&[
                r#""email":"a@b""#,
                r#""serveraddress":"x""#,
                r#""username":null"#,
            ]);
            members.push(more.to_owned());
        }
        format!("{{{}}}", members.join(","))
    }

    fn user(&mut self) -> String {
        format!("user{:04x}", self.random.bits() & 0xffff)
    }

    // A word that occurs nowhere else.
    fn secret(&mut self) -> String {
        let secret = format!("hunter{:012x}", self.random.bits() & 0xffff_ffff_ffff);
        self.case.secrets.push(secret.clone());
        secret
    }

    // The value of an `auth`, as JSON.
    fn auth(&mut self) -> String {
        let (user, password) = (self.user(), self.secret());
        let wild = self.random.percent(15 + self.wildness);
        let plain = match (wild, self.random.below(5)) {
            (true, 0) => format!("{user}:{password}:more:"),
            (true, 1) => format!("{user}:\0{password}\0\0"),
            (true, 2) => format!("{user}{password}"),
            (true, 3) => format!(":{password}"),
            (true, 4) => format!("{user}:"),
            _ => format!("{user}:{password}"),
        };
        let mut bytes = plain.into_bytes();
        if wild && self.random.percent(10) {
            bytes.push(0xff);
            self.note("an auth that is not UTF-8");
        }
        let mut auth = STANDARD.encode(&bytes);
        self.case
            .secrets
            .push(auth.trim_end_matches('=').to_owned());
        if !wild {
            return json(&auth);
        }
        self.note("odd auth");
        match self.random.below(8) {
            0 => auth.push_str("\r\n"),
            1 => auth.insert(0, ' '),
            2 => auth = auth.replace('=', ""),
            3 => auth = auth.replace(['+', '/'], "-"),
            4 => auth.insert(auth.len() / 2, '!'),
            5 => auth.insert(auth.len() / 2, '\n'),
            6 => return format!("\"\\ud800{auth}\""),
            _ => {}
        }
        json(&auth)
    }

    fn variable(&mut self) -> String {
        let mut entries = Vec::new();
        for _ in 0..self.random.between(1, 4) {
            let key = self.entry_key();
            let value = match self.random.weighted(&[12, 1, 1, 1]) {
                0 => {
                    let auth = self.auth();
                    format!("{{{}}}", self.member("auth", auth))
                }
                1 => "{}".to_owned(),
                2 => self.entry(),
                // A mistake that people make: the bare `auth` as the value of the entry.
                _ => self.auth(),
            };
            entries.push((key, value));
        }
        let auths = self.object(&entries);
        let auths = self.member("auths", auths);
        let more = *self.random.pick(&[
            "",
            "",
            "",
            "",
            "",
            ",\"credsStore\":\"good\"",
            ",\"auths\":null",
        ]);
        format!("{{{auths}{more}}}")
    }

    fn scoped(&mut self) {
        self.note("by scope");
        for _ in 0..self.random.between(1, 3) {
            let host = *self.random.pick(&HOSTS);
            let repository = *self.random.pick(&["", "/proj-a", "/proj-a/x", "/proj-b/y"]);
            let actions = *self.random.pick(&["", "", "@push", "@pull", "@pull,push"]);
            let folder = format!("{host}{repository}{actions}");
            let key = if host == "registry-1.docker.io" {
                HUB
            } else {
                host
            };
            let (user, password) = (self.user(), self.secret());
            let text = match self.random.below(5) {
                0 => "{}".to_owned(),
                1 => format!("{{\"auths\":{{{}:{{}}}}}}", json(key)),
                _ => format!(
                    "{{\"Auths\":{{{}:{{\"username\":\"{user}\",\"password\":\"{password}\"}}}}}}",
                    json(key)
                ),
            };
            if !self.case.scoped.iter().any(|(other, _)| *other == folder) {
                self.case.scoped.push((folder, text));
            }
        }
    }

    fn proxies(&mut self) -> String {
        let mut entries = Vec::new();
        for key in ["default", "tcp://engine.example:2375"] {
            if self.random.percent(60) {
                let mut members = Vec::new();
                for field in ["httpProxy", "httpsProxy", "noProxy", "ftpProxy", "allProxy"] {
                    if self.random.percent(40) {
                        let value =
                            *self
                                .random
                                .pick(&["http://proxy.example:3128", "", "localhost", "é"]);
                        members.push(self.member(field, json(value)));
                    }
                }
                entries.push((key.to_owned(), format!("{{{}}}", members.join(","))));
            }
        }
        self.object(&entries)
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
