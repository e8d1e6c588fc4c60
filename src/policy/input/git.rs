//! Commits and tags as git stores them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Map, Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::{InputError, put};
use crate::policy::signature::SignatureBlock;

/// A commit or an annotated tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::policy) struct GitObject {
    is_tag: bool,
    headers: BTreeMap<String, Vec<String>>,
    message: String,
    /// The signature in its armor. Empty if there is none.
    pub(in crate::policy) signature: String,
    /// What was signed.
    pub(in crate::policy) signed: String,
}

impl GitObject {
    /// Parses an object whose checksum must be `checksum`.
    pub(in crate::policy) fn parse(raw: &[u8], checksum: &str) -> Result<Self, InputError> {
        let is_tag = raw.starts_with(b"object ");
        let kind = if is_tag { "tag" } else { "commit" };
        let header = format!("{kind} {}\0", raw.len());
        let actual = match checksum.len() {
            40 => hex::encode(
                Sha1::new()
                    .chain_update(&header)
                    .chain_update(raw)
                    .finalize(),
            ),
            64 => hex::encode(
                Sha256::new()
                    .chain_update(&header)
                    .chain_update(raw)
                    .finalize(),
            ),
            _ => return Err(InputError::Checksum(checksum.to_owned())),
        };
        if actual != checksum {
            return Err(InputError::Checksum(checksum.to_owned()));
        }
        let object = Self::split(&String::from_utf8_lossy(raw), is_tag);
        let required: &[&'static str] = if is_tag {
            &["object", "type", "tag", "tagger"]
        } else {
            &["tree", "author", "committer"]
        };
        match required
            .iter()
            .find(|name| !object.headers.contains_key(**name))
        {
            Some(name) => Err(InputError::Object(name)),
            None => Ok(object),
        }
    }

    /// Separates headers, message and signature. The signature of a commit is among its headers, that of a tag behind its message.
    fn split(text: &str, is_tag: bool) -> Self {
        let mut object = Self {
            is_tag,
            ..Self::default()
        };
        let (mut signature, mut message, mut signed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut in_headers, mut in_signature) = (true, false);
        for line in text.split('\n') {
            if in_headers {
                if line.is_empty() {
                    in_headers = false;
                    in_signature = false;
                    signed.push(line);
                    continue;
                }
                let begin = ["gpgsig ", "gpgsig-sha256 "];
                let begin = begin.iter().find_map(|name| line.strip_prefix(name));
                if let Some(begin) = begin.filter(|_| !is_tag) {
                    in_signature = true;
                    signature.push(begin);
                    continue;
                }
                if let Some(more) = line.strip_prefix(' ').filter(|_| in_signature) {
                    signature.push(more);
                    continue;
                }
                in_signature = false;
                signed.push(line);
                if let Some((name, value)) = line.split_once(' ') {
                    let values = object.headers.entry(name.to_owned()).or_default();
                    values.push(value.to_owned());
                }
                continue;
            }
            let begins = [
                "-----BEGIN PGP SIGNATURE-----",
                "-----BEGIN SSH SIGNATURE-----",
            ];
            in_signature |= is_tag && begins.contains(&line);
            if in_signature {
                signature.push(line);
            } else {
                message.push(line);
                signed.push(line);
            }
        }
        object.message = message.join("\n");
        if object.message.ends_with('\n') {
            object.message.pop();
        }
        object.signature = signature.join("\n");
        object.signed = signed.join("\n");
        if is_tag {
            object.signed.push('\n');
        }
        object
    }

    pub(super) const fn is_tag(&self) -> bool {
        self.is_tag
    }

    fn first(&self, name: &str) -> Value {
        let values = self.headers.get(name);
        json!(values.and_then(|values| values.first()))
    }

    fn actor(&self, name: &str) -> Value {
        let values = self.headers.get(name);
        let line = values.and_then(|values| values.first());
        line.map_or(Value::Null, |line| actor(line))
    }

    /// The object as `input.git.commit` or `input.git.tag`.
    pub(super) fn to_json(&self) -> Value {
        let mut fields = Map::new();
        if self.is_tag {
            for name in ["object", "type", "tag"] {
                put(&mut fields, name, self.first(name));
            }
            put(&mut fields, "tagger", self.actor("tagger"));
        } else {
            put(&mut fields, "tree", self.first("tree"));
            put(&mut fields, "parents", json!(self.headers.get("parent")));
            put(&mut fields, "author", self.actor("author"));
            put(&mut fields, "committer", self.actor("committer"));
        }
        put(&mut fields, "message", json!(self.message));
        match SignatureBlock::parse(&self.signature) {
            Some(SignatureBlock::Pgp(signature)) => {
                let mut pgp = Map::new();
                put(&mut pgp, "version", json!(signature.version));
                put(&mut pgp, "keyID", json!(signature.key_id));
                fields.insert("pgpSignature".to_owned(), Value::Object(pgp));
            }
            Some(SignatureBlock::Ssh(signature)) => {
                let key = ssh_key::PublicKey::from(signature.public_key().clone());
                let key = key.fingerprint(ssh_key::HashAlg::Sha256).to_string();
                let ssh = json!({ "version": signature.version(), "pubKey": key });
                fields.insert("sshSignature".to_owned(), ssh);
            }
            None => {}
        }
        Value::Object(fields)
    }
}

/// A person and a time, as in `Ann <ann@example.com> 1700000000 +0100`.
fn actor(line: &str) -> Value {
    let line = line.trim();
    let mut fields = Map::new();
    let marks = line.rfind('<').zip(line.rfind('>'));
    let Some((start, end)) = marks.filter(|(start, end)| start < end) else {
        put(&mut fields, "name", json!(line));
        return Value::Object(fields);
    };
    put(&mut fields, "name", json!(line[..start].trim()));
    put(&mut fields, "email", json!(line[start + 1..end].trim()));
    put(&mut fields, "when", json!(when(&line[end + 1..])));
    Value::Object(fields)
}

/// The time in `text`, such as `1700000000 +0100`, as RFC 3339.
fn when(text: &str) -> Option<String> {
    let mut parts = text.split_whitespace();
    let seconds = parts.next()?.parse().ok()?;
    let zone = parts.next()?;
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = zone.get(1..).filter(|digits| digits.len() == 4)?;
    let number = |text: &str| text.parse::<i32>().unwrap_or(0);
    let offset = sign * (number(digits.get(..2)?) * 3600 + number(digits.get(2..)?) * 60);
    let local = Offset::from_seconds(offset).ok()?;
    let local = local.to_datetime(Timestamp::from_second(seconds).ok()?);
    let zone = if offset == 0 {
        "Z".to_owned()
    } else {
        let minutes = offset.abs() / 60;
        let sign = if offset < 0 { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    };
    Some(format!("{}{zone}", local.strftime("%Y-%m-%dT%H:%M:%S")))
}
