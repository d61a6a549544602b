//! imapd.conf: from lines to what this program does.

mod known;
mod login;
mod options;
mod raw;
mod settings;
mod store;
mod value;
mod words;

pub use known::Remark;
pub(crate) use login::SASLAUTHD_SOCKET;
pub use login::{LoginMethod, LoginSettings};
pub use raw::{Place, RawConfig, SyntaxError};
pub use settings::{
    ClientSettings, Examined, ExportMode, ExportSettings, LogSettings, MurderKind, Settings,
    SettingsError, TlsFiles,
};
pub use store::StoreSettings;
pub use value::ValueError;
