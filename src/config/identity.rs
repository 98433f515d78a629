//! Who clients are, and where they come from (PROTOCOL 2.3).

use std::{net::IpAddr, path::PathBuf};

use http::HeaderName;
use ipnet::{IpNet, Ipv4Net};

/// Where a client's user name comes from, and whether it must have one.
#[derive(Clone, Debug, Default)]
pub struct IdentityConfig {
    /// Where the name comes from.
    pub mode: IdentityMode,
    /// Whoever brings no verified identity is refused. Of no use with [`IdentityMode::Open`], which verifies none.
    pub required: bool,
}

/// Where a client's user name comes from.
#[derive(Clone, Debug, Default)]
pub enum IdentityMode {
    /// From the client, which may claim any.
    #[default]
    Open,
    /// From a verified token.
    Jwt(JwtConfig),
    /// From this header of a trusted proxy.
    Header(HeaderName),
}

/// Which tokens are good. What a token says of itself decides nothing: the algorithm follows from the key.
#[derive(Clone, Debug)]
pub struct JwtConfig {
    /// The keys. The file is watched: a changed one is read again.
    pub keys: KeyFile,
    /// The claim that names the user.
    pub claim: String,
    /// A token must be meant for one of these (`aud`); if there are none, `aud` is not looked at.
    pub audiences: Vec<String>,
    /// A token must be of one of these (`iss`); if there are none, `iss` is not looked at.
    pub issuers: Vec<String>,
}

/// A file of keys, and of what kind. The kind is never guessed: a public key that is taken for a secret lets
/// everybody sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// The secret of HS256: the bytes of the file, without a line end after them.
    Secret(PathBuf),
    /// Public keys of RS256, ES256 or EdDSA, as PEM or as a JWKS (RFC 7517).
    Public(PathBuf),
}

/// What stands between the clients and the client plane.
#[derive(Clone, Debug, Default)]
pub struct ProxyConfig {
    /// Whose word on where a client comes from, and who it is, is taken.
    pub trusted: TrustedProxies,
    /// The one header in which they say where it comes from.
    pub forwarded_header: ForwardedHeader,
    /// They begin every connection with a PROXY protocol header, of version 1 or 2.
    pub proxy_protocol: bool,
}

/// Which header trusted proxies write the client's address into. It is one alone: the other one is the client's own
/// to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// None: they write neither, so whatever is there is the client's.
    None,
}

/// The networks of the trusted proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads networks like `10.0.0.0/8` and addresses like `10.0.0.7`.
    ///
    /// # Errors
    ///
    /// The entry that is none, or that is so wide that it trusts everybody.
    pub fn read<S: AsRef<str>>(entries: &[S]) -> Result<Self, String> {
        entries.iter().map(|entry| network(entry.as_ref().trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this address is a trusted proxy's.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(entry: &str) -> Result<IpNet, String> {
    let written = entry.parse::<IpNet>().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
    let Ok(written) = written else {
        return Err(format!("{entry:?} is no network: write it like 10.0.0.0/8, 10.0.0.7 or fd00::/8"));
    };
    if written.addr() != written.network() {
        return Err(format!(
            "{entry} is an address within a network: write {} or the address alone",
            written.trunc()
        ));
    }
    let network = canonical(written);
    if is_catch_all(&network) {
        return Err(format!(
            "{entry} is so wide that any client could be a trusted proxy, and say that it is anybody; \
             name the networks of your proxies alone"
        ));
    }
    Ok(network)
}

/// IPv4 networks that are written as IPv6 are the IPv4 networks they are.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(length) = v6.prefix_len().checked_sub(96)
        && let Ok(network) = Ipv4Net::new(v4, length)
    {
        return network.into();
    }
    network
}

/// No operator has as much of the public network as this; of what is private, the whole may be meant.
fn is_catch_all(network: &IpNet) -> bool {
    match network {
        // 10.0.0.0/8 is the widest private network.
        IpNet::V4(network) => network.prefix_len() < 8,
        // fc00::/7 are the unique local addresses (RFC 4193), fe80::/10 those of a link.
        IpNet::V6(network) => {
            let first = network.addr();
            let is_private = first.is_unique_local() || first.is_unicast_link_local();
            network.prefix_len() < if is_private { 7 } else { 16 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(entry: &str, expected: &str) {
        let message = TrustedProxies::read(&[entry]).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn a_range_that_trusts_everybody_is_refused() {
        for entry in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "0.0.0.0/7",
            "::/0",
            "2000::/3",
            "8000::/1",
            "fc00::/6",
            "::ffff:0:0/96",
            "::/8",
            "::ffff:128.0.0.0/97",
        ] {
            refused(entry, "so wide that any client could be a trusted proxy");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_how_to_write_one() {
        for entry in ["", "proxy.plant", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "[::1]", "*"] {
            refused(entry, "is no network: write it like 10.0.0.0/8");
        }
        refused("10.0.0.7/8", "write 10.0.0.0/8 or the address alone");
    }

    #[test]
    fn addresses_are_found_in_their_networks_and_in_no_other() {
        let written = ["10.0.0.0/8", " 192.0.2.7", "fc00::/7", "2001:db8::/32", "::ffff:198.51.100.0/120"];
        let trusted = TrustedProxies::read(&written).unwrap();
        let is = |address: &str| trusted.contains(address.parse().unwrap());
        for address in ["10.1.2.3", "192.0.2.7", "::ffff:10.1.2.3", "fd00::1", "2001:db8::9", "198.51.100.1"]
        {
            assert!(is(address), "{address}");
        }
        for address in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "198.51.101.1", "::1"] {
            assert!(!is(address), "{address}");
        }
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    }
}
