//! A listener on a free loopback port, and the simplest of clients, for tests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{ConnectionLimits, Listener};
use crate::tls::Tls;

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A listener that runs until told to stop, or until the test ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Limits that no test comes near unless it sets them.
pub(crate) fn roomy() -> ConnectionLimits {
    ConnectionLimits {
        connections_max: 100,
        handshake_timeout: PATIENCE,
        header_timeout: PATIENCE,
        drain: PATIENCE,
    }
}

impl Server {
    pub(crate) async fn start(tls: Arc<Tls>, router: Router, limits: ConnectionLimits) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (shutdown, stopped) = oneshot::channel();
        let listener = Listener {
            name: "test",
            socket,
            tls,
            router,
            limits,
        };
        let task = tokio::spawn(listener.serve(async {
            // A dropped sender is a test that forgot to keep the server.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Self {
            address,
            shutdown,
            task,
        }
    }

    /// Tells the listener to stop; the handle ends when it has.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.shutdown.send(()).unwrap();
        self.task
    }

    /// A TLS connection to the listener, which is expected to be `name`.
    pub(crate) async fn connect(&self, client: Arc<ClientConfig>, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(client)
            .connect(ServerName::try_from(name.to_owned()).unwrap(), stream)
            .await
    }

    /// A connection that speaks HTTP/1.1.
    pub(crate) async fn connect_http1(&self, client: &Tls, name: &str) -> TlsStream<TcpStream> {
        let mut config = (*client.current().client).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        self.connect(Arc::new(config), name).await.unwrap()
    }
}

/// Sends `text` and returns all that comes back until the other side closes, or breaks, the connection.
pub(crate) async fn exchange(stream: &mut TlsStream<TcpStream>, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    read_to_close(stream).await
}

/// All that comes until the other side closes, or breaks, the connection.
pub(crate) async fn read_to_close(stream: &mut TlsStream<TcpStream>) -> String {
    let mut answer = Vec::new();
    // An error is an end like another one here: what came before it is what counts.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}
