//! Some sixty clients as a plant has them, over real sockets: they come, work, rest and leave.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

/// How many there are, those who are away for a moment included.
const SIZE: usize = 60;

/// In this time nearly all of them arrive.
pub(crate) const ARRIVAL: Duration = Duration::from_millis(1500);

const PROJECTS: [&str; 5] = ["packaging", "boiler-house", "warehouse", "water-treatment", "utilities"];
const PATHS: [&str; 6] = ["/overview", "/alarms", "/trends", "/line-1", "/line-2", "/recipes"];
const USERS: [&str; 14] = [
    "billy",
    "operator-1",
    "operator-2",
    "operator-3",
    "shift-lead",
    "maintenance",
    "quality",
    "logistics",
    "kiosk-north",
    "kiosk-south",
    "night-shift",
    "engineer",
    "visitor",
    "zoë",
];

/// What kind of client somebody is: scope parameter if it needs one, and how it names itself.
struct Kind {
    share: u32,
    scope: Option<&'static str>,
    user_agent: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind {
        share: 22,
        scope: None,
        user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    },
    Kind {
        share: 12,
        scope: None,
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    },
    Kind {
        share: 9,
        scope: None,
        user_agent: "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    },
    Kind {
        share: 6,
        scope: None,
        user_agent: "Mozilla/5.0 (Linux; Android 15; SM-X210) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    },
    Kind { share: 6, scope: None, user_agent: "okhttp/4.12.0" },
    Kind { share: 5, scope: Some("designer"), user_agent: "PlantDesigner/8.3 (Windows 11; Java 17)" },
];

/// Brings everybody, and keeps them coming and going until it is dropped.
pub(crate) async fn gather(server: SocketAddr) {
    let mut everybody = JoinSet::new();
    for n in 0..SIZE {
        everybody.spawn(live(server, n));
    }
    while everybody.join_next().await.is_some() {}
}

/// One member's day: visits with short absences between.
async fn live(server: SocketAddr, n: usize) {
    // Each demo shows the same people; what they do follows their own seed.
    let mut rng = StdRng::seed_from_u64(n as u64);
    let user = USERS[n % USERS.len()];
    let kind = KINDS
        .iter()
        .scan(0, |sum, kind| {
            *sum += kind.share;
            Some((*sum, kind))
        })
        .find(|(sum, _)| (n * 37 % SIZE) < *sum as usize)
        .map_or(&KINDS[0], |(_, kind)| kind);
    time::sleep(ARRIVAL.mul_f64(rng.random_range(0.0..1.0))).await;
    loop {
        // A server that is gone or full is tried again after the same pause.
        let _ = visit(server, n, user, kind, &mut rng).await;
        time::sleep(Duration::from_millis(rng.random_range(500..4000))).await;
    }
}

/// One visit: connects, sends now and then, reads what comes, and closes in good order.
async fn visit(
    server: SocketAddr,
    n: usize,
    user: &str,
    kind: &Kind,
    rng: &mut StdRng,
) -> Result<(), tungstenite::Error> {
    let mut socket = connect(server, n, user, kind, rng).await?;
    let until = time::Instant::now() + Duration::from_secs(rng.random_range(8..90));
    let pace = Duration::from_millis(*[150, 400, 1000, 2500, 6000].choose(rng).unwrap_or(&1000));
    while time::Instant::now() < until {
        let pause = pace.mul_f64(rng.random_range(0.3..1.7));
        // Reading between the sends answers the server's pings.
        if let Ok(came) = time::timeout(pause, socket.next()).await {
            match came {
                Some(Ok(_)) => continue,
                _ => return Ok(()),
            }
        }
        let longest = *[90, 400, 3000].choose(rng).unwrap_or(&90);
        let bytes = rng.random_range(20..longest);
        socket.send(Message::text("x".repeat(bytes))).await?;
    }
    socket.close(None).await
}

async fn connect(
    server: SocketAddr,
    n: usize,
    user: &str,
    kind: &Kind,
    rng: &mut impl Rng,
) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
    let project = PROJECTS[(n + 2 * (n / USERS.len())) % PROJECTS.len()];
    let page = format!("{:04x}", rng.random::<u16>());
    let path = PATHS.choose(rng).unwrap_or(&"/");
    // One in ten brings no name.
    let username = if n % 11 == 10 { String::new() } else { format!("&username={}", encode(user)) };
    let scope = kind.scope.map_or(String::new(), |scope| format!("&scope={scope}"));
    let url = format!("ws://{server}/ws/{project}?pageId={page}&pagePath={path}{username}{scope}");
    let mut request = url.into_client_request()?;
    request.headers_mut().insert(http::header::USER_AGENT, http::HeaderValue::from_static(kind.user_agent));
    let limits = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_write_buffer_size(64 * 1024)
        .max_message_size(Some(64 * 1024))
        .max_frame_size(Some(64 * 1024));
    let stream = dial(server, n).await?;
    Ok(client_async_with_config(request, stream, Some(limits)).await?.0)
}

/// Each member has an address of its own where the loopback network allows it.
async fn dial(server: SocketAddr, n: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let host = 10 + u8::try_from(n % 200).unwrap_or(0);
    if socket.bind((Ipv4Addr::new(127, 0, 1, host), 0).into()).is_ok() {
        return socket.connect(server).await;
    }
    TcpStream::connect(server).await
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
