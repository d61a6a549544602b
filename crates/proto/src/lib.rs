//! MUPDATE (RFC 3656) without a socket and without a clock.
//!
//! Three floors, each usable without the next:
//!
//! 1. **values** ([`MailboxName`], [`Location`], [`Acl`], [`Entry`], [`Edit`], [`Refusal`]): what the
//!    directory is made of. A value that exists is valid; nothing downstream checks it again.
//! 2. **codec** ([`codec`]): bytes to commands and responses and back.
//! 3. **session** ([`session`]): the order in which commands are legal and what they ask of the
//!    server, as actions to be carried out by whoever owns the socket.

#![warn(clippy::wildcard_enum_match_arm)]

mod acl;
pub mod codec;
mod edit;
mod entry;
mod location;
mod mailbox;
pub mod resync;
pub mod session;

pub use acl::{ACL_BYTES_MAX, Acl, AclRef, InvalidAcl};
pub use edit::{Edit, EditKind, Refusal};
pub use entry::{Entry, EntryRef, ReservedBy};
pub use location::{InvalidLocation, LOCATION_BYTES_MAX, Location, LocationRef};
pub use mailbox::{
    InvalidMailboxName, MAILBOX_NAME_BYTES_MAX, MailboxName, NameRef, USER_ID_BYTES_MAX,
};
