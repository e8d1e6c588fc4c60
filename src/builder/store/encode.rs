//! How the file of a builder is written: with the keys and in the order of Go's `json.Marshal` of buildx's types.

use percent_encoding::percent_decode_str;

use super::instance::{Instance, Node};
use crate::golang::json::quote;
use crate::types::Platform;

impl Instance {
    /// The text of the file, as Go's `json.Marshal` writes it.
    pub(super) fn to_json(&self) -> String {
        let mut out = String::from("{\"Name\":");
        quote(&mut out, &self.name);
        out.push_str(",\"Driver\":");
        quote(&mut out, &self.driver);
        out.push_str(",\"Nodes\":");
        list(&mut out, &self.nodes, Node::write);
        out.push_str(if self.is_dynamic {
            ",\"Dynamic\":true}"
        } else {
            ",\"Dynamic\":false}"
        });
        out
    }
}

impl Node {
    fn write(&self, out: &mut String) {
        out.push_str("{\"Name\":");
        quote(out, &self.name);
        out.push_str(",\"Endpoint\":");
        quote(out, &self.endpoint);
        out.push_str(",\"Platforms\":");
        match &self.platforms {
            Some(platforms) => list(out, platforms, write_platform),
            None => out.push_str("null"),
        }
        out.push_str(",\"DriverOpts\":");
        map(out, self.driver_opts.iter().map(|(k, v)| (k, v.as_str())));
        out.push_str(",\"Flags\":");
        match &self.flags {
            Some(flags) => list(out, flags, |flag, out| quote(out, flag)),
            None => out.push_str("null"),
        }
        out.push_str(",\"Files\":");
        let files = self.files.iter();
        map(out, files.map(|(k, v)| (k, v.expose().as_str())));
        out.push('}');
    }
}

fn write_platform(platform: &Platform, out: &mut String) {
    out.push_str("{\"architecture\":");
    quote(out, &platform.architecture);
    out.push_str(",\"os\":");
    quote(out, &platform.os);
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut options = platform.os_options.split('+');
    if let Some(version) = options.next().filter(|version| !version.is_empty()) {
        out.push_str(",\"os.version\":");
        quote(out, &decoded(version));
    }
    let features: Vec<String> = options.map(decoded).collect();
    if !features.is_empty() {
        out.push_str(",\"os.features\":");
        list(out, &features, |feature, out| quote(out, feature));
    }
    if !platform.variant.is_empty() {
        out.push_str(",\"variant\":");
        quote(out, &platform.variant);
    }
    out.push('}');
}

fn list<T>(out: &mut String, items: &[T], write: impl Fn(&T, &mut String)) {
    out.push('[');
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}

/// Writes a map with its keys sorted. Like a map that buildx never filled, an empty one becomes `null`.
fn map<'a>(out: &mut String, pairs: impl Iterator<Item = (&'a String, &'a str)>) {
    let mut is_empty = true;
    for (key, value) in pairs {
        out.push(if is_empty { '{' } else { ',' });
        is_empty = false;
        quote(out, key);
        out.push(':');
        quote(out, value);
    }
    out.push_str(if is_empty { "null" } else { "}" });
}

#[cfg(test)]
mod tests {
    use super::super::instance::tests::{WHOLE, read};

    #[test]
    fn a_file_of_buildx_is_written_back_byte_for_byte() {
        assert_eq!(read(WHOLE).to_json(), WHOLE);
    }
}
