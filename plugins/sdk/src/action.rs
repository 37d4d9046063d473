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
const BUFFERED: usize = 64;

impl Shell {
    pub(crate) async fn run(
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
        let end = End::new(&sender, &action)?;
        let service = Service::new(record.clone(), session, record.crew());
        let shell = self.clone();
        if known.effect() == Effect::Read {
            let reading = async move {
                let output = Output::new(sender.clone());
                let running = caught(async { shell.plugin.run(service, &action, args, output).await });
                tokio::select! {
                    () = sender.closed() => {}
                    () = shell.cut.cancelled() => {}
                    ended = running => match ended {
                        Ok(result) => end.with(result),
                        Err(panic) => end.with(Err(Failed(format!("the plugin panicked: {panic}")))),
                    },
                }
            };
            self.tasks.spawn_on(reading, &self.works);
        } else {
            self.authorize(&caller, &action).await?;
            if record.is_destroying() {
                let error = Error::new(Reason::Refused, format!("{action}: {name} is being destroyed"));
                return Err(error.into());
            }
            let crew = service.crew().clone();
            crew.spawn_on(&self.works, async move {
                let output = Output::new(sender.clone());
                let running = async { shell.plugin.run(service.clone(), &action, args, output).await };
                tokio::select! {
                    () = sender.closed() => {}
                    ended = while_permitted(&service, running) => if let Some(result) = ended.result() {
                        end.with(result);
                    },
                }
            });
        }
        Ok(Response::new(ReceiverStream::new(pieces)))
    }
}

/// How a run ends. The end of a stream means success, so whatever is dropped before it has ended says that it was
/// stopped; the place for saying it is kept from the beginning, however slow the reader.
struct End {
    place: Option<mpsc::OwnedPermit<Result<v1::RunResponse, Status>>>,
    action: String,
}

impl End {
    fn new(sender: &mpsc::Sender<Result<v1::RunResponse, Status>>, action: &str) -> Result<Self, Status> {
        let place = sender.clone().try_reserve_owned();
        let place = place.map_err(|_| Status::internal("a new channel has room"))?;
        Ok(Self { place: Some(place), action: action.to_owned() })
    }

    fn with(mut self, result: Result<(), Failed>) {
        let place = self.place.take();
        if let (Some(place), Err(Failed(why))) = (place, result) {
            let error = Error::new(Reason::PluginFailed, format!("{}: {why}", self.action));
            place.send(Err(error.into()));
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // Not "failed": nobody knows how far it came.
            let why = "stopped before it ended; the plugin may not act any more, or is stopping";
            let error = Error::new(Reason::PluginUnavailable, format!("{}: {why}", self.action));
            place.send(Err(error.into()));
        }
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
