use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures::StreamExt;
use http::{HeaderValue, header};
use serde::Deserialize;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout_at,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message, client::IntoClientRequest, handshake::client::Request, protocol::WebSocketConfig,
    },
};

use super::{
    plan::SessionPlan,
    problem::{NO_LOCAL_PORT, Problem, Stage},
    run::Run,
};
use crate::{
    query_client::{Insecure, Wire},
    session::SUBPROTOCOL,
};

pub(super) type Socket = WebSocketStream<Wire>;

/// How long a connection and its handshake may take together.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server says first to a client that offers the subprotocol (PROTOCOL 2.5).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Welcome {
    #[serde(rename = "headcount")]
    _kind: Kind,
    pub(super) session_id: String,
    pub(super) page_id: String,
    pub(super) resume_token: String,
    pub(super) resumed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Welcome,
}

/// Connects one tab of a session, shakes hands, and hears the welcome if it asks for one. With a token it joins
/// the session that the token belongs to.
///
/// Box it: its state, several KiB, is then gone while the session lives.
pub(super) async fn open(
    run: &Run,
    session: &SessionPlan,
    tab: u32,
    resume_token: Option<&str>,
) -> Result<(Socket, Option<Welcome>), Problem> {
    let deadline = (Instant::now() + OPEN_TIMEOUT).into();
    let request = request(run, session, tab, resume_token)?;
    let stream = timeout_at(deadline, connect(run.address, session))
        .await
        .map_err(|_| Problem::timed_out(Stage::Connect))??;
    let stream = timeout_at(deadline, secure(run, stream))
        .await
        .map_err(|_| Problem::timed_out(Stage::Handshake))??;
    let shaking = client_async_with_config(request, stream, Some(limits(run.plan.options.bytes.max)));
    let (mut socket, _) = timeout_at(deadline, shaking)
        .await
        .map_err(|_| Problem::timed_out(Stage::Handshake))?
        .map_err(|error| Problem::websocket(Stage::Handshake, &error))?;
    if !run.plan.speaks_headcount() {
        return Ok((socket, None));
    }
    let welcome = timeout_at(deadline, welcome(&mut socket))
        .await
        .map_err(|_| Problem::new(Stage::Handshake, "no welcome"))??;
    Ok((socket, Some(welcome)))
}

/// Shakes hands over TLS, if that is wanted.
async fn secure(run: &Run, stream: TcpStream) -> Result<Wire, Problem> {
    let Some(trust) = &run.trust else { return Ok(Wire::Left(stream)) };
    trust.secure(&run.plan.options.target.authority, stream).await.map_err(|insecure| match insecure {
        Insecure::Untrusted(reason) => {
            Problem::new(Stage::Handshake, "the certificate is not trusted").saying(&reason)
        }
        Insecure::Broken(reason) => Problem::new(Stage::Handshake, "no TLS").saying(&reason),
    })
}

/// The first message.
async fn welcome(socket: &mut Socket) -> Result<Welcome, Problem> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|_| {
                    Problem::new(Stage::Handshake, "the first message is no welcome").saying(&text)
                });
            }
            Some(Ok(Message::Close(frame))) => return Err(Problem::closed(Stage::Handshake, frame.as_ref())),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Problem::websocket(Stage::Handshake, &error)),
            None => return Err(Problem::cut(Stage::Handshake)),
        }
    }
}

async fn connect(to: SocketAddr, session: &SessionPlan) -> Result<TcpStream, Problem> {
    let failed = |error| Problem::io(Stage::Connect, &error);
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    if let Some(source) = session.source {
        // The system chooses the port here, not knowing whereto: so one address has some 28,000 of them, and
        // no two sockets one port. IP_BIND_ADDRESS_NO_PORT would stretch that and needs unsafe code.
        socket.bind(SocketAddr::new(source, 0)).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => Problem::new(Stage::Connect, NO_LOCAL_PORT),
            ErrorKind::AddrNotAvailable => {
                Problem::new(Stage::Connect, format!("{source} is no address of this machine"))
            }
            _ => failed(error),
        })?;
    }
    let stream = socket.connect(to).await.map_err(|error| match error.kind() {
        ErrorKind::AddrNotAvailable => Problem::new(Stage::Connect, NO_LOCAL_PORT),
        _ => failed(error),
    })?;
    // A message must not wait for the next one.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

fn request(
    run: &Run,
    session: &SessionPlan,
    tab: u32,
    resume_token: Option<&str>,
) -> Result<Request, Problem> {
    let mut request = run
        .plan
        .url(session, tab, resume_token)
        .into_client_request()
        .map_err(|error| Problem::websocket(Stage::Handshake, &error))?;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(session.user_agent));
    if run.plan.speaks_headcount() {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    for (name, value) in &run.plan.options.headers {
        headers.insert(name, value.clone());
    }
    Ok(request)
}

/// Small buffers, for there are many sessions; and room for what comes back.
fn limits(max_bytes: u32) -> WebSocketConfig {
    const READ_BUFFER: usize = 4 * 1024;
    const MAX_INCOMING: usize = 16 << 20;
    // One message on its way out, and control frames beside it.
    const BESIDE: usize = 16 * 1024;
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(max_bytes as usize + BESIDE)
        .max_message_size(Some(MAX_INCOMING))
        .max_frame_size(Some(MAX_INCOMING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_welcome_is_read_whatever_else_it_may_say() {
        let text = r#"{"headcount":"welcome","sessionId":"s","pageId":"p","resumeToken":"t","resumed":true,
            "heartbeatMs":15000,"node":"a"}"#;
        let expected = Welcome {
            _kind: Kind::Welcome,
            session_id: "s".to_owned(),
            page_id: "p".to_owned(),
            resume_token: "t".to_owned(),
            resumed: true,
        };
        assert_eq!(serde_json::from_str::<Welcome>(text).unwrap(), expected);
        for other in [text.replace("welcome", "message"), text.replace("\"resumed\":true,", "")] {
            assert!(serde_json::from_str::<Welcome>(&other).is_err(), "{other}");
        }
    }
}
