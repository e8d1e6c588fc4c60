//! Which secret a step gets: that of its own target, or of a target with which it is shared. The results are compared
//! with those of buildx on the same daemon.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::bakers::{Baker, Bakers};
use crate::support::project::TestProject;

const THIRD_PARTY: &str = r#"
target "app" {
  dockerfile = "app.Dockerfile"
  secret     = ["id=npm_token,env=NPM_TOKEN"]
  output     = ["type=local,dest=out/app"]
}
target "thirdparty" {
  dockerfile = "thirdparty.Dockerfile"
  output     = ["type=local,dest=out/thirdparty"]
}
group "default" { targets = ["app", "thirdparty"] }
group "reversed" { targets = ["thirdparty", "app"] }
"#;

// A step that records the secret that it got. `name` makes the steps of the targets differ.
fn step(name: &str, options: &str) -> String {
    format!(
        "FROM busybox AS build\nARG NONCE\nRUN --mount=type=secret,id=npm_token{options} echo {name} $NONCE; cat /run/secrets/npm_token > /got || echo none > /got\nFROM scratch\nCOPY --from=build /got /got\n"
    )
}

fn got(project: &TestProject, target: &str) -> String {
    let path = project.path().join("out").join(target).join("got");
    let text = std::fs::read_to_string(path);
    text.map_or_else(|error| error.to_string(), |text| text.trim().to_owned())
}

fn nonce(baker: Baker, of: &str) -> String {
    format!("NONCE={baker:?}-{of}-{}", std::process::id())
}

#[test]
#[ignore = "needs live peers"]
fn a_target_does_not_get_a_secret_that_only_another_target_declares() {
    let bakers = Bakers::on_the_shared_daemon();
    for baker in Baker::ALL {
        for group in ["default", "reversed"] {
            let project = TestProject::new()
                .file("docker-bake.hcl", THIRD_PARTY)
                .file("app.Dockerfile", step("app", ",required=true"))
                .file("thirdparty.Dockerfile", step("thirdparty", ""))
                .env("NPM_TOKEN", "hunter2");
            let set = format!("*.args.{}", nonce(baker, group));
            let output = bakers.bake(baker, &project, &[group, "--set", &set]);
            assert_eq!(output.code, Some(0), "{baker:?}: {output}");
            assert_eq!(got(&project, "app"), "hunter2", "{baker:?}");
            assert_eq!(got(&project, "thirdparty"), "none", "{baker:?}");

            let project = project.file(
                "thirdparty.Dockerfile",
                step("thirdparty", ",required=true"),
            );
            let output = bakers.bake(baker, &project, &[group, "--set", &set]);
            assert_eq!(output.code, Some(1), "{baker:?}: {output}");
            assert!(
                output.stderr.contains("npm_token") && output.stderr.contains("not found"),
                "{baker:?}: {output}"
            );
        }
    }
}

// A pipe gives its content only once, and each target has its own session. With buildx, the second target gets an
// empty secret.
#[test]
#[ignore = "needs live peers"]
fn all_targets_get_the_secret_that_comes_from_one_pipe() {
    let bakers = Bakers::on_the_shared_daemon();
    let target = |name: &str| {
        format!(
            "target \"{name}\" {{\n  dockerfile = \"{name}.Dockerfile\"\n  secret = [\"id=npm_token,src=pipe\"]\n  output = [\"type=local,dest=out/{name}\"]\n}}\n"
        )
    };
    let mut definition =
        "group \"default\" { targets = [\"one\", \"two\", \"three\"] }\n".to_owned();
    let mut project = TestProject::new();
    for name in ["one", "two", "three"] {
        definition.push_str(&target(name));
        project = project.file(&format!("{name}.Dockerfile"), step(name, ",required=true"));
    }
    let project = project.file("docker-bake.hcl", &definition);
    let pipe = project.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    // Opening the pipe waits for the first reader. It is written only once.
    let writer = std::thread::spawn(move || std::fs::write(pipe, "swordfish"));
    let set = format!("*.args.{}", nonce(Baker::Rbake, "pipe"));
    let output = bakers.bake(Baker::Rbake, &project, &["--set", &set]);
    assert_eq!(output.code, Some(0), "{output}");
    for name in ["one", "two", "three"] {
        assert_eq!(got(&project, name), "swordfish", "{name}");
    }
    writer.join().unwrap().unwrap();
}

// Two targets for each kind of mount and each order. The two share a step, and one of them has the secret.
fn shared_steps(baker: Baker) -> String {
    let mut text = String::new();
    let mut all = Vec::new();
    for mount in ["required", "optional"] {
        for holder in ["first", "second"] {
            for target in ["first", "second"] {
                let name = format!("{mount}-{holder}-{target}");
                let secret = if target == holder {
                    "\"id=k,src=token\""
                } else {
                    ""
                };
                let nonce = nonce(baker, &format!("{mount}-{holder}"));
                let (_, nonce) = nonce.split_once('=').unwrap();
                writeln!(text, "target \"{name}\" {{\n  target = \"{mount}\"\n  args = {{ NONCE = \"{nonce}\" }}\n  secret = [{secret}]\n  output = [\"type=local,dest=out/{name}\"]\n}}").unwrap();
                all.push(format!("\"{name}\""));
            }
        }
    }
    writeln!(
        text,
        "group \"default\" {{ targets = [{}] }}",
        all.join(", ")
    )
    .unwrap();
    text
}

// The first step gives all solves the time to reach the second one.
const SHARED: &str = "FROM busybox AS base
ARG NONCE
RUN sleep 4; echo $NONCE

FROM base AS get-required
RUN --mount=type=secret,id=k,required=true cp /run/secrets/k /got

FROM base AS get-optional
RUN --mount=type=secret,id=k cp /run/secrets/k /got || echo none > /got

FROM scratch AS required
COPY --from=get-required /got /got

FROM scratch AS optional
COPY --from=get-optional /got /got
";

#[test]
#[ignore = "needs live peers"]
fn a_shared_step_gets_the_secret_of_the_target_that_has_it() {
    let bakers = Bakers::on_the_shared_daemon();
    for baker in Baker::ALL {
        let project = TestProject::new()
            .file("docker-bake.hcl", shared_steps(baker))
            .file("Dockerfile", SHARED)
            .file("token", "swordfish");
        let output = bakers.bake(baker, &project, &[]);
        assert_eq!(output.code, Some(0), "{baker:?}: {output}");
        for mount in ["required", "optional"] {
            for holder in ["first", "second"] {
                for target in ["first", "second"] {
                    let name = format!("{mount}-{holder}-{target}");
                    assert_eq!(got(&project, &name), "swordfish", "{baker:?}: {name}");
                }
            }
        }
    }
}

/// Refuses all requests, but only after `awaited` servers of the group have received one.
struct RefusingServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

type Gate = Arc<(Mutex<usize>, Condvar)>;

impl RefusingServer {
    fn start(gate: &Gate, awaited: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, gate) = (Arc::clone(&requests), Arc::clone(gate));
        std::thread::spawn(move || {
            let mut is_first = true;
            for mut stream in listener.incoming().flatten() {
                let mut buffer = [0; 8192];
                let len = stream.read(&mut buffer).unwrap_or_default();
                let request = String::from_utf8_lossy(&buffer[..len]).into_owned();
                log.lock().unwrap().push(request);
                let (count, changed) = &*gate;
                let mut count = count.lock().unwrap();
                *count += usize::from(std::mem::take(&mut is_first));
                changed.notify_all();
                // The first refusal ends the whole bake, so the other server must have received its request before.
                let limit = Duration::from_secs(20);
                drop(changed.wait_timeout_while(count, limit, |count| *count < awaited));
                let _ = stream.write_all(
                    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                );
            }
        });
        Self { address, requests }
    }

    // The values of all `Authorization` headers that were received.
    fn authorizations(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        assert!(!requests.is_empty(), "{} got no request", self.address);
        let lines = requests.iter().flat_map(|request| request.lines());
        lines
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("authorization")
                    .then(|| value.trim().to_owned())
            })
            .collect()
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_git_host_gets_the_token_of_its_own_target_only() {
    let bakers = Bakers::on_the_shared_daemon();
    // Each bake waits a while for git, so all run at the same time.
    std::thread::scope(|scope| {
        for baker in Baker::ALL {
            for id in [
                "GIT_AUTH_TOKEN",
                "GIT_AUTH_HEADER",
                "GIT_AUTH_TOKEN.<own>",
                "GIT_AUTH_HEADER.<own>",
                "GIT_AUTH_TOKEN.<other>",
                "GIT_AUTH_HEADER.<other>",
            ] {
                let bakers = &bakers;
                scope.spawn(move || two_git_hosts(bakers, baker, id));
            }
        }
    });
}

// Two targets, each with its own git host. The second one has the secret `id`, whose name selects the host that gets it.
fn two_git_hosts(bakers: &Bakers, baker: Baker, id: &str) {
    let gate = Gate::default();
    let [other, own] = [(), ()].map(|()| RefusingServer::start(&gate, 2));
    let secret = id
        .replace("<own>", &own.address.to_string())
        .replace("<other>", &other.address.to_string());
    let definition = format!(
        "target \"a\" {{ context = \"http://{}/{baker:?}/a.git\" }}\ntarget \"b\" {{\n  context = \"http://{}/{baker:?}/b.git\"\n  secret = [\"id={secret},env=TOKEN\"]\n}}\ngroup \"default\" {{ targets = [\"a\", \"b\"] }}\n",
        other.address, own.address
    );
    let project = TestProject::new()
        .file("docker-bake.hcl", definition)
        .env("TOKEN", "hunter2");
    let output = bakers.bake(baker, &project, &[]);
    assert_eq!(output.code, Some(1), "{baker:?} {id}: {output}");
    let sent = other.authorizations();
    assert!(sent.is_empty(), "{baker:?} {id}: {sent:?}");
    let sent = own.authorizations();
    let for_the_other = id.contains("<other>");
    assert_eq!(sent.is_empty(), for_the_other, "{baker:?} {id}: {sent:?}");
}

#[test]
#[ignore = "needs live peers"]
fn an_http_host_gets_the_token_of_its_own_target_only() {
    let bakers = Bakers::on_the_shared_daemon();
    for baker in Baker::ALL {
        let gate = Gate::default();
        let server = RefusingServer::start(&gate, 1);
        let definition = "target \"app\" {\n  dockerfile-inline = \"FROM busybox\\nARG NONCE\\nRUN echo $NONCE; sleep 2\\n\"\n  secret = [\"id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOKEN\"]\n}\ntarget \"thirdparty\" {}\ngroup \"default\" { targets = [\"app\", \"thirdparty\"] }\n";
        let project = TestProject::new()
            .file("docker-bake.hcl", definition)
            .file(
                "Dockerfile",
                format!("FROM scratch\nADD http://{}/{baker:?} /f\n", server.address),
            )
            .env("TOKEN", "hunter2");
        let set = format!("app.args.{}", nonce(baker, "http"));
        let output = bakers.bake(baker, &project, &["--set", &set]);
        assert_eq!(output.code, Some(1), "{baker:?}: {output}");
        assert_eq!(server.authorizations(), Vec::<String>::new(), "{baker:?}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_secret_that_vanished_fails_its_target_even_if_the_step_does_not_require_it() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"default\" { secret = [\"id=npm_token,src=token\"] }\n",
        )
        .file(
            "Dockerfile",
            step("vanished", "").replace("\nRUN", "\nRUN sleep 4; echo $NONCE\nRUN"),
        )
        .file("token", "hunter2");
    let token = project.path().join("token");
    let remover = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_secs(3));
        std::fs::remove_file(token).unwrap();
    });
    let set = format!("default.args.{}", nonce(Baker::Rbake, "vanished"));
    let output = bakers.bake(Baker::Rbake, &project, &["--set", &set]);
    remover.join().unwrap();
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output
            .stderr
            .contains("cannot read secret `npm_token` from `[project]/token`"),
        "{output}"
    );
}
