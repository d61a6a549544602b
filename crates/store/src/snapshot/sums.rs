//! The sums of a list as they stand in its snapshot, so that a start need not compute all digests anew.

use std::sync::Arc;

use crate::bytes::{Reader, put_short};
use crate::digests::Digests;
use crate::{Root, Sum};

/// Sums that have been read so far.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) hosts: Vec<(Arc<[u8]>, Sum)>,
    pub(super) buckets: Vec<Sum>,
}

impl Sums {
    /// Takes in those of another block.
    pub(super) fn extend(&mut self, more: Self) {
        self.hosts.extend(more.hosts);
        self.buckets.extend(more.buckets);
    }

    /// Those of a list that adds up to `sum`; `None`: they are not.
    pub(super) fn into_digests(self, sum: Sum) -> Option<Digests> {
        Digests::kept(sum, self.hosts, self.buckets)
    }
}

pub(super) fn put_host(out: &mut Vec<u8>, server: &[u8], sum: Sum) {
    put_short(out, server);
    put_bucket(out, sum);
}

pub(super) fn put_bucket(out: &mut Vec<u8>, sum: Sum) {
    out.extend_from_slice(&sum.count.to_be_bytes());
    out.extend_from_slice(&sum.root.0.to_be_bytes());
}

/// So many sums of servers.
pub(super) fn hosts(octets: &[u8], items: u32) -> Option<Sums> {
    let mut input = Reader::new(octets);
    let host = |_| Some((input.short()?.into(), sum(&mut input)?));
    let hosts = (0..items).map(host).collect::<Option<_>>()?;
    input.is_empty().then(|| Sums {
        hosts,
        ..Sums::default()
    })
}

/// So many sums of buckets.
pub(super) fn buckets(octets: &[u8], items: u32) -> Option<Sums> {
    let mut input = Reader::new(octets);
    let buckets = (0..items).map(|_| sum(&mut input)).collect::<Option<_>>()?;
    input.is_empty().then(|| Sums {
        buckets,
        ..Sums::default()
    })
}

fn sum(input: &mut Reader<'_>) -> Option<Sum> {
    Some(Sum {
        count: input.u64()?,
        root: Root(input.u128()?),
    })
}
