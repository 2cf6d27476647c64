//! A TCP proxy that can go silent or cut: how a database looks when its machine or network fails.

use std::{
    future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What the proxy does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Passes them on.
    Up,
    /// Keeps them, and new connections, until it is up again.
    Silent,
    /// Ends every connection and accepts none.
    Cut,
    /// Ends a connection as it says COMMIT, once: before the server has heard it, or before it has answered.
    CutAtCommit {
        /// Whether the server hears it.
        heard: bool,
    },
    /// Forgets a connection as it says COMMIT, once: neither side hears of it again, nor of its end. Others pass.
    ForgetAtCommit {
        /// Whether the server hears it.
        heard: bool,
    },
}

/// What a client of PostgreSQL sends to commit: a simple query.
const COMMIT: &[u8] = b"COMMIT\0";
/// How long a server may take to commit.
const ANSWERED: Duration = Duration::from_millis(500);

/// A proxy in front of one address. Dropping it ends it.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    link: Arc<watch::Sender<Link>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one in front of `upstream`.
    pub(crate) async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let link = Arc::new(watch::Sender::new(Link::Up));
        let state = Arc::clone(&link);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() != Link::Cut {
                    tokio::spawn(connect(client, upstream, Arc::clone(&state)));
                }
            }
        });
        Self { address, link, task }
    }

    /// Changes what it does, at once.
    pub(crate) fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.link.send_replace(Link::Cut);
    }
}

async fn connect(client: TcpStream, upstream: SocketAddr, state: Arc<watch::Sender<Link>>) {
    let mut link = state.subscribe();
    if link.wait_for(|link| *link != Link::Silent).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let forgotten = AtomicBool::new(false);
    tokio::select! {
        () = pass(from_client, to_server, link.clone(), Some(&state), &forgotten) => {}
        () = pass(from_server, to_client, link.clone(), None, &forgotten) => {}
        _ = link.wait_for(|link| *link == Link::Cut) => {}
    }
}

/// Passes bytes on while the link is up. A direction that can cut at a commit has the `state` of the link.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
    state: Option<&watch::Sender<Link>>,
    forgotten: &AtomicBool,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let Ok(now) = link.wait_for(|link| !matches!(link, Link::Silent | Link::Cut)).await.map(|link| *link) else {
            return;
        };
        if forgotten.load(Ordering::Relaxed) {
            return future::pending().await;
        }
        let bytes = &buffer[..length];
        match (now, state) {
            (Link::ForgetAtCommit { heard }, Some(state)) if bytes.windows(COMMIT.len()).any(|part| part == COMMIT) => {
                forgotten.store(true, Ordering::Relaxed);
                state.send_replace(Link::Up);
                if heard {
                    let _ = to.write_all(bytes).await;
                }
                return future::pending().await;
            }
            (Link::CutAtCommit { heard }, Some(state)) if bytes.windows(COMMIT.len()).any(|part| part == COMMIT) => {
                if heard && to.write_all(bytes).await.is_ok() {
                    // Long enough for the server to commit. Its answer is held back and lost with the connection.
                    state.send_replace(Link::Silent);
                    tokio::time::sleep(ANSWERED).await;
                }
                state.send_replace(Link::Up);
                return;
            }
            _ => {
                if to.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
