//! A host's `mailboxes.db`, read and written by Cyrus's own tools.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::cyrus::Node;
use crate::listing::{Known, Listing};

/// The file of a node.
#[derive(Clone, Copy, Debug)]
pub struct Database<'a>(pub &'a Node);

/// Keys and values as they are in the file.
pub type Records = BTreeMap<String, String>;

impl Database<'_> {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.0.config_directory().join("mailboxes.db")
    }

    /// What `ctl_mboxlist -d` reads, in the form of a master's list. Identifiers of an ACL are in byte order.
    pub fn listing(&self) -> Result<Listing> {
        let shown = self.0.tool("ctl_mboxlist", &["-d"], "")?;
        let all: BTreeMap<String, Value> =
            serde_json::from_str(&shown).with_context(|| format!("ctl_mboxlist -d: {shown}"))?;
        all.into_iter()
            .map(|(name, record)| {
                let known = known(&record).with_context(|| format!("{name}: {record}"))?;
                Ok((name, known))
            })
            .collect()
    }

    /// Everything in it, by `cyr_dbtool`.
    pub fn records(&self) -> Result<Records> {
        let shown = self.dbtool(&["show"])?;
        shown
            .lines()
            .map(|line| {
                let (key, value) = line.split_once('\t').context("a record without a value")?;
                Ok((key.to_owned(), value.to_owned()))
            })
            .collect()
    }

    /// Puts a record in.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        self.dbtool(&["set", key, value]).map(drop)
    }

    /// Takes a record out.
    pub fn remove(&self, key: &str) -> Result<()> {
        self.dbtool(&["delete", key]).map(drop)
    }

    fn dbtool(self, arguments: &[&str]) -> Result<String> {
        let path = self.path().display().to_string();
        let mut all = vec![path.as_str(), "twoskip"];
        all.extend(arguments);
        self.0.tool("cyr_dbtool", &all, "")
    }
}

fn known(record: &Value) -> Result<Known> {
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    let server = text("server").context("no server")?;
    let location = text("partition").map_or_else(
        || server.to_owned(),
        |partition| format!("{server}!{partition}"),
    );
    match text("mbtype") {
        Some("erz") => return Ok(Known::Reserved(location)),
        Some("er") => {}
        other => bail!("not a record of a remote mailbox: {other:?}"),
    }
    let acl = record
        .get("acl")
        .and_then(Value::as_object)
        .context("no ACL")?;
    let mut rights = String::new();
    for (identifier, value) in acl {
        let value = value.as_str().context("rights are no text")?;
        ensure!(!identifier.is_empty(), "an identifier is empty");
        rights.extend([identifier.as_str(), "\t", value, "\t"]);
    }
    Ok(Known::Active(location, rights))
}
