//! Tests of the agents, as a client sees them.

use ssh_key::rand_core::UnwrapErr;
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey, PublicKey, Signature};
use test_case::test_case;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const SHA2_256: u32 = 2;
const SHA2_512: u32 = 4;

/// The random numbers of the system.
fn random() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

fn generated(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut random(), algorithm).unwrap()
}

fn text(key: &PrivateKey) -> Vec<u8> {
    let text = key.to_openssh(ssh_key::LineEnding::LF).unwrap();
    text.as_bytes().to_vec()
}

/// The client of an agent with `keys`.
struct Client(DuplexStream);

impl Client {
    fn of(agent: SshAgent) -> Self {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let (asked, answers) = tokio::io::split(theirs);
        tokio::spawn(serve(agent, asked, answers));
        Self(ours)
    }

    fn with_keys(files: &[&[u8]]) -> Self {
        let keys = PrivateKeys::parse(files.iter().copied()).unwrap();
        Self::of(SshAgent::Keys(keys))
    }

    async fn ask(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.0
            .write_u32(message.len().try_into().unwrap())
            .await
            .unwrap();
        self.0.write_all(message).await.unwrap();
        let length = self.0.read_u32().await.ok()?;
        let mut answer = vec![0; length as usize];
        self.0.read_exact(&mut answer).await.unwrap();
        Some(answer)
    }

    async fn sign(&mut self, key: &PublicKey, data: &[u8], flags: u32) -> Option<Signature> {
        let mut message = vec![13];
        for text in [key.to_bytes().unwrap().as_slice(), data] {
            message.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            message.extend(text);
        }
        message.extend(flags.to_be_bytes());
        let answer = self.ask(&message).await?;
        (answer[0] == 14).then(|| Signature::try_from(&answer[5..]).unwrap())
    }
}

#[test_case(&Algorithm::Ed25519, 0; "ed25519")]
#[test_case(&Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }, 0; "ecdsa p256")]
#[test_case(&Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }, 0; "ecdsa p384")]
#[test_case(&Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }, 0; "ecdsa p521")]
#[tokio::test]
async fn keys_sign_what_their_public_keys_verify(algorithm: &Algorithm, flags: u32) {
    use rsa::signature::Verifier as _;
    let (key, other) = (generated(algorithm.clone()), generated(Algorithm::Ed25519));
    let mut client = Client::with_keys(&[&text(&other), &text(&key)]);
    let listed = client.ask(&[11]).await.unwrap();
    assert_eq!(listed[..5], [12, 0, 0, 0, 2]);
    let blob = key.public_key().to_bytes().unwrap();
    assert!(listed.windows(blob.len()).any(|part| part == blob));
    let signed = client.sign(key.public_key(), b"data", flags).await.unwrap();
    key.public_key()
        .key_data()
        .verify(b"data", &signed)
        .unwrap();
    let unknown = generated(Algorithm::Ed25519);
    let refused = client.sign(unknown.public_key(), b"data", flags).await;
    assert_eq!(refused, None);
}

/// A key in the form of older tools. It is small, because larger ones take long to make.
fn rsa_pem() -> String {
    use rsa::pkcs1::EncodeRsaPrivateKey as _;
    let key = rsa::PrivateKey::new(&mut random(), 1024).unwrap();
    key.to_pkcs1_pem(rsa::pkcs1::LineEnding::LF)
        .unwrap()
        .to_string()
}

#[test_case(SHA2_256, Some("rsa-sha2-256"); "sha-256")]
#[test_case(SHA2_512, Some("rsa-sha2-512"); "sha-512")]
#[test_case(SHA2_256 | SHA2_512, Some("rsa-sha2-512"); "both")]
#[test_case(0, None; "sha-1")]
#[tokio::test]
async fn rsa_keys_sign_with_the_hash_that_is_asked_for(flags: u32, expected: Option<&str>) {
    use rsa::signature::Verifier as _;
    let keys = PrivateKeys::parse([rsa_pem().as_bytes()]).unwrap();
    let blob = keys.listed().next().unwrap().0.to_vec();
    let key = PublicKey::from_bytes(&blob).unwrap();
    let mut client = Client::of(SshAgent::Keys(keys));
    let signed = client.sign(&key, b"data", flags).await;
    let algorithm = signed
        .as_ref()
        .map(|signed| signed.algorithm().as_str().to_owned());
    assert_eq!(algorithm.as_deref(), expected);
    if let Some(signed) = signed {
        key.key_data().verify(b"data", &signed).unwrap();
    }
}

// Add, remove, remove all, lock, unlock, add constrained, extension, a type that does not exist.
#[tokio::test]
async fn requests_that_would_change_an_agent_are_refused() {
    let mut client = Client::with_keys(&[&text(&generated(Algorithm::Ed25519))]);
    for kind in [17, 18, 19, 22, 23, 25, 27, 200] {
        let refusal = if kind == 27 { 28 } else { 5 };
        let answer = client.ask(&[kind, 1, 2]).await;
        assert_eq!(answer, Some(vec![refusal]), "{kind}");
    }
    // The connection is still good.
    assert_eq!(client.ask(&[11]).await.unwrap()[0], 12);
}

#[test_case(&[0, 0, 0, 0]; "an empty message")]
#[test_case(&[0xff, 0xff, 0xff, 0xff, 13]; "a message without an end")]
#[test_case(&[0, 0, 0, 9, 13, 0, 0]; "half a message")]
#[tokio::test]
async fn malformed_messages_end_the_connection(bytes: &[u8]) {
    let Client(mut stream) = Client::with_keys(&[]);
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
}

#[test_case(&[13]; "nothing")]
#[test_case(&[13, 0, 0, 0, 200, 1]; "a length that is too large")]
#[test_case(&[13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; "half of the flags")]
#[tokio::test]
async fn malformed_requests_are_refused(message: &[u8]) {
    let mut client = Client::with_keys(&[&text(&generated(Algorithm::Ed25519))]);
    assert_eq!(client.ask(message).await, Some(vec![5]));
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    let reason = |file: &[u8]| match PrivateKeys::parse([file]) {
        Ok(_) => String::new(),
        Err(error) => crate::types::causes::in_one_line(&error),
    };
    assert!(reason(b"ssh-ed25519 AAAA").contains("form of OpenSSH"));
    assert!(reason(&[0xff, 0xfe]).contains("form of OpenSSH"));
    assert!(reason(&vec![b'a'; KEY_LIMIT + 1]).contains("100 KiB"));
    let damaged = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    assert!(reason(damaged.as_bytes()).contains("cannot be read"));
    let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(reason(pem.as_bytes()).contains("RSA"));
    let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert!(reason(encrypted.as_bytes()).contains("passphrase"));
}

#[test]
fn an_id_without_a_name_is_the_default() {
    let agent = SshAgent::Socket("/s".into());
    let agents = SshAgents::new(BTreeMap::from([(DEFAULT_ID.to_owned(), agent.clone())]));
    assert_eq!(agents.find("").unwrap(), &agent);
    let unknown = agents.find("other").unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}
