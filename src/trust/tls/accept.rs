//! The acceptor: handshakes beside each other and within limits, so that no peer can hold up the others.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::Connected;

use super::ServerTls;

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct AcceptLimits {
    /// How long a handshake may take; then the connection is closed.
    pub handshake_timeout: Duration,
    /// Connections at once, handshakes included. Further ones wait in the system's backlog.
    pub connections: usize,
    /// Connections at once of one peer: an IPv4 address or an IPv6 /64 network. Further ones are closed.
    pub connections_per_peer: usize,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self { handshake_timeout: Duration::from_secs(5), connections: 4_096, connections_per_peer: 128 }
    }
}

/// Told of connections, so that somebody else can count them.
pub trait ConnectionMeter: Send + Sync + std::fmt::Debug {
    /// A handshake has succeeded; the value is dropped when the connection is.
    fn open(&self) -> Box<dyn std::any::Any + Send + Sync>;
    /// A handshake has failed or timed out.
    fn handshake_failed(&self);
}

/// Accepts on `listener` until the result is dropped. Needs a tokio runtime.
pub fn serve_tls(
    listener: TcpListener,
    tls: ServerTls,
    limits: AcceptLimits,
    meter: Option<Arc<dyn ConnectionMeter>>,
) -> TlsIncoming {
    let (ready, connections) = mpsc::channel(16);
    let acceptor = Acceptor {
        tls,
        limits,
        free: Arc::new(Semaphore::new(limits.connections)),
        peers: Arc::new(Peers { limit: limits.connections_per_peer, open: Mutex::default() }),
        ready,
        meter,
    };
    TlsIncoming { connections, _accepting: AbortOnDropHandle::new(tokio::spawn(acceptor.run(listener))) }
}

/// The connections whose handshake has succeeded. Never yields an error: a bad handshake concerns nobody else.
#[derive(Debug)]
pub struct TlsIncoming {
    connections: mpsc::Receiver<TlsConnection>,
    _accepting: AbortOnDropHandle<()>,
}

impl Stream for TlsIncoming {
    type Item = io::Result<TlsConnection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(cx).map(|connection| connection.map(Ok))
    }
}

/// Who is at the other end; in the extensions of every request.
#[derive(Debug, Clone)]
pub struct ConnectInfo {
    /// The peer's address.
    pub peer_addr: SocketAddr,
    /// The client certificate that the handshake has verified, DER.
    pub peer_certificate: Option<Arc<[u8]>>,
}

/// A connection with its place among the limits, which it gives back when dropped.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    info: ConnectInfo,
    _places: Places,
    _open: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl Connected for TlsConnection {
    type ConnectInfo = ConnectInfo;

    fn connect_info(&self) -> ConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct Acceptor {
    tls: ServerTls,
    limits: AcceptLimits,
    free: Arc<Semaphore>,
    peers: Arc<Peers>,
    ready: mpsc::Sender<TlsConnection>,
    meter: Option<Arc<dyn ConnectionMeter>>,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let mut handshakes = JoinSet::new();
        let mut back_off = BackOff::default();
        loop {
            while handshakes.try_join_next().is_some() {}
            // A closed semaphore would end the listener; this one is never closed.
            let Ok(permit) = Arc::clone(&self.free).acquire_owned().await else { return };
            let (tcp, peer_addr) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    drop(permit);
                    back_off.wait(&error).await;
                    continue;
                }
            };
            back_off = BackOff::default();
            if let Some(slot) = self.peers.take(peer_addr.ip()) {
                handshakes.spawn(self.handshake(tcp, peer_addr, Places { _permit: permit, _slot: slot }));
            } else {
                tracing::debug!("connection closed: its peer has too many");
            }
        }
    }

    fn handshake(
        &self,
        tcp: TcpStream,
        peer_addr: SocketAddr,
        places: Places,
    ) -> impl Future<Output = ()> + Send + use<> {
        let accept = TlsAcceptor::from(self.tls.current()).accept(tcp);
        let (timeout, ready, meter) = (self.limits.handshake_timeout, self.ready.clone(), self.meter.clone());
        async move {
            let failed = |error: &dyn std::fmt::Display| {
                tracing::debug!(%error, "TLS handshake failed");
                if let Some(meter) = &meter {
                    meter.handshake_failed();
                }
            };
            match tokio::time::timeout(timeout, accept).await {
                Ok(Ok(stream)) => {
                    // Nagle's algorithm would only delay small messages; without this the connection still works.
                    let _ = stream.get_ref().0.set_nodelay(true);
                    let certificates = stream.get_ref().1.peer_certificates();
                    let peer_certificate = certificates.and_then(|chain| chain.first()).map(|leaf| Arc::from(&**leaf));
                    let info = ConnectInfo { peer_addr, peer_certificate };
                    let open = meter.as_ref().map(|meter| meter.open());
                    // Nobody receives once the server is stopping.
                    let _ = ready.send(TlsConnection { stream, info, _places: places, _open: open }).await;
                }
                Ok(Err(error)) => failed(&error),
                Err(timed_out) => failed(&timed_out),
            }
        }
    }
}

/// Grows while accepting keeps failing, so that a lack of file descriptors does not turn into a busy loop.
#[derive(Debug, Default)]
struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The pause after a failure: none for what only concerns the one connection, else 10 ms doubling up to 1 s.
    fn pause(&mut self, error: &io::Error) -> Duration {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return Duration::ZERO;
        }
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(5).saturating_mul(1 << self.failures.min(8)).min(Duration::from_secs(1))
    }

    async fn wait(&mut self, error: &io::Error) {
        let pause = self.pause(error);
        if !pause.is_zero() {
            tracing::warn!(%error, ?pause, "connections cannot be accepted");
            tokio::time::sleep(pause).await;
        }
    }
}

/// The connections of each peer that has any.
#[derive(Debug)]
struct Peers {
    limit: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Peers {
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<PeerSlot> {
        let peer = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_default();
        if *count >= self.limit {
            if *count == 0 {
                open.remove(&peer);
            }
            return None;
        }
        *count += 1;
        Some(PeerSlot { peers: Arc::clone(self), peer })
    }
}

/// A peer's address, or its /64: one IPv6 host can use any address of its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// One connection's place among those of its peer.
#[derive(Debug)]
struct PeerSlot {
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[derive(Debug)]
struct Places {
    _permit: OwnedSemaphorePermit,
    _slot: PeerSlot,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_gets_its_places_back_and_is_then_forgotten() {
        let peers = Arc::new(Peers { limit: 2, open: Mutex::default() });
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let first = peers.take(address).unwrap();
        let second = peers.take("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(peers.take(address).is_none());
        peers.take("192.0.2.2".parse().unwrap()).unwrap();
        drop(first);
        drop(peers.take(address).unwrap());
        drop(second);
        assert!(peers.open.lock().unwrap().is_empty());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_peer() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }

    #[test]
    fn a_lack_of_file_descriptors_is_waited_out_longer_each_time() {
        let mut back_off = BackOff::default();
        assert_eq!(back_off.pause(&io::ErrorKind::ConnectionAborted.into()), Duration::ZERO);
        let too_many_files = io::Error::from_raw_os_error(24);
        let pauses: Vec<_> = (0..12).map(|_| back_off.pause(&too_many_files)).collect();
        assert_eq!(pauses[0], Duration::from_millis(10));
        assert_eq!(pauses[11], Duration::from_secs(1));
        assert!(pauses.is_sorted());
    }
}
