//! Any octets as a segment, as its groups, and as the records within one: never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    store::fuzz::segment(octets);
    store::fuzz::groups(octets);
    store::fuzz::records(octets);
});
