//! The snapshot file: gzip over length-delimited messages (`proto/om/v1/snapshot.proto`).
