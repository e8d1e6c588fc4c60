//! Definitions of a given size, to print.

use std::fmt::Write as _;
use std::path::Path;

/// `targets` targets with a step that prints `lines` lines; they run again if the argument `TURN` changes.
pub(super) fn with_output(targets: usize, lines: usize) -> String {
    let mut text = String::new();
    for target in 0..targets {
        let print = format!(
            "i=0; while [ $i -lt {lines} ]; do echo \\\"$TURN: line $i of target {target}, some words as a compiler says them\\\"; i=$((i+1)); done"
        );
        let _ = writeln!(
            text,
            "target \"t{target}\" {{\n  dockerfile-inline = \"FROM busybox\\nARG TURN\\nRUN {print}\\n\"\n  output = [\"type=cacheonly\"]\n}}"
        );
    }
    let names: Vec<String> = (0..targets)
        .map(|target| format!("\"t{target}\""))
        .collect();
    let _ = writeln!(
        text,
        "group \"default\" {{ targets = [{}] }}",
        names.join(", ")
    );
    text
}

/// `targets` targets that inherit from one, with their own arguments and tags from a function; the group `all` has them.
pub(super) fn many_targets(targets: usize) -> String {
    let mut text = String::from(
        r#"variable "REGISTRY" { default = "registry.example.com/team" }
variable "TAG" { default = "1" }
function "tags" {
  params = [name]
  result = ["${REGISTRY}/${name}:build-${TAG}", "${REGISTRY}/${name}:latest"]
}
target "_base" {
  context = "."
  args = { VERSION = "1.2.3", REGISTRY = REGISTRY }
  labels = { "org.opencontainers.image.source" = "https://example.com/team" }
}
"#,
    );
    for target in 0..targets {
        let _ = writeln!(
            text,
            "target \"t{target}\" {{\n  inherits = [\"_base\"]\n  args = {{ NUMBER = \"{target}\" }}\n  tags = tags(\"t{target}\")\n}}"
        );
    }
    let names: Vec<String> = (0..targets)
        .map(|target| format!("\"t{target}\""))
        .collect();
    let _ = writeln!(text, "group \"all\" {{ targets = [{}] }}", names.join(", "));
    text
}

/// A definition of some `bytes`, most of them comments, arguments, labels and Dockerfiles, as in large definitions that
/// people write; the group `all` has all targets.
pub(super) fn large(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 4096);
    text.push_str("variable \"TAG\" { default = \"1\" }\n");
    let mut names = Vec::new();
    while text.len() < bytes {
        let name = format!("service-{}", names.len());
        let _ = writeln!(
            text,
            "\n# What {name} is for, who looks after it, and where its tests and its documentation are.\n# A second line of the same.\ntarget \"{name}\" {{\n  context    = \"services/{name}\"\n  dockerfile-inline = <<EOT\nFROM registry.example.com/base:${{TAG}}"
        );
        for step in 0..40 {
            let _ = writeln!(
                text,
                "RUN make --directory=/src/{name} step-{step} && rm -rf /var/cache/step-{step}"
            );
        }
        text.push_str("EOT\n  args = {\n");
        for argument in 0..40 {
            let _ = writeln!(
                text,
                "    ARGUMENT_{argument} = \"the value of argument {argument}\" # and why it is so"
            );
        }
        text.push_str("  }\n  labels = {\n");
        for label in 0..20 {
            let _ = writeln!(
                text,
                "    \"com.example.label-{label}\" = \"the value of label {label}, ${{TAG}}\""
            );
        }
        let _ = writeln!(
            text,
            "  }}\n  tags = [\"registry.example.com/{name}:${{TAG}}\", \"registry.example.com/{name}:latest\"]\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n}}"
        );
        names.push(format!("\"{name}\""));
    }
    let _ = writeln!(text, "group \"all\" {{ targets = [{}] }}", names.join(", "));
    text
}

/// What a definition can have many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Many {
    /// Targets.
    Targets,
    /// Combinations of a matrix.
    Combinations,
    /// Variables, each made of another.
    Variables,
    /// Files, of twenty targets each.
    Files,
    /// Targets that each inherit from the one before.
    Ancestors,
    /// Targets that each inherit from the one before in two ways.
    Diamonds,
}

impl Many {
    /// All of them, each with a number that takes rbake some tens of milliseconds.
    pub(super) const ALL: [(Self, usize); 6] = [
        (Self::Targets, 5_000),
        (Self::Combinations, 5_000),
        (Self::Variables, 10_000),
        (Self::Files, 250),
        (Self::Ancestors, 10_000),
        (Self::Diamonds, 2_500),
    ];

    /// The word for them.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Combinations => "combinations of a matrix",
            Self::Variables => "variables",
            Self::Files => "files",
            Self::Ancestors => "ancestors",
            Self::Diamonds => "diamonds",
        }
    }

    /// Writes a definition with `number` of them to `dir`. Returns the arguments that print it.
    pub(super) fn write(self, dir: &Path, number: usize) -> std::io::Result<Vec<String>> {
        std::fs::create_dir_all(dir)?;
        let mut arguments = vec!["--print".to_owned(), "all".to_owned()];
        if self == Self::Files {
            for file in 0..number {
                let name = format!("{file}.hcl");
                let mut text = String::new();
                for target in 0..20 {
                    let _ = writeln!(
                        text,
                        "target \"all\" {{ args = {{ A{target} = \"{file}\" }} }}"
                    );
                    let _ = writeln!(
                        text,
                        "target \"t{file}-{target}\" {{ args = {{ A = \"1\" }} }}"
                    );
                }
                std::fs::write(dir.join(&name), text)?;
                arguments.extend(["-f".to_owned(), name]);
            }
            return Ok(arguments);
        }
        std::fs::write(dir.join("docker-bake.hcl"), self.text(number))?;
        Ok(arguments)
    }

    fn text(self, number: usize) -> String {
        let mut text = String::new();
        match self {
            Self::Targets | Self::Files => text = many_targets(number),
            Self::Combinations => {
                let column = |count: usize| {
                    let names: Vec<String> = (0..count).map(|n| format!("\"{n}\"")).collect();
                    names.join(", ")
                };
                let _ = writeln!(
                    text,
                    "target \"all\" {{\n  name = \"t-${{a}}-${{b}}\"\n  matrix = {{ a = [{}], b = [{}] }}\n  args = {{ A = a, B = b }}\n  tags = [\"example.com/${{a}}:${{b}}\"]\n}}",
                    column(number / 50),
                    column(50)
                );
            }
            Self::Variables => {
                text.push_str("variable \"V0\" { default = \"0\" }\ntarget \"all\" {}\n");
                for n in 1..number {
                    let _ = writeln!(text, "variable \"V{n}\" {{ default = \"${{V0}} of {n}\" }}");
                }
            }
            Self::Ancestors => {
                text.push_str("target \"t0\" { args = { A = \"0\" } }\n");
                for n in 1..=number {
                    let _ = writeln!(
                        text,
                        "target \"t{n}\" {{\n  inherits = [\"t{}\"]\n  args = {{ A = \"{n}\" }}\n}}",
                        n - 1
                    );
                }
                let _ = writeln!(text, "group \"all\" {{ targets = [\"t{number}\"] }}");
            }
            Self::Diamonds => {
                text.push_str("target \"t0\" { args = { A = \"0\" } }\n");
                for n in 1..=number {
                    let before = n - 1;
                    let _ = writeln!(
                        text,
                        "target \"left-{n}\" {{\n  inherits = [\"t{before}\"]\n  args = {{ L = \"{n}\" }}\n}}\ntarget \"right-{n}\" {{\n  inherits = [\"t{before}\"]\n  args = {{ R = \"{n}\" }}\n}}\ntarget \"t{n}\" {{ inherits = [\"left-{n}\", \"right-{n}\"] }}"
                    );
                }
                let _ = writeln!(text, "group \"all\" {{ targets = [\"t{number}\"] }}");
            }
        }
        text
    }
}
