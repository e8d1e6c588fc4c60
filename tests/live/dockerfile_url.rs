//! Dockerfiles at addresses. `buildx build` accepts them; `buildx bake` takes the address for a path.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::support::bakers::{Baker, Bakers};
use crate::support::peers;
use crate::support::project::TestProject;

use super::cache::succeeds;

const DOCKERFILE: &str = "FROM busybox as made\nCOPY docker-bake.hcl /copied\nRUN date +%N > /made\nFROM scratch\nCOPY --from=made /copied /copied\n";

/// A server with some files. It ends with the process of the test.
struct Site {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Site {
    fn with(files: BTreeMap<&'static str, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let found = files.get(path.as_str());
                log.lock().unwrap().push(path);
                let status = if found.is_some() {
                    "200 OK"
                } else {
                    "404 Not Found"
                };
                let body = found.map(Vec::as_slice).unwrap_or_default();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nETag: \"{length}\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes());
                if !head.starts_with("HEAD ") {
                    let _ = stream.write_all(body);
                }
            }
        });
        Self { address, requests }
    }

    fn new() -> Self {
        Self::with(BTreeMap::from([("/Dockerfile", DOCKERFILE.into())]))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn count(&self, path: &str) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|asked| *asked == path).count()
    }
}

fn target(name: &str, url: &str, more: &str) -> String {
    format!(
        "target \"{name}\" {{\n  dockerfile = \"{url}\"\n  output = [\"type=local,dest=out-{name}\"]\n{more}}}\n"
    )
}

fn project(definition: &str) -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", definition)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", peers::peer("RBAKE_TEST_BUILDKIT_ADDR"))
}

fn copied(project: &TestProject, folder: &str) -> String {
    std::fs::read_to_string(project.path().join(folder).join("copied")).unwrap()
}

#[test]
#[ignore = "needs live peers"]
fn it_is_built_as_by_buildx_build_and_loaded_once_for_all_targets() {
    let site = Site::new();
    let url = site.url("/Dockerfile");
    let definition = [target("a", &url, ""), target("b", &url, "")].concat();
    let project = project(&definition);
    let output = succeeds(project.rbake(&["a", "b"]));
    assert_eq!(site.count("/Dockerfile"), 1, "{output}");
    for name in ["a", "b"] {
        assert_eq!(copied(&project, &format!("out-{name}")), definition);
    }
    let bakers = Bakers::on_the_shared_daemon();
    let words = [
        "build",
        "--builder",
        "test",
        "-f",
        &url,
        "--output",
        "out-buildx",
        ".",
    ];
    let _built = succeeds(bakers.buildx(&project, &words));
    assert_eq!(copied(&project, "out-buildx"), definition);
    let output = bakers.bake(Baker::Buildx, &project, &["a"]);
    assert_eq!(output.code, Some(1), "buildx has changed: {output}");
}

// The frontend knows the file as `Dockerfile`, which may also be another one in the context.
#[test]
#[ignore = "needs live peers"]
fn warnings_and_errors_name_the_address() {
    let site = Site::with(BTreeMap::from([
        ("/Dockerfile", DOCKERFILE.into()),
        ("/broken", b"FROM busybox\nRUN false\n".into()),
    ]));
    let good = site.url("/Dockerfile");
    let bad = site.url("/broken");
    let project = project(&[target("good", &good, ""), target("bad", &bad, "")].concat())
        .file("Dockerfile", "FROM nothing\n");
    let output = succeeds(project.rbake(&["good"]));
    assert!(output.stderr.contains(&format!("{good}:1")), "{output}");
    let output = project.rbake(&["bad"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains(&format!("{bad}:2")), "{output}");
}

#[test]
#[ignore = "needs live peers"]
fn it_may_build_a_remote_context() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(6);
    header.set_mode(0o644);
    header.set_cksum();
    archive
        .append_data(&mut header, "docker-bake.hcl", &b"remote"[..])
        .unwrap();
    let site = Site::with(BTreeMap::from([
        ("/Dockerfile", DOCKERFILE.into()),
        ("/context.tar", archive.into_inner().unwrap()),
    ]));
    let context = format!("  context = \"{}\"\n", site.url("/context.tar"));
    let project = project(&target("a", &site.url("/Dockerfile"), &context));
    let _built = succeeds(project.rbake(&["a"]));
    assert_eq!(copied(&project, "out-a"), "remote");
}

#[test]
#[ignore = "needs live peers"]
fn one_that_cannot_be_loaded_is_reported_with_its_place_before_the_build() {
    let site = Site::with(BTreeMap::from([
        ("/large", vec![b'#'; (2 << 20) + 1]),
        ("/binary", vec![0xfe; 10]),
    ]));
    for (path, reason) in [
        ("/none", "/none`: invalid response status 404"),
        ("/large", "it has more than 2097152 bytes"),
        ("/binary", "it is not UTF-8"),
    ] {
        let url = site.url(path).replace("//", "//u:hunter2@");
        let project = project(&target("a", &url, ""));
        for mode in ["plain", "rawjson", "quiet"] {
            let output = project.rbake(&["a", "--progress", mode]);
            assert_eq!(output.code, Some(1), "{output}");
            for words in [
                "error[run::dockerfile-download]: the Dockerfile of target `a` cannot be loaded from `http://xxxxx:xxxxx@",
                reason,
                "docker-bake.hcl:2:",
            ] {
                assert!(output.stderr.contains(words), "{words}: {output}");
            }
            assert!(
                !output.to_string().replace(&url, "").contains("hunter2"),
                "{output}"
            );
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_password_in_the_address_is_not_shown() {
    let site = Site::new();
    let url = site.url("/Dockerfile").replace("//", "//u:hunter2@");
    let project =
        project(&target("a", "${URL}", "").replace("target", "variable \"URL\" {}\ntarget"))
            .env("URL", url)
            .env("RBAKE_LOG", "trace");
    for mode in ["plain", "rawjson", "quiet", "auto"] {
        let words = [
            "a",
            "-D",
            "--progress",
            mode,
            "--metadata-file",
            "meta.json",
        ];
        let output = succeeds(project.rbake(&words));
        let metadata = std::fs::read_to_string(project.path().join("meta.json")).unwrap();
        for text in [output.to_string(), metadata] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
