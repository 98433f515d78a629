//! The keys that tokens are verified with, and whether they are fit for it.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use jsonwebtoken::{
    Algorithm, DecodingKey, Header, crypto,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};

use crate::config::KeyFile;

/// The largest file of keys.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The most keys: a token that names none is tried with all of its algorithm.
const MAX_KEYS: usize = 16;
/// The shortest secret of HS256 (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// The shortest and the longest modulus of RS256, in characters of base64: 2,048 bits (RFC 7518, 3.3), and the 4,096
/// that can be verified with.
const RSA_MODULUS_CHARS: std::ops::RangeInclusive<usize> = 342..=684;
/// One key, and the one algorithm that it is for.
#[derive(Debug)]
pub(super) struct Key {
    /// As a JWKS names it.
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

type Parse = fn(&[u8]) -> Result<Vec<Key>, String>;

/// The keys of one file.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// Why no token could, or should, be verified by it, and what it should hold.
    pub(super) fn read(file: &KeyFile) -> Result<Self, String> {
        let (setting, path, parse) = match file {
            KeyFile::Secret(path) => ("jwt-secret-file", path, secret as Parse),
            KeyFile::Public(path) => ("jwt-key-file", path, public as Parse),
        };
        let problem = |problem: String| format!("{setting} {}: {problem}", path.display());
        let bytes = contents(path).map_err(|error| problem(error.to_string()))?;
        let keys = parse(&bytes).map_err(problem)?;
        if keys.len() > MAX_KEYS {
            return Err(problem(format!("it holds {} keys, and {MAX_KEYS} are the most", keys.len())));
        }
        Ok(Self(keys))
    }

    /// The algorithms of the keys, in the order of the file.
    #[cfg(test)]
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        self.0.iter().map(|key| key.algorithm).collect()
    }

    /// The keys that a token with this header may have been signed by. It may name one, never choose an algorithm.
    pub(super) fn fitting(&self, header: &Header) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(|key| {
            let is_named = match (&key.id, &header.kid) {
                (Some(own), Some(named)) => own == named,
                _ => true,
            };
            key.algorithm == header.alg && is_named
        })
    }
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("it has more than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

fn secret(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    let start = secret.trim_ascii_start();
    if start.starts_with(b"-----BEGIN") || start.starts_with(b"{") {
        return Err("it holds no secret but keys: give public ones as jwt-key-file".to_owned());
    }
    if secret.len() < MIN_SECRET_BYTES {
        return Err(format!(
            "a secret of {} bytes can be guessed; make one with: openssl rand -base64 48",
            secret.len()
        ));
    }
    Ok(vec![Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) }])
}

fn public(bytes: &[u8]) -> Result<Vec<Key>, String> {
    const EXPECTED: &str =
        "it holds no public key as PEM (-----BEGIN PUBLIC KEY-----) and no JWKS ({\"keys\":[…]})";
    let text = std::str::from_utf8(bytes).map_err(|_| EXPECTED.to_owned())?;
    let keys = if text.trim_start().starts_with('{') { from_jwks(text)? } else { from_pem(text)? };
    if keys.is_empty() { Err(EXPECTED.to_owned()) } else { Ok(keys) }
}

fn from_pem(text: &str) -> Result<Vec<Key>, String> {
    const BEGIN: &str = "-----BEGIN ";
    let block = |rest: &str| {
        let pem = format!("{BEGIN}{rest}");
        let read = match rest.split("-----").next().unwrap_or_default() {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => pem_key(pem.as_bytes()),
            label if label.ends_with("PRIVATE KEY") => {
                return Err("it holds a private key, which belongs to whoever signs: \
                            give the public one (openssl pkey -pubout)"
                    .to_owned());
            }
            label => {
                return Err(format!("it holds a {label:?}: give a public key (openssl x509 -pubkey -noout)"));
            }
        };
        let (algorithm, key) =
            read.ok_or("it holds a PEM that is no public key of RSA, of P-256 or of Ed25519")?;
        sound(algorithm, key, None)
    };
    text.split(BEGIN).skip(1).map(block).collect()
}

fn pem_key(pem: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    let rsa = || DecodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key));
    let ec = || DecodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key));
    let ed = || DecodingKey::from_ed_pem(pem).map(|key| (Algorithm::EdDSA, key));
    rsa().or_else(|_| ec()).or_else(|_| ed()).ok()
}

/// What a JWKS holds beside keys of ours is left out, as RFC 7517, 5, has it: it is often there for others.
fn from_jwks(text: &str) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("it is no JWKS: {error}"))?;
    let usable = set.keys.iter().filter_map(|jwk| Some((algorithm_of(jwk)?, jwk)));
    let keys = usable.map(|(algorithm, jwk)| {
        let id = jwk.common.key_id.clone();
        let key =
            DecodingKey::from_jwk(jwk).map_err(|error| format!("the key {id:?} of the JWKS: {error}"))?;
        sound(algorithm, key, id)
    });
    keys.collect()
}

fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let is_for_it = jwk.common.key_algorithm.is_none_or(|other| other == name);
    let is_for_signatures =
        jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    (is_for_it && is_for_signatures).then_some(algorithm)
}

/// A key that can be verified with: found out now, and not at the first token.
fn sound(algorithm: Algorithm, key: DecodingKey, id: Option<String>) -> Result<Key, String> {
    let which = id.as_ref().map_or_else(String::new, |id| format!(" {id:?}"));
    let is_sound = match algorithm {
        Algorithm::RS256 => {
            let modulus = Jwk::from_decoding_key(&key, None).ok().and_then(|jwk| match jwk.algorithm {
                AlgorithmParameters::RSA(key) => Some(key.n.len()),
                _ => None,
            });
            modulus.is_some_and(|chars| RSA_MODULUS_CHARS.contains(&chars))
        }
        // The library takes the first 32 bytes without looking whether there are so many.
        Algorithm::EdDSA if key.try_get_as_bytes().map_or(0, <[u8]>::len) != 32 => false,
        // It makes a verifier, which fails for what is no point of the curve.
        _ => crypto::verify("", b"", &key, algorithm).is_ok(),
    };
    if is_sound {
        return Ok(Key { id, algorithm, key });
    }
    Err(format!(
        "the key{which} is unusable: RSA keys have 2048 to 4096 bits, and of the curves P-256 and Ed25519 are known"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::identity::fixtures::{fixture, path};

    #[track_caller]
    fn good(bytes: &[u8], expected: &[Algorithm]) {
        let found: Vec<_> = public(bytes).unwrap().iter().map(|key| key.algorithm).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn bad(keys: Result<Vec<Key>, String>, expected: &str) {
        let problem = keys.unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }

    fn jwk(name: &str, common: &str) -> String {
        let (algorithm, key) = pem_key(fixture(name).as_bytes()).unwrap();
        let jwk = serde_json::to_string(&Jwk::from_decoding_key(&key, Some(algorithm)).unwrap()).unwrap();
        let jwk = if common.contains("alg") { jwk.replace("\"alg\"", "\"was\"") } else { jwk };
        format!("{{{common}{}", &jwk[1..])
    }

    fn jwks(keys: &[String]) -> Vec<u8> {
        format!("{{\"keys\":[{}]}}", keys.join(",")).into_bytes()
    }

    #[test]
    fn a_pem_says_what_its_key_is_for_and_may_hold_several() {
        use Algorithm::{ES256, EdDSA, RS256};
        good(fixture("rsa-public").as_bytes(), &[RS256]);
        good(fixture("ec-public").as_bytes(), &[ES256]);
        good(fixture("ed25519-public").as_bytes(), &[EdDSA]);
        let both = format!("of today\n{}of tomorrow\n{}", fixture("ec-public"), fixture("rsa-public"));
        good(both.as_bytes(), &[ES256, RS256]);
    }

    #[test]
    fn a_jwks_holds_our_keys_beside_those_of_others() {
        let keys = [
            jwk("rsa-public", "\"kid\":\"a\","),
            jwk("ec-public", "\"kid\":\"b\",\"use\":\"sig\","),
            jwk("ed25519-public", ""),
            jwk("rsa-public", "\"use\":\"enc\","),
            jwk("rsa-public", "\"alg\":\"RS512\","),
            r#"{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}"#.to_owned(),
            r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.to_owned(),
            r#"{"kty":"later"}"#.to_owned(),
        ];
        good(&jwks(&keys), &[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]);
    }

    #[test]
    fn a_key_that_could_verify_nothing_or_everything_is_refused() {
        let unusable = "unusable: RSA keys have 2048 to 4096 bits";
        bad(public(fixture("weak-rsa-public").as_bytes()), unusable);
        bad(public(fixture("p384-public").as_bytes()), unusable);
        let short = r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA","kid":"short"}"#.to_owned();
        bad(public(&jwks(&[short])), "the key \"short\" is unusable");
        let nowhere = r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#.to_owned();
        bad(public(&jwks(&[nowhere])), unusable);
        bad(public(fixture("rsa-private").as_bytes()), "private key, which belongs to whoever signs");
        bad(public(fixture("certificate").as_bytes()), "openssl x509 -pubkey");
        bad(public(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "no public key of RSA");
        for nothing in [&b""[..], b"secret", b"\xff", &jwks(&[]), &jwks(&[r#"{"kty":"later"}"#.to_owned()])] {
            bad(public(nothing), "it holds no public key as PEM");
        }
        bad(public(b"{"), "it is no JWKS");
    }

    #[test]
    fn a_secret_is_long_and_no_key_that_everybody_has() {
        let long = "x".repeat(32);
        for written in [long.clone(), format!("{long}\n"), format!("{long}\r\n")] {
            assert_eq!(
                secret(written.as_bytes()).unwrap()[0].key.try_get_as_bytes().unwrap(),
                long.as_bytes()
            );
        }
        bad(secret(&long.as_bytes()[1..]), "a secret of 31 bytes can be guessed");
        bad(secret(format!("{}\n", &long[1..]).as_bytes()), "a secret of 31 bytes");
        bad(secret(b""), "a secret of 0 bytes");
        bad(secret(fixture("rsa-public").as_bytes()), "give public ones as jwt-key-file");
        bad(secret(&jwks(&[jwk("rsa-public", "")])), "give public ones as jwt-key-file");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_its_setting() {
        let problem = Keys::read(&KeyFile::Public("/nowhere/keys".into())).unwrap_err();
        assert!(problem.starts_with("jwt-key-file /nowhere/keys: No such file"), "{problem}");
        let problem = Keys::read(&KeyFile::Secret(path("rsa-public"))).unwrap_err();
        assert!(problem.starts_with("jwt-secret-file "), "{problem}");
        assert_eq!(Keys::read(&KeyFile::Public(path("rsa-public"))).unwrap().0.len(), 1);
        let many = std::env::temp_dir().join(format!("headcount-keys-{}", std::process::id()));
        std::fs::write(&many, fixture("ec-public").repeat(MAX_KEYS + 1)).unwrap();
        let problem = Keys::read(&KeyFile::Public(many.clone())).unwrap_err();
        assert!(problem.contains("it holds 17 keys, and 16 are the most"), "{problem}");
        std::fs::write(&many, vec![b' '; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]).unwrap();
        assert!(Keys::read(&KeyFile::Public(many.clone())).unwrap_err().contains("it has more than"));
        std::fs::remove_file(&many).unwrap();
    }
}
