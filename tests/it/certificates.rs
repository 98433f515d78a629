//! Certificates for the tests: an authority of their own, what it signs, and a client that believes it alone.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};

use crate::harness::{RawSocket, Server, dial};

/// What TLS goes over, and what goes over TLS.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and a folder for what it signs. The folder goes with it.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("test authority {number}"));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file that names it, for those who are to believe it.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Signs a certificate for these names; answers it and its key as PEM.
    pub(crate) fn sign(&self, names: &[&str], good_until_year: i32) -> (String, String) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(good_until_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Puts a certificate for the loopback addresses, and its key, where [`flags`](Self::flags) point.
    pub(crate) fn issue(&self) {
        let (certificate, key) = self.sign(&["localhost", "127.0.0.1", "::1"], 4000);
        self.replace("cert.pem", &certificate);
        self.replace("key.pem", &key);
    }

    /// Puts a file in the place of another, at once, as whoever renews certificates does.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let fresh = self.file(&format!("{name}.new"));
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.file(name)).unwrap();
    }

    /// What tells the server where they are.
    pub(crate) fn flags(&self) -> [String; 2] {
        let flag = |flag: &str, name: &str| format!("--{flag}={}", self.file(name).display());
        [flag("tls-cert", "cert.pem"), flag("tls-key", "key.pem")]
    }

    /// A server with a certificate of this authority on its client plane; the admin plane is plain without
    /// `--admin-tls`.
    pub(crate) fn server(&self, more: &[&str]) -> Server {
        self.issue();
        let [certificate, key] = self.flags();
        let plain = (!more.contains(&"--admin-tls")).then_some("--admin-tls=false");
        let flags = [&*certificate, &key].into_iter().chain(plain).chain(more.iter().copied());
        Server::start(&flags.collect::<Vec<_>>())
    }

    /// A TLS connection to this address by somebody who believes this authority alone and remembers nothing.
    pub(crate) fn connect(&self, address: SocketAddr) -> TlsStream {
        self.secure(dial(address)).unwrap()
    }

    /// The same over a stream that is there already.
    pub(crate) fn secure(&self, mut stream: TcpStream) -> std::io::Result<TlsStream> {
        let name = ServerName::from(stream.peer_addr().unwrap().ip());
        let mut client = ClientConnection::new(self.client_config(rustls::DEFAULT_VERSIONS), name).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(client, stream))
    }

    pub(crate) fn client_config(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// A WebSocket over TLS.
    #[track_caller]
    pub(crate) fn open(&self, address: SocketAddr, target: &str) -> RawSocket<TlsStream> {
        RawSocket::over(self.connect(address), &address.to_string(), target, "")
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The certificate that a server has shown.
pub(crate) fn shown<S: Read + Write>(stream: &StreamOwned<ClientConnection, S>) -> CertificateDer<'static> {
    stream.conn.peer_certificates().expect("a handshake")[0].clone().into_owned()
}
