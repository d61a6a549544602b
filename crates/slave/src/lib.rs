//! The slave of a murder: follows a master and serves what it has.
//!
//! [`Slave::start`] keeps a link to the master (ours or Cyrus's): the whole list, then every change,
//! applied to the slave's own store, which is complete from the first whole list on and is served whatever
//! becomes of the link. Two rules guard it:
//!
//! * Nothing is deleted on a guess. What a dump lacks is deleted only when its OK and the answer to a NOOP
//!   have come. If that is more than 20 % of the list and more than 100 names, or all of it, the
//!   names are *held*: they stay until an operator confirms ([`Slave::confirm_deletes`]) or the master
//!   speaks of them.
//! * The store is changed in one place only, by what the master says.
//!
//! On the same host others **kick** ([`server::KickSocket`]) to have the list brought up to date, and a NOOP
//! of the slave's own clients reaches through to the master ([`SlaveRole`]).

mod census;
mod config;
mod connect;
mod files;
mod follower;
mod following;
mod held;
mod kick;
mod link;
mod pace;
mod provenance;
mod pulse;
mod replica;
mod resync;
mod resyncing;
mod retry;
mod role;
mod slave;
mod upstream;
mod wishes;

pub use config::{Exported, SlaveConfig};
pub use files::FileError;
pub use link::{Phase, Resynced, Unreached, Way};
pub use provenance::{Provenance, forget_slave, is_slave_store};
pub use replica::ApplyError;
pub use role::SlaveRole;
pub use slave::{Slave, StartError, Status};
pub use upstream::{InvalidUpstream, Upstream};
