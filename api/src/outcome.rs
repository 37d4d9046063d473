//! What became of one commit of many, as a message and as a result.

use tonic::Status;

use crate::v1::commit_many_response::{Failure, Outcome};
use crate::v1::{CommitManyResponse, CommitResponse};

impl From<Result<CommitResponse, Status>> for CommitManyResponse {
    fn from(result: Result<CommitResponse, Status>) -> Self {
        let outcome = match result {
            Ok(committed) => Outcome::Committed(committed),
            Err(status) => Outcome::Failed(Failure {
                code: status.code().into(),
                message: status.message().to_owned(),
                details: status.details().to_vec().into(),
            }),
        };
        Self { outcome: Some(outcome) }
    }
}

impl CommitManyResponse {
    /// What [`from`](Self::from) was given.
    ///
    /// # Errors
    /// The commit failed by this status, or the message says nothing (`INTERNAL`).
    pub fn into_result(self) -> Result<CommitResponse, Status> {
        match self.outcome {
            Some(Outcome::Committed(committed)) => Ok(committed),
            Some(Outcome::Failed(Failure { code, message, details })) => {
                Err(Status::with_details(code.into(), message, details))
            }
            None => Err(Status::internal("nothing is said of what became of a commit")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Reason};

    #[test]
    fn what_became_of_a_commit_comes_back_whole() {
        let committed = CommitResponse { name: "web".to_owned(), revision: 7, ..Default::default() };
        let back = CommitManyResponse::from(Ok(committed.clone())).into_result();
        assert_eq!(back.expect("a success"), committed);

        let refused = Error::new(Reason::InvalidSpec, "no image").hint("name one");
        let status = CommitManyResponse::from(Err(refused.into())).into_result().expect_err("a failure");
        let back = Error::from_status(&status).expect("its reason");
        assert_eq!((back.reason, back.message.as_str()), (Reason::InvalidSpec, "no image"));
        assert_eq!(back.hint, "name one");

        let nothing = CommitManyResponse { outcome: None }.into_result().expect_err("nothing");
        assert_eq!(nothing.code(), tonic::Code::Internal);
    }
}
