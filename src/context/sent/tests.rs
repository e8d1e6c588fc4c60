use std::fs::{File, FileTimes};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use super::*;
use crate::context::{Context, Filter};

// A context whose record begins when the test says so, on a file system that keeps inodes.
struct Scene {
    dir: tempfile::TempDir,
    clock: Clock,
}

impl Scene {
    fn new() -> Self {
        // In memory, because `/tmp` may be an overlay, which does not keep inodes.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        std::fs::create_dir(dir.path().join("ctx")).unwrap();
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH);
        let scene = Self { dir, clock };
        scene.write("ctx/plain", "123");
        scene.write("ctx/dir/odd", "456");
        scene.set_old_time("ctx/dir/odd");
        scene.pass();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    // What `touch -d` and `cp -p` do.
    fn set_old_time(&self, name: &str) {
        let file = File::options().write(true).open(self.path(name)).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_times(FileTimes::new().set_modified(old)).unwrap();
    }

    // Lets a record that begins next begin after all changes so far, and before those that follow.
    fn pass(&self) {
        let now = self.after(0);
        let wanted = SystemTime::UNIX_EPOCH + Duration::from_nanos(now) + Duration::from_millis(20);
        self.clock
            .advance(wanted.duration_since(self.clock.now()).unwrap());
        self.after(now);
    }

    // Waits until changes get another time than the next one, and a later one than `time`. Returns such a time.
    fn after(&self, time: u64) -> u64 {
        let change = || {
            self.write("probe", "");
            let metadata = self.path("probe").metadata().unwrap();
            u64::try_from(metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec()).unwrap()
        };
        let first = change().max(time);
        loop {
            let next = change();
            if next > first {
                return next;
            }
        }
    }

    fn records(&self) -> SentRecords {
        let state = self.path("state");
        let environment = Environment::of([("RBAKE_STATE_DIR", state.to_str().unwrap())], "/");
        SentRecords::new(&environment, "machine", self.clock.clone())
    }

    // One run: the files that are listed anew, and the generation. The transfer is complete.
    fn run(&self) -> (Vec<String>, Generation) {
        let record = self.records().of(&self.path("ctx"));
        let context = Context::open(&self.path("ctx")).unwrap();
        let mut inspection = Inspection::new(Arc::clone(&record), context.inode().unwrap());
        let mut anew = Vec::new();
        let walked = context.walk(&Filter::default(), |entry| {
            if inspection.look(entry) == Told::Anew {
                anew.push(String::from_utf8_lossy(entry.path).into_owned());
            }
            std::ops::ControlFlow::Continue(())
        });
        assert!(walked.unwrap().is_continue());
        inspection.complete();
        (anew, record.generation())
    }

    fn anew(&self) -> Vec<String> {
        self.run().0
    }

    fn text(&self) -> String {
        let mut files = std::fs::read_dir(self.path("state/sent")).unwrap();
        let path = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none());
        std::fs::read_to_string(path).unwrap()
    }
}

#[test]
fn content_that_changes_without_a_trace_in_size_and_time_is_listed_anew() {
    let scene = Scene::new();
    assert!(scene.anew().is_empty());
    assert!(scene.anew().is_empty());
    scene.write("ctx/dir/odd", "654");
    scene.set_old_time("ctx/dir/odd");
    // In each later run, too: the builder may use another copy, which has the old content.
    assert_eq!(scene.anew(), ["dir/odd"]);
    assert_eq!(scene.anew(), ["dir/odd"]);
}

#[test]
fn a_file_that_was_written_at_its_modification_time_is_listed_as_it_is() {
    let scene = Scene::new();
    scene.anew();
    scene.write("ctx/plain", "321");
    scene.write("ctx/new", "321");
    assert!(scene.anew().is_empty());
    // Permissions do not change content, but the time of the last change cannot tell.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(scene.path("ctx/new"), mode).unwrap();
    assert_eq!(scene.anew(), ["new"]);
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_noticed() {
    let scene = Scene::new();
    // Both trees are older than the record.
    scene.write("other/odd", "789");
    scene.set_old_time("other/odd");
    scene.pass();
    assert!(scene.anew().is_empty());
    std::fs::rename(scene.path("ctx/dir"), scene.path("aside")).unwrap();
    std::fs::rename(scene.path("other"), scene.path("ctx/dir")).unwrap();
    assert_eq!(scene.anew(), ["dir/odd"]);
    std::fs::rename(scene.path("ctx"), scene.path("old")).unwrap();
    std::fs::create_dir(scene.path("ctx")).unwrap();
    std::fs::rename(scene.path("aside"), scene.path("ctx/new")).unwrap();
    assert_eq!(scene.anew(), ["new/odd"]);
}

#[test]
fn further_names_of_a_file_go_with_it() {
    let scene = Scene::new();
    scene.anew();
    std::fs::hard_link(scene.path("ctx/dir/odd"), scene.path("ctx/second")).unwrap();
    assert_eq!(scene.anew(), ["dir/odd", "second"]);
}

#[test]
fn a_record_begins_anew_when_more_was_listed_anew_than_the_directory_has() {
    let scene = Scene::new();
    scene.write("ctx/large", &"x".repeat(700 << 10));
    let (_, first) = scene.run();
    assert!(first.is_first());
    scene.set_old_time("ctx/large");
    assert_eq!(scene.run(), (vec!["large".to_owned()], first));
    assert_eq!(scene.run(), (vec!["large".to_owned()], first));
    scene.pass();
    let (anew, second) = scene.run();
    assert!(anew.is_empty() && second != first);
    assert_eq!(scene.run(), (Vec::new(), second));
}

#[test]
fn a_record_is_written_only_if_something_is_new() {
    let scene = Scene::new();
    scene.anew();
    let text = scene.text();
    let written = || {
        let mut files = std::fs::read_dir(scene.path("state/sent")).unwrap();
        files.next().unwrap().unwrap().metadata().unwrap().ino()
    };
    let inode = written();
    scene.anew();
    assert_eq!((scene.text(), written()), (text, inode));
    scene.write("ctx/more/file", "1");
    scene.anew();
    assert_ne!(written(), inode);
}

#[test]
fn a_damaged_record_and_a_clock_that_was_set_back_begin_a_new_generation() {
    let scene = Scene::new();
    let (_, first) = scene.run();
    let file = {
        let mut files = std::fs::read_dir(scene.path("state/sent")).unwrap();
        files.next().unwrap().unwrap().path()
    };
    std::fs::write(&file, "rbake sent 1\ngeneration x").unwrap();
    let (_, second) = scene.run();
    assert_ne!(first, second);
    let ahead = scene.text().replace("since 1", "since 2");
    std::fs::write(&file, ahead).unwrap();
    let (_, third) = scene.run();
    assert_ne!(second, third);
    assert_eq!(scene.run().1, third);
}

#[test]
fn without_a_place_for_records_everything_is_listed_as_it_is() {
    let scene = Scene::new();
    let environment = Environment::of([("RBAKE_STATE_DIR", "/proc/none")], "/");
    for _ in 0..2 {
        let records = SentRecords::new(&environment, "machine", scene.clock.clone());
        let record = records.of(&scene.path("ctx"));
        assert!(record.generation().is_first());
    }
}
