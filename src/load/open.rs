use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::{HeaderValue, header};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout_at,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{client::IntoClientRequest, handshake::client::Request, protocol::WebSocketConfig},
};

use super::{
    plan::SessionPlan,
    problem::{NO_LOCAL_PORT, Problem, Stage},
    run::Run,
};

pub(super) type Socket = WebSocketStream<TcpStream>;

/// How long a connection and its handshake may take together.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects a session and shakes hands.
///
/// Box it: its state, several KiB, is then gone while the session lives.
pub(super) async fn open(run: &Run, session: &SessionPlan) -> Result<Socket, Problem> {
    let deadline = (Instant::now() + OPEN_TIMEOUT).into();
    let request = request(run, session)?;
    let stream = timeout_at(deadline, connect(run.address, session))
        .await
        .map_err(|_| Problem::timed_out(Stage::Connect))??;
    let shaking = client_async_with_config(request, stream, Some(limits(run.plan.options.bytes.max)));
    let (socket, _) = timeout_at(deadline, shaking)
        .await
        .map_err(|_| Problem::timed_out(Stage::Handshake))?
        .map_err(|error| Problem::websocket(Stage::Handshake, &error))?;
    Ok(socket)
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

fn request(run: &Run, session: &SessionPlan) -> Result<Request, Problem> {
    let mut request = run
        .plan
        .url(session)
        .into_client_request()
        .map_err(|error| Problem::websocket(Stage::Handshake, &error))?;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(session.user_agent));
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
