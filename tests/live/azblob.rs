//! Caches in Azure Blob Storage.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::buildkitd::Buildkitd;
use crate::support::object_stores::{ACCOUNT_KEY, AzureServer};

use super::object_caches::{self, Storage, project};

const STORAGE: Storage = Storage {
    cache: |more| AzureServer::shared().cache(&format!("secret_access_key={ACCOUNT_KEY},{more}")),
    with_keys: |project| project,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn each_program_finds_the_steps_of_the_other() {
    object_caches::each_program_finds_the_steps_of_the_other(STORAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn one_name_serves_four_targets() {
    object_caches::one_name_serves_four_targets(STORAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_shared_name_holds_both_targets_and_each_other_name_its_own() {
    object_caches::a_shared_name_holds_both_targets_and_each_other_name_its_own(STORAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_finished_steps_of_a_failed_target_are_kept() {
    let shown = "/devstoreaccount1/buildkit-cache/";
    object_caches::the_finished_steps_of_a_failed_target_are_kept(STORAGE, shown).await;
}

/// A blob storage whose container somebody else creates right after it was looked for. It takes everything, and returns how often the
/// container was looked for.
fn storage_with_a_container_of_somebody_else() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let looked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let length = head.lines().find_map(|line| {
                let line = line.to_ascii_lowercase();
                line.strip_prefix("content-length: ")?.parse::<u64>().ok()
            });
            let _ = std::io::copy(&mut reader.take(length.unwrap_or(0)), &mut std::io::sink());
            let of_container = head.contains("?restype=container");
            let answer = match head.split(' ').next() {
                Some("GET") if of_container && count.fetch_add(1, Ordering::SeqCst) == 0 => {
                    "404 Not Found\r\nx-ms-error-code: ContainerNotFound"
                }
                Some("PUT") if of_container => {
                    "409 Conflict\r\nx-ms-error-code: ContainerAlreadyExists"
                }
                Some("PUT") => "201 Created",
                Some("HEAD") => "404 Not Found\r\nx-ms-error-code: BlobNotFound",
                _ => "200 OK",
            };
            let answer =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, looked)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_container_that_somebody_else_creates_at_the_same_time_is_used() {
    let (address, looked) = storage_with_a_container_of_somebody_else();
    let cache = format!(
        "type=azblob,account_url=http://{address}/a,account_name=a,secret_access_key={ACCOUNT_KEY}"
    );
    let builder = Buildkitd::start_with_images().await;
    let project = project(&format!(
        "target \"default\" {{\n  output = [\"type=cacheonly\"]\n  cache-to = [\"{cache}\"]\n}}\n"
    ))
    .env("BUILDKIT_HOST", builder.endpoint());
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("steps of 1 target"), "{output}");
    assert_eq!(looked.load(Ordering::SeqCst), 2, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_wrong_key_does_not_fail_the_image() {
    let server = AzureServer::shared();
    let outputs = object_caches::an_export_that_fails_does_not_fail_the_image(|more| {
        let cache = server.cache(&format!("secret_access_key=d3Jvbmc=,name=wrong{more}"));
        project(&format!(
            "target \"default\" {{\n  output = [\"type=cacheonly\"]\n  cache-from = [\"{cache}\"]\n  cache-to = [\"{cache}\"]\n}}\n"
        ))
    })
    .await;
    for output in outputs {
        for words in [
            "AuthorizationFailure",
            "no cache is imported from `azblob:127.0.0.1:",
            "/devstoreaccount1/buildkit-cache/wrong`",
        ] {
            assert!(output.stderr.contains(words), "{words}: {output}");
        }
        // Azure's answer has many lines.
        assert!(!output.stderr.contains("-----"), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_account_that_nobody_names_is_reported_before_the_build() {
    let builder = Buildkitd::start_with_images().await;
    let project = project("target \"default\" {\n  cache-to = [\"type=azblob,name=x\"]\n}\n")
        .env("BUILDKIT_HOST", builder.endpoint());
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(1), "{output}");
    for words in [
        "account_url attribute is required",
        "add `account_url=https://ACCOUNT.blob.core.windows.net`",
        "docker-bake.hcl:2:",
    ] {
        assert!(output.stderr.contains(words), "{words}: {output}");
    }
    assert!(!output.stderr.contains("RUN date"), "{output}");
}
