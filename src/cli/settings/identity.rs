//! Who clients are and where they come from: what was written, and what is meant.

use clap::ValueEnum;
use http::HeaderName;
use serde::Deserialize;

use super::Settings;
use crate::config::{
    ForwardedHeader, IdentityConfig, IdentityMode, JwtConfig, KeyFile, ProxyConfig, TrustedProxies,
};

/// Where a client's user name comes from (PROTOCOL 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum IdentityKind {
    /// From the client, unverified.
    Open,
    /// From a verified token.
    Jwt,
    /// From a trusted proxy's header.
    Header,
}

/// Where trusted proxies write the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ForwardedBy {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`.
    Forwarded,
    /// Nowhere.
    None,
}

impl Settings {
    /// What stands between the clients and this server.
    ///
    /// # Errors
    ///
    /// The setting that cannot be, or that would do nothing where it looks as if it did.
    pub(super) fn proxies(&self) -> Result<ProxyConfig, String> {
        let written = self.trusted_proxies.as_deref().unwrap_or_default();
        let trusted =
            TrustedProxies::read(written).map_err(|problem| format!("trusted-proxies {problem}"))?;
        if trusted.is_empty() && self.forwarded_header.is_some() {
            return Err("forwarded-header needs trusted-proxies: nobody else's header is heeded".to_owned());
        }
        let proxy_protocol = self.proxy_protocol.unwrap_or(false);
        if trusted.is_empty() && proxy_protocol {
            return Err("proxy-protocol needs trusted-proxies: nobody else's header is heeded".to_owned());
        }
        let forwarded_header = match self.forwarded_header {
            None | Some(ForwardedBy::XForwardedFor) => ForwardedHeader::XForwardedFor,
            Some(ForwardedBy::Forwarded) => ForwardedHeader::Forwarded,
            Some(ForwardedBy::None) => ForwardedHeader::None,
        };
        Ok(ProxyConfig { trusted, forwarded_header, proxy_protocol })
    }

    /// Who clients are.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub(super) fn identity_config(&self, proxies: &ProxyConfig) -> Result<IdentityConfig, String> {
        let kind = self.identity.unwrap_or(IdentityKind::Open);
        let mode = match kind {
            IdentityKind::Open => IdentityMode::Open,
            IdentityKind::Jwt => IdentityMode::Jwt(self.jwt()?),
            IdentityKind::Header => self.header(proxies)?,
        };
        // What is set and not heeded looks like protection and is none.
        let of_jwt = [
            ("jwt-secret-file", self.jwt_secret_file.is_some()),
            ("jwt-key-file", self.jwt_key_file.is_some()),
            ("jwt-claim", self.jwt_claim.is_some()),
            ("jwt-audience", self.jwt_audience.is_some()),
            ("jwt-issuer", self.jwt_issuer.is_some()),
            ("token-grace", self.token_grace.is_some()),
        ];
        if kind != IdentityKind::Jwt
            && let Some((name, _)) = of_jwt.iter().find(|(_, is_set)| *is_set)
        {
            return Err(format!("{name} needs identity jwt"));
        }
        if kind != IdentityKind::Header && self.identity_header.is_some() {
            return Err("identity-header needs identity header".to_owned());
        }
        let required = self.require_identity.unwrap_or(false);
        if required && kind == IdentityKind::Open {
            return Err("require-identity needs identity jwt or header: open verifies nobody".to_owned());
        }
        Ok(IdentityConfig { mode, required })
    }

    fn jwt(&self) -> Result<JwtConfig, String> {
        let keys = match (&self.jwt_secret_file, &self.jwt_key_file) {
            (Some(secret), None) => KeyFile::Secret(secret.clone()),
            (None, Some(keys)) => KeyFile::Public(keys.clone()),
            (None, None) => {
                return Err(
                    "identity jwt needs jwt-key-file (public keys, PEM or JWKS) or jwt-secret-file (HS256): \
                            without one no token can be verified"
                        .to_owned(),
                );
            }
            (Some(_), Some(_)) => {
                return Err("jwt-key-file and jwt-secret-file are two: say which one signs tokens".to_owned());
            }
        };
        let claim = self.jwt_claim.clone().unwrap_or_else(|| "sub".to_owned());
        let audiences = names("jwt-audience", self.jwt_audience.as_deref())?;
        let issuers = names("jwt-issuer", self.jwt_issuer.as_deref())?;
        if claim.is_empty() {
            return Err("jwt-claim must not be empty".to_owned());
        }
        Ok(JwtConfig { keys, claim, audiences, issuers })
    }

    fn header(&self, proxies: &ProxyConfig) -> Result<IdentityMode, String> {
        if proxies.trusted.is_empty() {
            return Err("identity header needs trusted-proxies: nobody else's header is heeded".to_owned());
        }
        let name = self.identity_header.as_deref().unwrap_or("X-Forwarded-User");
        let name = name.parse::<HeaderName>().map_err(|_| {
            format!("identity-header {name:?} is no header name: write it like X-Forwarded-User")
        })?;
        Ok(IdentityMode::Header(name))
    }
}

/// A list that is set and names nobody would switch off what it is set for.
fn names(setting: &str, list: Option<&[String]>) -> Result<Vec<String>, String> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let list: Vec<_> = list.iter().map(|name| name.trim().to_owned()).collect();
    if list.is_empty() || list.iter().any(String::is_empty) {
        return Err(format!("{setting} names nobody"));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Failure;

    fn check(file: &str) -> Result<crate::config::ClientsConfig, String> {
        match toml::from_str::<Settings>(file).unwrap().check(20_000) {
            Ok(checked) => Ok(checked.config.clients),
            Err(Failure::Usage(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(file: &str, expected: &str) {
        let message = check(file).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn a_setting_that_could_not_work_is_refused() {
        refused("trusted-proxies = ['0.0.0.0/0']", "trusted-proxies 0.0.0.0/0 is so wide");
        refused("trusted-proxies = ['10.0.0.0/8', '::/0']", "trusted-proxies ::/0 is so wide");
        refused("trusted-proxies = ['proxy']", "trusted-proxies \"proxy\" is no network");
        refused("forwarded-header = 'forwarded'", "forwarded-header needs trusted-proxies");
        refused("proxy-protocol = true", "proxy-protocol needs trusted-proxies");
        refused("identity = 'header'", "identity header needs trusted-proxies");
        refused("identity-header = 'X-User'", "identity-header needs identity header");
        refused("identity = 'jwt'", "identity jwt needs jwt-key-file");
        refused("identity = 'jwt'\njwt-key-file = 'a'\njwt-secret-file = 'b'", "say which one signs");
        refused("identity = 'jwt'\njwt-key-file = 'a'\njwt-audience = ['']", "jwt-audience names nobody");
        refused("identity = 'jwt'\njwt-key-file = 'a'\njwt-issuer = []", "jwt-issuer names nobody");
        refused("identity = 'jwt'\njwt-key-file = 'a'\njwt-claim = ''", "jwt-claim must not be empty");
        for set in ["jwt-key-file = 'a'", "jwt-secret-file = 'a'", "jwt-issuer = ['a']", "token-grace = '1s'"]
        {
            refused(set, "needs identity jwt");
        }
        refused("require-identity = true", "require-identity needs identity");
        let file = "identity = 'header'\ntrusted-proxies = ['10.0.0.1']\nidentity-header = 'a b'";
        refused(file, "identity-header \"a b\" is no header name");
    }

    #[test]
    fn tokens_are_judged_by_what_is_written() {
        let file = "identity = 'jwt'\njwt-key-file = 'keys.json'\njwt-claim = 'name'\njwt-issuer = ['a', ' b']\n\
                    listen = '0.0.0.0:8080'\ntoken-grace = '3s'";
        let clients = check(file).unwrap();
        let IdentityMode::Jwt(jwt) = clients.identity.mode else { panic!("{:?}", clients.identity) };
        assert_eq!((jwt.keys, &*jwt.claim), (KeyFile::Public("keys.json".into()), "name"));
        assert_eq!((jwt.issuers.len(), jwt.audiences.len(), clients.rules.token_grace_ms), (2, 0, 3_000));
    }

    #[test]
    fn a_trusted_proxy_s_header_is_an_identity_and_may_be_required() {
        let file = "identity = 'header'\ntrusted-proxies = ['10.0.0.0/8', 'fd00::1']\nrequire-identity = true\n\
                    listen = '[::]:8080'\nforwarded-header = 'none'";
        let clients = check(file).unwrap();
        assert!(clients.identity.required);
        assert!(matches!(clients.identity.mode, IdentityMode::Header(name) if name == "x-forwarded-user"));
        assert_eq!(clients.proxies.forwarded_header, ForwardedHeader::None);
        assert!(clients.proxies.trusted.contains("10.9.9.9".parse().unwrap()));
    }
}
