//! The flow of a MUPDATE session, without a socket.
