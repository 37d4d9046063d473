//! `kill -9` at random moments, again and again.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{World, kill, lines, pid};

const ROUNDS: u32 = 50;

/// Members that hold a lock as long as anything of them lives, and write down when they find it held.
fn spec(world: &World, round: u32, members: u32) -> Value {
    let dir = world.dir.path().display();
    let code = format!(
        "exec 9>>{dir}/lock-${{member}}; flock -n 9 || {{ echo ${{member}} in round {round} >> {dir}/twice; exit 1; }}; \
         echo ${{member}} $$$$ >> {dir}/record; setsid sleep 1000 & sleep 1001 & exec sleep 1002"
    );
    json!({
        "members": members, "command": ["sh", "-c", code], "restart": {"min": "10ms", "max": "50ms"},
        "stop": {"timeout": "5s"}, "update": {"max_unavailable": 2},
    })
}

/// A small generator of noise, so that a failure can be run again: xorshift64*.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_plugin_and_members_are_killed_there_are_never_two_copies_and_no_strays() {
    let mut world = World::new().await;
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let mut version = 0;
    for round in 0..ROUNDS {
        // Sometimes a new spec, to be rolled out; sometimes another number of members; sometimes all as before.
        version += u32::from(noise.below(2) == 0);
        let members = 2 + u32::try_from(noise.below(3)).unwrap();
        let declared = spec(&world, version, members);
        world.commit("web", &declared).await;
        if round % 10 == 9 {
            world.ready("web").await;
        }
        tokio::time::sleep(Duration::from_millis(noise.below(250))).await;
        match noise.below(4) {
            0 => world.abandon(),
            1 => {
                let running = world.members("web").await;
                let running: Vec<_> =
                    running.iter().filter(|member| member.details.contains_key("pid")).collect();
                if !running.is_empty() {
                    kill(pid(running[usize::try_from(noise.below(running.len() as u64)).unwrap()]));
                }
                tokio::time::sleep(Duration::from_millis(noise.below(60))).await;
                world.kill_plugin();
                world.start_plugin();
            }
            _ => {
                world.kill_plugin();
                world.start_plugin();
            }
        }
        world.attend().await;
    }
    let declared = spec(&world, version, 3);
    world.commit("web", &declared).await;
    let last = world.ready("web").await;
    assert_eq!(lines(&world.path("twice")), Vec::<String>::new());
    let mut starts: HashMap<String, u32> = HashMap::new();
    for line in lines(&world.path("record")) {
        *starts.entry(line.split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    assert!(starts.values().sum::<u32>() > ROUNDS, "the rounds did hardly anything: {starts:?}");
    // Three processes of each member, none of a former copy.
    let allowed: Vec<String> = last.iter().map(|member| member.name.clone()).collect();
    let strays = world.strays();
    assert_eq!(strays.len(), 9, "of {allowed:?}: {strays:?}");
    world.destroy("web").await;
    assert_eq!(world.strays(), Vec::<i32>::new());
    assert!(fs::metadata(world.root().join("web")).is_err());
}
