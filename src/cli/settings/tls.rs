//! Which certificate each plane shows: what was written, and what is meant.

use std::path::PathBuf;

use super::Settings;
use crate::config::TlsFiles;

/// The certificates of the two planes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificates {
    pub(super) clients: Option<TlsFiles>,
    pub(super) admin: Option<TlsFiles>,
}

impl Settings {
    /// One certificate serves both planes, unless the admin plane has its own or is to stay plain.
    ///
    /// # Errors
    ///
    /// The setting that lacks another, or that would do nothing.
    pub(super) fn certificates(&self) -> Result<Certificates, String> {
        let clients = pair(("tls-cert", &self.tls_cert), ("tls-key", &self.tls_key))?;
        let own = pair(("admin-tls-cert", &self.admin_tls_cert), ("admin-tls-key", &self.admin_tls_key))?;
        let admin = match self.admin_tls {
            Some(false) if own.is_some() => {
                return Err("admin-tls-cert does nothing while admin-tls is false".to_owned());
            }
            Some(false) => None,
            Some(true) | None => own.or_else(|| clients.clone()),
        };
        if self.admin_tls == Some(true) && admin.is_none() {
            return Err(
                "admin-tls needs tls-cert and tls-key, or admin-tls-cert and admin-tls-key".to_owned()
            );
        }
        Ok(Certificates { clients, admin })
    }
}

/// A certificate and its key: both or neither.
fn pair(
    (certificate_name, certificate): (&str, &Option<PathBuf>),
    (key_name, key): (&str, &Option<PathBuf>),
) -> Result<Option<TlsFiles>, String> {
    match (certificate.clone(), key.clone()) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(format!("{certificate_name} needs {key_name}: the file of the certificate's private key"))
        }
        (None, Some(_)) => Err(format!("{key_name} needs {certificate_name}: the file of the certificate")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str) -> Result<Certificates, String> {
        toml::from_str::<Settings>(file).unwrap().certificates()
    }

    fn files(certificate: &str, key: &str) -> Option<TlsFiles> {
        Some(TlsFiles { certificate: certificate.into(), key: key.into() })
    }

    const BOTH: &str = "tls-cert = 'c'\ntls-key = 'k'\n";
    const ADMIN: &str = "admin-tls-cert = 'ac'\nadmin-tls-key = 'ak'\n";

    #[test]
    fn one_certificate_serves_both_planes_unless_the_admin_plane_is_to_differ() {
        let check = |file: &str| {
            let Certificates { clients, admin } = check(file).unwrap();
            (clients, admin)
        };
        assert_eq!(check(""), (None, None));
        assert_eq!(check(BOTH), (files("c", "k"), files("c", "k")));
        assert_eq!(check(&format!("{BOTH}{ADMIN}")), (files("c", "k"), files("ac", "ak")));
        assert_eq!(check(ADMIN), (None, files("ac", "ak")));
        assert_eq!(check(&format!("{BOTH}admin-tls = false")), (files("c", "k"), None));
        assert_eq!(check(&format!("{BOTH}admin-tls = true")), (files("c", "k"), files("c", "k")));
        assert_eq!(check("admin-tls = false"), (None, None));
    }

    #[test]
    fn half_a_pair_names_the_other_half() {
        let refused = |file: &str, expected: &str| {
            let said = check(file).unwrap_err();
            assert!(said.contains(expected), "{said}");
        };
        refused("tls-cert = 'c'", "tls-cert needs tls-key");
        refused("tls-key = 'k'", "tls-key needs tls-cert");
        refused("admin-tls-cert = 'c'", "admin-tls-cert needs admin-tls-key");
        refused("admin-tls-key = 'k'", "admin-tls-key needs admin-tls-cert");
        refused("admin-tls = true", "admin-tls needs tls-cert");
        refused(&format!("{ADMIN}admin-tls = false"), "admin-tls-cert does nothing");
    }
}
