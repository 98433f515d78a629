//! TLS as a client of our own speaks it: whose word is taken for who a server is.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, OnceLock},
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, Error, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{
            CertificateDer, ServerName,
            pem::{self, PemObject},
        },
    },
};
use tokio_util::either::Either;

/// What a WebSocket goes over: TCP alone, or TLS, whose state is on the heap since most connections have none.
pub(crate) type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// The authorities whose word is taken for who a server is.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

/// Why a connection is not secure.
#[derive(Debug)]
pub(crate) enum Insecure {
    /// The server's certificate is not good, or not for it, or nobody here knows who signed it.
    Untrusted(String),
    /// There was no handshake.
    Broken(String),
}

impl Trust {
    /// The authorities that this machine trusts. They are looked up once.
    ///
    /// # Errors
    ///
    /// There are none, and why.
    pub fn system() -> Result<Self, String> {
        static FOUND: OnceLock<Result<Trust, String>> = OnceLock::new();
        let find = || {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            let (good, _) = roots.add_parsable_certificates(found.certs);
            if good == 0 {
                let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
                return Err(format!("this machine names no authorities of certificates{why}"));
            }
            Ok(Self::in_roots(roots))
        };
        FOUND.get_or_init(find).clone()
    }

    /// The authorities of a PEM file, and no others.
    ///
    /// # Errors
    ///
    /// The file, and what is wrong with it.
    pub fn in_file(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let unreadable = |error: pem::Error| match error {
            pem::Error::Io(error) => format!("{shown} cannot be read: {error}"),
            error => format!("{shown} cannot be read: {error}"),
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            let certificate = certificate.map_err(unreadable)?;
            roots.add(certificate).map_err(|error| format!("{shown} holds a bad certificate: {error}"))?;
        }
        if roots.is_empty() {
            return Err(format!("{shown} holds no certificate as PEM"));
        }
        Ok(Self::in_roots(roots))
    }

    fn in_roots(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    /// Shakes hands with the server that was asked for at this `host:port`. The caller bounds it.
    pub(crate) async fn secure(&self, authority: &str, stream: TcpStream) -> Result<Wire, Insecure> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host)
            .map_err(|_| Insecure::Broken("a certificate cannot be for that name".to_owned()))?;
        let connected = TlsConnector::from(self.0.clone()).connect(name, stream).await;
        connected.map(|stream| Either::Right(Box::new(stream))).map_err(|error| judge(&error))
    }
}

/// The TCP stream under a connection.
pub(crate) fn tcp(wire: &Wire) -> &TcpStream {
    match wire {
        Either::Left(stream) => stream,
        Either::Right(stream) => stream.get_ref().0,
    }
}

fn judge(error: &io::Error) -> Insecure {
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Insecure::Untrusted(
            "no authority that is trusted here has signed it; --ca-file names the one that has".to_owned(),
        ),
        Some(Error::InvalidCertificate(problem)) => Insecure::Untrusted(problem.to_string()),
        Some(Error::InvalidMessage(_)) => Insecure::Broken("it does not speak TLS".to_owned()),
        _ => Insecure::Broken(error.to_string()),
    }
}

/// Without the authorities: there are hundreds.
impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}
