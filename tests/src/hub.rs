//! One server process.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mimi_hub_ops::client::{Client, Gateway, GatewaySettings, RetryPolicy, RoomView, TreeOption};
use mimi_hub_proto::uri::RoomUri;
use reqwest::Method;
use tokio::process::{Child, Command};

use crate::http::{self, Answer, TlsIdentity, tls_client};

const READY_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(20);

/// How a process ended by itself.
#[derive(Debug)]
pub struct Exit {
    /// The exit status; nothing after a signal.
    pub code: Option<i32>,
    /// All that it wrote.
    pub output: String,
}

/// A provider's server. Dropping it kills the process.
pub struct Hub {
    program: &'static str,
    domain: String,
    home: PathBuf,
    federation: SocketAddr,
    local_port: u16,
    gateway: Gateway,
    http: reqwest::Client,
    child: Option<Child>,
}

impl Hub {
    pub(crate) fn new(
        program: &'static str,
        domain: &str,
        home: PathBuf,
        federation: SocketAddr,
        local_port: u16,
    ) -> Self {
        let gateway = Gateway::new(&GatewaySettings {
            url: format!("https://localhost:{local_port}"),
            more_urls: Vec::new(),
            ca: home.join("local-ca.pem"),
            certificate: home.join("gateway.pem"),
            private_key: home.join("gateway.key"),
            retry: RetryPolicy {
                pause_max: Duration::from_millis(200),
                ..RetryPolicy::default()
            },
        })
        .unwrap();
        let read = |name: &str| fs::read_to_string(home.join(name)).unwrap();
        let identity = TlsIdentity::from(mimi_hub_ops::certs::Identity {
            certificate_pem: read("gateway.pem"),
            private_key_pem: read("gateway.key"),
        });
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_client(
                &read("local-ca.pem"),
                Some(&identity),
                &rustls::version::TLS13,
            ))
            .no_proxy()
            .build()
            .unwrap();
        Self {
            program,
            domain: domain.to_owned(),
            home,
            federation,
            local_port,
            gateway,
            http,
            child: None,
        }
    }

    /// The provider's domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The federation listener.
    #[must_use]
    pub fn federation(&self) -> SocketAddr {
        self.federation
    }

    /// The local listener's port.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.local_port
    }

    /// The folder with configuration, certificates, log and data.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home.join("mimi-hub.toml")
    }

    /// The local API, with retries.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// A client of a user of this provider, registered and with KeyPackages published.
    pub async fn client(&self, user: &str, client: &str, key_packages: usize) -> Client {
        let mut made = Client::new(
            self.gateway.clone(),
            crate::client(&self.domain, client),
            crate::user(&self.domain, user),
            TreeOption::DistributionService,
        )
        .unwrap();
        made.register(key_packages).await.unwrap();
        made
    }

    /// A request to a path of the local API below its base.
    pub fn local(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("https://localhost:{}/local/v1{path}", self.local_port);
        self.http.request(method, url)
    }

    /// Sends a request to the local API as it is.
    ///
    /// # Panics
    /// No answer came.
    pub async fn call(&self, request: reqwest::RequestBuilder) -> Answer {
        http::send(request).await.unwrap()
    }

    /// The hub's view of a room that must be there.
    ///
    /// # Panics
    /// It is not.
    pub async fn view(&self, room: &RoomUri) -> RoomView {
        self.gateway.room(room).await.unwrap().expect("the room is there")
    }

    /// Starts the process and waits until its local API answers.
    ///
    /// # Panics
    /// It ends, or does not answer in time.
    pub async fn start(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// Waits until the local API answers.
    ///
    /// # Panics
    /// The process ends, or does not answer in time.
    pub async fn ready(&mut self) {
        let started = Instant::now();
        let impatient = self.gateway.with_retry(RetryPolicy::never());
        loop {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                panic!("{} ended with {status}: {}", self.domain, self.log());
            }
            match impatient.hub().await {
                Ok(hub) => {
                    assert!(hub.domains.contains(&self.domain), "another server answers");
                    return;
                }
                Err(error) => assert!(started.elapsed() < READY_MAX, "{error}: {}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the process without waiting for it to answer.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = self.open_log();
        let child = self.command().stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.child = Some(child.unwrap());
    }

    /// Runs the process until it ends by itself: it is expected to refuse to start.
    ///
    /// # Panics
    /// It runs on.
    pub async fn refuse_to_start(&self) -> Exit {
        let output = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output();
        let output = tokio::time::timeout(READY_MAX, output)
            .await
            .expect("it ends by itself")
            .unwrap();
        Exit {
            code: output.status.code(),
            output: [output.stdout, output.stderr]
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .concat(),
        }
    }

    /// `kill -9`: nothing is flushed, nobody is told.
    ///
    /// # Panics
    /// It does not run.
    pub async fn kill(&mut self) {
        self.child.take().expect("it runs").kill().await.unwrap();
    }

    /// SIGTERM, and waits until the process has ended.
    ///
    /// # Panics
    /// It does not run, or does not end.
    pub async fn stop(&mut self) -> Exit {
        let mut child = self.child.take().expect("it runs");
        let pid = child.id().expect("it has not been waited for");
        // The shell's own `kill`: a program of that name is not everywhere.
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status();
        let sent = sent.await.unwrap();
        assert!(sent.success());
        let status = tokio::time::timeout(STOP_MAX, child.wait()).await.expect("it stops");
        Exit {
            code: status.unwrap().code(),
            output: self.log(),
        }
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Panics
    /// It does not run, or runs on.
    pub async fn ended(&mut self) -> Exit {
        let mut child = self.child.take().expect("it runs");
        let status = tokio::time::timeout(STOP_MAX, child.wait())
            .await
            .expect("it ends by itself");
        Exit {
            code: status.unwrap().code(),
            output: self.log(),
        }
    }

    /// All that the process, and those before it, have written.
    ///
    /// # Panics
    /// There is no log.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.join("log")).unwrap()).into_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .arg("serve")
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MIMI_HUB__") {
                command.env_remove(name);
            }
        }
        command
    }

    fn open_log(&self) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.join("log"))
            .unwrap()
    }
}
