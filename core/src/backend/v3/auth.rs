//! Who we are to etcd: a token for a user and a password, got anew when etcd does not take the old one any more.
//!
//! A call that is refused for its token was not applied, for certain. It is repeated with a newer token: the one repetition that
//! a backend makes, since the machines know nothing of tokens. A newer token may be refused as well, when etcd's users are changed
//! several times in a row: see [`Tries`].

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response, Status};

use super::channel::Channel;
use super::codec::MAX_SHORT_BYTES;
use super::proto::AuthenticateRequest;
use super::proto::auth_client::AuthClient;
use super::status;
use crate::backend::said::{fit, repeats};
use crate::backend::shell::quoted;
use crate::config::{Access, Endpoint, Login, SessionSettings};
use crate::error::ErrorKind;
use crate::machine::Failure;

/// A login that takes longer is late: one server may not answer it at all.
const MAX_LOGIN: Duration = Duration::from_secs(3);

/// When so many tokens of its own were refused, one after the other, the refusal is the answer to a call.
const MAX_TRIES: u8 = 3;

/// In the place of words that would give a token away.
const REPEATS_TOKEN: &str = "(its words repeat our auth token)";

/// A right to log in, which one link has at a time.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// The tokens of one user of one cluster: every member knows the newest, so the links of all sessions share it.
#[derive(Default)]
pub(super) struct Tokens {
    newest: watch::Sender<Option<Token>>,
    /// The turn of the link that authenticates; the others wait for what it brings.
    turn: Turn,
    /// A turn for each server: while a login at another server is late, one link to this one logs in beside it.
    turns: Mutex<HashMap<Endpoint, Turn>>,
}

impl Tokens {
    /// Waits until this endpoint's link may log in: nobody else does, or not here, and the login at another server is late.
    async fn turn(&self, endpoint: &Endpoint, late: Duration) -> (OwnedMutexGuard<()>, Option<OwnedMutexGuard<()>>) {
        let here =
            self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(endpoint.clone()).or_default().clone();
        let here = here.lock_owned().await;
        (here, timeout(late, self.turn.clone().lock_owned()).await.ok())
    }
}

/// A user, and how it shows who it is, on the cluster of these endpoints.
type User = (Vec<Endpoint>, Access);

/// The users of an engine. Clones are the same.
#[derive(Clone, Default)]
pub(in crate::backend) struct Logins {
    users: Arc<Mutex<HashMap<User, Weak<Tokens>>>>,
}

impl Logins {
    /// The tokens of the user and the cluster of these settings.
    pub(super) fn tokens(&self, settings: &SessionSettings) -> Arc<Tokens> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, tokens| tokens.strong_count() > 0);
        let tokens = users.entry((settings.endpoints.clone(), settings.access.clone())).or_default();
        tokens.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(Tokens::default());
            *tokens = Arc::downgrade(&fresh);
            fresh
        })
    }
}

/// What a call shows.
#[derive(Clone)]
pub(super) struct Token {
    /// Tells tokens apart.
    serial: u64,
    /// `None` if etcd asks for none.
    text: Option<MetadataValue<Ascii>>,
}

impl Token {
    pub(super) fn is_same(one: Option<&Token>, other: Option<&Token>) -> bool {
        one.map(|token| token.serial) == other.map(|token| token.serial)
    }

    /// Whether these words repeat it.
    fn is_in(&self, said: &str) -> bool {
        let text = self.text.as_ref().and_then(|text| text.to_str().ok());
        text.is_some_and(|text| !text.is_empty() && repeats(said, text))
    }
}

/// How many tokens a call, a keepalive or a watch has got itself. A token that another one brought may be too old when it is
/// shown, and does not count.
#[derive(Clone, Copy, Default)]
pub(super) struct Tries(u8);

impl Tries {
    /// With another token, which is its own or not.
    pub(super) fn with(self, is_own: bool) -> Tries {
        Tries(self.0 + u8::from(is_own))
    }

    /// Not one was its own yet.
    pub(super) fn is_first(self) -> bool {
        self.0 == 0
    }
}

/// One link's way to tokens.
#[derive(Clone)]
pub(super) struct Auth {
    endpoint: Endpoint,
    login: Option<Login>,
    /// We show a certificate.
    has_identity: bool,
    tokens: Arc<Tokens>,
    /// While the link is being opened, a login in the place of a token that was refused waits for any part of this.
    patience: Duration,
    /// After this time a login is late.
    late: Duration,
    is_open: Arc<AtomicBool>,
    client: AuthClient<Channel>,
    channel: Channel,
}

impl Auth {
    pub(super) fn new(
        endpoint: Endpoint,
        login: Option<Login>,
        has_identity: bool,
        tokens: Arc<Tokens>,
        (channel, origin): (Channel, http::Uri),
    ) -> Auth {
        let client = AuthClient::with_origin(channel.clone(), origin).max_decoding_message_size(MAX_SHORT_BYTES);
        Auth {
            endpoint,
            login,
            has_identity,
            tokens,
            patience: Duration::ZERO,
            late: MAX_LOGIN,
            is_open: Arc::default(),
            client,
            channel,
        }
    }

    /// The same, with this patience, in a session whose attempts take so long.
    pub(super) fn with_patience(self, patience: Duration, attempt: Duration) -> Auth {
        Auth { patience, late: (attempt * 2).min(MAX_LOGIN), ..self }
    }

    /// From now on no login waits: by now this may be the link of a leader.
    pub(super) fn opened(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    pub(super) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    pub(super) fn username(&self) -> Option<&str> {
        self.login().map(|login| login.username.as_str())
    }

    /// The newest token.
    pub(super) fn token(&self) -> Option<Token> {
        self.tokens.newest.borrow().clone()
    }

    /// Waits for a token to show, if one is asked for.
    pub(super) async fn ready(&self) -> Result<Option<Token>, Failure> {
        match self.token() {
            None => Ok(self.renew(None).await?.0),
            token => Ok(token),
        }
    }

    /// Whether what was refused for its token is asked for again.
    pub(super) fn may_try(&self, tries: Tries) -> bool {
        self.login.is_some() && tries.0 < MAX_TRIES
    }

    /// A newer token than the one that was refused; of many who ask at once, one authenticates. Also tells if this call has
    /// authenticated: a token that another has brought may be too old by now.
    pub(super) async fn renew(&self, refused: Option<Token>) -> Result<(Option<Token>, bool), Failure> {
        let Some(login) = &self.login else { return Ok((None, true)) };
        // A server that is frozen must not keep the others waiting.
        if !self.channel.heard().await {
            let detail = format!("{}: the server takes connections and says nothing", self.endpoint);
            return Err(Failure::new(ErrorKind::Timeout, detail));
        }
        if refused.is_some() && !self.patience.is_zero() && !self.is_open.load(Ordering::Relaxed) {
            let part = crate::random::number().unwrap_or(0) as f64 / u64::MAX as f64;
            tokio::time::sleep(self.patience.mul_f64(part)).await;
        }
        let is_newer = |newest: &Option<Token>| newest.is_some() && !Token::is_same(newest.as_ref(), refused.as_ref());
        let mut tokens = self.tokens.newest.subscribe();
        let _turn = tokio::select! {
            biased;
            Ok(newest) = tokens.wait_for(is_newer) => return Ok((newest.clone(), false)),
            turn = self.tokens.turn(&self.endpoint, self.late) => turn,
        };
        let request =
            AuthenticateRequest { name: login.username.clone(), password: login.password.expose().to_string() };
        let text = match self.client.clone().authenticate(request).await {
            Ok(answer) => Some(
                as_metadata(answer.into_inner().token)
                    .ok_or_else(|| status::garbled(&self.endpoint, "a token that cannot be sent back"))?,
            ),
            Err(refusal) if refusal.message().contains("authentication is not enabled") => None,
            Err(refusal) => return Err(self.failure(&refusal, None)),
        };
        self.tokens.newest.send_modify(|newest| {
            let serial = newest.as_ref().map_or(0, |token| token.serial) + 1;
            *newest = Some(Token { serial, text });
        });
        Ok((self.token(), true))
    }

    /// Makes a call about keys that begin with `key`, and again with a newer token if the old one was refused.
    pub(super) async fn call<Q, A, F>(
        &self,
        request: Q,
        key: &[u8],
        send: impl Fn(Request<Q>) -> F,
    ) -> Result<A, Failure>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let key = Some(key).filter(|key| !key.is_empty());
        let result = self.try_call(request, send).await?;
        result.map(Response::into_inner).map_err(|refusal| self.failure(&refusal, key))
    }

    /// As [`Auth::call`], with the server's own words for a refusal.
    pub(super) async fn try_call<Q, A, F>(
        &self,
        request: Q,
        send: impl Fn(Request<Q>) -> F,
    ) -> Result<Result<Response<A>, Status>, Failure>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let (mut token, mut tries) = (self.ready().await?, Tries::default());
        loop {
            match send(shown(Request::new(request.clone()), token.as_ref())).await {
                Err(refusal) if self.may_try(tries) && status::wants_token(&refusal) => {
                    let (newer, is_own) = self.renew(token).await?;
                    (token, tries) = (newer, tries.with(is_own));
                }
                result => return Ok(result),
            }
        }
    }

    /// What a refusal means, with the user, the key and the remedy where that is a lack of rights.
    pub(super) fn failure(&self, refusal: &Status, key: Option<&[u8]>) -> Failure {
        let is_broken = std::error::Error::source(refusal).is_some();
        if let (true, Some(cause)) = (is_broken, self.channel.cause()) {
            return cause;
        }
        let mut failure = self.without_token(status::refused(&self.endpoint, self.login(), refusal));
        if self.repeats_token(refusal.message()) {
            failure.detail = format!("{}: {REPEATS_TOKEN}", self.endpoint);
        }
        if failure.kind == ErrorKind::Denied && !is_broken {
            failure.detail = format!("{}: {}", self.endpoint, self.denied(refusal.message(), key));
            failure.is_of_key = refusal.message().contains("permission denied");
        }
        failure
    }

    /// Makes the server's words fit for a message. Words that repeat our token or our password are not shown.
    pub(super) fn fit(&self, said: &str) -> String {
        if self.repeats_token(said) { REPEATS_TOKEN.into() } else { fit(said, self.login()) }
    }

    /// The same failure, without a server's words that repeat our token.
    pub(super) fn without_token(&self, mut failure: Failure) -> Failure {
        if self.repeats_token(&failure.detail) {
            failure.detail = format!("{}: {REPEATS_TOKEN}", self.endpoint);
        }
        failure
    }

    fn repeats_token(&self, said: &str) -> bool {
        self.token().is_some_and(|token| token.is_in(said))
    }

    /// The words for a refusal of etcd's that concerns our user.
    pub(super) fn denied(&self, said: &str, key: Option<&[u8]>) -> String {
        let shown = self.fit(said);
        let Some(user) = self.username() else {
            return if said.contains("permission denied") {
                let text = key.map(String::from_utf8_lossy);
                let keys = text.as_ref().map_or("the key".into(), |key| format!("the keys under {key:?}"));
                match text.filter(|_| self.has_identity) {
                    Some(key) => format!(
                        "the user whom etcd takes from our certificate's common name may not use {keys}: {shown}; give it \
                         a role that may: {}",
                        role_recipe("COMMON-NAME", key.trim_end_matches('/')).join(" && ")
                    ),
                    None => {
                        format!("etcd does not let us use {keys}: {shown}; set username and password of a user who may")
                    }
                }
            } else {
                format!("etcd asks for a user: {shown}; set username and password")
            };
        };
        if said.contains("authentication failed") {
            return format!(
                "etcd does not take the user {user:?} with this password: {shown}; check username and password"
            );
        }
        match (key, said.contains("permission denied")) {
            (Some(key), true) => {
                let prefix = String::from_utf8_lossy(key);
                format!(
                    "the user {user:?} may not use the keys under {prefix:?}: {shown}; give it a role that may: {}",
                    role_recipe(user, prefix.trim_end_matches('/')).join(" && ")
                )
            }
            _ => format!("etcd does not let the user {user:?} in: {shown}"),
        }
    }
}

/// The commands that give a user the least that an election of API v3 needs: to read and write below its key. The role
/// is named after the user.
pub fn role_recipe(user: &str, key: &str) -> [String; 3] {
    let (role, prefix) = (quoted(&format!("{user}-election")), quoted(&format!("{key}/")));
    [
        format!("etcdctl role add {role}"),
        format!("etcdctl role grant-permission {role} --prefix=true readwrite {prefix}"),
        format!("etcdctl user grant-role {} {role}", quoted(user)),
    ]
}

/// The request with the token.
pub(super) fn shown<T>(mut request: Request<T>, token: Option<&Token>) -> Request<T> {
    if let Some(text) = token.and_then(|token| token.text.as_ref()) {
        request.metadata_mut().insert("token", text.clone());
    }
    request
}

fn as_metadata(token: String) -> Option<MetadataValue<Ascii>> {
    let mut text: MetadataValue<Ascii> = token.try_into().ok()?;
    // Kept out of tables of headers, and of Debug.
    text.set_sensitive(true);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_is_quoted_for_a_shell() {
        let recipe = role_recipe("o'hara", "/jobs/a b");
        assert_eq!(recipe[0], r"etcdctl role add 'o'\''hara-election'");
        assert!(recipe[1].ends_with("readwrite '/jobs/a b/'"), "{}", recipe[1]);
        assert_eq!(role_recipe("host-1", "/j")[2], "etcdctl user grant-role host-1 host-1-election");
    }

    #[test]
    fn a_token_is_not_shown() {
        let request = shown(Request::new(()), Some(&Token { serial: 1, text: as_metadata("planted.7".into()) }));
        assert_eq!(request.metadata().get("token").expect("a token").as_encoded_bytes(), b"planted.7");
        assert!(!format!("{request:?}").contains("planted"));
        assert!(as_metadata("not\na token".into()).is_none());
    }
}
