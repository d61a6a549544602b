//! A frontend: a host where real Cyrus programs read the `mailboxes.db` that our server keeps.

mod database;
mod follower;
mod holder;
mod imap;
mod imapd;
mod relay;
mod scripted;

pub use database::{Database, Records};
pub use follower::{Follower, upstream};
pub use holder::LockHolder;
pub use imap::{Answer, Imap};
pub use imapd::{Imapd, MailHost, PROXY, PROXYING, add_user};
pub use relay::Relay;
pub use scripted::ScriptedMaster;
