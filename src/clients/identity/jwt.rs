//! Whether a token is good, and whom it names (RFC 7519).

use std::{collections::HashSet, sync::Arc};

use jsonwebtoken::{Header, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{
    keys::Key,
    watch::{WatchedKeys, watched},
};
use crate::{clients::params, config::JwtConfig, session::UNAUTHENTICATED};

/// By how much the issuer's clock may be before ours: a token that holds from then on (`nbf`) is taken so much
/// earlier. `exp` has no leeway, since `authorized` follows it to the moment.
const NOT_BEFORE_LEEWAY_MS: u64 = 5_000;

type Claims = Map<String, Value>;

/// Verifies tokens.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) keys: Arc<WatchedKeys>,
    claim: String,
    /// All that is asked of every token, but for the algorithm, which is the key's.
    rules: Validation,
}

/// What a good token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) username: Arc<str>,
    /// In milliseconds since 1970.
    pub(super) expires_unix_ms: u64,
}

/// Why a token is not good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// It was, until its `exp`.
    Expired,
    /// For this reason, which is for our log and not for whoever tries.
    Invalid(&'static str),
}

impl Verifier {
    pub(super) fn new(config: &JwtConfig) -> Self {
        let mut rules = Validation::default();
        // The times are looked at here, by a clock that is given.
        (rules.validate_exp, rules.validate_nbf) = (false, false);
        let mut required = vec!["exp"];
        rules.validate_aud = !config.audiences.is_empty();
        if !config.audiences.is_empty() {
            rules.set_audience(&config.audiences);
            required.push("aud");
        }
        if !config.issuers.is_empty() {
            rules.set_issuer(&config.issuers);
            required.push("iss");
        }
        rules.required_spec_claims = required.into_iter().map(str::to_owned).collect::<HashSet<_>>();
        Self { keys: Arc::new(watched(config.keys.clone())), claim: config.claim.clone(), rules }
    }

    /// Whether a token is good at this moment, in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// A [`Rejection`]. That it has expired is told only of a token that was good.
    pub(super) fn verify(&self, token: &[u8], now_unix_ms: u64) -> Result<Verified, Rejection> {
        use Rejection::{Expired, Invalid};
        let header =
            decode_header(token).map_err(|_| Invalid("it is no JWT of an algorithm that is known"))?;
        if header.crit.is_some() {
            return Err(Invalid("it asks for an extension (crit)"));
        }
        let claims = self.signed(token, &header)?;
        let expires_unix_ms = claims.get("exp").and_then(moment).ok_or(Invalid("exp is no time"))?;
        let username = self.username(&claims).ok_or(Invalid("it names no user"))?;
        if let Some(not_before) = claims.get("nbf") {
            let not_before = moment(not_before).ok_or(Invalid("nbf is no time"))?;
            if not_before > now_unix_ms.saturating_add(NOT_BEFORE_LEEWAY_MS) {
                return Err(Invalid("it is not good yet (nbf)"));
            }
        }
        if expires_unix_ms <= now_unix_ms {
            return Err(Expired);
        }
        Ok(Verified { username, expires_unix_ms })
    }

    /// The claims, if a key of ours has signed them and they are meant for us.
    fn signed(&self, token: &[u8], header: &Header) -> Result<Claims, Rejection> {
        let by = |Key { algorithm, key, .. }: &Key| {
            let rules = Validation { algorithms: vec![*algorithm], ..self.rules.clone() };
            decode::<Claims>(token, key, &rules).map_err(jsonwebtoken::errors::Error::into_kind)
        };
        for key in self.keys.current().fitting(header) {
            match by(key) {
                Ok(token) => return Ok(token.claims),
                Err(ErrorKind::InvalidSignature) => {}
                Err(kind) => return Err(Rejection::Invalid(reason(&kind))),
            }
        }
        Err(Rejection::Invalid("no key of ours has signed it"))
    }

    /// The user, by the rules of the parameter `username`.
    fn username(&self, claims: &Claims) -> Option<Arc<str>> {
        let name = claims.get(&self.claim)?.as_str()?;
        params::username(name).ok()?.filter(|name| &**name != UNAUTHENTICATED)
    }
}

/// A `NumericDate` (RFC 7519, 2) in milliseconds.
fn moment(claim: &Value) -> Option<u64> {
    if let Some(seconds) = claim.as_u64() {
        return Some(seconds.saturating_mul(1000));
    }
    // A float that is too large becomes the greatest number, which is what is meant.
    claim
        .as_f64()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
        .map(|seconds| (seconds * 1000.0) as u64)
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::MissingRequiredClaim(claim) => match &**claim {
            "exp" => "it has no exp",
            "aud" => "it has no aud",
            _ => "it has no iss",
        },
        ErrorKind::InvalidAudience => "it is meant for others (aud)",
        ErrorKind::InvalidIssuer => "it is of another issuer (iss)",
        _ => "it is malformed",
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, encode};
    use serde_json::json;

    use super::*;
    use crate::{
        clients::identity::fixtures::{fixture, path},
        config::KeyFile,
    };

    const NOW_MS: u64 = 1_800_000_000_000;
    const NOW: u64 = NOW_MS / 1000;

    fn verifier(keys: KeyFile, change: impl FnOnce(&mut JwtConfig)) -> Verifier {
        let mut config = JwtConfig { keys, claim: "sub".to_owned(), audiences: vec![], issuers: vec![] };
        change(&mut config);
        Verifier::new(&config)
    }

    fn by_key(name: &str) -> Verifier {
        verifier(KeyFile::Public(path(name)), |_| {})
    }

    fn signer(name: &str) -> (Algorithm, EncodingKey) {
        let pem = fixture(name);
        match name {
            "ec-private" => (Algorithm::ES256, EncodingKey::from_ec_pem(pem.as_bytes()).unwrap()),
            "ed25519-private" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem.as_bytes()).unwrap()),
            _ => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()),
        }
    }

    fn signed(name: &str, claims: &Value) -> String {
        let (algorithm, key) = signer(name);
        encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn ann() -> Value {
        json!({"sub": "ann", "exp": NOW + 60})
    }

    /// Ann's claims with these changed, or taken out where they are null.
    fn but(changes: &Value) -> Value {
        let mut claims = ann();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    fn is_ann(found: &Result<Verified, Rejection>) {
        let expected = Verified { username: "ann".into(), expires_unix_ms: NOW_MS + 60_000 };
        assert_eq!(found.as_ref(), Ok(&expected));
    }

    #[test]
    fn each_kind_of_key_verifies_its_own_tokens_and_no_other_s() {
        let kinds = [("rsa", "other-rsa"), ("ec", "rsa"), ("ed25519", "ec"), ("rsa", "ed25519")];
        for (own, other) in kinds {
            let verifier = by_key(&format!("{own}-public"));
            is_ann(&verifier.verify(signed(&format!("{own}-private"), &ann()).as_bytes(), NOW_MS));
            let foreign = signed(&format!("{other}-private"), &ann());
            let problem = Rejection::Invalid("no key of ours has signed it");
            assert_eq!(verifier.verify(foreign.as_bytes(), NOW_MS), Err(problem), "{own} by {other}");
        }
    }

    #[test]
    fn a_secret_verifies_hs256_alone() {
        // Any file of 32 bytes or more would do; this one is there.
        let file = std::env::temp_dir().join(format!("headcount-secret-{}", std::process::id()));
        std::fs::write(&file, format!("{}\n", "s".repeat(40))).unwrap();
        let verifier = verifier(KeyFile::Secret(file.clone()), |_| {});
        std::fs::remove_file(file).unwrap();
        let by = |algorithm, secret: &str| {
            let token = encode(&Header::new(algorithm), &ann(), &EncodingKey::from_secret(secret.as_bytes()));
            verifier.verify(token.unwrap().as_bytes(), NOW_MS)
        };
        is_ann(&by(Algorithm::HS256, &"s".repeat(40)));
        assert!(by(Algorithm::HS384, &"s".repeat(40)).is_err());
        assert!(by(Algorithm::HS512, &"s".repeat(40)).is_err());
        assert!(by(Algorithm::HS256, &"s".repeat(41)).is_err());
        assert!(by(Algorithm::HS256, "").is_err());
        assert!(verifier.verify(signed("rsa-private", &ann()).as_bytes(), NOW_MS).is_err());
    }

    #[test]
    fn the_token_does_not_choose_the_algorithm() {
        let verifier = by_key("rsa-public");
        // The public key, which everybody has, taken for the secret of HS256.
        let pem = fixture("rsa-public");
        let der = jsonwebtoken::DecodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        for secret in [pem.as_bytes(), pem.trim().as_bytes(), der.try_get_as_bytes().unwrap()] {
            let forged = encode(&Header::default(), &ann(), &EncodingKey::from_secret(secret)).unwrap();
            assert!(verifier.verify(forged.as_bytes(), NOW_MS).is_err());
        }
        let good = signed("rsa-private", &ann());
        let (_, rest) = good.split_once('.').unwrap();
        let (payload, signature) = rest.split_once('.').unwrap();
        // {"alg":"none"}, in several spellings, with the signature and without.
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIn0", "eyJhbGciOiIifQ", "e30"] {
            for signature in ["", signature] {
                let forged = format!("{header}.{payload}.{signature}");
                assert!(verifier.verify(forged.as_bytes(), NOW_MS).is_err(), "{forged}");
            }
        }
        // The same key by another of its algorithms.
        let (_, key) = signer("rsa-private");
        for other in [Algorithm::RS512, Algorithm::PS256] {
            let token = encode(&Header::new(other), &ann(), &key).unwrap();
            assert!(verifier.verify(token.as_bytes(), NOW_MS).is_err());
        }
    }

    #[track_caller]
    fn rejected(verifier: &Verifier, claims: &Value, expected: &Rejection) {
        let token = signed("ec-private", claims);
        assert_eq!(verifier.verify(token.as_bytes(), NOW_MS).as_ref(), Err(expected), "{claims}");
    }

    #[test]
    fn times_are_heeded_to_the_moment() {
        use Rejection::{Expired, Invalid};
        let verifier = by_key("ec-public");
        let token = signed("ec-private", &but(&json!({"exp": NOW, "nbf": NOW - 10})));
        assert!(verifier.verify(token.as_bytes(), NOW_MS - 1).is_ok());
        assert_eq!(verifier.verify(token.as_bytes(), NOW_MS), Err(Expired));
        let token = signed("ec-private", &but(&json!({"exp": NOW as f64 + 0.5})));
        assert_eq!(verifier.verify(token.as_bytes(), NOW_MS).unwrap().expires_unix_ms, NOW_MS + 500);
        rejected(&verifier, &but(&json!({"exp": 0})), &Expired);
        rejected(&verifier, &but(&json!({"exp": null})), &Invalid("it has no exp"));
        for no_time in [json!("soon"), json!("1900000000"), json!(-1)] {
            rejected(&verifier, &but(&json!({"exp": no_time})), &Invalid("it has no exp"));
            rejected(&verifier, &but(&json!({"nbf": no_time})), &Invalid("nbf is no time"));
        }
        rejected(&verifier, &but(&json!({"exp": [1_900_000_000]})), &Invalid("it is malformed"));
        rejected(&verifier, &but(&json!({"nbf": NOW + 6})), &Invalid("it is not good yet (nbf)"));
        is_ann(&verifier.verify(signed("ec-private", &but(&json!({"nbf": NOW + 5}))).as_bytes(), NOW_MS));
        let for_ever = signed("ec-private", &but(&json!({"exp": u64::MAX})));
        assert_eq!(verifier.verify(for_ever.as_bytes(), NOW_MS).unwrap().expires_unix_ms, u64::MAX);
    }

    #[test]
    fn who_it_is_meant_for_and_by_whom_is_heeded_when_configured() {
        let strict = verifier(KeyFile::Public(path("ec-public")), |config| {
            config.audiences = vec!["headcount".to_owned(), "plant".to_owned()];
            config.issuers = vec!["https://id.example".to_owned()];
        });
        let good = json!({"aud": "headcount", "iss": "https://id.example"});
        let with = |changes: Value| {
            let mut claims = but(&good);
            for (name, value) in changes.as_object().unwrap() {
                claims[name] = value.clone();
            }
            claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            claims
        };
        is_ann(&strict.verify(signed("ec-private", &with(json!({}))).as_bytes(), NOW_MS));
        let several = with(json!({"aud": ["other", "plant"]}));
        is_ann(&strict.verify(signed("ec-private", &several).as_bytes(), NOW_MS));
        let invalid = |reason| Rejection::Invalid(reason);
        rejected(&strict, &with(json!({"aud": null})), &invalid("it has no aud"));
        rejected(&strict, &with(json!({"aud": "other"})), &invalid("it is meant for others (aud)"));
        rejected(&strict, &with(json!({"aud": []})), &invalid("it is meant for others (aud)"));
        rejected(&strict, &with(json!({"aud": 7})), &invalid("it has no aud"));
        rejected(&strict, &with(json!({"iss": null})), &invalid("it has no iss"));
        rejected(
            &strict,
            &with(json!({"iss": "https://evil.example"})),
            &invalid("it is of another issuer (iss)"),
        );
        // Not configured, neither is looked at.
        let lax = by_key("ec-public");
        is_ann(&lax.verify(signed("ec-private", &with(json!({"aud": "other"}))).as_bytes(), NOW_MS));
    }

    #[test]
    fn the_user_is_in_the_claim_that_is_configured_and_is_cleaned() {
        let verifier = verifier(KeyFile::Public(path("ec-public")), |config| {
            config.claim = "preferred_username".to_owned();
        });
        let name = |name: Value| {
            let token = signed("ec-private", &but(&json!({"preferred_username": name})));
            verifier.verify(token.as_bytes(), NOW_MS).map(|verified| verified.username.to_string())
        };
        assert_eq!(name(json!("Zo\u{eb}\u{1b}[31m\u{202e}")), Ok("Zo\u{eb}[31m".to_owned()));
        assert_eq!(name(json!("x".repeat(256))), Ok("x".repeat(256)));
        for nobody in [
            json!(null),
            json!(""),
            json!("\u{202e}"),
            json!(7),
            json!("x".repeat(257)),
            json!(UNAUTHENTICATED),
        ] {
            assert_eq!(name(nobody), Err(Rejection::Invalid("it names no user")));
        }
    }

    #[test]
    fn garbage_is_no_token() {
        let verifier = by_key("ec-public");
        let good = signed("ec-private", &ann());
        let parts: Vec<_> = good.split('.').collect();
        let flipped = format!("{}.{}x.{}", parts[0], parts[1], parts[2]);
        let longer = format!("{good}.{}", parts[2]);
        for garbage in [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            &good[1..],
            &good[..good.len() - 2],
            &flipped,
            &longer,
            &format!(" {good}"),
            &format!("{}..{}", parts[0], parts[2]),
            &format!("{}.{}.", parts[0], parts[1]),
            "\u{2603}",
        ] {
            assert!(
                matches!(verifier.verify(garbage.as_bytes(), NOW_MS), Err(Rejection::Invalid(_))),
                "{garbage}"
            );
        }
        assert!(verifier.verify(&[0xff; 100], NOW_MS).is_err());
        let (algorithm, key) = signer("ec-private");
        let critical = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(algorithm) };
        let token = encode(&critical, &ann(), &key).unwrap();
        let expected = Rejection::Invalid("it asks for an extension (crit)");
        assert_eq!(verifier.verify(token.as_bytes(), NOW_MS), Err(expected));
        let named = Header { kid: Some("any".to_owned()), ..Header::new(algorithm) };
        is_ann(&verifier.verify(encode(&named, &ann(), &key).unwrap().as_bytes(), NOW_MS));
    }

    #[test]
    fn whether_a_token_had_expired_is_told_to_nobody_who_could_not_sign_it() {
        let verifier = by_key("rsa-public");
        let forged = signed("other-rsa-private", &but(&json!({"exp": 0})));
        let problem = Rejection::Invalid("no key of ours has signed it");
        assert_eq!(verifier.verify(forged.as_bytes(), NOW_MS), Err(problem));
    }
}
