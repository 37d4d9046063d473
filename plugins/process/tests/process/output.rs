//! What members write is kept, rotated and shown.

use om_api::v1::run_response::Message;

use crate::world::{World, lines, pids, script, until};

#[tokio::test]
async fn logs_show_all_members_with_their_names_or_one_without() {
    let mut world = World::new().await;
    world.commit("web", &script(2, "echo out of ${member}; echo err of ${member} >&2; sleep 1000")).await;
    world.ready("web").await;
    let all = "web-0 | out of web-0\nweb-0 | err of web-0\nweb-1 | out of web-1\nweb-1 | err of web-1\n";
    assert_eq!(world.manager().run("web", "logs", &[]).await.unwrap(), all);
    let one = world.manager().run("web", "logs", &[("member", "web-1"), ("lines", "1")]).await.unwrap();
    assert_eq!(one, "err of web-1\n");
    for bad in [[("member", "web-7")], [("member", "api-0")], [("lines", "many")], [("nope", "1")]] {
        assert!(world.manager().run("web", "logs", &bad).await.is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn logs_are_followed_as_they_come_over_a_restart_of_the_plugin_too() {
    let mut world = World::new().await;
    let code = "echo first; while [ ! -e ${dir}/go ]; do sleep 0.02; done; echo second; sleep 1000";
    world.commit("web", &script(1, code)).await;
    let before = pids(&world.ready("web").await);
    world.kill_plugin();
    world.start_plugin();
    world.attend().await;
    world.commit("web", &script(1, code)).await;
    assert_eq!(pids(&world.ready("web").await), before);
    let mut stream = world.manager().start("web", "logs", &[("follow", "true")]).await.unwrap();
    let mut heard = String::new();
    while heard != "first\nsecond\n" {
        let piece =
            tokio::time::timeout(om_plugin_sdk::testing::PATIENCE, stream.message()).await.expect(&heard);
        if let Some(Message::Output(bytes)) = piece.unwrap().unwrap().message {
            heard.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        std::fs::write(world.root().join("web/web-0/work/go"), "").unwrap();
    }
}

#[tokio::test]
async fn logs_are_rotated_and_members_write_on_without_a_reader() {
    let mut world = World::new().await;
    // 60 kB at once: three times the size at which this world rotates.
    let code = "i=0; while [ $i -lt 6000 ]; do echo line $i; i=$((i+1)); done; sleep 1000";
    world.commit("web", &script(1, code)).await;
    let home = world.root().join("web/web-0");
    let last = |name: &str| lines(&home.join(name)).last().cloned().unwrap_or_default();
    until("the log was rotated", async || home.join("log.1").exists() && last("log").ends_with("5999")).await;
    let kept = |name: &str| std::fs::read_to_string(home.join(name)).unwrap();
    until("it is one output still", async || {
        format!("{}{}", kept("log.1"), kept("log")).ends_with("line 5998\nline 5999\n")
    })
    .await;
    let shown = world.manager().run("web", "logs", &[("lines", "3000")]).await.unwrap();
    assert_eq!((shown.lines().next(), shown.lines().count()), (Some("line 3000"), 3000));
}
