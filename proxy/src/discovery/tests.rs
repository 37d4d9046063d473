use std::path::Path;

use om_api::socket::{SocketOptions, bind};
use om_api::v1::Role;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;

use super::*;
use crate::testing::*;

fn options(dir: &Path) -> RegistryOptions {
    RegistryOptions { dir: dir.to_owned(), only: None, own_name: "m".to_owned(), caller: "m".to_owned() }
}

async fn until(registry: &Registry, what: &str, holds: impl Fn(&Peers) -> bool) -> Peers {
    let mut peers = registry.peers();
    let last = peers.clone();
    match tokio::time::timeout(std::time::Duration::from_secs(20), peers.wait_for(holds)).await {
        Ok(found) => found.unwrap().clone(),
        Err(_) => panic!("waited too long for {what}; peers are {:#?}", *last.borrow()),
    }
}

fn is_ready(peers: &Peers, name: &str) -> bool {
    peers.get(name).is_some_and(|peer| peer.state.ready().is_some())
}

fn instance(peers: &Peers, name: &str) -> Option<String> {
    Some(peers.get(name)?.state.ready()?.instance.clone())
}

fn refusal(peers: &Peers, name: &str) -> Option<Refusal> {
    match &peers.get(name)?.state {
        PeerState::Refused(why) => Some(why.clone()),
        _ => None,
    }
}

fn unreachable(peers: &Peers, name: &str) -> Option<String> {
    match &peers.get(name)?.state {
        PeerState::Unreachable(why) => Some(why.clone()),
        _ => None,
    }
}

fn manager(name: &str) -> TestPlugin {
    let mut manager = TestPlugin::named(name);
    manager.handshake.set_role(Role::Manager);
    manager
}

#[tokio::test]
async fn plugins_are_found_before_and_after_the_start_and_forgotten_with_their_socket() {
    let place = Place::new();
    let _early = serve_plugin(&place.path("early"), TestPlugin::named("early"));
    let registry = Registry::start(options(place.dir()));
    until(&registry, "the plugin that was there", |peers| is_ready(peers, "early")).await;
    let late = serve_plugin(&place.path("late"), TestPlugin::named("late"));
    let peers = until(&registry, "the plugin that came", |peers| is_ready(peers, "late")).await;
    assert_eq!(peers.len(), 2);
    assert_eq!(peers["late"].socket, place.path("late"));
    late.kill();
    until(&registry, "it to be forgotten", |peers| !peers.contains_key("late")).await;
    assert!(is_ready(&registry.peers().borrow(), "early"));
}

#[tokio::test]
async fn a_directory_that_appears_later_vanishes_and_comes_back_is_followed() {
    let place = Place::new();
    let dir = place.path("a/b/plugins");
    let registry = Registry::start(options(&dir));
    for round in ["one", "two"] {
        // Makes the directories.
        let plugin = serve_plugin(&dir.join("p"), TestPlugin::named("p").instance(round));
        until(&registry, "the plugin", |peers| instance(peers, "p").as_deref() == Some(round)).await;
        plugin.kill();
        until(&registry, "no plugin", |peers| peers.is_empty()).await;
        std::fs::remove_dir_all(place.path("a")).unwrap();
    }
}

#[tokio::test]
async fn a_restarted_plugin_shows_its_new_instance() {
    let place = Place::new();
    let registry = Registry::start(options(place.dir()));
    for round in 0..10 {
        let name = format!("i{round}");
        let plugin = serve_plugin(&place.path("p"), TestPlugin::named("p").instance(&name));
        let found =
            until(&registry, "the instance", |peers| instance(peers, "p").as_ref() == Some(&name)).await;
        assert_eq!(found["p"].state.ready().unwrap().name, "p");
        plugin.kill();
        until(&registry, "its loss", |peers| !is_ready(peers, "p")).await;
    }
}

#[tokio::test]
async fn a_loss_shows_at_once_and_a_stale_socket_is_taken_up_again() {
    let place = Place::new();
    let path = place.path("p");
    let registry = Registry::start(options(place.dir()));
    let plugin = serve_plugin(&path, TestPlugin::named("p"));
    until(&registry, "the plugin", |peers| is_ready(peers, "p")).await;
    // Its file stays, as after a kill -9.
    std::fs::rename(&path, place.path(".aside")).unwrap();
    plugin.kill();
    until(&registry, "its loss", |peers| !is_ready(peers, "p")).await;
    std::fs::rename(place.path(".aside"), &path).unwrap();
    until(&registry, "the stale socket", |peers| {
        unreachable(peers, "p").is_some_and(|why| why.contains("nobody serves it"))
    })
    .await;
    let _again = serve_plugin(&path, TestPlugin::named("p").instance("second"));
    until(&registry, "the successor", |peers| instance(peers, "p").as_deref() == Some("second")).await;
}

#[tokio::test]
async fn a_successor_that_takes_the_socket_while_the_old_one_still_runs_is_greeted() {
    let place = Place::new();
    let path = place.path("p");
    let registry = Registry::start(options(place.dir()));
    let _old = serve_plugin(&path, TestPlugin::named("p"));
    until(&registry, "the plugin", |peers| is_ready(peers, "p")).await;
    std::fs::remove_file(&path).unwrap();
    let _new = serve_plugin(&path, TestPlugin::named("p").instance("second"));
    until(&registry, "the successor", |peers| instance(peers, "p").as_deref() == Some("second")).await;
}

#[tokio::test]
async fn setting_the_mode_of_a_socket_does_not_make_it_another_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let path = place.path("p");
    let registry = Registry::start(options(place.dir()));
    let _plugin = serve_plugin(&path, TestPlugin::named("p"));
    let peers = until(&registry, "the plugin", |peers| is_ready(peers, "p")).await;
    let link = *peers["p"].upstream.link().borrow();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).unwrap();
    // Another one that comes afterwards shows that the directory was looked at since.
    let _other = serve_plugin(&place.path("q"), TestPlugin::named("q"));
    let peers = until(&registry, "the other", |peers| is_ready(peers, "q")).await;
    assert_eq!(*peers["p"].upstream.link().borrow(), link);
}

#[tokio::test]
async fn managers_are_taken_only_when_they_are_named() {
    let place = Place::new();
    let _other = serve_plugin(&place.path("other"), manager("other"));
    let registry = Registry::start(options(place.dir()));
    let peers = until(&registry, "the judgement", |peers| refusal(peers, "other").is_some()).await;
    assert_eq!(refusal(&peers, "other"), Some(Refusal::Manager));
    let named = RegistryOptions { only: Some(vec!["other".to_owned()]), ..options(place.dir()) };
    until(&Registry::start(named), "the manager", |peers| is_ready(peers, "other")).await;
}

#[tokio::test]
async fn its_own_socket_is_never_taken() {
    let place = Place::new();
    let _own = serve_plugin(&place.path("m"), manager("m"));
    let _other = serve_plugin(&place.path("p"), TestPlugin::named("p"));
    let named = Some(vec!["m".to_owned(), "p".to_owned()]);
    for only in [None, named] {
        let registry = Registry::start(RegistryOptions { only, ..options(place.dir()) });
        let peers = until(&registry, "the other", |peers| is_ready(peers, "p")).await;
        assert!(!peers.contains_key("m"));
    }
}

#[tokio::test]
async fn named_plugins_show_while_they_are_awaited_and_others_never() {
    let place = Place::new();
    let only = Some(vec!["p".to_owned()]);
    let registry = Registry::start(RegistryOptions { only, ..options(place.dir()) });
    let peers = until(&registry, "the awaited one", |peers| unreachable(peers, "p").is_some()).await;
    assert_eq!(unreachable(&peers, "p").unwrap(), format!("no socket at {}", place.path("p").display()));
    let _other = serve_plugin(&place.path("q"), TestPlugin::named("q"));
    let plugin = serve_plugin(&place.path("p"), TestPlugin::named("p"));
    let peers = until(&registry, "the plugin", |peers| is_ready(peers, "p")).await;
    assert!(!peers.contains_key("q"));
    plugin.kill();
    until(&registry, "it to be awaited again", |peers| {
        unreachable(peers, "p").is_some_and(|why| why.starts_with("no socket"))
    })
    .await;
}

#[tokio::test]
async fn who_cannot_be_used_is_refused_with_the_reason() {
    let place = Place::new();
    let mut others = Vec::new();
    type Case = (&'static str, fn(&mut TestPlugin), Refusal);
    let cases: [Case; 5] = [
        (
            "a",
            |plugin| plugin.handshake.protocol = "om.v9".to_owned(),
            Refusal::Protocol { found: "om.v9".to_owned() },
        ),
        ("b", |plugin| plugin.handshake.name = "z".to_owned(), Refusal::Name { found: "z".to_owned() }),
        ("c", |plugin| plugin.handshake.instance.clear(), Refusal::Incomplete("instance")),
        ("d", |plugin| plugin.handshake.set_role(Role::Unspecified), Refusal::Incomplete("role")),
        ("e", |plugin| plugin.handshake.name.clear(), Refusal::Incomplete("name")),
    ];
    for (name, spoil, _) in &cases {
        let mut plugin = TestPlugin::named(name);
        spoil(&mut plugin);
        others.push(serve_plugin(&place.path(name), plugin));
    }
    others.push(serve_raw(&place.path("f"), |_| async { tonic::Status::unimplemented("what?").into_http() }));
    let registry = Registry::start(options(place.dir()));
    let peers = until(&registry, "all judgements", |peers| {
        ["a", "b", "c", "d", "e", "f"].iter().all(|name| refusal(peers, name).is_some())
    })
    .await;
    for (name, _, expected) in cases {
        assert_eq!(refusal(&peers, name), Some(expected), "{name}");
    }
    assert_eq!(refusal(&peers, "f"), Some(Refusal::Protocol { found: String::new() }));
}

#[tokio::test]
async fn who_hangs_or_answers_garbage_holds_up_nobody() {
    let place = Place::new();
    let mut tasks = JoinSet::new();
    let garbage = UnixListener::bind(place.path("garbage")).unwrap();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = garbage.accept().await {
            let _ = stream.write_all(&[0x55; 4096]).await;
        }
    });
    let _silent = UnixListener::bind(place.path("silent")).unwrap();
    let hanging = serve_raw(&place.path("hanging"), |_| std::future::pending());
    let error = serve_raw(&place.path("error"), |_| async { tonic::Status::internal("boom").into_http() });
    let http = serve_raw(&place.path("http"), |_| async { http::Response::new(tonic::body::Body::empty()) });
    std::fs::write(place.path("file"), "no socket").unwrap();
    let _datagram = std::os::unix::net::UnixDatagram::bind(place.path("datagram")).unwrap();
    let registry = Registry::start(options(place.dir()));
    let _plugin = serve_plugin(&place.path("p"), TestPlugin::named("p"));
    let peers = until(&registry, "the good one", |peers| is_ready(peers, "p")).await;
    assert!(!peers.contains_key("file"));
    let peers = until(&registry, "word about each", |peers| {
        ["garbage", "silent", "hanging", "error", "http", "datagram"]
            .iter()
            .all(|name| unreachable(peers, name).is_some())
    })
    .await;
    assert!(unreachable(&peers, "error").unwrap().contains("boom"));
    assert!(unreachable(&peers, "hanging").unwrap().contains("within 2s"));
    assert!(is_ready(&peers, "p"));
    drop((hanging, error, http));
}

#[tokio::test]
async fn an_unreadable_directory_forgets_nobody() {
    let place = Place::new();
    let dir = place.path("plugins");
    let _plugin = serve_plugin(&dir.join("p"), TestPlugin::named("p"));
    let registry = Registry::start(options(&dir));
    until(&registry, "the plugin", |peers| is_ready(peers, "p")).await;
    // A file in the directory's place cannot be listed, whoever asks (root may list what it has no right to).
    std::fs::rename(&dir, place.path("aside")).unwrap();
    std::fs::write(&dir, "").unwrap();
    let mut peers = registry.peers();
    peers.mark_unchanged();
    let two_looks = tokio::time::timeout(POLL * 2, peers.changed()).await;
    assert!(two_looks.is_err(), "changed: {:?}", *peers.borrow());
    assert!(is_ready(&registry.peers().borrow(), "p"));
}

#[tokio::test]
async fn the_search_ends_with_its_registry() {
    let place = Place::new();
    let socket = bind(&place.path("p"), &SocketOptions::default()).unwrap();
    let registry = Registry::start(options(place.dir()));
    let peers = registry.peers();
    drop(registry);
    let mut ended = peers.clone();
    soon("the end of the search", async { while ended.changed().await.is_ok() {} }).await;
    drop((socket, peers));
}

#[tokio::test]
async fn a_look_does_not_cause_the_next_look() {
    let place = Place::new();
    let mut scanner = Scanner::new(place.dir().to_owned());
    scanner.look(None).unwrap();
    soon("the look after the watch was set", scanner.changed()).await;
    scanner.look(None).unwrap();
    // Creating and closing the file may be told apart: a look or two more, then rest.
    std::fs::write(place.path("file"), "").unwrap();
    soon("the word of a new file", scanner.changed()).await;
    let mut looks = 0;
    while tokio::time::timeout(POLL / 4, scanner.changed()).await.is_ok() {
        scanner.look(None).unwrap();
        looks += 1;
        assert!(looks < 10, "looking does not come to rest");
    }
}
