//! Signatures of commits and tags.

use ssh_key::{PublicKey, SshSig};

use super::openpgp::{self, PgpSignature};

/// What is signed with SSH keys for git.
const NAMESPACE: &str = "git";

/// A signature as it stands in a git object.
#[derive(Debug)]
pub(super) enum SignatureBlock {
    Pgp(PgpSignature),
    Ssh(Box<SshSig>),
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotVerified {
    /// There is none, or it is wrong.
    Wrong,
    /// It may be right, but rbake cannot tell.
    Unsupported(&'static str),
}

const PGP_START: &str = "-----BEGIN PGP SIGNATURE-----";
const SSH_START: &str = "-----BEGIN SSH SIGNATURE-----";

impl SignatureBlock {
    /// `None` if `armored` is not a signature.
    pub(super) fn parse(armored: &str) -> Option<Self> {
        if armored.starts_with(SSH_START) {
            return ssh_signature(armored).map(Self::Ssh);
        }
        let pgp = armored.starts_with(PGP_START);
        pgp.then(|| PgpSignature::parse(armored))
            .flatten()
            .map(Self::Pgp)
    }
}

fn ssh_signature(armored: &str) -> Option<Box<SshSig>> {
    SshSig::from_pem(armored.trim_end()).ok().map(Box::new)
}

/// Checks the `armored` signature of `signed` by one of the public keys in `keys`, of which the first counts for SSH.
pub(super) fn verify(armored: &str, signed: &[u8], keys: &[u8]) -> Result<(), NotVerified> {
    if armored.starts_with(PGP_START) {
        return openpgp::verify(armored, signed, keys);
    }
    let is_ssh = armored.starts_with(SSH_START);
    let signature = is_ssh.then(|| ssh_signature(armored)).flatten();
    let signature = signature.ok_or(NotVerified::Wrong)?;
    let key = public_key(keys).ok_or(NotVerified::Wrong)?;
    let verified = key.verify(NAMESPACE, signed, &signature);
    verified.map_err(|error| match error {
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
            NotVerified::Unsupported("rbake does not know the kind of its SSH key")
        }
        _ => NotVerified::Wrong,
    })
}

/// The first key in a file in the form of `authorized_keys`.
fn public_key(file: &[u8]) -> Option<PublicKey> {
    let text = std::str::from_utf8(file).ok()?;
    let lines = text.lines().map(str::trim);
    let mut keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    keys.find_map(|line| PublicKey::from_openssh(line).ok())
}
