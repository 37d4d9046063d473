//! What runs for a service: looking after it, or tearing it down, again and again until it is over.

use om_api::v1::Phase;

use crate::admit::Shell;
use crate::backoff::Backoff;
use crate::guard::while_permitted;
use crate::record::Record;
use crate::{Failed, Service};

/// Looks after the service until its crew is over.
pub(crate) async fn look_after(shell: &Shell, record: &Record, service: &Service) {
    let mut backoff = Backoff::new();
    while service.permit().is_ok() {
        let began = shell.now();
        let mut declared = record.declared();
        let ended = while_permitted(service, async { shell.plugin.look_after(service.clone()).await }).await;
        let why = match ended.result() {
            None => return,
            Some(Err(Failed(why))) => why,
            Some(Ok(())) => "the plugin stopped looking after it without saying why".to_owned(),
        };
        if service.permit().is_err() {
            return;
        }
        backoff.ran_for(shell.now().saturating_sub(began));
        let pause = backoff.pause();
        tracing::warn!(service = service.name(), "looking after it failed, again in {pause:?}: {why}");
        service.note(Phase::Failed, why);
        tokio::select! {
            () = service.crew().over().cancelled() => return,
            // What was changed may be what was wrong.
            changed = declared.changed() => if changed.is_ok() { backoff = Backoff::new() },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Tears the service down until nothing is left or its crew is over.
pub(crate) async fn tear_down(shell: &Shell, record: &Record, service: &Service) {
    let mut backoff = Backoff::new();
    while service.permit().is_ok() {
        let ended = while_permitted(service, async { shell.plugin.destroy(service.clone()).await }).await;
        match ended.result() {
            None => return,
            Some(Ok(())) => {
                // In this order: whoever is woken by the status finds it done.
                record.torn_down.cancel();
                service.note(Phase::Destroying, "nothing is left of it");
                return;
            }
            Some(Err(Failed(why))) => {
                let pause = backoff.pause();
                tracing::warn!(service = service.name(), "tearing down failed, again in {pause:?}: {why}");
                service.note(Phase::Destroying, why);
                tokio::select! {
                    () = service.crew().over().cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}
