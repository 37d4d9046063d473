//! What an action says to whoever runs it.

use bytes::Bytes;
use om_api::v1::{RunResponse, run_response};
use tokio::sync::mpsc;
use tonic::Status;

use crate::Failed;

/// The output of one run of an action. Cheap to clone. Writing waits while the reader is slow.
#[derive(Clone, Debug)]
pub struct Output(mpsc::Sender<Result<RunResponse, Status>>);

impl Output {
    /// The largest piece of output in one message, in bytes.
    const PIECE: usize = 32 * 1024;

    pub(crate) fn new(sender: mpsc::Sender<Result<RunResponse, Status>>) -> Self {
        Self(sender)
    }

    /// Bytes for standard output.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub async fn write(&self, bytes: impl Into<Bytes>) -> Result<(), Failed> {
        let mut bytes: Bytes = bytes.into();
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(Self::PIECE));
            self.send(run_response::Message::Output(piece)).await?;
        }
        Ok(())
    }

    /// A line about the progress, for standard error.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub async fn progress(&self, line: impl Into<String>) -> Result<(), Failed> {
        self.send(run_response::Message::Progress(line.into())).await
    }

    async fn send(&self, message: run_response::Message) -> Result<(), Failed> {
        let message = RunResponse { message: Some(message) };
        self.0.send(Ok(message)).await.map_err(|_| Failed("nobody reads the output any more".to_owned()))
    }
}
