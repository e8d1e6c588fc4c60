//! Compose files: services, their builds in all forms, `x-bake`, interpolation, several files.

use std::fmt::Write as _;

use super::expression::Maker;
use crate::Case;

const SERVICES: &[&str] = &["web", "db", "app", "a.b", "web-app", "x_1"];
const SCALARS: &[&str] = &[
    "v",
    "\"1\"",
    "1",
    "true",
    "null",
    "1.50",
    "${VAR}",
    "${VAR:-def}",
    "\"${VAR-}\"",
    "$$x",
    "${MISSING}",
    "'a b'",
    "${VAR:+set}",
    "\"\"",
    "!!${VAR:?must}",
    "0x10",
    "1e3",
    "yes",
    "~",
    "é",
    "\"a=b\"",
    "a:b",
];

impl Maker {
    /// Fills a case with Compose files, and sometimes a bake file beside them.
    pub(super) fn compose(&mut self, case: &mut Case) {
        let count = self.random.weighted(&[0, 6, 2]);
        let named = count > 1 || self.random.percent(30);
        for place in 0..count {
            let text = self.compose_file();
            let name = if named {
                format!(
                    "{}{place}.{}",
                    self.choose(&["c", "sub/c"]),
                    self.choose(&["yaml", "yml"])
                )
            } else {
                self.choose(&["compose.yaml", "docker-compose.yml", "compose.yml"])
                    .to_owned()
            };
            if named {
                case.args.extend(["-f".to_owned(), name.clone()]);
            }
            case.files.insert(name, text);
        }
        if self.random.percent(25) {
            let service = self.choose(&["web", "app", "a_b", "extra"]);
            let text = format!(
                "target \"{service}\" {{\n  tags = [\"t\"]\n  args = {{ A = \"bake\" }}\n}}\n"
            );
            case.files.insert("docker-bake.hcl".to_owned(), text);
            if named {
                case.args
                    .extend(["-f".to_owned(), "docker-bake.hcl".to_owned()]);
            }
        }
        if self.random.percent(50) {
            case.environment.push((
                "VAR".to_owned(),
                self.choose(&["env", "", "a b", "1"]).to_owned(),
            ));
        }
        if self.random.percent(15) {
            case.files.insert(
                ".env".to_owned(),
                "VAR=dotenv\nOTHER=\"${VAR}x\"\n".to_owned(),
            );
        }
        if self.random.percent(50) {
            let target =
                self.choose(&["web", "db", "app", "a.b", "a_b", "default", "*", "!missing"]);
            case.args.push(target.to_owned());
        }
        if self.random.percent(10) {
            case.args.push(
                self.choose(&["--list=targets", "--push", "--no-cache", "--var=VAR=flag"])
                    .to_owned(),
            );
            if case.lists() {
                case.args.rotate_right(1);
            }
        }
    }

    fn compose_file(&mut self) -> String {
        let mut out = String::new();
        if self.random.percent(15) {
            out += self.choose(&[
                "version: \"3\"\n",
                "name: proj\n",
                "x-common: &c\n  args:\n    A: anchored\n",
                "# é\n",
            ]);
        }
        out += "services:\n";
        let mut seen = Vec::new();
        for _ in 0..self.random.between(1, 3) {
            let service = self.choose(SERVICES);
            if !seen.contains(&service) {
                seen.push(service);
                let _ = writeln!(out, "  {service}:");
                self.service(&mut out);
            }
        }
        if self.random.percent(60) {
            out += "secrets:\n  s1:\n    file: ./secret.txt\n  s2:\n    environment: VAR\n";
            if self.wild() {
                out += "  s3:\n    external: true\n";
            }
        }
        if self.random.percent(15) {
            out += "volumes:\n  data: {}\nnetworks:\n  n:\n";
        }
        out
    }

    fn service(&mut self, out: &mut String) {
        if self.random.percent(40) {
            let _ = writeln!(
                out,
                "    image: {}",
                self.choose(&["r.test/a:1", "img", "img:${VAR:-x}", "UP"])
            );
        }
        if self.random.percent(20) {
            *out += self.choose(&[
                "    environment:\n      A: service\n      B:\n",
                "    environment:\n      - A=service\n      - VAR\n",
                "    profiles: [p]\n",
                "    depends_on: [web]\n",
                "    ports:\n      - 80:80\n",
                "    command: [\"a\"]\n",
                "    container_name: x\n",
                "!    unknown_key: 1\n",
            ]);
        }
        match self.random.below(10) {
            0 => *out += "    image: only\n",
            1 => {
                _ = writeln!(
                    out,
                    "    build: {}",
                    self.choose(&[
                        ".",
                        "./sub",
                        "\"https://github.com/a/b.git\"",
                        "../up",
                        "${VAR:-sub}"
                    ])
                );
            }
            _ => self.build(out),
        }
    }

    fn build(&mut self, out: &mut String) {
        *out += "    build:\n";
        let before = out.len();
        let keys = &[
            "context",
            "dockerfile",
            "dockerfile_inline",
            "args",
            "labels",
            "cache_from",
            "cache_to",
            "target",
            "network",
            "platforms",
            "tags",
            "shm_size",
            "extra_hosts",
            "ulimits",
            "secrets",
            "additional_contexts",
            "no_cache",
            "pull",
            "privileged",
            "entitlements",
            "x-bake",
            "ssh",
            "isolation",
            "sbom",
            "provenance",
        ];
        let count = self.random.between(1, 5);
        let mut seen = Vec::new();
        for _ in 0..count {
            let key = self.choose(keys);
            let inline = key.starts_with("dockerfile")
                && seen
                    .iter()
                    .any(|seen: &&str| seen.starts_with("dockerfile"));
            if seen.contains(&key) || inline {
                continue;
            }
            seen.push(key);
            self.build_key(key, out);
        }
        if out.len() == before {
            *out += "      context: .\n";
        }
    }

    fn build_key(&mut self, key: &str, out: &mut String) {
        let text: &str = match key {
            "context" => self.choose(&["context: .", "context: ./sub/", "context: ../x", "context: https://x.test/r.git", "context: ${VAR:-d}", "context: /abs"]),
            "dockerfile" => self.choose(&["dockerfile: D", "dockerfile: ../D", "dockerfile: \"\"", "dockerfile: ${VAR:-D}"]),
            "dockerfile_inline" => self.choose(&["dockerfile_inline: |\n        FROM scratch\n        RUN $$X", "dockerfile_inline: FROM a", "dockerfile_inline: >-\n        a\n        b"]),
            "args" | "labels" => return self.pairs(key, out),
            "cache_from" => self.choose(&["cache_from: [r.test/c]", "cache_from:\n        - type=gha\n        - type=local,src=c", "cache_from: []", "!cache_from: [x=y]"]),
            "cache_to" => self.choose(&["cache_to: [type=inline]", "cache_to:\n        - type=local,dest=c"]),
            "target" => self.choose(&["target: s", "target: ${VAR:-s}"]),
            "network" => self.choose(&["network: host", "network: none", "network: default"]),
            "platforms" => self.choose(&["platforms: [linux/amd64]", "platforms:\n        - linux/amd64\n        - linux/arm64", "!platforms: x", "platforms: []"]),
            "tags" => self.choose(&["tags: [a, b]", "tags:\n        - r.test/a:${VAR:-1}", "tags: [a, a]", "tags: []"]),
            "shm_size" => self.choose(&["shm_size: 64m", "shm_size: 1gb", "shm_size: \"128mb\"", "shm_size: 1024", "!shm_size: x", "shm_size: 1.5g"]),
            "extra_hosts" => self.choose(&["extra_hosts:\n        - h1:1.2.3.4\n        - \"h2=::1\"", "extra_hosts:\n        h1: 1.2.3.4", "extra_hosts:\n        h1: [1.2.3.4, \"::1\"]", "extra_hosts: [\"h:1.2.3.4\", \"h:5.6.7.8\"]"]),
            "ulimits" => self.choose(&["ulimits:\n        nofile:\n          soft: 10\n          hard: 20", "ulimits:\n        nproc:\n          soft: 5\n          hard: 5\n        core:\n          soft: 0\n          hard: 0"]),
            "secrets" => self.choose(&["secrets: [s1]", "secrets:\n        - s1\n        - s2", "secrets:\n        - source: s1\n          target: t", "!secrets: [missing]", "!secrets: [s3]"]),
            "additional_contexts" => self.choose(&["additional_contexts:\n        x: ./sub\n        y: docker-image://alpine", "additional_contexts:\n        - x=./sub", "additional_contexts:\n        w: service:web", "additional_contexts:\n        r: https://x.test/r.git"]),
            "no_cache" => self.choose(&["no_cache: true", "no_cache: false", "no_cache: ${MISSING:-true}"]),
            "pull" => self.choose(&["pull: true", "pull: \"false\"", "!pull: 1"]),
            "privileged" => "privileged: true",
            "entitlements" => "entitlements: [network.host]",
            "ssh" => self.choose(&["!ssh: [default]", "ssh: []", "!ssh:\n        k: key.pem"]),
            "isolation" => "isolation: x",
            "sbom" => self.choose(&["sbom: true", "sbom: generator=x", "sbom: false"]),
            "provenance" => self.choose(&["provenance: mode=max", "provenance: true", "provenance: false"]),
            _ => self.choose(&[
                "x-bake:\n        tags: [x1, x2]\n        platforms: linux/arm64", "x-bake:\n        cache-from: type=gha\n        cache-to:\n          - type=inline\n        no-cache: true", "x-bake:\n        output: type=docker\n        pull: true\n        no-cache-filter: s1",
                "x-bake:\n        secret:\n          - id=a,src=secret.txt\n        contexts:\n          x: ./other", "x-bake:\n        tags: \"a b\"\n        unknown: 1", "!x-bake: 1", "x-bake: {}", "x-bake:\n        tags:", "!x-bake:\n        output: [x=y]",
            ]),
        };
        let _ = writeln!(out, "      {text}");
    }

    fn pairs(&mut self, key: &str, out: &mut String) {
        let _ = writeln!(out, "      {key}:");
        let list = self.random.percent(35);
        let mut names = vec!["A", "B", "VAR", "a.b"];
        for _ in 0..self.random.between(1, 3) {
            let place = self.random.below(names.len());
            let name = names.remove(place);
            let value = self.choose(SCALARS).replace("!!", "");
            let _ = match (list, self.random.percent(15)) {
                (true, true) => writeln!(out, "        - {name}"),
                (true, false) => {
                    writeln!(out, "        - {name}={}", value.trim_matches(['"', '\'']))
                }
                (false, true) => writeln!(out, "        {name}:"),
                (false, false) => writeln!(out, "        {name}: {value}"),
            };
        }
    }
}
