//! Platforms: `os/architecture[/variant]`, normalised as containerd does.

use std::fmt;
use std::str::FromStr;

/// A platform in normal form, such as `linux/amd64` or `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// Operating system, lower case.
    pub os: String,
    /// CPU architecture by Go's name.
    pub architecture: String,
    /// Variant of the architecture; empty where the normal form has none.
    pub variant: String,
}

/// The text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform (expected `os/architecture[/variant]`)")]
pub struct InvalidPlatform(String);

impl Platform {
    /// The platform this program runs on.
    pub fn local() -> Self {
        let os = match std::env::consts::OS {
            "macos" => "darwin",
            other => other,
        };
        normalise(os, std::env::consts::ARCH, "")
    }
}

// The equivalences are containerd's (`platforms` package, database.go).
fn normalise(os: &str, architecture: &str, variant: &str) -> Platform {
    let os = match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    };
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", v) => ("amd64", v),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64", v) => ("arm64", v),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (a, v) => (a, v),
    };
    Platform {
        os,
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
    }
}

fn known_os(text: &str) -> bool {
    matches!(
        text,
        "aix"
            | "android"
            | "darwin"
            | "dragonfly"
            | "freebsd"
            | "illumos"
            | "ios"
            | "js"
            | "linux"
            | "netbsd"
            | "openbsd"
            | "plan9"
            | "solaris"
            | "wasip1"
            | "windows"
            | "zos"
            | "macos"
    )
}

fn known_architecture(text: &str) -> bool {
    matches!(
        text,
        "386"
            | "amd64"
            | "arm"
            | "arm64"
            | "loong64"
            | "mips"
            | "mips64"
            | "mips64le"
            | "mipsle"
            | "ppc64"
            | "ppc64le"
            | "riscv64"
            | "s390x"
            | "wasm"
            | "i386"
            | "x86_64"
            | "x86-64"
            | "aarch64"
            | "armhf"
            | "armel"
    )
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPlatform(text.to_owned());
        let legal = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        let parts: Vec<&str> = text.trim().split('/').collect();
        if !parts.iter().all(|part| legal(part)) {
            return Err(invalid());
        }
        match *parts.as_slice() {
            ["local"] => Ok(Self::local()),
            [one] => {
                let lower = one.to_ascii_lowercase();
                if known_os(&lower) {
                    let local = Self::local();
                    Ok(normalise(&lower, &local.architecture, &local.variant))
                } else if known_architecture(&lower) {
                    Ok(normalise(&Self::local().os, &lower, ""))
                } else {
                    Err(invalid())
                }
            }
            [os, architecture] => Ok(normalise(os, architecture, "")),
            [os, architecture, variant] => Ok(normalise(os, architecture, variant)),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("linux/amd64", "linux/amd64")]
    #[test_case("linux/x86_64", "linux/amd64")]
    #[test_case("linux/arm64/v8", "linux/arm64")]
    #[test_case("linux/arm", "linux/arm/v7")]
    #[test_case("Linux/ARM/v6", "linux/arm/v6")]
    #[test_case("linux/i386", "linux/386")]
    fn normal_form(text: &str, expected: &str) {
        assert_eq!(
            text.parse::<Platform>().map(|p| p.to_string()),
            Ok(expected.to_owned())
        );
    }

    #[test_case(""; "empty")]
    #[test_case("linux//v7"; "empty part")]
    #[test_case("a/b/c/d"; "too many parts")]
    #[test_case("notanarch"; "unknown word")]
    fn refused(text: &str) {
        assert!(text.parse::<Platform>().is_err());
    }
}
