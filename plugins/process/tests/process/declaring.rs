//! What is refused before it is stored, and what a commit would do.

use om_api::{Error, Reason};
use serde_json::json;

use crate::world::{World, free_ports, script, until};

#[tokio::test]
async fn a_mistake_is_refused_with_its_field_and_stored_nowhere() {
    let world = World::new().await;
    for (spec, field) in [
        (json!({"command": ["a"], "memebrs": 3}), "spec.memebrs"),
        (json!({"command": ["a", "${prot}"]}), "spec.command[1]"),
        (json!({"command": ["a"], "health": {"tcp": "${port}"}}), "spec.health.tcp"),
        (json!({"members": 3}), "spec"),
    ] {
        let refused = world.manager().plan("process", "web", &spec.to_string()).await.unwrap_err();
        let error = Error::from_status(&refused).unwrap();
        assert_eq!((error.reason, error.metadata["field"].as_str()), (Reason::InvalidSpec, field));
        assert!(error.message.contains(field), "{}", error.message);
    }
}

#[tokio::test]
async fn a_plan_is_told_step_by_step() {
    let world = World::new().await;
    let spec = json!({"members": 2, "command": ["sleep", "1"], "port": {"from": 18080}});
    let plan = world.manager().plan("process", "web", &spec.to_string()).await.unwrap().plan;
    assert_eq!(plan, ["start web-0 on port 18080", "start web-1 on port 18081"]);
    assert_eq!(world.strays(), Vec::<i32>::new(), "a plan does nothing");
}

#[tokio::test]
async fn a_port_belongs_to_the_service_that_came_first() {
    let mut world = World::new().await;
    let from = free_ports(3);
    let claim = |from: u16| {
        let mut spec = script(2, "sleep 1000");
        spec["port"] = json!({"from": from});
        spec
    };
    world.commit("web", &claim(from)).await;
    world.ready("web").await;
    let refused = world.manager().plan("process", "api", &claim(from + 1).to_string()).await.unwrap_err();
    let error = Error::from_status(&refused).unwrap();
    assert_eq!(error.metadata["field"], "spec.port.from");
    assert!(error.message.contains("service web"), "{}", error.message);
    // Stored all the same, as by a manager that planned while this plugin knew of no other service.
    world.commit("api", &claim(from + 1)).await;
    let clash = format!("port {} is claimed by the service web", from + 1);
    let found =
        world.until("clashing", "api", |found| found.members.iter().any(|one| one.message == clash)).await;
    assert_eq!(found.members[0].phase, "failed");
    until("the other member runs", async || world.members("api").await[1].phase == "running").await;
    world.destroy("web").await;
    world.ready("api").await;
}
