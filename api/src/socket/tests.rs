use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio_stream::StreamExt as _;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    (dir, path)
}

fn bind_default(path: &Path) -> Result<BoundSocket, BindError> {
    bind(path, &SocketOptions::default())
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Another process that holds the listener, and is the only one that does.
fn holder(socket: BoundSocket) -> std::process::Child {
    let listener = socket.listener().as_fd().try_clone_to_owned().unwrap();
    let path = socket.path().to_owned();
    let aside = path.with_extension("aside");
    let child = Command::new("sleep").arg("1000").stdin(Stdio::from(listener)).spawn().unwrap();
    // Dropping it must not remove the file: as after a kill, nobody cleans up.
    std::fs::rename(&path, &aside).unwrap();
    drop(socket);
    std::fs::rename(&aside, &path).unwrap();
    child
}

#[tokio::test]
async fn a_bound_socket_takes_connections_and_is_gone_when_dropped() {
    let (_dir, path) = place();
    let mut socket = bind_default(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let _client = UnixStream::connect(&path).await.unwrap();
    tokio::time::timeout(LONG, socket.next()).await.unwrap().unwrap().unwrap();
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_missing_directory_is_made_private_and_an_existing_one_is_left_as_it_is() {
    let (dir, _) = place();
    let made = dir.path().join("a/b");
    let _socket = bind_default(&made.join("p")).unwrap();
    assert_eq!(mode(&made), 0o700);
    let existing = dir.path().join("c");
    std::fs::create_dir(&existing).unwrap();
    std::fs::set_permissions(&existing, std::fs::Permissions::from_mode(0o755)).unwrap();
    let _other = bind_default(&existing.join("p")).unwrap();
    assert_eq!(mode(&existing), 0o755);
}

#[tokio::test]
async fn nothing_but_the_socket_is_left_in_the_directory() {
    let (dir, path) = place();
    let _socket = bind_default(&path).unwrap();
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["p"]);
}

#[tokio::test]
async fn mode_and_group_are_as_asked() {
    let (dir, path) = place();
    let own = std::fs::metadata(dir.path()).unwrap().gid();
    let options = SocketOptions { mode: 0o660, group: Some(own.to_string()) };
    let _socket = bind(&path, &options).unwrap();
    assert_eq!(mode(&path), 0o660);
    assert_eq!(std::fs::symlink_metadata(&path).unwrap().gid(), own);
}

#[tokio::test]
async fn an_unknown_group_is_named_and_nothing_is_left_behind() {
    let (_dir, path) = place();
    let options = SocketOptions { group: Some("no-such-group-here".to_owned()), ..SocketOptions::default() };
    let error = bind(&path, &options).unwrap_err();
    assert!(error.to_string().contains("no-such-group-here"), "{error}");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_live_socket_is_never_stolen() {
    let (_dir, path) = place();
    let mut socket = bind_default(&path).unwrap();
    let error = bind_default(&path).unwrap_err();
    assert!(matches!(error, BindError::Live { .. }), "{error}");
    assert!(error.to_string().contains("already served by a running program"), "{error}");
    let _client = UnixStream::connect(&path).await.unwrap();
    tokio::time::timeout(LONG, socket.next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_of_a_killed_process_is_taken_at_once() {
    let (_dir, path) = place();
    for _ in 0..20 {
        let mut child = holder(bind_default(&path).unwrap());
        assert!(matches!(bind_default(&path).unwrap_err(), BindError::Live { .. }));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(path.exists(), "nobody cleaned up");
        let mut socket = bind_default(&path).unwrap();
        let _client = UnixStream::connect(&path).await.unwrap();
        tokio::time::timeout(LONG, socket.next()).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_frozen_holder_with_a_full_queue_counts_as_live() {
    let (_dir, path) = place();
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = tokio::net::UnixSocket::new_stream().unwrap();
        match tokio::time::timeout(Duration::from_millis(50), socket.connect(&path)).await {
            Ok(Ok(stream)) => waiting.push(stream),
            _ => break,
        }
    }
    assert!(matches!(bind_default(&path).unwrap_err(), BindError::Live { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_starters_exactly_one_wins_over_a_stale_socket() {
    const STARTERS: usize = 8;
    let (_dir, path) = place();
    for round in 0..50 {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let barrier = Arc::new(Barrier::new(STARTERS));
        let runtime = tokio::runtime::Handle::current();
        let starters: Vec<_> = (0..STARTERS)
            .map(|_| {
                let (path, barrier, runtime) = (path.clone(), barrier.clone(), runtime.clone());
                std::thread::spawn(move || {
                    let _entered = runtime.enter();
                    barrier.wait();
                    bind_default(&path)
                })
            })
            .collect();
        let results: Vec<_> = starters.into_iter().map(|starter| starter.join().unwrap()).collect();
        let winners = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(winners, 1, "round {round}: {results:?}");
        let others = results.iter().filter(|result| matches!(result, Err(BindError::Live { .. }))).count();
        assert_eq!(others, STARTERS - 1, "round {round}: {results:?}");
        let _client = UnixStream::connect(&path).await.unwrap();
        drop(results);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let (dir, path) = place();
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind_default(&path).unwrap_err(), BindError::NotASocket { .. }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(bind_default(&link).unwrap_err(), BindError::NotASocket { .. }));
    assert!(matches!(bind_default(dir.path()).unwrap_err(), BindError::NotASocket { .. }));
}

#[tokio::test]
async fn a_path_over_107_bytes_is_refused_with_what_to_do() {
    let (dir, _) = place();
    let room = MAX_PATH_BYTES - dir.path().as_os_str().len() - 1;
    let _fits = bind_default(&dir.path().join("n".repeat(room))).unwrap();
    let error = bind_default(&dir.path().join("n".repeat(room + 1))).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BindError::TooLong { length: 108, .. }), "{text}");
    assert!(text.contains("108 bytes") && text.contains("--plugins-dir"), "{text}");
}

#[tokio::test]
async fn the_file_of_a_successor_is_not_removed() {
    let (_dir, path) = place();
    let first = bind_default(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(!first.is_in_place());
    let second = bind_default(&path).unwrap();
    drop(first);
    assert!(second.is_in_place());
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_directory_held_by_a_hanging_starter_is_reported() {
    let (dir, path) = place();
    let held = std::fs::File::open(dir.path()).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let error = bind_default(&path).unwrap_err();
    assert!(matches!(error, BindError::Busy { .. }), "{error}");
}

#[test]
fn endpoints_are_read_and_written() {
    for url in ["unix:///run/a b", "tcp://localhost:1", "tcp://[::1]:65535", "tcp://10.0.0.1:80"] {
        assert_eq!(url.parse::<Address>().unwrap().to_string(), url);
    }
    let bad = [
        "",
        "/run/a",
        "unix://a",
        "unix://",
        "http://a:1",
        "tcp://a",
        "tcp://:1",
        "tcp://a:b",
        "tcp://a:70000",
        "tcp://::1:5",
        "tcp://a/b:1",
        "tcp://u@a:1",
    ];
    let whys: BTreeSet<_> = bad.map(|url| url.parse::<Address>().unwrap_err().to_string()).into();
    assert_eq!(whys.len(), bad.len());
    assert!(whys.iter().all(|why| why.contains("unix:///path/of/socket")));
}

#[tokio::test]
async fn a_connection_refused_is_told_from_a_missing_socket_and_a_silent_one() {
    let (dir, path) = place();
    let address = Address::Unix(path.clone());
    let missing = connect(&address, &Security::Clear, LONG).await.unwrap_err();
    assert_eq!(missing.kind, std::io::ErrorKind::NotFound, "{missing}");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let stale = connect(&address, &Security::Clear, LONG).await.unwrap_err();
    assert_eq!(stale.kind, std::io::ErrorKind::ConnectionRefused, "{stale}");
    assert!(stale.to_string().contains(path.to_str().unwrap()), "{stale}");
    assert!(dir.path().exists());
}

#[tokio::test]
async fn nothing_is_sent_over_a_network_in_the_clear() {
    let far: Address = "tcp://192.0.2.1:9".parse().unwrap();
    let error = connect(&far, &Security::Clear, LONG).await.unwrap_err();
    assert_eq!(error.kind, std::io::ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn a_channel_reaches_a_bound_socket_and_its_successor() {
    use crate::v1::service_plugin_client::ServicePluginClient;
    use tonic::transport::Server;

    let (_dir, path) = place();
    let mut client = ServicePluginClient::new(channel(&Address::Unix(path.clone()), &Security::Clear));
    for _ in 0..2 {
        let socket = bind_default(&path).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        // Serves nothing: to be answered "unimplemented" is to be reached.
        let server = Server::builder().add_routes(tonic::service::Routes::default());
        tasks.spawn(server.serve_with_incoming(socket));
        let answer = tokio::time::timeout(LONG, async {
            loop {
                let status = client.handshake(crate::v1::HandshakeRequest::default()).await.unwrap_err();
                if status.code() != tonic::Code::Unavailable {
                    return status;
                }
            }
        });
        assert_eq!(answer.await.unwrap().code(), tonic::Code::Unimplemented);
        tasks.shutdown().await;
        assert!(!path.exists());
    }
}
