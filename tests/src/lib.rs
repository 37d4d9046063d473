//! Tests of the real programs, together.
