//! HOW calls reach plugins.
//!
//! [`discovery`] finds the sockets in the plugins directory; [`upstream`] is the connection to one of them, which
//! comes back by itself after a restart; [`route`] is the port through which a manager says, per call, where it goes;
//! [`passthrough`] carries it there as bytes, never decoding a message that it does not own, or refuses it with the
//! leader's name; [`drain`] counts what is under way, so that a shutdown can wait for it.
