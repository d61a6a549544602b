//! One file of the simulated disk.

/// Octets that a disk writes at once.
const SECTOR: usize = 64;

/// What becomes of what was not synced when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// All of it is lost.
    Lose,
    /// All of it is kept.
    Keep,
    /// Some writes are lost, some torn, and their order is not kept.
    Mix,
}

/// A change of a file.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

/// A file: what a reader sees, what is on the disk, and what lies between.
#[derive(Clone, Default)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Op>,
}

impl Inode {
    pub(super) fn durable(content: Vec<u8>) -> Self {
        Self {
            live: content.clone(),
            durable: content,
            pending: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, op: Op) {
        perform(&mut self.live, &op);
        self.pending.push(op);
    }

    /// A sync that fails forgets what was to be written: later ones know nothing of it.
    pub(super) fn sync(&mut self, succeeds: bool) {
        for op in std::mem::take(&mut self.pending) {
            if succeeds {
                perform(&mut self.durable, &op);
            }
        }
    }

    pub(super) fn lose_power(&mut self, tear: Tear, dice: &mut Dice) {
        let mut pending = std::mem::take(&mut self.pending);
        match tear {
            Tear::Lose => pending.clear(),
            Tear::Keep => {}
            Tear::Mix => pending = mixed(pending, dice),
        }
        for op in &pending {
            perform(&mut self.durable, op);
        }
        self.live.clone_from(&self.durable);
    }
}

fn perform(content: &mut Vec<u8>, op: &Op) {
    match op {
        Op::SetLen(len) => content.resize(*len, 0),
        Op::Write(_, octets) if octets.is_empty() => {}
        Op::Write(offset, octets) => {
            let end = offset + octets.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            if let Some(place) = content.get_mut(*offset..end) {
                place.copy_from_slice(octets);
            }
        }
    }
}

fn mixed(pending: Vec<Op>, dice: &mut Dice) -> Vec<Op> {
    let mut kept: Vec<Op> = Vec::new();
    for op in pending {
        let Op::Write(offset, octets) = &op else {
            if dice.below(2) == 0 {
                kept.push(op);
            }
            continue;
        };
        for (i, sector) in octets.chunks(SECTOR).enumerate() {
            let cut = match dice.below(4) {
                0 => 0,
                1 => dice.below(sector.len() + 1),
                _ => sector.len(),
            };
            let part = sector.get(..cut).unwrap_or_default().to_vec();
            kept.push(Op::Write(offset + i * SECTOR, part));
        }
    }
    for i in (1..kept.len()).rev() {
        kept.swap(i, dice.below(i + 1));
    }
    kept
}

/// Repeatable chance.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound` (`SplitMix64`), 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        let chosen = mixed.checked_rem(bound).unwrap_or_default();
        usize::try_from(chosen).unwrap_or_default()
    }
}
