//! A typed client of the query plane, for programs and for our own command line.

mod admin;
mod trust;
mod watched;

use std::{collections::VecDeque, time::Duration};

use futures::{SinkExt, StreamExt};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header},
        protocol::WebSocketConfig,
    },
};

use self::admin::read_address;
pub(crate) use self::trust::{Insecure, Wire, tcp};
pub use self::{
    admin::{Admin, DEFAULT_ADMIN},
    trust::Trust,
    watched::Watched,
};
use crate::session::{SessionInfo, SessionScope};

/// How long the admin plane may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take, to its last byte.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The error of one who may not (PROTOCOL 3.1).
const NOT_AUTHORISED: i32 = -32001;

/// The close code of one who may no more (PROTOCOL 3.2).
const TOKEN_GONE: u16 = 4005;

/// One query socket. Questions are answered one at a time, in order.
#[derive(Debug)]
pub struct QueryClient {
    socket: WebSocketStream<Wire>,
    /// `host:port`, for errors.
    address: String,
    last_id: u64,
    /// What was told of watches while an answer was awaited: for that long, and at the pace that was asked for.
    told: VecDeque<String>,
}

/// What `getHistory` answers: the sessions that ended, the newest first. Further keys are not looked at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct History {
    /// The sessions.
    pub items: Vec<EndedSession>,
    /// About them.
    pub metadata: HistoryMetadata,
}

/// How many ended sessions there are besides those in the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct HistoryMetadata {
    /// How many ended before those that the server remembers.
    pub forgotten: u64,
}

/// A session that has ended, with its final totals.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndedSession {
    /// A UUID, or the designer's own id.
    pub id: String,
    /// The user.
    pub username: String,
    /// The project it ran in.
    pub project: String,
    /// Where it ran.
    pub session_scope: SessionScope,
    /// The client's `User-Agent`, cleaned; empty if it sent none.
    pub user_agent: String,
    /// When it ended, RFC 3339 in UTC.
    pub ended_at: String,
    /// Why it ended (PROTOCOL 2.4).
    pub reason: String,
    /// The pages that were open just before the end, in the order opened.
    pub page_ids: Vec<String>,
    /// Payload bytes of its last message.
    pub recent_bytes_sent: u64,
    /// Payload bytes of all its messages.
    pub total_bytes_sent: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The address cannot be understood.
    #[error("admin address {0:?} is not of the form http://host:port")]
    Address(String),
    /// Nobody answers there, or the connection broke.
    #[error("no admin plane can be reached at {address}: {reason}; is `headcount serve` running?")]
    Unreachable {
        /// What was asked.
        address: String,
        /// What the network said.
        reason: String,
    },
    /// Somebody answers there, and cannot show that they are who was asked for.
    #[error("the certificate of {address} is not trusted: {reason}")]
    Untrusted {
        /// What was asked.
        address: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The server will not have us.
    #[error("the admin plane at {address} refused: {reason}")]
    NotAuthorised {
        /// What was asked.
        address: String,
        /// What the server said.
        reason: String,
    },
    /// The server answered with an error.
    #[error("the server answered error {code}: {message}")]
    Server {
        /// The JSON-RPC code (PROTOCOL 3.1).
        code: i32,
        /// The server's words.
        message: String,
    },
    /// The answer is none of the protocol's.
    #[error("the answer cannot be understood: {0}")]
    Garbled(String),
}

impl QueryClient {
    /// Connects to an address, or to an [`Admin`] with a token.
    ///
    /// # Errors
    ///
    /// [`QueryError::Address`], [`QueryError::Unreachable`], [`QueryError::Untrusted`] or
    /// [`QueryError::NotAuthorised`].
    pub async fn connect(admin: impl Into<Admin>) -> Result<Self, QueryError> {
        let admin = admin.into();
        let (is_secure, authority) = read_address(&admin.address)?;
        match time::timeout(CONNECT_TIMEOUT, Self::open(authority, is_secure, &admin)).await {
            Ok(opened) => opened,
            Err(_) => Err(QueryError::Unreachable {
                address: authority.to_owned(),
                reason: format!("no answer within {CONNECT_TIMEOUT:?}"),
            }),
        }
    }

    async fn open(authority: &str, is_secure: bool, admin: &Admin) -> Result<Self, QueryError> {
        let unreachable = |reason: String| QueryError::Unreachable { address: authority.to_owned(), reason };
        let stream = TcpStream::connect(authority).await.map_err(|error| unreachable(error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let stream = if is_secure {
            let secured = admin.trust().map_err(unreachable)?.secure(authority, stream).await;
            secured.map_err(|insecure| match insecure {
                Insecure::Untrusted(reason) => {
                    QueryError::Untrusted { address: authority.to_owned(), reason }
                }
                Insecure::Broken(reason) => unreachable(reason),
            })?
        } else {
            Wire::Left(stream)
        };
        let request = format!("ws://{authority}/query").into_client_request();
        let mut request = request.map_err(|error| unreachable(error.to_string()))?;
        if let Some(token) = &admin.token {
            let bearer = HeaderValue::try_from(format!("Bearer {token}"));
            let bearer = bearer.map_err(|_| QueryError::NotAuthorised {
                address: authority.to_owned(),
                reason: "the admin token is none".to_owned(),
            })?;
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
        }
        // An answer may be of any size: its sender is the operator's own server.
        let limits = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(1024 * 1024)
            .max_message_size(None)
            .max_frame_size(None);
        match tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await {
            Ok((socket, _)) => {
                Ok(Self { socket, address: authority.to_owned(), last_id: 0, told: VecDeque::new() })
            }
            Err(tungstenite::Error::Http(response)) => {
                let reason = refusal_text(&response);
                Err(match response.status().as_u16() {
                    401 | 403 => QueryError::NotAuthorised { address: authority.to_owned(), reason },
                    _ => unreachable(reason),
                })
            }
            Err(error) => Err(unreachable(error.to_string())),
        }
    }

    /// `getSessionInfo`: the sessions whose user name and project fit, in no particular order.
    ///
    /// # Errors
    ///
    /// A [`QueryError`]; after [`QueryError::Server`] the client can go on asking.
    pub async fn session_info(
        &mut self,
        username_filter: Option<&str>,
        project_filter: Option<&str>,
    ) -> Result<Vec<SessionInfo>, QueryError> {
        self.call("getSessionInfo", &json!([username_filter, project_filter])).await
    }

    /// `getHistory`: all ended sessions that the server remembers.
    ///
    /// # Errors
    ///
    /// A [`QueryError`]; after [`QueryError::Server`] the client can go on asking.
    pub async fn history(&mut self) -> Result<History, QueryError> {
        self.call("getHistory", &json!({"limit": -1})).await
    }

    /// `getStats`: how much of everything there is, as it is answered (PROTOCOL 3.1).
    ///
    /// # Errors
    ///
    /// A [`QueryError`]; after [`QueryError::Server`] the client can go on asking.
    pub async fn stats(&mut self) -> Result<Value, QueryError> {
        self.call("getStats", &json!([])).await
    }

    /// `closeSession`: ends a session, with words for its client.
    ///
    /// # Errors
    ///
    /// A [`QueryError`]; [`QueryError::Server`] if the session is not live.
    pub async fn close_session(&mut self, id: &str, message: Option<&str>) -> Result<(), QueryError> {
        let params = json!({"sessionId": id, "message": message});
        self.call::<Value>("closeSession", &params).await.map(drop)
    }

    /// `closeSession` of all that a filter picks, with words for their clients; answers how many were ended, or with
    /// `dry_run` how many would be. A filter without a condition is refused, unless `all` are meant.
    ///
    /// # Errors
    ///
    /// A [`QueryError`]; [`QueryError::Server`] if the filter is none.
    pub async fn close_matching(
        &mut self,
        filter: &Value,
        all: bool,
        message: Option<&str>,
        dry_run: bool,
    ) -> Result<u64, QueryError> {
        let params = json!({"filter": filter, "all": all, "message": message, "dryRun": dry_run});
        let answer: Value = self.call("closeSession", &params).await?;
        answer["terminated"]
            .as_u64()
            .ok_or_else(|| QueryError::Garbled("it does not say how many were ended".to_owned()))
    }

    /// `sendMessage`: to a session or one page of it; answers whether any client took it.
    ///
    /// # Errors
    ///
    /// A [`QueryError`]; [`QueryError::Server`] if there is no such session or page.
    pub async fn send_message(
        &mut self,
        id: &str,
        page: Option<&str>,
        message_type: &str,
        payload: &impl Serialize,
    ) -> Result<bool, QueryError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct SendMessage<'a, P> {
            session_id: &'a str,
            page_id: Option<&'a str>,
            message_type: &'a str,
            payload: &'a P,
        }
        let params = SendMessage { session_id: id, page_id: page, message_type, payload };
        let answer: Value = self.call("sendMessage", &params).await?;
        Ok(answer["delivered"].as_u64() > Some(0))
    }

    async fn call<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<T, QueryError> {
        #[derive(Serialize)]
        struct Request<'a, P> {
            jsonrpc: &'a str,
            id: u64,
            method: &'a str,
            params: &'a P,
        }
        #[derive(Deserialize)]
        struct Response<T> {
            id: Option<u64>,
            method: Option<IgnoredAny>,
            result: Option<T>,
            error: Option<ServerError>,
        }
        #[derive(Deserialize)]
        struct ServerError {
            code: i32,
            message: String,
        }
        self.last_id += 1;
        let id = self.last_id;
        let request = Request { jsonrpc: "2.0", id, method, params };
        let request = serde_json::to_string(&request).map_err(garbled)?;
        let exchange = async {
            self.socket.send(Message::text(request)).await.map_err(|error| self.broken(error.to_string()))?;
            loop {
                let text = self.receive().await?;
                let response: Response<T> = serde_json::from_str(&text).map_err(garbled)?;
                if response.method.is_none() {
                    return Ok::<_, QueryError>(response);
                }
                self.told.push_back(text);
            }
        };
        let response = match time::timeout(ANSWER_TIMEOUT, exchange).await {
            Ok(answer) => answer?,
            Err(_) => return Err(self.broken(format!("no answer within {ANSWER_TIMEOUT:?}"))),
        };
        match response {
            Response { error: Some(ServerError { code: NOT_AUTHORISED, message }), .. } => {
                Err(self.refused(message))
            }
            Response { error: Some(ServerError { code, message }), .. } => {
                Err(QueryError::Server { code, message })
            }
            Response { id: answered, result: Some(result), .. } if answered == Some(id) => Ok(result),
            _ => Err(QueryError::Garbled("it is not the answer to the question".to_owned())),
        }
    }

    /// The next text. Cancel safe.
    async fn receive(&mut self) -> Result<String, QueryError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == TOKEN_GONE => {
                    return Err(self.refused(frame.reason.to_string()));
                }
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map_or("closed".to_owned(), |frame| frame.to_string());
                    return Err(self.broken(reason));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.broken(error.to_string())),
                None => return Err(self.broken("closed".to_owned())),
            }
        }
    }

    /// They will not have us any more, or not for this.
    fn refused(&self, reason: String) -> QueryError {
        QueryError::NotAuthorised { address: self.address.clone(), reason }
    }

    /// The connection broke.
    fn broken(&self, reason: String) -> QueryError {
        QueryError::Unreachable { address: self.address.clone(), reason }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn garbled(error: serde_json::Error) -> QueryError {
    QueryError::Garbled(error.to_string())
}

fn refusal_text(response: &http::Response<Option<Vec<u8>>>) -> String {
    let said = response
        .body()
        .as_deref()
        .and_then(|body| serde_json::from_slice::<Value>(body).ok())
        .and_then(|body| body["error"]["message"].as_str().map(str::to_owned));
    said.map_or_else(|| response.status().to_string(), |said| format!("{} ({said})", response.status()))
}
