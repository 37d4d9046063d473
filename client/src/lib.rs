//! The client library of OpenManage.
//!
//! [`Client::call`] makes a call of a generated client, and finds out where: it starts at the endpoints that it was given,
//! any of which may be down, goes to the leader that a follower names, and holds the call while the leadership moves.
//!
//! What must hold:
//! * A call is repeated only with the same message, request id and all ([`request_id`]), so that it takes effect once.
//! * A follower's word about the leader is followed once for each term: terms grow, so nobody is sent in circles.
//! * A handover is a pause and not an error, as long as somebody is named and things move. What does not move (two managers
//!   that name each other, nobody named, nobody there) is an error after seconds, not after the whole time.
//! * Nothing outlives the deadline.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use om_client::{Client, Deadline, Options, request_id, services};
//!
//! let options = Options::new(["tcp://10.0.0.1:7700".parse()?, "tcp://10.0.0.2:7700".parse()?]);
//! let mut client = Client::new(options);
//! client.deadline = Deadline::after(std::time::Duration::from_secs(10));
//! let free = om_api::v1::FreeRequest { name: "web".into(), request_id: request_id(), ..Default::default() };
//! let call = |channel, request| async move { services(channel).free(request).await };
//! let answer = client.call(&free, call).await?;
//! println!("freed, revision {}", answer.revision);
//! # Ok(())
//! # }
//! ```

mod client;
mod course;
mod deadline;
mod error;
mod lookout;

pub use client::{Client, Limit, Options};
pub use deadline::{Deadline, human};
pub use error::{Error, is_transport};

use om_api::MAX_MESSAGE_BYTES;
use om_api::v1::manager_client::ManagerClient;
use om_api::v1::service_plugin_client::ServicePluginClient;
use tonic::transport::Channel;

/// A new request id: the same intent, however often it is sent.
#[must_use]
pub fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The client of the plugin interface.
#[must_use]
pub fn services(channel: Channel) -> ServicePluginClient<Channel> {
    ServicePluginClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// The client of what only a manager answers.
#[must_use]
pub fn manager(channel: Channel) -> ManagerClient<Channel> {
    ManagerClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}
