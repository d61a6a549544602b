//! A client of MUPDATE servers (RFC 3656): every command of one connection, and the stream of
//! changes after UPDATE.
//!
//! A [`Client`] is one connection that has logged in. It runs one command at a time; nothing runs
//! in the background, so dropping it closes the connection. [`Client::update`] turns it into
//! [`Updates`], and [`Client::resync`] into [`Resync`], whose `next` can be cancelled at any point
//! without losing a line.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! use std::time::Duration;
//! use client::{Client, Login, Options, Timeouts};
//!
//! let options = Options::new(
//!     Login::password("backend1", "secret".into()),
//!     Timeouts::each(Duration::from_secs(10)),
//! );
//! let mut client = Client::connect("mupdate.example.org", 3905, &options).await?;
//! let mut listing = client.list(Some(b"backend1.example.org!"));
//! while let Some(listed) = listing.next().await? {
//!     # drop(listed);
//! }
//! client.logout().await
//! # }
//! ```

mod banner;
mod client;
mod error;
mod listing;
mod options;
mod record;
mod resync;
mod updates;
mod wire;

pub use self::banner::Banner;
pub use self::client::Client;
pub use self::error::Error;
pub use self::listing::Listing;
pub use self::options::{Login, Options, Timeouts, Tls};
pub use self::record::{Listed, Unusable};
pub use self::resync::{Entries, EntriesAnswer, GroupSums, Resync, ResyncEvent};
pub use self::updates::{BARRIERS_MAX, Barrier, Update, Updates};
pub use self::wire::Octets;
pub use proto::resync::{DigestKey, Named, ResyncFrom, WireSum};
