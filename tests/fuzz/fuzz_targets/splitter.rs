//! The same octets, whole and in pieces, must lead a session through the same steps.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::codec::{CommandLimits, Limits};
use proto::resync::ResyncFrom;
use proto::session::{Request, SaslAnswer, ServerSession, SessionConfig, Step};

fuzz_target!(|input: &[u8]| {
    let [control, sizes @ ..] = input else {
        return;
    };
    let (sizes, octets) = sizes.split_at(sizes.len().min(8));
    assert_eq!(
        steps(*control, octets, &[octets.len().max(1)]),
        steps(*control, octets, &slices(sizes)),
    );
    assert_eq!(
        steps(*control, octets, &[octets.len().max(1)]),
        steps(*control, octets, &[1]),
    );
});

fn slices(sizes: &[u8]) -> Vec<usize> {
    let mut slices: Vec<usize> = sizes.iter().map(|&size| 1 + usize::from(size)).collect();
    slices.push(1);
    slices
}

/// What a session does with octets that come in pieces of these sizes, in turn.
fn steps(control: u8, octets: &[u8], sizes: &[usize]) -> Vec<Step> {
    let small = CommandLimits {
        line_bytes_max: 60,
        literal_bytes_max: 20,
        literals_bytes_max: 30,
    };
    let small = Limits {
        tag_bytes_max: 10,
        sasl_line_bytes_max: 20,
        before_login: small,
        after_login: CommandLimits {
            line_bytes_max: 90,
            ..small
        },
    };
    let mut session = ServerSession::new(SessionConfig {
        // What is thrown away at STARTTLS depends on what has come by then.
        starttls_available: false,
        resync_available: control & 16 != 0,
        read_only: control & 1 != 0,
        strict: control & 2 != 0,
        limits: if control & 4 != 0 {
            small
        } else {
            Limits::default()
        },
        ..SessionConfig::default()
    });
    if control & 8 != 0 {
        session.authenticated();
    }
    let mut steps = Vec::new();
    let mut rest = octets;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        session.buffer().extend_from_slice(piece);
        run(&mut session, &mut steps);
        rest = after;
    }
    steps.push(Step::Close(session.eof()));
    steps
}

fn run(session: &mut ServerSession, steps: &mut Vec<Step>) {
    loop {
        let step = session.next();
        match &step {
            Step::NeedInput => return,
            Step::Request(Request::Authenticate { initial, .. }) => match initial {
                Some(Ok(_)) => session.authenticated(),
                Some(Err(_)) => session.authentication_ended(),
                None => session.expect_sasl_answer(),
            },
            Step::Request(Request::SaslAnswer(answer)) => match answer {
                SaslAnswer::Data(data) if data.is_empty() => session.expect_sasl_answer(),
                SaslAnswer::Data(_) => session.authenticated(),
                SaslAnswer::BadBase64 | SaslAnswer::Cancelled => session.authentication_ended(),
            },
            Step::Request(Request::Compress { .. }) => session.compress_started(),
            Step::Request(Request::Update { .. }) => session.streaming(),
            Step::Request(Request::Resync { from, .. }) => match from {
                ResyncFrom::Nothing => session.streaming(),
                ResyncFrom::Place { sequence: 0, .. } => session.resync_refused(),
                ResyncFrom::Place { .. } => session.comparing(),
            },
            _ => {}
        }
        steps.push(step);
    }
}
