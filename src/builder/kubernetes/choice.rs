//! The choice of a pod: by chance, or the same one for the same directory as long as the pods are the same.

use bytes::Buf as _;
use md5::{Digest as _, Md5};

/// The pod for `key`: the next one on a ring on which pods and key have the place of their hash. The ring is that of
/// `serialx/hashring`, which buildx uses, so that both programs use the same cache. `None` if there are no pods.
pub(super) fn sticky(names: &[&str], key: &str) -> Option<usize> {
    let mut ring: Vec<([i64; 2], usize)> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (place(&format!("{name}-0")), number))
        .collect();
    ring.sort_unstable();
    let key = place(key);
    let next = ring.iter().find(|(place, _)| key < *place);
    next.or_else(|| ring.first()).map(|(_, number)| *number)
}

/// The place of a text on the ring: its MD5, as two signed numbers.
fn place(text: &str) -> [i64; 2] {
    let hash: [u8; 16] = Md5::digest(text).into();
    let mut hash = hash.as_slice();
    [hash.get_i64_le(), hash.get_i64_le()]
}

/// One of `count` pods by chance. `None` if there are none.
pub(super) fn random(count: usize) -> Option<usize> {
    let mut bytes = [0; 8];
    // Without a source of randomness, the first one is as good.
    let _ = getrandom::fill(&mut bytes);
    let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
    usize::try_from(u64::from_le_bytes(bytes) % count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Asked of serialx/hashring at v0.0.0-20200727003509.
    const OF_BUILDX: &[(&[&str], &str, &str)] = &[
        (&["ci0-5d4f-a", "ci0-5d4f-b"], "/src/a", "ci0-5d4f-a"),
        (
            &["ci0-5d4f-a", "ci0-5d4f-b"],
            "/home/me/project",
            "ci0-5d4f-a",
        ),
        (&["ci0-5d4f-a", "ci0-5d4f-b"], "", "ci0-5d4f-a"),
        (&["ci0-5d4f-a", "ci0-5d4f-b"], "/", "ci0-5d4f-a"),
        (&["b-0", "b-1", "b-2"], "/src/a", "b-2"),
        (&["b-0", "b-1", "b-2"], "/home/me/project", "b-1"),
        (&["b-0", "b-1", "b-2"], "", "b-2"),
        (&["b-0", "b-1", "b-2"], "/", "b-2"),
        (&["ks0-0", "ks0-1"], "/src/a", "ks0-1"),
        (&["ks0-0", "ks0-1"], "/home/me/project", "ks0-0"),
        (&["ks0-0", "ks0-1"], "", "ks0-0"),
        (&["ks0-0", "ks0-1"], "/", "ks0-0"),
        (&["one"], "/src/a", "one"),
        (&["one"], "/home/me/project", "one"),
        (&["one"], "", "one"),
        (&["one"], "/", "one"),
    ];

    #[test]
    fn the_pod_for_a_directory_is_the_one_that_buildx_chooses() {
        for (names, key, expected) in OF_BUILDX {
            let chosen = sticky(names, key).map(|number| names[number]);
            assert_eq!(chosen, Some(*expected), "{key} of {names:?}");
        }
        assert_eq!(sticky(&[], "/w"), None);
    }

    #[test]
    fn every_pod_is_chosen_by_chance() {
        let mut seen = [0; 3];
        for _ in 0..300 {
            seen[random(3).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 40), "{seen:?}");
        assert_eq!(random(0), None);
    }
}
