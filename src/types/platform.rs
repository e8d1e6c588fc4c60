//! Platforms: `os[(version+feature…)]/architecture[/variant]`, normalised as in containerd.

use std::fmt;
use std::str::FromStr;

/// A platform in its normal form, such as `linux/amd64` or `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// The operating system, in lower case.
    pub os: String,
    /// The version and features of the operating system, as written between the parentheses. Mostly empty.
    pub(crate) os_options: String,
    /// The CPU architecture, by Go's name for it, such as `amd64`.
    pub(crate) architecture: String,
    /// The variant of the architecture. Empty if the normal form has none.
    pub(crate) variant: String,
}

/// The text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid platform (expected `os/architecture[/variant]`)")]
pub struct InvalidPlatform(String);

impl Platform {
    /// The platform on which this program runs.
    pub fn local() -> Self {
        let os = match std::env::consts::OS {
            "macos" => "darwin",
            other => other,
        };
        normalise(os, std::env::consts::ARCH, "")
    }
}

/// Brings the parts to their normal form. The rules are containerd's (package `platforms`, database.go).
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
        os_options: String::new(),
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
        let mut parts: Vec<&str> = text.trim().split('/').collect();
        let mut os_options = "";
        if let Some((name, options)) = parts[0].strip_suffix(')').and_then(|os| os.split_once('('))
        {
            if !legal_options(options) {
                return Err(invalid());
            }
            parts[0] = name;
            os_options = options;
        }
        if !parts.iter().all(|part| legal(part)) || parts[0].contains('.') {
            return Err(invalid());
        }
        let mut platform = Self::from_parts(&parts).ok_or_else(invalid)?;
        os_options.clone_into(&mut platform.os_options);
        Ok(platform)
    }
}

/// Whether `options` has the form `[version][+feature]…`. Each part consists of letters, digits and `_.-`; other
/// characters are written as `%` and two hexadecimal digits.
fn legal_options(options: &str) -> bool {
    let escaped = |part: &str| {
        let mut rest = part.split('%');
        rest.next();
        rest.all(|after| {
            after
                .as_bytes()
                .get(..2)
                .is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit))
        })
    };
    let legal = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-%".contains(&b))
            && escaped(part)
    };
    let mut parts = options.split('+');
    parts.next().is_some_and(legal) && parts.all(|feature| !feature.is_empty() && legal(feature))
}

impl Platform {
    fn from_parts(parts: &[&str]) -> Option<Self> {
        match *parts {
            ["local"] => Some(Self::local()),
            [one] => {
                let lower = one.to_ascii_lowercase();
                if known_os(&lower) {
                    let local = Self::local();
                    Some(normalise(&lower, &local.architecture, &local.variant))
                } else if known_architecture(&lower) {
                    Some(normalise(&Self::local().os, &lower, ""))
                } else {
                    None
                }
            }
            [os, architecture] => Some(normalise(os, architecture, "")),
            [os, architecture, variant] => Some(normalise(os, architecture, variant)),
            _ => None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.os)?;
        if !self.os_options.is_empty() {
            write!(f, "({})", self.os_options)?;
        }
        write!(f, "/{}", self.architecture)?;
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
    #[test_case("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64")]
    #[test_case("Windows(10.0+win32k)/x86_64", "windows(10.0+win32k)/amd64"; "version and feature")]
    #[test_case("linux(+a%2Fb)/arm64/v8", "linux(+a%2Fb)/arm64"; "escaped feature")]
    #[test_case("linux()/amd64", "linux/amd64"; "empty options")]
    fn platforms_are_normalised(text: &str, expected: &str) {
        assert_eq!(
            text.parse::<Platform>().map(|p| p.to_string()),
            Ok(expected.to_owned())
        );
    }

    #[test_case(""; "empty")]
    #[test_case("linux//v7"; "empty part")]
    #[test_case("a/b/c/d"; "too many parts")]
    #[test_case("notanarch"; "unknown word")]
    #[test_case("windows(10.0/amd64"; "no end")]
    #[test_case("windows(1+)/amd64"; "empty feature")]
    #[test_case("windows(%zz)/amd64"; "bad escape")]
    #[test_case("10.0.0.0/10"; "dots in the system")]
    #[test_case("linux/amd64(1)"; "options of an architecture")]
    fn invalid_platforms_are_refused(text: &str) {
        assert!(text.parse::<Platform>().is_err());
    }
}
