//! A site's options for libsasl2.

use std::collections::HashMap;
use std::ffi::{CStr, CString};

/// The `sasl_*` lines of an imapd.conf, by name without that prefix and in lower case. Values with a
/// NUL in them are left out: C can't have them.
#[derive(Debug, Clone, Default)]
pub struct Options {
    values: HashMap<String, CString>,
}

impl Options {
    /// What libsasl2 gets when it, or one of its plugins, asks for an option: `<plugin>_<option>`
    /// before `<option>`, as in Cyrus's programs.
    pub(crate) fn answer(&self, plugin: Option<&str>, option: &str) -> Option<&CStr> {
        let option = option.to_ascii_lowercase();
        let of_plugin = plugin.and_then(|plugin| {
            let name = format!("{}_{option}", plugin.to_ascii_lowercase());
            self.values.get(&name)
        });
        of_plugin
            .or_else(|| self.values.get(&option))
            .map(CString::as_c_str)
    }
}

impl<N: AsRef<str>, V: Into<Vec<u8>>> FromIterator<(N, V)> for Options {
    /// Names with the prefix `sasl_` or without.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(options: I) -> Self {
        let values = options.into_iter().filter_map(|(name, value)| {
            let name = name.as_ref().to_ascii_lowercase();
            let name = name.strip_prefix("sasl_").unwrap_or(&name).to_owned();
            Some((name, CString::new(value).ok()?))
        });
        Self {
            values: values.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_its_own_first() {
        let options: Options = [
            ("sasl_keytab", "common"),
            ("sasl_GSSAPI_keytab", "its own"),
            ("mech_list", "PLAIN"),
        ]
        .into_iter()
        .collect();
        let answer = |plugin, option| options.answer(plugin, option).map(CStr::to_bytes);
        assert_eq!(answer(Some("GSSAPI"), "keytab"), Some(&b"its own"[..]));
        assert_eq!(answer(Some("other"), "keytab"), Some(&b"common"[..]));
        assert_eq!(answer(None, "keytab"), Some(&b"common"[..]));
        assert_eq!(answer(None, "mech_list"), Some(&b"PLAIN"[..]));
        assert_eq!(answer(None, "pwcheck_method"), None);
    }
}
