//! FIND and LIST (RFC 3656 sections 4.5 and 4.6).

use std::sync::Arc;

use proto::MailboxName;
use proto::codec::{Tag, encode};
use store::Version;

use super::{End, Session};
use crate::ListOrder;
use crate::dump::{self, Wanted};

impl Session {
    /// Answers from the current version: exact and case-sensitive. A name that can't exist is simply
    /// not there.
    pub(super) fn find(&mut self, tag: &Tag, mailbox: Option<&MailboxName>) -> Result<(), End> {
        let version = self.shared.store.current();
        let role = Arc::clone(&self.shared.role);
        let asker = self.asker()?;
        let found = mailbox.and_then(|name| version.find(name));
        if let Some(found) = found.filter(|found| role.shows(asker, found.entry.location())) {
            encode::entry_line(self.wire.tail(), tag, found.mailbox, found.entry);
        }
        encode::ok(self.wire.tail(), tag, "Search completed");
        Ok(())
    }

    /// Sends every entry whose location begins with `prefix`, all from one version, a page at a time
    /// as the peer reads.
    pub(super) async fn list(&mut self, tag: &Tag, prefix: &[u8]) -> Result<(), End> {
        self.asker()?.note_list(prefix);
        let wanted = if prefix.is_empty() {
            Wanted::All
        } else {
            Wanted::LocationPrefix(prefix.into())
        };
        let version = self.shared.store.current();
        match self.shared.config.list_orders.order_of(prefix) {
            ListOrder::Hierarchy => self.list_by_key(tag, &version, &wanted).await?,
            ListOrder::Octets => self.list_by_octets(tag, &version, wanted).await?,
        }
        encode::ok(self.wire.tail(), tag, "list complete");
        Ok(())
    }

    async fn list_by_key(
        &mut self,
        tag: &Tag,
        version: &Arc<Version>,
        wanted: &Wanted,
    ) -> Result<(), End> {
        let pool = self.shared.dump_pool.clone();
        let page_after = |after: Option<MailboxName>| {
            let (version, wanted, tag) = (Arc::clone(version), wanted.clone(), tag.clone());
            pool.start_job(move || dump::page(&version, after.as_ref(), &wanted, &tag))
        };
        let mut job = page_after(None);
        loop {
            let page = job.result().await.ok_or(End::Internal("dump pool"))?;
            self.wire.push_page(page.bytes);
            let next = page.next.map(|next| page_after(Some(next)));
            self.wire.flush().await?;
            match next {
                Some(next) => job = next,
                None => return Ok(()),
            }
        }
    }

    async fn list_by_octets(
        &mut self,
        tag: &Tag,
        version: &Arc<Version>,
        wanted: Wanted,
    ) -> Result<(), End> {
        let whole = Arc::clone(version);
        let job = move || Arc::new(dump::names_in_octet_order(&whole, &wanted));
        let names = self
            .shared
            .dump_pool
            .run(job)
            .await
            .ok_or(End::Internal("dump pool"))?;
        self.send_entries(tag, version, names).await
    }

    /// Sends the entries of these names, a page at a time as the peer reads.
    pub(super) async fn send_entries(
        &mut self,
        tag: &Tag,
        version: &Arc<Version>,
        names: Arc<Vec<MailboxName>>,
    ) -> Result<(), End> {
        let mut covered = 0;
        while covered < names.len() {
            let (version, names, tag) = (Arc::clone(version), Arc::clone(&names), tag.clone());
            let job =
                move || dump::lines_of(&version, names.get(covered..).unwrap_or_default(), &tag);
            let (lines, more) = self
                .shared
                .dump_pool
                .run(job)
                .await
                .ok_or(End::Internal("dump pool"))?;
            covered += more;
            self.wire.push_page(lines);
            self.wire.flush().await?;
        }
        Ok(())
    }
}
