//! From an accepted connection to a client that is let in, or is not.
//!
//! Most connections bring one whole request at once, which asks for a WebSocket and may have it. They are let in from
//! one read, with tungstenite's handshake and nothing of HTTP around it; whatever else comes is for `http.rs`.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, header};
use rustix::net::{RecvFlags, SendFlags};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    time,
};
use tokio_tungstenite::tungstenite::handshake::{machine::TryParse, server::write_response};

use super::{
    address::Peer,
    arrival::{Arrival, Inside},
    connection::{Task, with_read_buffer},
    http::{Begun, Said},
    listener::ClientPlane,
    proxy,
    upgrade::Granted,
};
use crate::{
    config::ProxyConfig,
    edge::{accept::MAX_REQUEST_HEAD, connections::Dropped},
};

/// What a connection brought first.
enum First {
    /// A request that is granted a WebSocket. This is the answer, and what was sent after the request.
    LetIn { answer: Vec<u8>, early: Bytes },
    /// These bytes are something else. If they are a request, this is said to it.
    Other(Bytes, Option<Said>),
}

impl ClientPlane {
    /// Finds out who connects, shakes hands with them where the plane speaks TLS, and lets them in.
    ///
    /// What is not the usual way is on the heap, so that this is small where it is not needed.
    pub(super) async fn greet(self: Arc<Self>, mut stream: TcpStream, at: SocketAddr, mut arrival: Arrival) {
        let ProxyConfig { trusted, proxy_protocol, .. } = &self.config.proxies;
        let mut peer = Peer::at(at.ip(), trusted);
        // From anybody else no such header is taken: it would be a client's.
        if *proxy_protocol && peer.is_trusted {
            match Box::pin(self.announced(&mut stream, peer, &mut arrival)).await {
                Some(sender) => peer = sender,
                None => return,
            }
        }
        let until = Instant::now() + self.config.request_timeout;
        if self.tls.is_some() {
            return Box::pin(self.greet_in_tls(stream, peer, arrival)).await;
        }
        let first = match self.look(&stream, peer, &mut arrival) {
            Some(first) => first,
            None => match Box::pin(self.await_first(&mut stream, peer, until, &mut arrival)).await {
                Some(first) => first,
                None => return,
            },
        };
        match first {
            First::LetIn { answer, early } => self.admit(stream, &answer, &early, arrival).await,
            First::Other(read, said) => {
                Box::pin(self.let_in(stream, Begun { read, said, until }, peer, arrival)).await;
            }
        }
    }

    /// Whom a trusted proxy makes the connection for. `None` if it does not say so as it must.
    async fn announced(&self, stream: &mut TcpStream, proxy: Peer, arrival: &mut Arrival) -> Option<Peer> {
        let reading = proxy::read(stream, proxy, &self.config.proxies.trusted);
        let reading = time::timeout(self.config.request_timeout, reading);
        let peer = proxy.address;
        arrival.failed(match self.cut.run_until_cancelled(reading).await {
            Some(Ok(Ok(sender))) => return Some(sender),
            Some(Ok(Err(error))) => {
                tracing::debug!(%peer, %error, "a proxy did not say whom it connects for");
                if error.kind() == io::ErrorKind::InvalidData { Dropped::ProxyHeader } else { Dropped::Gone }
            }
            Some(Err(_)) => {
                tracing::debug!(%peer, "a proxy did not say in time whom it connects for");
                Dropped::Timeout
            }
            None => Dropped::Cut,
        });
        None
    }

    async fn greet_in_tls(&self, stream: TcpStream, peer: Peer, mut arrival: Arrival) {
        let Some(tls) = &self.tls else { return };
        let shaking = tls.accept(stream, std::convert::identity, self.config.request_timeout);
        let failed = match self.cut.run_until_cancelled(shaking).await {
            Some(Ok(stream)) => {
                let until = Instant::now() + self.config.request_timeout;
                let begun = Begun { read: Bytes::new(), said: None, until };
                return self.let_in(stream, begun, peer, arrival).await;
            }
            Some(Err(error)) => {
                tracing::debug!(peer = %peer.address, %error, "no TLS handshake");
                match error.kind() {
                    io::ErrorKind::TimedOut => Dropped::Timeout,
                    io::ErrorKind::InvalidData => Dropped::NoTls,
                    _ => Dropped::Gone,
                }
            }
            None => Dropped::Cut,
        };
        arrival.failed(failed);
    }

    /// What has come already.
    fn look(&self, stream: &TcpStream, peer: Peer, arrival: &mut Arrival) -> Option<First> {
        with_read_buffer(|buffer| {
            let mut receive = || rustix::net::recv(stream, &mut *buffer, RecvFlags::DONTWAIT);
            let mut received = None;
            // If the runtime knows that there is something, it is told that this was all, or the connection's task would
            // look in vain. If it does not, as of most that are new, it is not asked.
            let _ = stream.try_io(Interest::READABLE, || {
                received = Some(receive());
                Err::<(), _>(io::ErrorKind::WouldBlock.into())
            });
            // Whoever reads next is told of an error too.
            let (bytes, _) = received.unwrap_or_else(receive).ok()?;
            Some(self.hear(&buffer[..bytes], peer, arrival))
        })
    }

    /// What comes first, or `None` if nothing does in time.
    async fn await_first(
        &self,
        stream: &mut TcpStream,
        peer: Peer,
        until: Instant,
        arrival: &mut Arrival,
    ) -> Option<First> {
        let coming = poll_fn(|cx| {
            with_read_buffer(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok::<_, io::Error>(self.hear(buffer.filled(), peer, arrival)))
            })
        });
        let failed = match self.cut.run_until_cancelled(time::timeout_at(until.into(), coming)).await {
            Some(Ok(Ok(first))) => return Some(first),
            Some(Ok(Err(_))) => Dropped::Gone,
            Some(Err(_)) => Dropped::Timeout,
            None => Dropped::Cut,
        };
        arrival.failed(failed);
        None
    }

    /// What the first bytes of a connection are; none are its end.
    fn hear(&self, bytes: &[u8], peer: Peer, arrival: &mut Arrival) -> First {
        let request = match Request::try_parse(bytes) {
            Ok(Some((head, request))) if head <= MAX_REQUEST_HEAD && !has_body(&request) => {
                (head, self.say(&request, peer))
            }
            _ => return First::Other(Bytes::copy_from_slice(bytes), None),
        };
        match request {
            (head, Ok(Granted::Upgrade(response, admitted))) => {
                arrival.let_in(admitted);
                let mut answer = Vec::with_capacity(256);
                write_response(&mut answer, &response).expect("headers of this program are text");
                First::LetIn { answer, early: Bytes::copy_from_slice(&bytes[head..]) }
            }
            (_, said) => First::Other(Bytes::copy_from_slice(bytes), Some(said)),
        }
    }

    /// Answers a client that is let in.
    async fn admit(&self, mut stream: TcpStream, answer: &[u8], early: &[u8], mut arrival: Arrival) {
        let Some(inside) = arrival.take_inside() else { return };
        // A socket that has not sent anything takes this much at once; if not, or if it is gone, the rest will show.
        let sent = rustix::net::send(&stream, answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).unwrap_or(0);
        if sent < answer.len() {
            let rest = time::timeout(self.config.request_timeout, stream.write_all(&answer[sent..]));
            let Some(Ok(Ok(()))) = Box::pin(self.cut.run_until_cancelled(rest)).await else { return };
        }
        self.begin(stream, early, inside);
    }

    /// Gives a client that is let in a task of its own.
    pub(super) fn begin<S>(&self, stream: S, early: &[u8], inside: Inside)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Inside { admitted, open, task } = inside;
        self.heart.enroll(&admitted.line);
        tokio::spawn(Task::new(stream, early, admitted, open, task));
    }
}

/// Whether something belongs to a request that comes after its head.
fn has_body<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}
