//! What only a manager answers.

use std::io::{self, Write};

use bytes::Bytes;
use om_api::clock::wall_unix_ms;
use om_api::v1::manager_server::Manager;
use om_api::{Error, Reason, snapshot, v1};
use om_store::View;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Front, Pieces, events, page};
use crate::errors;
use crate::outlet::outlet;
use crate::records::{OPERATIONS, SERVICES, Stored, state_of};

/// The size of the pieces that a snapshot travels in.
const PIECE: usize = 256 * 1024;
/// The largest snapshot file that is taken in.
const MAX_SNAPSHOT: usize = 1024 * 1024 * 1024;
const PIECES_UNDER_WAY: usize = 8;
const PAGE: usize = 100;

#[tonic::async_trait]
impl Manager for Front {
    type HistoryStream = Pieces<v1::HistoryResponse>;
    type ExportSnapshotStream = Pieces<v1::ExportSnapshotResponse>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        Ok(Response::new(self.replica.status().await))
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Answer<Self::HistoryStream> {
        let reign = self.replica.leader()?;
        let (out, last, all) = outlet(64);
        let name = request.into_inner().name;
        reign.clone().to_the_end(async move {
            let told = reign.over().run_until_cancelled(events::history(&reign, name, &out)).await;
            if let Err(error) = told.unwrap_or_else(|| Err(errors::no_leader("leadership was lost"))) {
                last.say(Err(error.into()));
            }
        });
        let all = ReceiverStream::new(all);
        Ok(Response::new(Box::pin(all.map(|event| Ok(v1::HistoryResponse { event: Some(event?) })))))
    }

    async fn export_snapshot(
        &self,
        _: Request<v1::ExportSnapshotRequest>,
    ) -> Answer<Self::ExportSnapshotStream> {
        let reign = self.replica.leader()?;
        let store = reign.store().clone();
        let (term, cluster) = (reign.term(), reign.cluster().to_owned());
        let (out, pieces) = mpsc::channel(PIECES_UNDER_WAY);
        // Off the runtime: packing a large state takes a while. Ends when the reader leaves.
        tokio::task::spawn_blocking(move || {
            let mut file = Outgoing { out, piece: Vec::with_capacity(PIECE) };
            let written = export(store.view(), term, cluster, &mut file).and_then(|()| Ok(file.flush()?));
            if let Err(error) = written {
                let status = Status::from(Error::new(Reason::StoreUnavailable, error.to_string()));
                // The reader may have left.
                let _ = file.out.blocking_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(pieces))))
    }

    async fn import_snapshot(
        &self,
        request: Request<Streaming<v1::ImportSnapshotRequest>>,
    ) -> Answer<v1::ImportSnapshotResponse> {
        let reign = self.replica.leader()?;
        let mut pieces = request.into_inner();
        let (mut options, mut file) = (None, Vec::new());
        while let Some(piece) = pieces.next().await {
            let v1::ImportSnapshotRequest { request_id, replace, data } = piece?;
            options.get_or_insert((request_id, replace));
            if file.len() + data.len() > MAX_SNAPSHOT {
                let message = format!("the snapshot is larger than {MAX_SNAPSHOT} bytes");
                return Err(Error::new(Reason::StateTooLarge, message).into());
            }
            file.extend_from_slice(&data);
        }
        let (request_id, replace) = options.unwrap_or_default();
        let refused = |cause: snapshot::Error| {
            Error::new(Reason::Refused, cause.to_string())
                .hint("nothing was changed; look at the file: om snapshot show")
        };
        let read =
            tokio::task::spawn_blocking(move || snapshot::decode(&file[..])?.collect::<Result<Vec<_>, _>>());
        let services = read.await.map_err(|broke| Status::internal(broke.to_string()))?.map_err(refused)?;
        Ok(Response::new(reign.restore(request_id, replace, services).await?))
    }

    async fn operations(&self, request: Request<v1::OperationsRequest>) -> Answer<v1::OperationsResponse> {
        let reign = self.replica.leader()?;
        let v1::OperationsRequest { name, page_size, page_token } = request.into_inner();
        let limit = page(page_size, PAGE);
        // Few are kept; their ids are ordered by time.
        let (_, records) = reign.store().view().scan(OPERATIONS, None, usize::MAX);
        let read =
            records.into_iter().rev().filter_map(|(_, record)| v1::Operation::decode(&*record.value).ok());
        let mut wanted = read
            .filter(|operation| name.is_empty() || operation.service == name)
            .filter(|operation| page_token.is_empty() || operation.id < page_token);
        let operations: Vec<_> = wanted.by_ref().take(limit).collect();
        let more = wanted.next().is_some();
        let next_page_token =
            operations.last().filter(|_| more).map_or(String::new(), |last| last.id.clone());
        Ok(Response::new(v1::OperationsResponse { operations, next_page_token }))
    }

    async fn handover(&self, request: Request<v1::HandoverRequest>) -> Answer<v1::HandoverResponse> {
        if let Some(handover) = &self.replica.handover {
            let (handover, replica) = (handover.clone(), self.replica.clone());
            let to = request.into_inner().to;
            // Seen through even if the caller leaves: a reign that is half given up is nobody's.
            let done = self.replica.tasks.spawn(async move { handover.run(&replica, &to).await });
            let done = done.await.map_err(|broke| Status::internal(broke.to_string()))?;
            return Ok(Response::new(done?));
        }
        let detector = &self.replica.detector;
        let message =
            format!("the leadership is not this replica's to hand over: {detector} names the leader");
        Err(Error::new(Reason::Refused, message).hint("name another leader there").into())
    }
}

/// Writes the declared state as a snapshot file. Read at one revision, as a whole.
fn export(view: &View, term: u64, cluster: String, out: &mut Outgoing) -> Result<(), snapshot::Error> {
    let (revision, records) = view.scan(SERVICES, None, usize::MAX);
    let damaged =
        |error: om_store::Error| snapshot::Error::Io(io::Error::other(errors::of_store(&error).message));
    let mut services = Vec::with_capacity(records.len());
    for (path, record) in records {
        let stored = Stored::read(&path, &record).map_err(damaged)?;
        // What is being destroyed is not to come back.
        if !stored.destroying {
            services.push(v1::SnapshotService {
                revision: stored.revision,
                state: state_of(view, &stored.declaration.name),
                service: Some(stored.declaration),
            });
        }
    }
    let header = v1::SnapshotHeader {
        format: snapshot::FORMAT,
        cluster,
        term,
        revision,
        time_unix_ms: wall_unix_ms(),
        services: services.len() as u64,
    };
    snapshot::encode(&header, services, out).map(drop)
}

/// A file that leaves in pieces.
struct Outgoing {
    out: mpsc::Sender<Result<v1::ExportSnapshotResponse, Status>>,
    piece: Vec<u8>,
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let data = Bytes::from(std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE)));
        let sent = self.out.blocking_send(Ok(v1::ExportSnapshotResponse { data }));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
