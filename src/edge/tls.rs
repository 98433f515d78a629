//! TLS under a plane: its certificate, read again when the files change, and the handshake.

use std::{io, path::Path, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        CertificateError, Error, RootCertStore, ServerConfig,
        client::verify_server_cert_signed_by_trust_anchor,
        crypto::{
            CryptoProvider,
            ring::{Ticketer, default_provider},
        },
        pki_types::{
            CertificateDer, PrivateKeyDer, UnixTime,
            pem::{self, PemObject},
        },
        server::{NoServerSessionStorage, ParsedCertificate},
    },
    server::TlsStream,
};

use super::{
    refusal::Refusal,
    watched::{ReadAgain, Watched},
    websocket::hang_up,
};

/// What the planes speak inside of TLS, for clients that ask (RFC 7301). There is no HTTP/2 here.
const HTTP_1_1: &[u8] = b"http/1.1";

/// So much may be sealed and wait for the system to take it. What is beyond waits where the plane bounds it.
const MAX_SEALED: usize = 64 * 1024;

/// The TLS of one plane.
#[derive(Debug)]
pub(crate) struct Tls(Arc<Watched<Shown>>);

/// What newcomers are shown; nothing if the files have never held anything good.
#[derive(Default)]
struct Shown(Option<TlsAcceptor>);

/// Whether these files hold a certificate and its key.
///
/// # Errors
///
/// The file, and what is wrong with it.
pub(crate) fn check(certificate: &Path, key: &Path) -> Result<(), String> {
    read(certificate, key).map(drop)
}

/// Keeps the certificate of a plane, if it has one, as it is in its file, for ever. Connections that are open go on with
/// the one they know.
pub(crate) async fn keep(tls: Option<&Tls>, read_again: ReadAgain) {
    match tls {
        Some(tls) => tls.0.watch(read_again).await,
        None => std::future::pending().await,
    }
}

impl Tls {
    /// With the certificate of this file and the key of that; `what` they are, in the plural, is for the log.
    pub(crate) fn new(what: &'static str, certificate: &Path, key: &Path) -> Self {
        let paths = vec![certificate.to_owned(), key.to_owned()];
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let read = move || read(&certificate, &key).map(|config| Shown(Some(Arc::new(config).into())));
        Self(Arc::new(Watched::new(what, paths, read)))
    }

    /// Shakes hands `within` that time, over what `wrap` makes of the stream. Whoever speaks plain HTTP is told so.
    ///
    /// # Errors
    ///
    /// The peer spoke no TLS, or none that we speak, or took too long.
    pub(crate) async fn accept<S>(
        &self,
        mut stream: TcpStream,
        wrap: impl FnOnce(TcpStream) -> S,
        within: Duration,
    ) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            // A method begins with a capital letter, a TLS handshake with 22.
            if first[0].is_ascii_uppercase() {
                let _ = stream.write_all(&plain_refusal()).await;
                let _ = hang_up(stream).await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP came"));
            }
            let shown = self.0.current();
            let acceptor = shown.0.as_ref().ok_or_else(|| io::Error::other("there is no certificate"))?;
            acceptor.accept_with(wrap(stream), |tls| tls.set_buffer_limit(Some(MAX_SEALED))).await
        };
        time::timeout(within, shaking).await?
    }
}

/// The answer to a request that did not come over TLS, as it goes over the wire.
fn plain_refusal() -> Vec<u8> {
    let message = "this port speaks TLS: connect with https:// or wss://";
    let body = Refusal::new(StatusCode::BAD_REQUEST, "tls_required", message).to_json();
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What to show newcomers by these files.
fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let (certificate_file, key_file) = (certificate.display(), key.display());
    let chain = read_chain(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            format!("the TLS key {key_file} holds no private key as PEM, unencrypted")
        }
        error => format!("the TLS key {key_file} cannot be read: {}", reason(error)),
    })?;
    let provider = Arc::new(default_provider());
    if let Some(problem) = out_of_date(&chain[0], &provider) {
        // It is shown all the same: a clock may be wrong, and no service is worse than a warning at the client.
        tracing::warn!(file = ?certificate, "the TLS certificate {problem}");
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                format!("the TLS key {key_file} is not that of the certificate {certificate_file}")
            }
            error => {
                format!(
                    "the TLS certificate {certificate_file} and the key {key_file} cannot be used: {error}"
                )
            }
        })?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // Whoever comes back brings its own state, sealed, and the server remembers nobody. A new certificate takes new
    // seals, so that nobody comes back without having seen it.
    config.ticketer = Ticketer::new().map_err(|error| error.to_string())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The certificates of a file: one at the least.
fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let chain = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("the TLS certificate {shown} cannot be read: {}", reason(error)))?;
    if chain.is_empty() {
        return Err(format!("the TLS certificate {shown} holds none as PEM"));
    }
    Ok(chain)
}

/// The system's own words where it is the system's error.
fn reason(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// What the time says of a certificate, if it is not well with it.
fn out_of_date(certificate: &CertificateDer<'_>, provider: &CryptoProvider) -> Option<&'static str> {
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    // Dates are looked at before signatures, so no authority is needed for this.
    let nobody = RootCertStore::empty();
    let algorithms = provider.signature_verification_algorithms.all;
    let judged =
        verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], UnixTime::now(), algorithms);
    match judged {
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Some("has expired"),
        Err(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Some("is not valid yet"),
        _ => None,
    }
}
