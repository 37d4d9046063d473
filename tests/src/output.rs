//! What `om` answered.

use serde_json::Value;

/// One run of a program to its end.
#[derive(Debug)]
pub struct Output {
    /// The arguments, for messages.
    pub asked: String,
    /// Exit code; 128 and more: ended by a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// An error as `om -o json` prints it.
#[derive(Debug)]
pub struct Refusal {
    /// For programs: `NOT_LEADER`…
    pub reason: String,
    /// What failed, and why.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Output {
    /// It succeeded.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn done(&self) -> &Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// Standard output as one JSON value, of a run that succeeded.
    ///
    /// # Panics
    /// If it failed, or if that is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.done();
        serde_json::from_str(&self.stdout).unwrap_or_else(|cause| panic!("no JSON ({cause}): {self:#?}"))
    }

    /// It failed with this exit code, and printed an error as pinned.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn refused(&self, code: i32) -> Refusal {
        assert_eq!(self.code, code, "{self:#?}");
        let error = self
            .stderr
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .chain(serde_json::from_str(&self.stderr))
            .find_map(|value| value.get("error").cloned())
            .unwrap_or_else(|| panic!("no JSON error on stderr: {self:#?}"));
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let refusal = Refusal { reason: text("reason"), message: text("message"), hint: text("hint") };
        assert!(!refusal.reason.is_empty() && !refusal.message.is_empty(), "an empty error: {self:#?}");
        refusal
    }
}
