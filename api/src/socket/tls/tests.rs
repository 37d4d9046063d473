//! Mutual TLS end to end: real certificates, real connections, the real layer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::*;
use crate::socket::{Address, ConnectError, Security, connect};
use crate::testing::{Ca, Issued};
use crate::v1::peer_client::PeerClient;
use crate::v1::service_plugin_client::ServicePluginClient;
use crate::{Error, Reason};

const LONG: Duration = Duration::from_secs(20);
const HERE: &[&str] = &["127.0.0.1", "localhost"];

/// A server without services, behind the layer: what reaches it is answered "unimplemented".
struct Server {
    address: SocketAddr,
    failures: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(tls: Option<ServerTls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let failures = Arc::<Mutex<Vec<String>>>::default();
        let told = failures.clone();
        let incoming = TcpIncoming::new(listener, tls, move |_, error| {
            told.lock().unwrap().push(error.to_string());
        });
        let mut tasks = JoinSet::new();
        let server =
            crate::socket::server().layer(KnownCallers).add_routes(tonic::service::Routes::default());
        tasks.spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
        Self { address, failures, _tasks: tasks }
    }

    async fn connect_as(&self, host: &str, security: Security) -> Result<Channel, ConnectError> {
        let address = Address::Tcp { host: host.to_owned(), port: self.address.port() };
        connect(&address, &security, LONG).await
    }

    async fn connect(&self, security: Security) -> Result<Channel, ConnectError> {
        self.connect_as("127.0.0.1", security).await
    }

    async fn is_reached_by(&self, security: Security) {
        assert_eq!(ask(self.connect(security).await.unwrap()).await.code(), Code::Unimplemented);
    }
}

async fn ask(channel: Channel) -> Status {
    let mut client = ServicePluginClient::new(channel);
    let asking = client.handshake(Request::new(crate::v1::HandshakeRequest::default()));
    tokio::time::timeout(LONG, asking).await.expect("an answer").unwrap_err()
}

/// The deepest cause.
fn root(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn by(issued: &Issued) -> Security {
    Security::Tls(issued.client())
}

fn nameless(ca: &Ca) -> Security {
    Security::Tls(ClientTls::new(ca.pem().as_bytes(), None).unwrap())
}

#[tokio::test]
async fn both_sides_with_certificates_of_one_ca_understand_each_other() {
    let ca = Ca::new();
    let server = Server::start(Some(ca.issue(HERE).server())).await;
    server.is_reached_by(by(&ca.issue(&["client"]))).await;
    let by_name = server.connect_as("localhost", by(&ca.issue(&["client"]))).await.unwrap();
    assert_eq!(ask(by_name).await.code(), Code::Unimplemented);
    assert!(server.failures.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_without_a_certificate_may_only_testify() {
    let ca = Ca::new();
    let server = Server::start(Some(ca.issue(HERE).server())).await;
    let channel = server.connect(nameless(&ca)).await.unwrap();
    let refused = ask(channel.clone()).await;
    assert_eq!(refused.code(), Code::Unauthenticated);
    let error = Error::from_status(&refused).expect("one of ours");
    assert_eq!(error.reason, Reason::Unauthenticated);
    assert!(error.hint.contains("--tls-cert"), "{error:?}");

    let testimony = crate::v1::TestifyRequest::default();
    let heard = PeerClient::new(channel).testify(testimony).await.unwrap_err();
    assert_eq!(heard.code(), Code::Unimplemented, "it got through to where nobody serves it: {heard}");
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused_and_told_why() {
    let ca = Ca::new();
    let server = Server::start(Some(ca.issue(HERE).server())).await;
    let stranger = Issued { ca: ca.pem(), ..Ca::new().issue(&["client"]) };
    for _ in 0..20 {
        let said = match server.connect(by(&stranger)).await {
            Ok(channel) => root(&ask(channel).await),
            Err(error) => error.to_string(),
        };
        assert!(said.contains("refuses this side's certificate") && said.contains("--tls-cert"), "{said}");
    }
    assert!(server.failures.lock().unwrap()[0].contains("not signed by the CA"));
}

#[tokio::test]
async fn an_expired_client_is_refused_and_told_so() {
    let ca = Ca::new();
    let server = Server::start(Some(ca.issue(HERE).server())).await;
    let said = match server.connect(by(&ca.issue_expired(&["client"]))).await {
        Ok(channel) => root(&ask(channel).await),
        Err(error) => error.to_string(),
    };
    assert!(said.contains("has expired"), "{said}");
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_not_talked_to() {
    let ca = Ca::new();
    let client = ca.issue(&["client"]);
    let other = Server::start(Some(Ca::new().issue(HERE).server())).await;
    let error = other.connect(by(&client)).await.unwrap_err();
    assert_eq!(error.tls, Some(TlsProblem::NotTrusted), "{error}");
    assert_eq!(error.kind, std::io::ErrorKind::InvalidData, "{error}");
    assert!(error.to_string().contains("--tls-ca"), "{error}");

    let elsewhere = Server::start(Some(ca.issue(&["db.example", "10.0.0.9"]).server())).await;
    let error = elsewhere.connect(by(&client)).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error.tls, Some(TlsProblem::WrongName { .. })), "{text}");
    assert!(text.contains("127.0.0.1") && text.contains("db.example"), "{text}");
}

#[tokio::test]
async fn an_expired_server_is_not_talked_to() {
    let ca = Ca::new();
    let fine = ca.issue(HERE);
    // Nobody starts with an expired certificate; it expires while it is in use.
    let tls = fine.server();
    let expired = ca.issue_expired(HERE);
    tls.replace(credentials::unchecked_server_config(&expired.ca, &expired.cert, &expired.key));
    let server = Server::start(Some(tls)).await;
    let error = server.connect(by(&fine)).await.unwrap_err();
    assert_eq!(error.tls, Some(TlsProblem::Expired), "{error}");
}

#[tokio::test]
async fn one_side_in_the_clear_is_told_what_the_other_speaks() {
    let ca = Ca::new();
    let clear = Server::start(None).await;
    let error = clear.connect(by(&ca.issue(&["client"]))).await.unwrap_err();
    assert_eq!(error.tls, Some(TlsProblem::Plaintext), "{error}");

    let encrypted = Server::start(Some(ca.issue(HERE).server())).await;
    let said = match encrypted.connect(Security::Clear).await {
        Ok(channel) => root(&ask(channel).await),
        Err(error) => error.to_string(),
    };
    assert!(said.contains("speaks TLS") && said.contains("--tls-ca"), "{said}");
}

#[tokio::test]
async fn in_the_clear_the_loopback_is_reached_and_needs_no_certificate() {
    let server = Server::start(None).await;
    server.is_reached_by(Security::Clear).await;
    server.is_reached_by(Security::Insecure).await;
}

#[tokio::test]
async fn another_host_is_asked_in_the_clear_only_if_somebody_said_so() {
    // Not one of the loopback by its looks, though the kernel goes there: nothing leaves this machine.
    let server = Server::start(None).await;
    let refused = server.connect_as("0.0.0.0", Security::Clear).await.unwrap_err();
    assert_eq!(refused.kind, std::io::ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("--insecure") && refused.to_string().contains("--tls-ca"));
    let channel = server.connect_as("0.0.0.0", Security::Insecure).await.unwrap();
    assert_eq!(ask(channel).await.code(), Code::Unimplemented);
}

#[tokio::test]
async fn who_connects_and_says_nothing_holds_up_nobody() {
    let ca = Ca::new();
    let server = Server::start(Some(ca.issue(HERE).server())).await;
    let mut silent = Vec::new();
    // More than may shake hands at one time.
    for _ in 0..300 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.is_reached_by(by(&ca.issue(&["client"]))).await;
    // The ones that were silent longest had to go, before their time.
    let end = tokio::time::timeout(accept::HANDSHAKE / 2, silent[0].read(&mut [0])).await.expect("let go");
    assert!(!matches!(end, Ok(1..)), "{end:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_shown_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Ca::new(), Ca::new());
    let credentials = Credentials::read(old.issue(HERE).write(dir.path())).unwrap();
    let server = Server::start(Some(credentials.server())).await;
    let own = Security::Tls(credentials.client());
    server.is_reached_by(own.clone()).await;
    let standing = server.connect(own.clone()).await.unwrap();

    // Half of a renewal: the old one stays.
    let renewed = new.issue(HERE);
    std::fs::write(&credentials.files().cert, &renewed.cert).unwrap();
    let error = credentials.renew().unwrap_err().to_string();
    assert!(error.contains("key.pem") && error.contains("does not belong to"), "{error}");
    server.is_reached_by(by(&old.issue(&["client"]))).await;

    renewed.write(dir.path());
    credentials.renew().unwrap();
    server.is_reached_by(by(&new.issue(&["client"]))).await;
    server.is_reached_by(own).await;
    assert_eq!(credentials.ca_pem(), new.pem().into_bytes());
    let error = server.connect(by(&old.issue(&["client"]))).await.unwrap_err();
    assert_eq!(error.tls, Some(TlsProblem::NotTrusted), "{error}");
    assert_eq!(ask(standing).await.code(), Code::Unimplemented, "what stands is left alone");
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_is_wrong() {
    let ca = Ca::new();
    let dir = tempfile::tempdir().unwrap();
    let said = |issued: &Issued, break_it: fn(&CredentialFiles)| {
        let files = issued.write(dir.path());
        break_it(&files);
        Credentials::read(files).unwrap_err().to_string()
    };
    let fine = ca.issue(HERE);
    let cases = [
        (said(&fine, |files| std::fs::remove_file(&files.cert).unwrap()), "cert.pem", "No such file"),
        (
            said(&fine, |files| std::fs::write(&files.key, "").unwrap()),
            "key.pem",
            "no unencrypted private key",
        ),
        (
            said(&fine, |files| std::fs::write(&files.ca, "nonsense").unwrap()),
            "ca.pem",
            "no certificate in it",
        ),
        (
            said(&fine, |files| std::fs::write(&files.ca, "-----BEGIN CERTIFICATE-----\n!\n").unwrap()),
            "ca.pem",
            "no PEM file",
        ),
        (said(&ca.issue_expired(HERE), |_| ()), "cert.pem", "has expired"),
        (said(&ca.issue_for_servers_only(HERE), |_| ()), "cert.pem", "clientAuth"),
        (said(&Issued { ca: Ca::new().pem(), ..fine.clone() }, |_| ()), "cert.pem", "not signed by the CA"),
        (
            said(&Issued { key: ca.issue(HERE).key, ..fine.clone() }, |_| ()),
            "key.pem",
            "does not belong to the certificate",
        ),
    ];
    for (text, file, why) in cases {
        assert!(text.contains(file) && text.contains(why), "{text}");
    }
    std::fs::remove_file(dir.path().join("ca.pem")).unwrap();
    let error = ClientTls::read(&dir.path().join("ca.pem"), None).unwrap_err().to_string();
    assert!(error.contains("ca.pem"), "{error}");
}

#[test]
fn a_replica_is_told_if_nobody_would_take_it_for_the_host_that_it_names() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let credentials = Credentials::read(ca.issue(&["a.example", "10.0.0.1"]).write(dir.path())).unwrap();
    credentials.check_host("a.example").unwrap();
    credentials.check_host("10.0.0.1").unwrap();
    let error = credentials.check_host("10.0.0.2").unwrap_err().to_string();
    for word in ["cert.pem", "10.0.0.2", "a.example", "--advertise"] {
        assert!(error.contains(word), "{error}");
    }
    let client = Credentials::read(ca.issue_for_clients_only(&["a.example"]).write(dir.path())).unwrap();
    let error = client.check_host("a.example").unwrap_err().to_string();
    assert!(error.contains("serverAuth"), "{error}");
}

#[test]
fn no_key_shows_in_debug_output() {
    let issued = Ca::new().issue(HERE);
    let shown = format!("{:?} {:?}", by(&issued), issued.server());
    assert_eq!(shown, "Tls(ClientTls) ServerTls");
}
