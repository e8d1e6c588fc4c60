//! Functions for digests, password hashes and RSA decryption.

use bcrypt::{BcryptError, Version, hash_with_result};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Encrypt, PrivateKey};
use sha2::digest::Digest;

use super::encoding::decode_base64;
use super::{Function, FunctionCall, FunctionError, Parameter};
use crate::hcl::cty::Value;

/// The cost if none is given, or one that is too low.
const BCRYPT_DEFAULT_COST: u32 = 10;
/// The lowest cost. A lower one is replaced by the default.
const BCRYPT_LOWEST_COST: i64 = 4;
/// The highest cost that is accepted. Each step doubles the time, and this one takes seconds.
const BCRYPT_HIGHEST_COST: i64 = 16;
/// How many steps of evaluation take as long as a hash at cost 0. Each step of the cost doubles them.
const BCRYPT_STEPS: u64 = 200;
/// The longest password that is accepted, in bytes. bcrypt ignores all further bytes.
const BCRYPT_LONGEST: usize = 72;

/// The shortest RSA key that is accepted, in bytes.
const SHORTEST_KEY: usize = 128;
/// The longest key that is read, in bytes of PEM text. A key of 16,384 bits is shorter.
const KEY_LIMIT: usize = 16 << 10;

const STR: &[Parameter] = &[Parameter::string("str")];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "md5",
        "The text's MD5 digest in hexadecimal.",
        STR,
        digest::<md5::Md5>,
    ),
    Function::new(
        "sha1",
        "The text's SHA-1 digest in hexadecimal.",
        STR,
        digest::<sha1::Sha1>,
    ),
    Function::new(
        "sha256",
        "The text's SHA-256 digest in hexadecimal.",
        STR,
        digest::<sha2::Sha256>,
    ),
    Function::new(
        "sha512",
        "The text's SHA-512 digest in hexadecimal.",
        STR,
        digest::<sha2::Sha512>,
    ),
    Function::new(
        "bcrypt",
        "The text's bcrypt hash with a new salt and the given cost (default: 10).",
        STR,
        bcrypt,
    )
    .and_more(Parameter::number("cost")),
    Function::new(
        "rsadecrypt",
        "The text decrypted from base64 with an RSA private key in PEM format (PKCS #1 v1.5).",
        &[
            Parameter::string("ciphertext"),
            Parameter::string("privatekey"),
        ],
        rsa_decrypt,
    ),
];

fn digest<D: Digest>(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    Ok(hex::encode(D::digest(call.text(0)?)).into())
}

fn bcrypt(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let cost = match call.rest(1) {
        [] => BCRYPT_DEFAULT_COST,
        [_] => match call.integer(1)? {
            cost if cost > BCRYPT_HIGHEST_COST => {
                return Err(FunctionError::argument(
                    1,
                    format!("the cost {cost} is above the maximum of {BCRYPT_HIGHEST_COST}"),
                ));
            }
            cost if cost < BCRYPT_LOWEST_COST => BCRYPT_DEFAULT_COST,
            cost => u32::try_from(cost).unwrap_or(BCRYPT_DEFAULT_COST),
        },
        _ => {
            return Err(FunctionError::new(
                "bcrypt() takes no more than two arguments",
            ));
        }
    };
    let password = call.text(0)?;
    if password.len() > BCRYPT_LONGEST {
        return Err(FunctionError::argument(
            0,
            format!("bcrypt takes at most {BCRYPT_LONGEST} bytes"),
        ));
    }
    call.work(BCRYPT_STEPS << cost);
    hash_with_result(password, cost)
        .map(|hash| hash.format_for_version(Version::TwoA).into())
        .map_err(|error: BcryptError| FunctionError::new(format!("cannot hash: {error}")))
}

fn rsa_decrypt(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let ciphertext = decode_base64(call.text(0)?)
        .ok_or_else(|| FunctionError::argument(0, "the ciphertext must be base64-encoded"))?;
    let pem = call.text(1)?;
    if pem.len() > KEY_LIMIT {
        return Err(FunctionError::argument(1, "the key is too long"));
    }
    let der = pem_body(pem)?;
    // The message contains neither the key nor the library's error, which may quote it.
    let key = PrivateKey::from_pkcs1_der(&der).map_err(|_| {
        FunctionError::argument(1, "failed to parse key: not a PKCS #1 RSA private key")
    })?;
    if key.size() < SHORTEST_KEY {
        return Err(FunctionError::argument(
            1,
            format!("keys of fewer than {} bits are insecure", SHORTEST_KEY * 8),
        ));
    }
    let plain = key
        .decrypt(Pkcs1v15Encrypt, &ciphertext)
        .map_err(|_| FunctionError::new("decryption failed: wrong key or damaged ciphertext"))?;
    Ok(String::from_utf8_lossy(&plain).into_owned().into())
}

/// Returns the decoded bytes of the first PEM block.
fn pem_body(pem: &str) -> Result<Vec<u8>, FunctionError> {
    let not_found = || FunctionError::argument(1, "failed to parse key: no key found");
    let begin = "-----BEGIN ";
    let start = pem.find(begin).ok_or_else(not_found)?;
    let (label, rest) = pem[start + begin.len()..]
        .split_once("-----")
        .ok_or_else(not_found)?;
    let end = rest
        .find(&format!("-----END {label}-----"))
        .ok_or_else(not_found)?;
    let mut body = String::new();
    for line in rest[..end].lines() {
        let line = line.trim();
        if let Some((name, value)) = line.split_once(':') {
            if name == "Proc-Type" && value.trim() == "4,ENCRYPTED" {
                return Err(FunctionError::argument(
                    1,
                    "failed to parse key: password protected keys are not supported; decrypt the key first",
                ));
            }
        } else {
            body.push_str(line);
        }
    }
    decode_base64(&body).ok_or_else(not_found)
}
