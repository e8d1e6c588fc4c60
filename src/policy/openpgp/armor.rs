//! The armor: packets as text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

const START: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// The longest line of an armor, in bytes.
const LONGEST_LINE: usize = 96;

/// What is in an armor.
pub(super) struct ArmorBlock<'t> {
    /// Such as `PGP SIGNATURE`.
    pub(super) kind: &'t str,
    /// The packets. `None` if the armor is damaged.
    pub(super) content: Option<Vec<u8>>,
}

/// The armors in a text, in their order. What is between them is left out.
pub(super) struct ArmorBlocks<'t>(std::str::Lines<'t>);

impl<'t> ArmorBlocks<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self(text.lines())
    }

    /// Skips to the content of the next armor, whose kind is returned.
    fn kind(&mut self) -> Option<&'t str> {
        loop {
            let line = self.0.next()?.trim();
            let Some(kind) = line.strip_prefix(START) else {
                continue;
            };
            let Some(kind) = kind.strip_suffix(DASHES).filter(|kind| !kind.is_empty()) else {
                continue;
            };
            if self.skip_headers()? {
                return Some(kind);
            }
        }
    }

    /// Skips the headers, which end with an empty line. Whether all were headers; `None` if the text ends.
    fn skip_headers(&mut self) -> Option<bool> {
        loop {
            let line = self.0.next()?.trim();
            if line.is_empty() || !line.contains(':') {
                return Some(line.is_empty());
            }
        }
    }

    fn content(&mut self) -> Option<Vec<u8>> {
        let mut text = String::new();
        for line in self.0.by_ref().map(str::trim) {
            let is_checksum = line.len() == 5 && line.starts_with('=');
            if is_checksum || line.starts_with(END) {
                break;
            }
            if line.len() > LONGEST_LINE {
                return None;
            }
            text.push_str(line);
        }
        BASE64_STANDARD.decode(text).ok()
    }
}

impl<'t> Iterator for ArmorBlocks<'t> {
    type Item = ArmorBlock<'t>;

    fn next(&mut self) -> Option<ArmorBlock<'t>> {
        let kind = self.kind()?;
        let content = self.content();
        Some(ArmorBlock { kind, content })
    }
}
