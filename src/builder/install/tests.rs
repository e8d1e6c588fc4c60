//! Installations in a temporary folder, from a release server on this machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use super::pins::{Archive, Buildkit, Runc};
use super::testing::{Answer, Host, archive};
use super::*;
use crate::event::EventKind;
use crate::types::Clock;

const VERSION: &str = "v9.9.9";

struct Machine {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Machine {
    // `PATH` has a shell and nothing else.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("path");
        std::fs::create_dir(&path).unwrap();
        Self { dir, path }
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.path.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn environment(&self, base: &str) -> Environment {
        let path = format!("{}:/bin:/usr/bin", self.path.display());
        let data = self.dir.path().join("data");
        Environment::of(
            [
                ("RBAKE_DATA_DIR", data.to_str().unwrap()),
                ("PATH", &path),
                (BASE_VARIABLE, base),
            ],
            "/",
        )
    }

    fn downloads(&self) -> PathBuf {
        self.dir.path().join("data/builder/programs/downloads")
    }
}

fn release(version: &str) -> Vec<u8> {
    archive(&[
        ("bin/buildctl", "x"),
        (
            "bin/buildkitd",
            &format!(
                "#!/bin/sh\necho buildkitd github.com/moby/buildkit {version} 0\n# {}",
                "x".repeat(5000)
            ),
        ),
        ("bin/buildkit-runc", "#!/bin/sh\necho runc version 1.3.4\n"),
    ])
}

fn options(pinned: Option<&[u8]>) -> InstallOptions {
    InstallOptions {
        pins: Pins {
            buildkit: Buildkit {
                version: VERSION.to_owned(),
                base: "http://nowhere.invalid".to_owned(),
                archives: pinned
                    .map(|bytes| Archive {
                        platform: Platform::local().to_string(),
                        sha256: hex::encode(Sha256::digest(bytes)),
                    })
                    .into_iter()
                    .collect(),
            },
            runc: Runc {
                version: "v1.3.4".to_owned(),
            },
        },
        method: Some(InstallMethod::Release),
        force: false,
    }
}

async fn run(
    machine: &Machine,
    host: &Host,
    options: &InstallOptions,
) -> Result<Installed, InstallError> {
    install(
        &machine.environment(&host.base),
        options,
        &EventSink::none(),
    )
    .await
}

fn reason(result: Result<Installed, InstallError>) -> String {
    match result {
        Err(InstallError::NoMethod(methods)) => methods[0].reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pinned_archive_is_installed_once() {
    let machine = Machine::new();
    let file = release(VERSION);
    let host = Host::start(vec![Answer::File(file.clone())]).await;
    let Installed::Now { record, bin, .. } =
        run(&machine, &host, &options(Some(&file))).await.unwrap()
    else {
        panic!("not installed")
    };
    assert_eq!(
        (record.version.as_str(), record.method),
        (VERSION, InstallMethod::Release)
    );
    assert!(bin.join("buildkitd").exists() && bin.join("runc").exists());
    assert!(!machine.downloads().exists());
    let again = run(&machine, &host, &options(Some(&file))).await.unwrap();
    assert_eq!(again, Installed::Already(record));
    assert_eq!(host.asked().len(), 1);
    assert!(host.asked()[0].starts_with("/v9.9.9/buildkit-v9.9.9."));

    std::fs::write(bin.join("runc"), "").unwrap();
    let repaired = run(&machine, &host, &options(Some(&file))).await.unwrap();
    assert!(matches!(repaired, Installed::Now { .. }));
}

#[tokio::test]
async fn without_a_pin_rbake_downloads_nothing() {
    let machine = Machine::new();
    let host = Host::start(vec![Answer::File(release(VERSION))]).await;
    let reason = reason(run(&machine, &host, &options(None)).await);
    assert!(reason.contains("has no pin"), "{reason}");
    assert!(host.asked().is_empty());
}

#[tokio::test]
async fn a_file_with_another_digest_is_refused_and_removed() {
    let machine = Machine::new();
    let file = release(VERSION);
    let host = Host::start(vec![Answer::File(b"something else".to_vec())]).await;
    let reason = reason(run(&machine, &host, &options(Some(&file))).await);
    assert!(reason.contains("is not the expected file"), "{reason}");
    assert_eq!(std::fs::read_dir(machine.downloads()).unwrap().count(), 0);
    let places = EmbeddedPlaces::of(&machine.environment(&host.base)).unwrap();
    assert_eq!(Folder::at(places.programs()).record().await, None);
}

#[tokio::test]
async fn an_interrupted_download_is_resumed() {
    let machine = Machine::new();
    let file = release(VERSION);
    let half = file.len() / 2;
    let host = Host::start(vec![Answer::File(file.clone())]).await;
    let name = options(None).pins.file_name(&Platform::local());
    std::fs::create_dir_all(machine.downloads()).unwrap();
    let part = machine.downloads().join(format!("{name}.part"));
    std::fs::write(part, &file[..half]).unwrap();
    run(&machine, &host, &options(Some(&file))).await.unwrap();
    let asked = host.asked();
    assert!(asked.len() == 1 && asked[0].ends_with(&format!(" {half}")));
}

#[tokio::test]
async fn a_download_goes_on_after_a_lost_connection_and_an_overloaded_server() {
    let machine = Machine::new();
    let file = release(VERSION);
    let half = file.len() / 2;
    let host = Host::start(vec![
        Answer::Status(429),
        Answer::Cut(file.clone(), half),
        Answer::Status(503),
        Answer::File(file.clone()),
    ])
    .await;
    run(&machine, &host, &options(Some(&file))).await.unwrap();
    let asked = host.asked();
    let goes_on: Vec<bool> = asked
        .iter()
        .map(|request| request.ends_with(&format!(" {half}")))
        .collect();
    assert_eq!(goes_on, [false, false, true, true], "{asked:?}");
}

#[tokio::test]
async fn a_partial_download_of_another_file_does_no_harm() {
    let machine = Machine::new();
    let file = release(VERSION);
    let host = Host::start(vec![Answer::File(file.clone())]).await;
    let name = options(None).pins.file_name(&Platform::local());
    std::fs::create_dir_all(machine.downloads()).unwrap();
    for junk in [vec![b'x'; 10], vec![b'x'; file.len() + 10]] {
        std::fs::write(machine.downloads().join(format!("{name}.part")), junk).unwrap();
        let mut options = options(Some(&file));
        options.force = true;
        run(&machine, &host, &options).await.unwrap();
        std::fs::create_dir_all(machine.downloads()).unwrap();
    }
}

#[tokio::test]
async fn an_archive_of_another_version_is_not_installed() {
    let machine = Machine::new();
    let file = release("v0.0.1");
    let host = Host::start(vec![Answer::File(file.clone())]).await;
    let reason = reason(run(&machine, &host, &options(Some(&file))).await);
    assert!(
        reason.ends_with("reports version v0.0.1, but v9.9.9 was expected"),
        "{reason}"
    );
}

#[tokio::test]
async fn the_error_names_a_host_without_the_archive() {
    let machine = Machine::new();
    let file = release(VERSION);
    let host = Host::start(vec![Answer::Status(404)]).await;
    let reason = reason(run(&machine, &host, &options(Some(&file))).await);
    assert!(
        reason.starts_with("cannot download `http://127.0.0.1:"),
        "{reason}"
    );
    assert!(reason.ends_with("the server answers 404"), "{reason}");
}

#[tokio::test]
async fn programs_in_path_are_used_if_they_are_new_enough() {
    let machine = Machine::new();
    machine.program(
        "buildkitd",
        "echo buildkitd github.com/moby/buildkit v0.20.1 abc",
    );
    machine.program("runc", "echo runc version 1.1.5+ds1");
    let mut options = options(None);
    options.method = Some(InstallMethod::Path);
    let environment = machine.environment("http://127.0.0.1:1");
    let found = install(&environment, &options, &EventSink::none())
        .await
        .unwrap();
    assert!(matches!(found, Installed::InPath { version, .. } if version == "v0.20.1"));
    for old in ["v0.0.0+unknown", "v0.12.5"] {
        machine.program(
            "buildkitd",
            &format!("echo buildkitd github.com/moby/buildkit {old} abc"),
        );
        let reason = reason(install(&environment, &options, &EventSink::none()).await);
        assert!(reason.ends_with("but 0.13 or newer is needed"), "{reason}");
    }
}

#[tokio::test]
async fn a_build_with_go_installs_the_pinned_version() {
    let machine = Machine::new();
    machine.program("runc", "echo runc version 1.1.5");
    // Does what `go build -o DIR/ …` does: writes programs, of the version for which `go get` was called.
    machine.program(
        "go",
        r#"case $1 in
get) echo "$*" > asked;;
build) for last in "$@"; do case $last in */bin/) dir=$last;; esac; done
  grep -q 'cmd/buildkitd@v9.9.9' asked || exit 1
  for name in buildkitd buildctl; do
    printf '#!/bin/sh\necho buildkitd github.com/moby/buildkit v9.9.9\n' > "$dir/$name"; chmod 755 "$dir/$name"
  done;;
esac"#,
    );
    let mut options = options(None);
    options.method = None;
    let told = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&told);
    let events = EventSink::new(Clock::system(), move |event| {
        if let EventKind::Local(work) = event.kind {
            into.lock().unwrap().push((work.name, work.done));
        }
    });
    let environment = machine.environment("http://127.0.0.1:1");
    let installed = install(&environment, &options, &events).await.unwrap();
    let Installed::Now {
        record,
        passed_over,
        ..
    } = installed
    else {
        panic!("not installed")
    };
    assert_eq!(record.method, InstallMethod::Go);
    assert_eq!(passed_over.len(), 2);
    let told = told.lock().unwrap();
    assert!(
        told.iter()
            .any(|(name, done)| name.starts_with("build BuildKit v9.9.9") && *done)
    );
    let work = Path::new(&environment.data_dir().unwrap()).join("builder/programs");
    assert!(std::fs::read_dir(work).unwrap().all(|entry| {
        !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("new-")
    }));
}

#[tokio::test]
async fn programs_that_others_can_change_are_not_even_run_for_their_version() {
    let machine = Machine::new();
    let mark = machine.dir.path().join("was-run");
    let script = format!("touch {}; echo buildkitd x v0.20.1 abc", mark.display());
    machine.program("buildkitd", &script);
    machine.program("runc", "echo runc version 1.1.5");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&machine.path, open).unwrap();
    let mut options = options(None);
    options.method = Some(InstallMethod::Path);
    let environment = machine.environment("http://127.0.0.1:1");
    let reason = reason(install(&environment, &options, &EventSink::none()).await);
    assert!(
        reason.starts_with("`buildkitd` is not safe to run"),
        "{reason}"
    );
    assert!(reason.contains("mode 0777"), "{reason}");
    assert!(!mark.exists());
}

#[tokio::test]
async fn programs_get_no_secrets_from_the_environment() {
    let machine = Machine::new();
    machine.program("runc", "echo runc version 1.1.5");
    let seen = machine.dir.path().join("seen");
    let script = format!("env >> {}; exit 1", seen.display());
    machine.program("go", &script);
    let mut options = options(None);
    options.method = Some(InstallMethod::Go);
    let mut environment = machine.environment("http://127.0.0.1:1");
    for (name, value) in [
        ("GITHUB_TOKEN", "canary"),
        ("GOFLAGS", "-canary"),
        ("GOPROXY", "http://proxy.example"),
        ("HTTPS_PROXY", "http://other.example"),
    ] {
        environment = environment.with(name, Some(value));
    }
    reason(install(&environment, &options, &EventSink::none()).await);
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(!seen.contains("canary"), "{seen}");
    assert!(seen.contains("GOPROXY=http://proxy.example"), "{seen}");
    assert!(seen.contains("HTTPS_PROXY=http://other.example"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_another_installation_is_reported() {
    let machine = Machine::new();
    let environment = machine.environment("http://127.0.0.1:1");
    let places = EmbeddedPlaces::of(&environment).unwrap();
    places.create().unwrap();
    let path = places.install_lock();
    let held = embedded::lock(&path, Duration::from_secs(5)).await.unwrap();
    let (send, mut told) = tokio::sync::mpsc::unbounded_channel();
    let events = EventSink::new(Clock::system(), move |event| {
        if let EventKind::Local(work) = event.kind {
            let _ = send.send(work.name);
        }
    });
    let mut options = options(None);
    options.method = Some(InstallMethod::Path);
    let work = tokio::spawn(async move { install(&environment, &options, &events).await });
    let first = told.recv().await.unwrap();
    assert_eq!(first, "wait for another installation");
    drop(held);
    assert!(work.await.unwrap().is_err());
}

#[tokio::test]
async fn the_error_quotes_the_output_of_a_failed_go_build() {
    let machine = Machine::new();
    machine.program("go", "echo 'proxy.example: no route to host' >&2; exit 1");
    let mut options = options(None);
    options.method = Some(InstallMethod::Go);
    let environment = machine.environment("http://127.0.0.1:1");
    let reason = reason(install(&environment, &options, &EventSink::none()).await);
    assert_eq!(reason, "`go get` failed: proxy.example: no route to host");
}
