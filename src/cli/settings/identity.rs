//! Who clients are and where they come from: what was written, and what is meant.

use clap::ValueEnum;
use http::HeaderName;
use serde::Deserialize;

use super::Settings;
use crate::config::{ForwardedHeader, IdentityConfig, IdentityMode, ProxyConfig, TrustedProxies};

/// Where a client's user name comes from (PROTOCOL 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum IdentityKind {
    /// From the client, unverified.
    Open,
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
            IdentityKind::Header => self.header(proxies)?,
        };
        if kind != IdentityKind::Header && self.identity_header.is_some() {
            return Err("identity-header needs identity header".to_owned());
        }
        let required = self.require_identity.unwrap_or(false);
        if required && kind == IdentityKind::Open {
            return Err("require-identity needs identity header: open verifies nobody".to_owned());
        }
        Ok(IdentityConfig { mode, required })
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
        refused("require-identity = true", "require-identity needs identity");
        let file = "identity = 'header'\ntrusted-proxies = ['10.0.0.1']\nidentity-header = 'a b'";
        refused(file, "identity-header \"a b\" is no header name");
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
