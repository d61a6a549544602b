//! What the splitter calls a command must parse, and a command must survive being written and read.

#![no_main]

use bytes::{Buf, BytesMut};
use libfuzzer_sys::fuzz_target;
use proto::codec::{Limits, Split, Splitter, Verb, encode, parse_command};

fuzz_target!(|input: &[u8]| {
    if let Ok((tag, command)) = parse_command(input) {
        let mut written = Vec::new();
        encode::command(&mut written, &tag, &command);
        assert_eq!(parse_command(&written).unwrap(), (tag, command));
    }
    let mut splitter = Splitter::new(&Limits::default());
    let mut buffer = BytesMut::from(input);
    loop {
        match splitter.next(&mut buffer) {
            Split::Incomplete | Split::TooLong(_) => return,
            Split::GoAhead | Split::Broken(_) => {}
            Split::Head { word, .. } => {
                let word = buffer[word].split(|&octet| octet == 0).next();
                match Verb::from_word(word.unwrap_or_default()) {
                    Some(verb) => splitter.accept(verb.shape()),
                    None => splitter.refuse(),
                }
            }
            Split::Whole { len } => {
                let command = &buffer[..len];
                assert!(parse_command(command).is_ok(), "{}", command.escape_ascii());
                buffer.advance(len);
            }
        }
    }
});
