//! Describes a source for policies: what is known of it, and which fields are not known yet.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::image::add_config;
use super::material::{FULL_URL, Material};
use super::provenance::Provenance;
use super::{GitObject, InputError, PolicyEnvironment, put, shown};
use crate::golang::path;
use crate::golang::url::GoUrl;
use crate::types::build_source::{
    BuildSource, SourceAttestations, SourceCommit, SourceFacts, SourceImage, SuffixedDigest,
};
use crate::types::{Platform, Reference};

/// The attribute of a download whose request has a secret header.
const AUTH_SECRET: &str = "http.authheadersecret";

/// The fields of an image that come from its configuration.
const CONFIG_FIELDS: [&str; 5] = ["labels", "user", "volumes", "workingDir", "env"];
/// The fields of an image that come from its attestations.
const ATTESTATION_FIELDS: [&str; 3] = ["hasProvenance", "provenance", "signatures"];

/// A source, described for policies.
#[derive(Debug, Default)]
pub(in crate::policy) struct Described {
    /// The document `input`.
    pub(in crate::policy) input: Value,
    /// The fields that are not known yet, such as `image.labels`.
    pub(in crate::policy) unknown: Vec<String>,
    /// The unknown fields of materials, such as `image.labels`. Of any material: which one does not matter here.
    pub(in crate::policy) unknown_of_materials: Vec<String>,
    /// The commit of a repository, if it is known.
    pub(in crate::policy) commit: Option<GitObject>,
    /// The annotated tag of a repository, if there is one.
    pub(in crate::policy) tag: Option<GitObject>,
    /// The digests that are known of a download.
    pub(in crate::policy) suffixed: Vec<SuffixedDigest>,
    /// Whether the image has signatures. rbake does not check them.
    pub(in crate::policy) has_signatures: bool,
}

/// Describes the source of `facts`, in a target whose `env` it is. `platform` is that of the builder.
pub(in crate::policy) fn describe(
    facts: &SourceFacts,
    env: &PolicyEnvironment,
    platform: Option<&Platform>,
) -> Result<Described, InputError> {
    let platform = facts.platform.as_ref().or(platform);
    let mut description = Description::default();
    let materials = description.add(facts, platform)?;
    if !materials.is_empty() {
        let mut inputs = Vec::new();
        for material in materials {
            inputs.push(description.material(material, env, platform)?);
        }
        let provenance = description
            .document
            .get_mut("image")
            .and_then(|image| image.get_mut("provenance"));
        if let Some(Value::Object(provenance)) = provenance {
            provenance.insert("materials".to_owned(), Value::Array(inputs));
        }
    }
    let mut document = description.document;
    document.insert("env".to_owned(), env.to_json(0));
    description.described.input = Value::Object(document);
    Ok(description.described)
}

#[derive(Default)]
struct Description {
    document: Map<String, Value>,
    described: Described,
}

impl Description {
    /// Adds what is known of the source. Returns its materials.
    fn add(
        &mut self,
        facts: &SourceFacts,
        platform: Option<&Platform>,
    ) -> Result<Vec<Material>, InputError> {
        let identifier = &facts.source.identifier;
        let (kind, rest) = identifier
            .split_once("://")
            .ok_or_else(|| InputError::Identifier(identifier.clone()))?;
        match kind {
            "http" | "https" => self.download(facts).map(|()| Vec::new()),
            "git" => self.repository(facts, rest).map(|()| Vec::new()),
            "docker-image" => {
                let platform = platform.ok_or(InputError::NoPlatform)?;
                self.image(facts, rest, platform)
            }
            "local" => {
                let mut local = Map::new();
                put(&mut local, "name", json!(rest));
                self.document
                    .insert("local".to_owned(), Value::Object(local));
                Ok(Vec::new())
            }
            other => Err(InputError::Kind(other.to_owned())),
        }
    }

    fn unknown(&mut self, kind: &str, fields: &[&str]) {
        let fields = fields.iter().map(|field| format!("{kind}.{field}"));
        self.described.unknown.extend(fields);
    }

    /// The document of a material. Nothing is asked about materials, so only what its name says is known.
    fn material(
        &mut self,
        material: Material,
        env: &PolicyEnvironment,
        platform: Option<&Platform>,
    ) -> Result<Value, InputError> {
        let facts = SourceFacts {
            source: material.source,
            ..SourceFacts::default()
        };
        let mut description = Self::default();
        description.add(&facts, material.platform.as_ref().or(platform))?;
        let unknown = description.described.unknown;
        self.described.unknown_of_materials.extend(unknown);
        let mut document = description.document;
        document.insert("env".to_owned(), env.to_json(1));
        Ok(Value::Object(document))
    }

    fn download(&mut self, facts: &SourceFacts) -> Result<(), InputError> {
        let address = &facts.source.identifier;
        let url = GoUrl::parse(address).map_err(|_| InputError::Address(address.clone()))?;
        let mut http = Map::new();
        put(&mut http, "url", json!(address));
        put(&mut http, "schema", json!(address.split("://").next()));
        put(&mut http, "host", json!(url.host));
        put(&mut http, "path", json!(url.path));
        let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in url.query_values() {
            query.entry(key).or_default().push(value);
        }
        put(&mut http, "query", json!(query));
        put(
            &mut http,
            "hasAuth",
            json!(facts.source.attrs.contains_key(AUTH_SECRET)),
        );
        let known = facts.http.as_ref();
        self.described.suffixed = known.map_or_else(Vec::new, |known| known.suffixed.clone());
        let checksum = known
            .map(|known| known.checksum.as_str())
            .unwrap_or_default();
        put(&mut http, "checksum", json!(checksum));
        if checksum.is_empty() {
            self.unknown("http", &["checksum"]);
        }
        self.document.insert("http".to_owned(), Value::Object(http));
        Ok(())
    }

    fn image(
        &mut self,
        facts: &SourceFacts,
        name: &str,
        platform: &Platform,
    ) -> Result<Vec<Material>, InputError> {
        let reference: Reference = name
            .parse()
            .map_err(|error| InputError::Image(name.to_owned(), error))?;
        let mut image = Map::new();
        put(&mut image, "ref", json!(reference.to_string()));
        put(&mut image, "host", json!(reference.domain()));
        put(&mut image, "repo", json!(reference.familiar_name()));
        put(&mut image, "fullRepo", json!(reference.repository()));
        put(&mut image, "tag", json!(reference.tag()));
        put(&mut image, "platform", json!(shown(platform)));
        put(&mut image, "os", json!(platform.os));
        put(&mut image, "arch", json!(platform.architecture));
        put(&mut image, "variant", json!(platform.variant));
        put(&mut image, "isCanonical", json!(reference.has_digest()));
        let digest = reference.digest().map(ToString::to_string);
        put(&mut image, "checksum", json!(digest));
        let materials = match &facts.image {
            None => {
                if !reference.has_digest() {
                    self.unknown("image", &["checksum"]);
                }
                self.unknown("image", &CONFIG_FIELDS);
                self.unknown("image", &ATTESTATION_FIELDS);
                Vec::new()
            }
            Some(known) => self.resolved_image(&mut image, known)?,
        };
        self.document
            .insert("image".to_owned(), Value::Object(image));
        Ok(materials)
    }

    /// Adds what the builder has found out about an image. Returns its materials.
    fn resolved_image(
        &mut self,
        image: &mut Map<String, Value>,
        known: &SourceImage,
    ) -> Result<Vec<Material>, InputError> {
        image.remove("checksum");
        put(image, "checksum", json!(known.digest));
        match &known.config {
            Some(config) => add_config(image, config)?,
            None => self.unknown("image", &CONFIG_FIELDS),
        }
        let Some(attestations) = &known.attestations else {
            self.unknown("image", &ATTESTATION_FIELDS);
            return Ok(Vec::new());
        };
        self.described.has_signatures = has_signatures(attestations);
        let provenance = Provenance::of(attestations);
        let has_provenance = !attestations.manifest.is_empty() || provenance.is_some();
        put(image, "hasProvenance", json!(has_provenance));
        let Some(provenance) = provenance else {
            return Ok(Vec::new());
        };
        put(image, "provenance", Value::Object(provenance.fields));
        Ok(provenance.materials)
    }

    fn repository(&mut self, facts: &SourceFacts, rest: &str) -> Result<(), InputError> {
        let named = GitAddress::parse(&with_transport(rest))?;
        let mut address = named.clone();
        let mut git = Map::new();
        if let Some(full) = facts.source.attrs.get(FULL_URL) {
            let full = with_transport(full);
            address = GitAddress::parse(&full)?;
            put(&mut git, "fullURL", json!(full));
        }
        put(&mut git, "schema", json!(address.schema));
        put(&mut git, "host", json!(address.host));
        put(&mut git, "remote", json!(address.remote));
        put(&mut git, "subDir", json!(named.directory));
        let reference = &named.reference;
        put(
            &mut git,
            "tagName",
            json!(reference.strip_prefix("refs/tags/")),
        );
        put(
            &mut git,
            "branch",
            json!(reference.strip_prefix("refs/heads/")),
        );
        let is_commit = is_commit(reference);
        if is_commit {
            for (name, value) in [
                ("isCommitRef", json!(true)),
                ("checksum", json!(reference)),
                ("commitChecksum", json!(reference)),
            ] {
                put(&mut git, name, value);
            }
        }
        if let Some(known) = &facts.git {
            self.resolved_repository(&mut git, known)?;
        } else {
            let is_whole = is_commit
                || reference.starts_with("refs/tags/")
                || reference.starts_with("refs/heads/");
            if is_whole {
                put(&mut git, "ref", json!(reference));
            } else {
                self.unknown("git", &["tagName", "branch", "ref"]);
            }
            if !is_commit {
                let fields = ["checksum", "isAnnotatedTag", "commitChecksum", "isSHA256"];
                self.unknown("git", &fields);
            }
            self.unknown("git", &["tag", "commit"]);
        }
        let checksum = git.get("checksum").and_then(Value::as_str);
        let is_sha256 = checksum.is_some_and(|checksum| checksum.len() == 64);
        put(&mut git, "isSHA256", json!(is_sha256));
        self.document.insert("git".to_owned(), Value::Object(git));
        Ok(())
    }

    /// Adds what the builder has found out about a repository.
    fn resolved_repository(
        &mut self,
        git: &mut Map<String, Value>,
        known: &SourceCommit,
    ) -> Result<(), InputError> {
        let reference = &known.reference;
        put(git, "ref", json!(reference));
        put(git, "tagName", json!(reference.strip_prefix("refs/tags/")));
        put(git, "branch", json!(reference.strip_prefix("refs/heads/")));
        let commit = if known.commit_checksum.is_empty() {
            &known.checksum
        } else {
            &known.commit_checksum
        };
        for name in ["checksum", "commitChecksum"] {
            git.remove(name);
        }
        put(git, "checksum", json!(known.checksum));
        put(git, "commitChecksum", json!(commit));
        put(git, "isAnnotatedTag", json!(known.checksum != *commit));
        if known.commit.is_empty() {
            self.unknown("git", &["commit", "tag"]);
            return Ok(());
        }
        let object = GitObject::parse(&known.commit, commit)?;
        if object.is_tag() {
            return Err(InputError::Object("commit"));
        }
        put(git, "commit", object.to_json());
        self.described.commit = Some(object);
        if !known.tag.is_empty() {
            let object = GitObject::parse(&known.tag, &known.checksum)?;
            if !object.is_tag() {
                return Err(InputError::Object("tag"));
            }
            put(git, "tag", object.to_json());
            self.described.tag = Some(object);
        }
        Ok(())
    }
}

/// Whether an image has signatures that buildx would check.
fn has_signatures(attestations: &SourceAttestations) -> bool {
    !attestations.manifest.is_empty() && !attestations.signatures.is_empty()
}

/// Whether `reference` is a commit.
fn is_commit(reference: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    matches!(reference.len(), 40 | 64) && reference.bytes().all(is_digit)
}

/// The address of a git repository, by the rules of BuildKit (`util/gitutil`).
#[derive(Debug, Clone, Default)]
struct GitAddress {
    schema: String,
    host: String,
    remote: String,
    reference: String,
    directory: String,
}

impl GitAddress {
    fn parse(address: &str) -> Result<Self, InputError> {
        if let Ok(url) = GoUrl::parse(address) {
            let (reference, directory) = reference_and_directory(&url.fragment);
            return Ok(Self {
                remote: url.without_options(),
                reference: reference.to_owned(),
                directory,
                schema: url.scheme,
                host: url.host,
            });
        }
        let scp = ScpAddress::parse(address);
        let scp = scp.ok_or_else(|| InputError::Address(address.to_owned()))?;
        let (reference, directory) = reference_and_directory(scp.fragment);
        Ok(Self {
            schema: "ssh".to_owned(),
            host: scp.host.to_owned(),
            remote: format!("{}@{}:{}", scp.user, scp.host, scp.path),
            reference: reference.to_owned(),
            directory,
        })
    }
}

/// `address`, with `https://` if it has no transport.
fn with_transport(address: &str) -> String {
    let scheme = address.split_once("://").map(|(scheme, _)| scheme);
    let is_known = scheme.is_some_and(|scheme| {
        let scheme = scheme.to_ascii_lowercase();
        ["http", "https", "ssh", "git"].contains(&&*scheme)
    });
    if is_known || (scheme.is_none() && ScpAddress::parse(address).is_some()) {
        address.to_owned()
    } else {
        format!("https://{address}")
    }
}

/// Splits a fragment `reference:directory`.
pub(super) fn reference_and_directory(fragment: &str) -> (&str, String) {
    let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
    let directory = path::join("/", directory);
    (reference, directory.trim_start_matches('/').to_owned())
}

/// An address such as `git@host:path#fragment`.
pub(super) struct ScpAddress<'a> {
    pub(super) user: &'a str,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) fragment: &'a str,
}

impl<'a> ScpAddress<'a> {
    pub(super) fn parse(address: &'a str) -> Option<Self> {
        let (user, rest) = address.split_once('@')?;
        let (host, rest) = rest.split_once(':')?;
        let is_word = |text: &str, other: &[u8]| {
            let mut bytes = text.bytes();
            !text.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || other.contains(&b))
        };
        if !is_word(user, b"-_") || !is_word(host, b"-.") || rest.contains('\n') {
            return None;
        }
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let path = rest.split('?').next().unwrap_or(rest);
        Some(Self {
            user,
            host,
            path,
            fragment,
        })
    }
}

/// `source`, pinned to the digest that a policy wants.
pub(in crate::policy) fn pinned(source: &BuildSource, digest: &str) -> Option<BuildSource> {
    let name = source.identifier.strip_prefix("docker-image://")?;
    let reference: Reference = name.parse().ok()?;
    let digest = digest.parse().ok()?;
    let mut attrs = source.attrs.clone();
    let pinned = reference.with_digest(digest);
    attrs.insert("image.checksum".to_owned(), pinned.digest()?.to_string());
    Some(BuildSource {
        identifier: format!("docker-image://{pinned}"),
        attrs,
    })
}
