//! Names for builders that the user did not name.

use super::Store;

const FIRST: [&str; 32] = [
    "amber", "bold", "brisk", "calm", "clever", "copper", "crisp", "daring", "eager", "early",
    "fair", "fond", "gentle", "glad", "golden", "grand", "happy", "honest", "jolly", "keen",
    "kind", "lively", "lucid", "merry", "noble", "plain", "proud", "quick", "quiet", "silver",
    "steady", "witty",
];
const SECOND: [&str; 32] = [
    "anvil", "badger", "baker", "beacon", "birch", "bridge", "cedar", "comet", "crane", "falcon",
    "ferry", "forge", "garden", "harbor", "heron", "kiln", "lantern", "maple", "meadow", "mill",
    "otter", "oven", "pine", "quarry", "raven", "ridge", "river", "sparrow", "tower", "valley",
    "willow", "yarn",
];
/// How many names are tried.
const TRIES: u32 = 20;

impl Store {
    /// A name that no builder has, such as `keen_otter`. Blocking.
    ///
    /// # Errors
    /// The system has no random numbers, or all names that were tried are taken.
    pub(crate) fn free_name(&self) -> Option<String> {
        for turn in 0..TRIES {
            let random = getrandom::u32().ok()?;
            let of =
                |words: &[&'static str; 32], bits: u32| words.get((bits % 32) as usize).copied();
            let mut name = format!("{}_{}", of(&FIRST, random)?, of(&SECOND, random >> 8)?);
            if turn > TRIES / 4 {
                name = format!("{name}{}", (random >> 16) % 1000);
            }
            if self.instance(&name).is_ok_and(|found| found.is_none()) {
                return Some(name);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_differ() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let names: Vec<String> = (0..20).map(|_| store.free_name().unwrap()).collect();
        assert!(names.iter().any(|name| *name != names[0]), "{names:?}");
        for name in names {
            assert!(super::super::file_name(&name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_of_other_builders_are_not_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let instances = dir.path().join("instances");
        std::fs::create_dir(&instances).unwrap();
        for first in FIRST {
            for second in SECOND {
                std::fs::write(instances.join(format!("{first}_{second}")), "{}").unwrap();
            }
        }
        let name = Store::at(dir.path()).free_name().unwrap();
        assert!(name.ends_with(|c: char| c.is_ascii_digit()), "{name}");
    }
}
