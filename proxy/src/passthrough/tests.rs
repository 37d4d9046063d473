use om_api::v1;
use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::{Error, Reason, metadata};

use super::*;
use crate::testing::*;
use crate::{Drain, Upstream};

fn describe(name: &str) -> v1::DescribeRequest {
    v1::DescribeRequest { name: name.to_owned() }
}

/// A plugin `p`, and a proxy that sends everything there.
fn proxied(place: &Place, plugin: &TestPlugin) -> (Running, Running) {
    let backend = serve_plugin(&place.path("p"), plugin.clone());
    let upstream = backend.upstream();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| Route::Local(passage(&upstream)));
    (backend, proxy)
}

fn client(proxy: &Running) -> ServicePluginClient<Upstream> {
    ServicePluginClient::new(proxy.upstream()).max_decoding_message_size(om_api::MAX_MESSAGE_BYTES)
}

#[tokio::test]
async fn a_describe_is_answered_by_the_plugin_under_the_managers_term() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    let mut request = tonic::Request::new(describe("web"));
    metadata::stamp(&mut request, 99, "forged");
    request.metadata_mut().insert("x-user", "kept".parse().unwrap());
    let answer = soon("the answer", client(&proxy).describe(request)).await.unwrap().into_inner();
    let summary = answer.service.unwrap().summary.unwrap();
    assert_eq!((summary.name.as_str(), summary.kind.as_str()), ("web", "p"));
    let seen = plugin.seen.lock().unwrap().remove(0);
    assert_eq!(seen.get_all(metadata::TERM).iter().collect::<Vec<_>>(), ["7"]);
    assert_eq!(seen.get_all(metadata::CLUSTER).iter().collect::<Vec<_>>(), ["c7"]);
    assert_eq!(seen["x-user"], "kept");
}
