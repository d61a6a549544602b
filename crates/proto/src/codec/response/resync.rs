//! Responses of RESYNC (`docs/resync.md`, sections 5, 6 and 8), as a client reads them.

use std::borrow::Cow;

use nom::Parser;
use nom::combinator::{map, map_opt, verify};
use nom::multi::many0;

use super::data;
use crate::codec::strings::spaced_string;
use crate::resync::{
    BINARY_BYTES_MAX, DigestKey, EntryHashBytes, EpochBytes, WireSum, read_epoch, read_hashes,
    read_number, read_sequence,
};

type Failure<'a> = nom::error::Error<&'a [u8]>;

/// What a server says to RESYNC, in the live phase and in a compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResyncResponse {
    /// HISTORY: what later sequences and hashes refer to.
    History {
        /// The epoch of later sequences.
        epoch: EpochBytes,
        /// The key of hashes.
        key: DigestKey,
        /// Epochs left behind, oldest first, each with the last sequence shared with it.
        forks: Vec<(EpochBytes, u64)>,
    },
    /// LOG: the changes since this sequence follow.
    Log {
        /// The sequence asked for.
        sequence: u64,
    },
    /// FULL: the whole list follows.
    Full {
        /// Its place.
        sequence: u64,
        /// What it adds up to.
        sum: WireSum,
    },
    /// DIGEST: a compare begins.
    Digest {
        /// The place of the list that is compared.
        sequence: u64,
        /// Its number of buckets.
        buckets: u32,
        /// What it adds up to.
        sum: WireSum,
    },
    /// POSITION: everything up to here has been told.
    Position {
        /// Up to where.
        sequence: u64,
    },
    /// POINT: the list is now that of this sequence.
    Point {
        /// Which.
        sequence: u64,
        /// What it adds up to.
        sum: WireSum,
    },
    /// SUMS: of consecutive groups or buckets.
    Sums {
        /// Number of the first.
        first: u32,
        /// Their sums.
        sums: Vec<WireSum>,
    },
    /// UNKNOWN: hashes of entries that the server does not have.
    Unknown {
        /// Which.
        hashes: Vec<EntryHashBytes>,
    },
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) enum Word {
    History,
    Log,
    Full,
    Digest,
    Position,
    Point,
    Sums,
    Unknown,
}

/// What follows the word.
pub(super) fn parse(word: Word, input: &[u8]) -> Option<ResyncResponse> {
    match word {
        Word::History => {
            let forks = many0((epoch(), sequence()));
            data(input, (epoch(), key(), forks))
                .map(|(epoch, key, forks)| ResyncResponse::History { epoch, key, forks })
        }
        Word::Log => data(input, sequence()).map(|sequence| ResyncResponse::Log { sequence }),
        Word::Full => data(input, (sequence(), sum()))
            .map(|(sequence, sum)| ResyncResponse::Full { sequence, sum }),
        Word::Digest => {
            data(input, (sequence(), number(), sum())).map(|(sequence, buckets, sum)| {
                ResyncResponse::Digest {
                    sequence,
                    buckets,
                    sum,
                }
            })
        }
        Word::Position => {
            data(input, sequence()).map(|sequence| ResyncResponse::Position { sequence })
        }
        Word::Point => data(input, (sequence(), sum()))
            .map(|(sequence, sum)| ResyncResponse::Point { sequence, sum }),
        Word::Sums => data(input, (number(), binary(WireSum::read_all)))
            .map(|(first, sums)| ResyncResponse::Sums { first, sums }),
        Word::Unknown => {
            data(input, binary(read_hashes)).map(|hashes| ResyncResponse::Unknown { hashes })
        }
    }
}

fn epoch<'a>() -> impl Parser<&'a [u8], Output = EpochBytes, Error = Failure<'a>> {
    map_opt(spaced_string, |text: Cow<'_, [u8]>| read_epoch(&text))
}

fn sequence<'a>() -> impl Parser<&'a [u8], Output = u64, Error = Failure<'a>> {
    map_opt(spaced_string, |text: Cow<'_, [u8]>| read_sequence(&text))
}

fn number<'a>() -> impl Parser<&'a [u8], Output = u32, Error = Failure<'a>> {
    map_opt(spaced_string, |text: Cow<'_, [u8]>| read_number(&text))
}

fn key<'a>() -> impl Parser<&'a [u8], Output = DigestKey, Error = Failure<'a>> {
    binary(|octets| Some(DigestKey(octets.try_into().ok()?)))
}

fn sum<'a>() -> impl Parser<&'a [u8], Output = WireSum, Error = Failure<'a>> {
    map(
        verify(binary(WireSum::read_all), |sums: &Vec<WireSum>| {
            sums.len() == 1
        }),
        |sums| sums.first().copied().unwrap_or_default(),
    )
}

fn binary<'a, O>(
    read: impl Fn(&[u8]) -> Option<O>,
) -> impl Parser<&'a [u8], Output = O, Error = Failure<'a>> {
    map_opt(spaced_string, move |octets: Cow<'_, [u8]>| {
        read(&octets).filter(|_| octets.len() <= BINARY_BYTES_MAX)
    })
}
