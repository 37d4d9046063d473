//! Unix sockets: bound so that a live one is never stolen and a stale one never stands in the way.
