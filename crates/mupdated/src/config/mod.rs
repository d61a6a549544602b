//! imapd.conf: from lines to what this program does.

mod raw;
mod settings;
mod value;

pub use raw::{Place, RawConfig, SyntaxError};
pub use settings::{
    ClientSettings, ExportMode, ExportSettings, LogSettings, MurderKind, Settings, SettingsError,
    TlsFiles,
};
pub use value::ValueError;
