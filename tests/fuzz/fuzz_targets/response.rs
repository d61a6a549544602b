//! Responses must be found in the same places however they come, and parse without a panic.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use proto::codec::{ResponseLimits, ResponseSplitter, ResponseTooLong, parse_response};

fuzz_target!(|input: &[u8]| {
    let [control, octets @ ..] = input else {
        return;
    };
    let limits = if control & 1 == 0 {
        ResponseLimits::default()
    } else {
        ResponseLimits {
            line_bytes_max: 60,
            literal_bytes_max: 20,
        }
    };
    let whole = split(octets, octets.len().max(1), limits);
    assert_eq!(whole, split(octets, 1, limits));
    assert_eq!(whole, split(octets, 2 + usize::from(control >> 1), limits));
    for response in &whole.0 {
        // Either outcome is fine; a panic is not.
        drop(parse_response(response));
    }
});

type Found = (Vec<Vec<u8>>, Option<ResponseTooLong>);

fn split(octets: &[u8], size: usize, limits: ResponseLimits) -> Found {
    let mut splitter = ResponseSplitter::new(limits);
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    for piece in octets.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            match splitter.next(&mut buffer) {
                Ok(Some(response)) => found.push(response.to_vec()),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}
