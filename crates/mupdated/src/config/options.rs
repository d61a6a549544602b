//! Typed access to the options of one service.

use std::cell::RefCell;
use std::path::PathBuf;

use super::raw::RawConfig;
use super::settings::SettingsError;
use super::value::{self, ValueError};

/// The options of a file for one service, and the mistakes met so far.
pub(super) struct Options<'a> {
    raw: &'a RawConfig,
    service: &'a str,
    mistakes: RefCell<Vec<SettingsError>>,
}

impl<'a> Options<'a> {
    pub(super) fn new(raw: &'a RawConfig, service: &'a str) -> Self {
        Self {
            raw,
            service,
            mistakes: RefCell::default(),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.raw
            .option(self.service, name)
            .map(|(_, option)| option.value.as_str())
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    pub(super) fn words(&self, name: &str) -> Option<Vec<String>> {
        self.text(name)
            .map(|text| text.split_whitespace().map(str::to_owned).collect())
    }

    /// All options whose name begins with `prefix`, without it.
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        self.raw.with_prefix(self.service, prefix)
    }

    /// The value, if there is one that can be used.
    pub(super) fn parse<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let (name, option) = self.raw.option(self.service, name)?;
        parse(&option.value)
            .map_err(|cause| {
                self.mistake(SettingsError::Value {
                    place: option.place.clone(),
                    name: name.to_owned(),
                    value: option.value.clone(),
                    cause,
                });
            })
            .ok()
    }

    pub(super) fn number(&self, name: &str, min: u64, max: usize) -> Option<usize> {
        let max = u64::try_from(max).unwrap_or(u64::MAX);
        self.parse(name, |text| value::number(text, min, max))
            .map(usize_of)
    }

    pub(super) fn mistake(&self, mistake: SettingsError) {
        self.mistakes.borrow_mut().push(mistake);
    }

    pub(super) fn into_mistakes(self) -> Vec<SettingsError> {
        self.mistakes.into_inner()
    }
}

pub(super) fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
