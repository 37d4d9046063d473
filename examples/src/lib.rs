//! Examples of OpenManage; each runs in CI.
