//! Where an admin plane is, and the way in.

use std::{fmt, net::SocketAddr};

use super::{QueryError, Trust};

/// Where the admin plane is unless somebody says otherwise.
pub const DEFAULT_ADMIN: &str = "http://127.0.0.1:8081";

/// An admin plane, and the way in.
#[derive(Clone)]
pub struct Admin {
    pub(super) address: String,
    pub(super) token: Option<String>,
    trust: Option<Trust>,
}

impl Admin {
    /// An address: `http://host:port`, `ws://host:port` or `host:port`; with TLS `https://` or `wss://`.
    pub fn at(address: &str) -> Self {
        Self { address: address.to_owned(), token: None, trust: None }
    }

    /// The same with an admin token (PROTOCOL 3.2).
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// The same, believing other authorities than those that this machine trusts.
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust: Some(trust), ..self }
    }

    /// Whose word is taken for who a server is.
    ///
    /// # Errors
    ///
    /// Nobody was named, and this machine trusts nobody.
    pub(crate) fn trust(&self) -> Result<Trust, String> {
        self.trust.clone().map_or_else(Trust::system, Ok)
    }
}

impl<T: AsRef<str> + ?Sized> From<&T> for Admin {
    fn from(address: &T) -> Self {
        Self::at(address.as_ref())
    }
}

impl From<&Self> for Admin {
    fn from(admin: &Self) -> Self {
        admin.clone()
    }
}

/// Without the token.
impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Whether an admin address as people write it asks for TLS, and its `host:port`.
pub(super) fn read_address(admin: &str) -> Result<(bool, &str), QueryError> {
    let bad = || QueryError::Address(admin.to_owned());
    let (is_secure, rest) = [("http://", false), ("ws://", false), ("https://", true), ("wss://", true)]
        .iter()
        .find_map(|(scheme, is_secure)| Some((*is_secure, admin.strip_prefix(scheme)?)))
        .unwrap_or((false, admin));
    let rest = rest.trim_end_matches('/');
    let has_port = rest.parse::<SocketAddr>().is_ok()
        || rest.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains([':', '/']) && port.parse::<u16>().is_ok()
        });
    if has_port { Ok((is_secure, rest)) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_address_is_read_as_people_write_it() {
        for (good, expected) in [
            ("http://127.0.0.1:8081", (false, "127.0.0.1:8081")),
            ("ws://localhost:8081/", (false, "localhost:8081")),
            ("plant:80", (false, "plant:80")),
            ("http://[::1]:8081", (false, "[::1]:8081")),
            ("https://plant:1", (true, "plant:1")),
            ("wss://[::1]:8081/", (true, "[::1]:8081")),
        ] {
            assert_eq!(read_address(good).unwrap(), expected, "{good}");
        }
        for bad in ["", "127.0.0.1", "http://plant", "ftp://plant:1", "plant:x", "http://plant:1/x", ":1"] {
            assert!(read_address(bad).is_err(), "{bad}");
        }
    }
}
