//! What may happen to an owner, its relay and a client of that.

use proptest::prelude::*;
use proto::Edit;

use crate::common::{activate, deactivate, delete, reserve};

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Edits at the owner, each a change of its own.
    Edits(Vec<Edit>),
    /// The relay is told at most so many changes; deletions become held where `hold` says so.
    Chunk {
        changes_max: usize,
        hold: bool,
    },
    /// The relay comes back to the owner with its place.
    Reconnect,
    /// The relay compares its list with the owner's.
    Compare,
    /// Somebody changes the relay's list without a place, as a stock master's stream does.
    Unfollow(Vec<Edit>),
    OwnerForks,
    Confirm(bool),
    Snapshot,
    Restart {
        power_cut: Option<u64>,
        history: bool,
    },
    /// The relay's key changes, and back.
    OtherKey,
    /// A client of the relay is told at most so many changes.
    Client(usize),
    /// It goes and comes back with its last place.
    ClientReconnect,
    /// It comes with a list that it had from the owner, some changes ago.
    ClientFromOwner(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = (0..3u8).prop_map(|host| format!("be{host}!p"));
    let mailbox = (0..9u8).prop_map(|i| match i % 3 {
        0 => format!("user.u{i}"),
        1 => format!("d!user.u{}.f{i}", i / 3),
        _ => format!("shared.s{i}"),
    });
    (mailbox, at, 0..6u8).prop_map(|(mailbox, at, kind)| match kind {
        0 => reserve(&mailbox, &at),
        1 => deactivate(&mailbox, &at),
        2 | 3 => delete(&mailbox),
        _ => activate(&mailbox, &at),
    })
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec(edit(), 1..6)
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let cut = prop_oneof![Just(None), any::<u64>().prop_map(Some)];
    prop_oneof![
        8 => edits().prop_map(Step::Edits),
        10 => (1..7usize, prop::bool::weighted(0.2))
            .prop_map(|(changes_max, hold)| Step::Chunk { changes_max, hold }),
        2 => Just(Step::Reconnect),
        1 => Just(Step::Compare),
        1 => edits().prop_map(Step::Unfollow),
        1 => Just(Step::OwnerForks),
        1 => any::<bool>().prop_map(Step::Confirm),
        2 => Just(Step::Snapshot),
        3 => (cut, any::<bool>())
            .prop_map(|(power_cut, history)| Step::Restart { power_cut, history }),
        1 => Just(Step::OtherKey),
        6 => (1..6usize).prop_map(Step::Client),
        3 => Just(Step::ClientReconnect),
        3 => (0..12usize).prop_map(Step::ClientFromOwner),
    ]
}
