//! What to say when the manager that was looked for is not there.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use om_api::socket::{self, Address};
use om_api::v1::{HandshakeRequest, Role};
use tokio::task::JoinSet;

use super::services;
use crate::failure::Failure;

const HANDSHAKE_PATIENCE: Duration = Duration::from_millis(300);
const AT_MOST: usize = 32;

/// The failure, with what was looked for and what answers instead.
pub(super) async fn nobody(name: &str, directory: &Path, failure: Failure) -> Failure {
    let mut managers = answering(directory).await;
    managers.sort();
    let hint = if managers.is_empty() {
        format!(
            "no manager answers in {}; start one: om-manager os --leader-file FILE --name {name}",
            directory.display()
        )
    } else {
        format!(
            "in {} these managers answer: {}; choose one with --name",
            directory.display(),
            managers.join(", ")
        )
    };
    failure.about(format!("no manager {name:?}")).hint(hint)
}

async fn answering(directory: &Path) -> Vec<String> {
    let mut asking = JoinSet::new();
    for path in sockets(directory) {
        asking.spawn(tokio::time::timeout(HANDSHAKE_PATIENCE, handshake(path)));
    }
    let mut managers = Vec::new();
    while let Some(answer) = asking.join_next().await {
        if let Ok(Ok(Some(name))) = answer {
            managers.push(name);
        }
    }
    managers
}

fn sockets(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()))
        .map(|entry| entry.path())
        .take(AT_MOST)
        .collect()
}

/// The socket's name, if a manager answers there.
async fn handshake(path: PathBuf) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let channel =
        socket::connect(&Address::Unix(path), &socket::Security::Clear, HANDSHAKE_PATIENCE).await.ok()?;
    let request = HandshakeRequest { caller: "om".to_owned() };
    let answer = services(channel).handshake(request).await.ok()?.into_inner();
    (answer.role() == Role::Manager).then_some(name)
}
