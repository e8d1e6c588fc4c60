//! Warns of names of platforms and privileges that BuildKit does not know.
//!
//! BuildKit accepts any text as a platform, and builds for an unknown one as if it were its own. An unknown
//! privilege fails the build. A newer BuildKit may know more names, so both are warnings only.

use crate::diag::{Diagnostic, Span, closest};
use crate::plan::PlannedTarget;

/// The operating systems that Go knows (BuildKit is written in Go), and other names for them. Architectures
/// likewise.
const SYSTEMS: [&str; 13] = [
    "linux",
    "windows",
    "darwin",
    "macos",
    "freebsd",
    "netbsd",
    "openbsd",
    "dragonfly",
    "solaris",
    "illumos",
    "android",
    "wasi",
    "js",
];
const ARCHITECTURES: [&str; 25] = [
    "amd64", "x86_64", "x86-64", "386", "i386", "arm64", "aarch64", "arm", "armhf", "armel",
    "armv7", "armv6", "riscv64", "ppc64le", "ppc64", "s390x", "loong64", "mips", "mipsle",
    "mips64", "mips64le", "mips64el", "mipsel", "wasm", "wasm32",
];
const PRIVILEGES: [&str; 3] = ["network.host", "security.insecure", "device"];

/// Returns the warnings for `target`, each with its place.
pub(super) fn check(target: &PlannedTarget) -> Vec<(Diagnostic, Option<Span>)> {
    let mut found = Vec::new();
    for entry in &target.attributes.platforms {
        // One text may name several.
        for platform in entry.value.split(',').map(str::trim) {
            let problem = unknown_platform(target, platform);
            found.extend(problem.map(|problem| (problem, entry.span)));
        }
    }
    for entry in &target.attributes.entitlements {
        let name = entry
            .split_once('=')
            .map_or(&*entry.value, |(name, _)| name);
        if !PRIVILEGES.contains(&name) {
            let problem = unknown(
                "run::unknown-privilege",
                name,
                "a privilege",
                "entitlements",
                target,
            );
            found.push((
                problem.did_you_mean("a privilege", name, PRIVILEGES),
                entry.span,
            ));
        }
    }
    found
}

fn unknown(
    code: &'static str,
    name: &str,
    kind: &str,
    attribute: &str,
    target: &PlannedTarget,
) -> Diagnostic {
    let of = &target.name;
    let message = format!(
        "`{name}` in `{attribute}` of target `{of}` is not {kind} that rbake knows; rbake passes it on unchanged"
    );
    Diagnostic::warning(code, message)
}

/// Returns the warning for the platform `text`, or `None` if it is known.
fn unknown_platform(target: &PlannedTarget, text: &str) -> Option<Diagnostic> {
    let parts: Vec<&str> = text.split('/').collect();
    let is =
        |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    // `linux(v6)/amd64` also names a version of the operating system.
    let system = |name: &str| is(&SYSTEMS, name.split('(').next().unwrap_or(name));
    let (wrong, known): (&str, &[&str]) = match parts.as_slice() {
        // The plan checks a platform that is a single name.
        [_] => return None,
        [first, ..] if !system(first) => (first, &SYSTEMS),
        [_, second, ..] if !is(&ARCHITECTURES, second) => (second, &ARCHITECTURES),
        _ => return None,
    };
    let problem = unknown(
        "run::unknown-platform",
        text,
        "a platform",
        "platforms",
        target,
    );
    Some(match closest(wrong, known.iter().copied()) {
        Some(name) => problem.help(format!("did you mean `{}`?", text.replacen(wrong, name, 1))),
        None => problem.help("write a platform such as `linux/amd64` or `linux/arm/v7`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::planned;
    use test_case::test_case;

    #[test_case("linux/amd65", Some("did you mean `linux/amd64`?"))]
    #[test_case("linx/arm64", Some("did you mean `linux/arm64`?"))]
    #[test_case(
        "linux/pdp11",
        Some("write a platform such as `linux/amd64` or `linux/arm/v7`")
    )]
    #[test_case("linux/amd64", None)]
    #[test_case("linux/arm/v7", None)]
    #[test_case("linux/amd64/v3", None)]
    #[test_case("Linux/x86_64", None)]
    #[test_case("windows(10.0.17763)/amd64", None)]
    #[test_case("linux", None; "a system alone")]
    #[test_case("arm64", None; "an architecture alone")]
    #[test_case("local", None)]
    #[test_case("wasi/wasm", None)]
    #[test_case("linux/amd64,linux/arm64, linux/arm/v7", None)]
    #[test_case("linux/arm64,linux/amd65", Some("did you mean `linux/amd64`?"))]
    fn unknown_platforms_get_help(text: &str, expected: Option<&str>) {
        let target = planned(&format!("platforms = [{text:?}]"));
        let help = check(&target)
            .pop()
            .map(|(problem, _)| problem.help.concat());
        assert_eq!(help.as_deref(), expected);
    }

    #[test_case("network.hots", Some("network.host"))]
    #[test_case("network.host", None)]
    #[test_case("device=vendor.example/x=*", None)]
    fn unknown_privileges_get_help(text: &str, expected: Option<&str>) {
        let target = planned(&format!("entitlements = [{text:?}]"));
        let problem = check(&target).pop().map(|(problem, _)| problem);
        let help = problem.map(|problem| problem.help.concat());
        let expected =
            expected.map(|name| format!("a privilege with a similar name exists: `{name}`"));
        assert_eq!(help, expected);
    }
}
