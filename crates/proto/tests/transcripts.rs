//! Dialogues recorded from Cyrus 3.6.1, replayed against the session with a directory of a few
//! lines as its driver. Where the session differs on purpose, the transcript says so in a comment.

#[cfg(test)]
mod replay;

use replay::driver::World;
use replay::script::{Line, Script};

/// How a client's octets reach the server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pieces {
    /// Everything up to the next answer at once.
    Whole,
    /// One by one.
    Octets,
}

fn replay(name: &str, text: &str, pieces: Pieces) {
    let script = Script::parse(text);
    let mut world = World::new(name);
    for (number, line) in script.lines {
        match line {
            Line::Connection { who, authenticated } => world.connect(who, authenticated),
            Line::EndOfInput => world.end_of_input(),
            Line::Tls { certificate } => world.tls(certificate),
            Line::Client { who, octets } => world.client(who, &octets, pieces == Pieces::Octets),
            Line::Server { who, octets } => {
                let heard = world.hear(who, &octets);
                assert_eq!(
                    heard.escape_ascii().to_string(),
                    octets.escape_ascii().to_string(),
                    "{name} line {number}, {pieces:?}"
                );
            }
            Line::Closed { who } => assert!(world.is_closed(who), "{name} line {number}"),
        }
    }
    assert_eq!(world.unheard(), "", "{name} at its end, {pieces:?}");
}

macro_rules! transcripts {
    ($($test:ident = $file:literal,)*) => {$(
        #[test]
        fn $test() {
            let text = include_str!(concat!("transcripts/", $file, ".txt"));
            replay($file, text, Pieces::Whole);
            // One by one, what follows STARTTLS in clear would come too late to be thrown away.
            if !$file.starts_with("15") {
                replay($file, text, Pieces::Octets);
            }
        }
    )*};
}

transcripts! {
    banner = "01-banner",
    auth_plain = "02-auth-plain",
    auth_errors = "03-auth-errors",
    auth_scram = "04-auth-scram",
    before_login = "05-before-login",
    transitions_standard = "06-transitions-standard",
    find_list = "09-find-list",
    arguments = "10-arguments",
    lines = "11-lines",
    strings = "12-strings",
    starttls = "15-starttls",
    starttls_external = "15b-starttls-external",
    starttls_off = "16-starttls-off",
    compress = "17-compress",
    update = "18-update",
    update_batching = "19-update-batching",
    update_partial = "20-update-partial",
    slave = "21-slave",
    transitions_replicated = "22-transitions-replicated",
    half_close = "24-half-close",
    literal_limit = "26-literal-limit",
}
