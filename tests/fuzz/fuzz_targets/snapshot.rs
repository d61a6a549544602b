//! Any octets as a snapshot, and as the items within a block of one: never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    store::fuzz::snapshot(octets);
    store::fuzz::snapshot_items(octets);
});
