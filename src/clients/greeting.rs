//! From an accepted connection to a client that is let in, or is not.
//!
//! Most connections bring one whole request at once, which asks for a WebSocket and may have it. They are let in from
//! one read, with nothing of HTTP around it but its parser; whatever else comes is for `http.rs`.

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
use rustix::net::{RecvFlags, SendFlags};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    time,
};

use super::{
    address::Peer,
    arrival::{Arrival, Inside},
    connection::{Task, with_read_buffer},
    http::{Begun, Said},
    listener::ClientPlane,
    proxy, request,
    upgrade::{self, Granted},
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
    /// The task of a connection that has been accepted.
    pub(super) fn greet(
        self: Arc<Self>,
        stream: TcpStream,
        at: SocketAddr,
        arrival: Arrival,
    ) -> Task<TcpStream> {
        Task::first(move || self.let_in_at_once(stream, at, arrival))
    }

    fn let_in_at_once(
        self: Arc<Self>,
        stream: TcpStream,
        at: SocketAddr,
        mut arrival: Arrival,
    ) -> Task<TcpStream> {
        let ProxyConfig { trusted, proxy_protocol, .. } = &self.config.proxies;
        let peer = Peer::at(at.ip(), trusted);
        // From anybody else no such header is taken: it would be a client's.
        let is_announced = *proxy_protocol && peer.is_trusted;
        let mut first =
            if is_announced || self.tls.is_some() { None } else { self.look(&stream, peer, &mut arrival) };
        if let Some(First::LetIn { answer, early }) = &mut first {
            // A socket that has not sent anything yet takes this much at once. If not, the rest comes later; if it is
            // gone, that will show.
            let sent = rustix::net::send(&stream, answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            answer.drain(..sent.unwrap_or(0));
            if answer.is_empty()
                && let Some(inside) = arrival.take_inside()
            {
                return self.begin(stream, early, inside);
            }
        }
        Task::beside(async move { self.let_in_later(stream, peer, is_announced, first, arrival).await })
    }

    /// Finds out who connects, and shakes hands with them where the plane speaks TLS.
    async fn let_in_later(
        &self,
        mut stream: TcpStream,
        mut peer: Peer,
        is_announced: bool,
        first: Option<First>,
        mut arrival: Arrival,
    ) {
        if is_announced {
            match self.announced(&mut stream, peer, &mut arrival).await {
                Some(sender) => peer = sender,
                None => return,
            }
        }
        if self.tls.is_some() {
            return self.let_in_by_tls(stream, peer, arrival).await;
        }
        let until = Instant::now() + self.config.request_timeout;
        let first = match first {
            Some(first) => first,
            None => match self.await_first(&mut stream, peer, until, &mut arrival).await {
                Some(first) => first,
                None => return,
            },
        };
        match first {
            First::LetIn { answer, early } => self.admit(stream, &answer, &early, arrival).await,
            First::Other(read, said) => {
                self.serve_http(stream, Begun { read, said, until }, peer, arrival).await;
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

    async fn let_in_by_tls(&self, stream: TcpStream, peer: Peer, mut arrival: Arrival) {
        let Some(tls) = &self.tls else { return };
        let shaking = tls.accept(stream, std::convert::identity, self.config.request_timeout);
        let failed = match self.cut.run_until_cancelled(shaking).await {
            Some(Ok(stream)) => {
                let until = Instant::now() + self.config.request_timeout;
                let begun = Begun { read: Bytes::new(), said: None, until };
                return self.serve_http(stream, begun, peer, arrival).await;
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
            // Whoever sends more than fits has no usual request.
            let buffer = &mut buffer[..MAX_REQUEST_HEAD];
            let mut receive = || rustix::net::recv(stream, &mut *buffer, RecvFlags::DONTWAIT);
            let mut received = None;
            // If the runtime knows that there is something, it is told that this was all, if it was, or the connection's
            // task would look in vain. If it does not, as of most that are new, it is not asked.
            let _ = stream.try_io(Interest::READABLE, || match received.insert(receive()) {
                Ok((MAX_REQUEST_HEAD, _)) => Ok(()),
                _ => Err(io::ErrorKind::WouldBlock.into()),
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
                let mut buffer = ReadBuf::new(&mut buffer[..MAX_REQUEST_HEAD]);
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
        let bytes = Bytes::copy_from_slice(bytes);
        let Some((request, head)) = request::usual(&bytes) else { return First::Other(bytes, None) };
        match upgrade::answer(&request, peer, self, arrival.is_beside()) {
            Ok(Granted::Upgrade(switching, admitted)) => {
                arrival.let_in(admitted);
                First::LetIn { answer: switching.to_bytes(), early: bytes.slice(head..) }
            }
            said => First::Other(bytes, Some(said)),
        }
    }

    /// Answers a client that is let in, and gives it a task of its own.
    async fn admit(&self, mut stream: TcpStream, answer: &[u8], early: &[u8], mut arrival: Arrival) {
        let answering = time::timeout(self.config.request_timeout, stream.write_all(answer));
        if let Some(Ok(Ok(()))) = self.cut.run_until_cancelled(answering).await
            && let Some(inside) = arrival.take_inside()
        {
            tokio::spawn(self.begin(stream, early, inside));
        }
    }

    /// The task of a client that is let in.
    pub(super) fn begin<S>(&self, stream: S, early: &[u8], inside: Inside) -> Task<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Inside { admitted, open, task } = inside;
        self.heart.enroll(&admitted.line);
        Task::new(stream, early, admitted, open, task)
    }
}
