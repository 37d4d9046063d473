//! Run: the actions of a kind.

use std::sync::Arc;

use om_api::v1::{self, Effect};
use om_api::{Error, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::admit::Shell;
use crate::guard::{caught, while_permitted};
use crate::{Failed, Output, Service, args};

/// What the caller reads.
pub(crate) type Pieces = ReceiverStream<Result<v1::RunResponse, Status>>;

/// Messages of output on their way before the action waits for its reader.
const BUFFERED: usize = 8;

impl Shell {
    pub(crate) fn run(
        self: &Arc<Self>,
        request: Request<v1::RunRequest>,
    ) -> Result<Response<Pieces>, Status> {
        let caller = self.admit(&request)?;
        let v1::RunRequest { name, action, args, .. } = request.into_inner();
        let (session, record) = self.find(&name)?;
        let known = self.kind(&record.newest().kind).map(|kind| kind.actions.as_slice()).unwrap_or_default();
        let Some(known) = known.iter().find(|known| known.name == action) else {
            return Err(unknown(&name, &action, known).into());
        };
        let args = args::read(&known.args_schema, args)
            .map_err(|why| Error::new(Reason::InvalidAction, format!("{action}: {why}")))?;

        let (sender, pieces) = mpsc::channel(BUFFERED);
        let service = Service::new(record.clone(), session, record.crew());
        let shell = self.clone();
        if known.effect() == Effect::Read {
            self.tasks.spawn(async move {
                let running = caught(shell.plugin.run(service, &action, args, Output::new(sender.clone())));
                let ended = tokio::select! {
                    () = sender.closed() => return,
                    () = shell.cut.cancelled() => Err("this plugin is stopping".to_owned()),
                    ended = running => match ended {
                        Ok(result) => result.map_err(|Failed(why)| why),
                        Err(panic) => Err(format!("the plugin panicked: {panic}")),
                    },
                };
                finish(&sender, &action, ended).await;
            });
        } else {
            self.authorize(&caller, &action)?;
            if record.is_destroying() {
                let error = Error::new(Reason::Refused, format!("{action}: {name} is being destroyed"));
                return Err(error.into());
            }
            let crew = service.crew().clone();
            crew.spawn(async move {
                let running = shell.plugin.run(service.clone(), &action, args, Output::new(sender.clone()));
                let ended = tokio::select! {
                    () = sender.closed() => return,
                    ended = while_permitted(&service, running) => ended,
                };
                let stopped = || Err(Failed("it was stopped: the authority to act has ended".to_owned()));
                let ended = ended.result().unwrap_or_else(stopped).map_err(|Failed(why)| why);
                let telling = finish(&sender, &action, ended);
                // A reader that does not read must not hold up the end of the service's tasks.
                tokio::select! {
                    () = telling => {}
                    () = service.crew().over().cancelled() => {}
                }
            });
        }
        Ok(Response::new(ReceiverStream::new(pieces)))
    }
}

async fn finish(
    sender: &mpsc::Sender<Result<v1::RunResponse, Status>>,
    action: &str,
    ended: Result<(), String>,
) {
    if let Err(why) = ended {
        let error = Error::new(Reason::PluginFailed, format!("{action}: {why}"));
        // The reader may be gone.
        let _ = sender.send(Err(error.into())).await;
    }
}

fn unknown(service: &str, action: &str, known: &[v1::Action]) -> Error {
    let names: Vec<_> = known.iter().map(|known| known.name.as_str()).collect();
    let hint = if names.is_empty() {
        format!("{service} has no actions")
    } else {
        format!("{service} knows {}", names.join(", "))
    };
    Error::new(Reason::InvalidAction, format!("{service} has no action {action:?}")).hint(hint)
}
