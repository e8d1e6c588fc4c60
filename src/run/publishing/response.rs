//! Makes a target's response name the image that is published.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::outcome::Solved;
use crate::registry::RawManifest;

const DIGEST: &str = "containerimage.digest";
const DESCRIPTOR: &str = "containerimage.descriptor";
const NAME: &str = "image.name";

/// Replaces the digest, the descriptor and the names of the image in `solved`. The metadata file has them, and they must
/// be those of the registry, not those of an image that was built and not pushed.
pub(super) fn name(solved: &mut Solved, manifest: &RawManifest, names: &str) {
    let response = &mut solved.response;
    response.insert(NAME.to_owned(), names.to_owned());
    let digest = manifest.digest().to_string();
    if response.get(DIGEST) == Some(&digest) {
        return;
    }
    if let Some(descriptor) = response.get_mut(DESCRIPTOR) {
        let decoded = BASE64.decode(&*descriptor).ok();
        let decoded = decoded.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        if let Some(Value::Object(mut fields)) = decoded {
            fields.insert("mediaType".to_owned(), manifest.media_type().into());
            fields.insert("digest".to_owned(), digest.as_str().into());
            fields.insert("size".to_owned(), manifest.bytes().len().into());
            *descriptor = BASE64.encode(Value::Object(fields).to_string());
        }
    }
    response.insert(DIGEST.to_owned(), digest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_names_the_image_in_the_registry() {
        let descriptor =
            r#"{"mediaType":"old","digest":"sha256:old","size":1,"annotations":{"a":"b"}}"#;
        let mut solved = Solved::default();
        let mut put = |key: &str, value: &str| {
            solved.response.insert(key.to_owned(), value.to_owned());
        };
        put(DIGEST, "sha256:old");
        put(DESCRIPTOR, &BASE64.encode(descriptor));
        put(NAME, "r.example/a");
        let manifest = RawManifest::new("a/b", "{}".into()).unwrap();
        name(&mut solved, &manifest, "r.example/a:1,r.example/a:2");

        let digest = manifest.digest().to_string();
        assert_eq!(solved.response[DIGEST], digest);
        assert_eq!(solved.response[NAME], "r.example/a:1,r.example/a:2");
        let decoded = BASE64.decode(&solved.response[DESCRIPTOR]).unwrap();
        let decoded: Value = serde_json::from_slice(&decoded).unwrap();
        assert_eq!(
            decoded,
            serde_json::json!({"mediaType": "a/b", "digest": digest, "size": 2, "annotations": {"a": "b"}})
        );
    }
}
