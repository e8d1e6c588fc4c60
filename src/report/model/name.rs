//! Reads the kind of work from a vertex's name.
//!
//! Frontends make the names for people, so this can only be a guess. No other part of the program interprets
//! names.

/// The kind of work that a vertex does, judging by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WorkKind {
    /// Work that the build itself asks for: `RUN`, `COPY`, `WORKDIR` and what other frontends have. Only these are
    /// counted as steps.
    Step,
    /// An image or another source that the build starts from. Whether it is cached says nothing about the build's
    /// cache.
    Source,
    /// Housekeeping of the frontend: loading the Dockerfile, image metadata, the context.
    Internal,
    /// Fetching a registry's token or asking for credentials.
    Auth,
    /// Writing or pushing the result or its cache.
    Export,
    /// Reading the manifest of a cache.
    Import,
}

impl WorkKind {
    /// Returns the kind of the vertex called `name`.
    pub(crate) fn of(name: &str) -> Self {
        let (label, rest) = split(name);
        let mut words = label.split_ascii_whitespace();
        if words.clone().any(|word| word == "internal") {
            return Self::Internal;
        }
        match words.next() {
            Some("auth") => return Self::Auth,
            // Vertices of a named context: loading its metadata is housekeeping, its content is a source.
            Some("context")
                if rest.starts_with("load metadata") || rest.starts_with("load .dockerignore") =>
            {
                return Self::Internal;
            }
            Some("context") => return Self::Source,
            _ => {}
        }
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| rest.starts_with(prefix));
        if starts(&[
            "exporting ",
            "pushing ",
            "sending tarball",
            "merging manifest list",
            "importing to docker",
        ]) {
            Self::Export
        } else if starts(&["importing cache"]) {
            Self::Import
        } else if starts(&[
            "resolve image config for",
            "resolving provenance",
            "generating sbom",
        ]) {
            Self::Internal
        } else if starts(&[
            "FROM ",
            "from ",
            "docker-image://",
            "local://",
            "git://",
            "https://",
            "http://",
            "oci-layout://",
        ]) {
            Self::Source
        } else {
            Self::Step
        }
    }

    /// Whether it is shown only if it takes noticeable time or fails.
    pub(crate) const fn is_housekeeping(self) -> bool {
        matches!(self, Self::Internal | Self::Auth | Self::Import)
    }
}

/// Splits a name into the text in brackets and the rest: `[web 2/5] RUN make` becomes `web 2/5` and `RUN make`.
/// Without brackets, the first part is empty.
pub(crate) fn split(name: &str) -> (&str, &str) {
    let labelled = name
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    labelled.unwrap_or(("", name))
}

/// Returns `text` with each full SHA-256 digest cut to its first twelve digits.
pub(crate) fn shorten_digests(text: &str) -> String {
    const MARK: &str = "sha256:";
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let (before, after) = rest.split_at(at + MARK.len());
        short.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        // Hexadecimal digits have one byte each, so this is a character boundary.
        let keep = if digits == 64 { 12 } else { digits };
        short.push_str(&after[..keep]);
        rest = &after[digits..];
    }
    short.push_str(rest);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("[internal] load build definition from Dockerfile", WorkKind::Internal)]
    #[test_case(
        "[linux/arm64 internal] load metadata for docker.io/library/alpine:3",
        WorkKind::Internal
    )]
    #[test_case(
        "[auth] library/alpine:pull token for registry-1.docker.io",
        WorkKind::Auth
    )]
    #[test_case(
        "[base 1/3] FROM docker.io/library/busybox:latest@sha256:0b7e",
        WorkKind::Source
    )]
    #[test_case("docker-image://docker.io/docker/dockerfile:1", WorkKind::Source)]
    #[test_case(
        "resolve image config for docker-image://docker.io/docker/dockerfile:1",
        WorkKind::Internal
    )]
    #[test_case("[linux/amd64 web 2/5] RUN make", WorkKind::Step)]
    #[test_case("[stage-0 2/2] COPY . .", WorkKind::Step)]
    #[test_case("[2/2] WORKDIR /app", WorkKind::Step)]
    #[test_case("[context deps] load .dockerignore", WorkKind::Internal)]
    #[test_case("[context deps] load from client", WorkKind::Source)]
    #[test_case("[context base] docker.io/library/busybox:latest", WorkKind::Source)]
    #[test_case("exporting to image", WorkKind::Export)]
    #[test_case("exporting cache to registry", WorkKind::Export)]
    #[test_case(
        "importing cache manifest from localhost:5000/cache/web",
        WorkKind::Import
    )]
    #[test_case("mkdir /x", WorkKind::Step)]
    fn the_name_of_a_vertex_decides_its_kind(name: &str, kind: WorkKind) {
        assert_eq!(WorkKind::of(name), kind);
    }

    #[test]
    fn digests_are_short() {
        let digest = crate::types::Digest::sha256(b"");
        let name = format!("[1/2] FROM x@{digest} and sha256:abc");
        assert_eq!(
            shorten_digests(&name),
            "[1/2] FROM x@sha256:e3b0c44298fc and sha256:abc"
        );
    }

    #[test]
    fn the_label_is_split_from_the_name() {
        assert_eq!(split("[web 2/5] RUN [a] b"), ("web 2/5", "RUN [a] b"));
        assert_eq!(split("exporting to image"), ("", "exporting to image"));
        assert_eq!(split("[ -f x ]"), ("", "[ -f x ]"));
    }
}
