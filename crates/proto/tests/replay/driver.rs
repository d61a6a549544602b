//! The smallest server that uses a session: a map, one user, a pretended TLS.

use std::collections::{BTreeMap, VecDeque};

use proto::codec::{BadBase64, Tag, encode, encode_sasl_line};
use proto::session::{Request, SaslAnswer, ServerSession, SessionConfig, Step};
use proto::{Edit, EditKind, Entry, Location, MailboxName, Refusal, ReservedBy};

pub(crate) struct World {
    name: String,
    directory: BTreeMap<MailboxName, Entry>,
    peers: Vec<(char, Peer)>,
    last: usize,
}

struct Peer {
    session: ServerSession,
    out: Vec<u8>,
    closed: bool,
    tls: bool,
    certificate: bool,
    exchange: Option<(Tag, Mechanism)>,
    /// What a SCRAM server said when the transcript was made.
    challenges: VecDeque<Vec<u8>>,
    stream: Option<Stream>,
}

#[derive(Clone)]
enum Mechanism {
    Plain,
    External,
    Scram { sent: usize },
    Unknown,
}

struct Stream {
    tag: Tag,
    hosts: Vec<Vec<u8>>,
    pending: Vec<MailboxName>,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            directory: BTreeMap::new(),
            peers: Vec::new(),
            last: 0,
        }
    }

    fn is_slave(&self) -> bool {
        self.name.starts_with("21") || self.name.starts_with("15b")
    }

    pub(crate) fn connect(&mut self, who: char, authenticated: bool) {
        let mut session = ServerSession::new(SessionConfig {
            starttls_available: !self.name.starts_with("16"),
            read_only: self.is_slave(),
            ..SessionConfig::default()
        });
        if authenticated {
            session.authenticated();
        }
        let peer = Peer {
            session,
            out: Vec::new(),
            closed: false,
            tls: false,
            certificate: false,
            exchange: None,
            challenges: VecDeque::new(),
            stream: None,
        };
        self.peers.retain(|(other, _)| *other != who);
        self.peers.push((who, peer));
        self.last = self.peers.len() - 1;
    }

    fn find(&mut self, who: char) -> &mut Peer {
        if !self.peers.iter().any(|(other, _)| *other == who) {
            self.connect(who, false);
        }
        self.last = self
            .peers
            .iter()
            .position(|(other, _)| *other == who)
            .unwrap();
        &mut self.peers[self.last].1
    }

    pub(crate) fn end_of_input(&mut self) {
        let peer = &mut self.peers[self.last].1;
        let last_words = peer.session.eof();
        peer.out.extend(last_words);
        peer.closed = true;
    }

    pub(crate) fn tls(&mut self, certificate: bool) {
        self.peers[self.last].1.certificate = certificate;
    }

    pub(crate) fn is_closed(&mut self, who: char) -> bool {
        let peer = self.find(who);
        peer.closed && peer.out.is_empty()
    }

    pub(crate) fn unheard(&self) -> String {
        let out = self.peers.iter().map(|(_, peer)| peer.out.escape_ascii());
        out.map(|text| text.to_string()).collect()
    }

    pub(crate) fn client(&mut self, who: char, octets: &[u8], one_by_one: bool) {
        let pieces = octets.chunks(if one_by_one { 1 } else { octets.len() });
        for piece in pieces {
            self.find(who).session.buffer().extend_from_slice(piece);
            self.run();
        }
    }

    /// As much of what the server said as is expected.
    pub(crate) fn hear(&mut self, who: char, expected: &[u8]) -> Vec<u8> {
        let banner = self.banner();
        let name = self.name.clone();
        let is_new = !self.peers.iter().any(|(other, _)| *other == who);
        let peer = self.find(who);
        if (is_new || peer.out.is_empty()) && expected.starts_with(b"* AUTH") {
            peer.out.extend(banner);
        }
        // The transcript plays the SCRAM server.
        if name.starts_with("04") && peer.out.is_empty() && !expected.contains(&b' ') {
            peer.challenges.push_back(expected.to_vec());
            self.run();
        } else if peer.out.is_empty() {
            self.flush();
        }
        let peer = self.find(who);
        let len = peer.out.iter().position(|&octet| octet == b'\n');
        let line: Vec<u8> = peer.out.drain(..len.map_or(0, |at| at + 1)).collect();
        // Mechanisms and versions differ from site to site.
        let masked = [b"* AUTH ".as_slice(), b"* OK MUPDATE "];
        let alike = |mask: &&[u8]| line.starts_with(mask) && expected.starts_with(mask);
        if masked.iter().any(alike) {
            expected.to_vec()
        } else {
            line
        }
    }

    fn banner(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let peer = self.peers.get(self.last).map(|(_, peer)| peer);
        let role = if self.is_slave() {
            encode::BannerRole::Slave {
                url: "mupdate://127.0.0.1:13905",
            }
        } else {
            encode::BannerRole::Master
        };
        let banner = encode::Banner {
            mechanisms: &["PLAIN".into(), "SCRAM-SHA-1".into()],
            starttls: !self.name.starts_with("16") && !peer.is_some_and(|peer| peer.tls),
            compress: true,
            resync: false,
            servername: "master.murder.test",
            implementation: "Cyrus IMAP",
            version: "3.6.1",
            role,
        };
        encode::banner(&mut out, &banner);
        out
    }

    fn run(&mut self) {
        loop {
            let step = self.peers[self.last].1.session.next();
            match step {
                Step::NeedInput if self.peers[self.last].1.play_scram() => {}
                Step::NeedInput => return,
                Step::Reply(octets) => self.peers[self.last].1.out.extend(octets),
                Step::Close(octets) => {
                    self.peers[self.last].1.out.extend(octets);
                    self.peers[self.last].1.closed = true;
                }
                Step::Request(request) => self.carry_out(request),
            }
        }
    }

    fn carry_out(&mut self, request: Request) {
        let mut out = Vec::new();
        match request {
            Request::Authenticate {
                tag,
                mechanism,
                initial,
            } => {
                let external = self.name.starts_with("15b");
                let peer = &mut self.peers[self.last].1;
                peer.authenticate(tag, &mechanism, initial, external);
            }
            Request::SaslAnswer(answer) => self.peers[self.last].1.answer(answer),
            Request::StartTls { tag } => {
                encode::ok_bare(&mut out, &tag, "Begin TLS negotiation now");
                let peer = &mut self.peers[self.last].1;
                peer.session.tls_started();
                peer.tls = true;
                out.extend(self.banner());
            }
            Request::Compress { tag, algorithm } => {
                let text = [algorithm.as_slice(), b" active"].concat();
                encode::ok_bare(&mut out, &tag, text);
                self.peers[self.last].1.session.compress_started();
            }
            Request::Logout { tag } => {
                encode::ok(&mut out, &tag, "bye-bye");
                self.peers[self.last].1.closed = true;
            }
            Request::Noop { tag } => {
                self.flush();
                encode::ok(&mut out, &tag, "Noop done");
            }
            Request::Edit { tag, edit } => match edit.and_then(|edit| self.edit(edit)) {
                Ok(()) => encode::ok(&mut out, &tag, "done"),
                Err(refusal) => encode::no(&mut out, &tag, &refusal.to_string()),
            },
            Request::Find { tag, name } => {
                if let Some((name, entry)) =
                    name.and_then(|name| self.directory.get_key_value(&name))
                {
                    encode::entry_line(&mut out, &tag, name, entry);
                }
                encode::ok(&mut out, &tag, "Search completed");
            }
            Request::List { tag, prefix } => {
                for (name, entry) in &self.directory {
                    if entry.location().as_bytes().starts_with(&prefix) {
                        encode::entry_line(&mut out, &tag, name, entry);
                    }
                }
                encode::ok(&mut out, &tag, "list complete");
            }
            Request::Update { tag, hosts } => {
                for (name, entry) in &self.directory {
                    if wanted(&hosts, entry.location()) {
                        encode::entry_line(&mut out, &tag, name, entry);
                    }
                }
                encode::ok(&mut out, &tag, "streaming starts");
                let peer = &mut self.peers[self.last].1;
                peer.session.streaming();
                peer.stream = Some(Stream {
                    tag,
                    hosts,
                    pending: Vec::new(),
                });
            }
            other => panic!("Cyrus knows no {other:?}"),
        }
        self.peers[self.last].1.out.extend(out);
    }

    /// Cyrus's rules, and ours where it crashes.
    fn edit(&mut self, edit: Edit) -> Result<(), Refusal> {
        let replicated = self.name.starts_with("22");
        let before = self.directory.get(&edit.mailbox).cloned();
        let after = match (edit.kind, &before) {
            (EditKind::Activate { location, acl }, _) => Some(Entry::Active { location, acl }),
            (EditKind::Reserve { location }, Some(before))
                if !replicated && *before.location() != location =>
            {
                return Err(Refusal::Exists);
            }
            (EditKind::Reserve { location }, _) => Some(Entry::Reserved {
                location,
                by: ReservedBy::Reserve,
            }),
            (EditKind::Deactivate { .. }, Some(Entry::Reserved { .. })) => {
                return Err(Refusal::NotActive);
            }
            (EditKind::Deactivate { .. }, None) => return Err(Refusal::DoesNotExist),
            (EditKind::Deactivate { location }, Some(_)) => Some(Entry::Reserved {
                location,
                by: ReservedBy::Deactivate,
            }),
            (EditKind::Delete, _) => None,
        };
        let locations = [before.as_ref(), after.as_ref()];
        for (_, peer) in &mut self.peers {
            let Some(stream) = &mut peer.stream else {
                continue;
            };
            let mut told = locations.iter().flatten();
            if told.any(|entry| wanted(&stream.hosts, entry.location())) {
                stream.pending.push(edit.mailbox.clone());
            }
        }
        match after {
            Some(entry) => self.directory.insert(edit.mailbox, entry),
            None => self.directory.remove(&edit.mailbox),
        };
        Ok(())
    }

    fn flush(&mut self) {
        let peer = &mut self.peers[self.last].1;
        let Some(stream) = &mut peer.stream else {
            return;
        };
        for name in stream.pending.drain(..) {
            match self.directory.get(&name) {
                Some(entry) => encode::entry_line(&mut peer.out, &stream.tag, &name, entry),
                None => encode::delete_line(&mut peer.out, &stream.tag, &name),
            }
        }
    }
}

fn wanted(hosts: &[Vec<u8>], location: &Location) -> bool {
    hosts.is_empty() || hosts.iter().any(|host| host == location.server())
}

impl Peer {
    fn authenticate(
        &mut self,
        tag: Tag,
        mechanism: &[u8],
        initial: Option<Result<Vec<u8>, BadBase64>>,
        external: bool,
    ) {
        let mechanism = match mechanism.to_ascii_uppercase().as_slice() {
            b"PLAIN" => Mechanism::Plain,
            b"EXTERNAL" if external => Mechanism::External,
            b"SCRAM-SHA-1" | b"SCRAM-SHA-256" => Mechanism::Scram { sent: 0 },
            _ => Mechanism::Unknown,
        };
        let unknown = matches!(mechanism, Mechanism::Unknown);
        self.exchange = Some((tag, mechanism));
        match initial {
            None if unknown => self.answer(SaslAnswer::BadBase64),
            None => {
                self.out.extend_from_slice(b"\r\n");
                self.session.expect_sasl_answer();
            }
            Some(initial) => {
                self.answer(initial.map_or(SaslAnswer::BadBase64, SaslAnswer::Data));
            }
        }
    }

    fn answer(&mut self, answer: SaslAnswer) {
        let (tag, mechanism) = self.exchange.clone().unwrap();
        let data = match answer {
            SaslAnswer::Cancelled => {
                encode::no_bare(&mut self.out, &tag, "Client canceled authentication");
                return self.session.authentication_ended();
            }
            SaslAnswer::BadBase64 => None,
            SaslAnswer::Data(data) => Some(data),
        };
        let accepted = match (mechanism, data) {
            (Mechanism::Plain, Some(data)) => data.ends_with(b"\0mupd\0secret"),
            (Mechanism::External, Some(data)) => self.certificate && data.is_empty(),
            (Mechanism::Scram { sent: 2 }, Some(data)) => data.is_empty(),
            // The challenge comes from the transcript, see `play_scram`.
            (Mechanism::Scram { .. }, Some(_)) => return,
            (_, _) => false,
        };
        self.exchange = None;
        if accepted {
            encode::ok(&mut self.out, &tag, "Authenticated");
            self.session.authenticated();
        } else {
            encode::no(&mut self.out, &tag, "undefined error!");
            self.session.authentication_ended();
        }
    }

    /// Whether the session goes on by a challenge.
    fn play_scram(&mut self) -> bool {
        let Some((_, Mechanism::Scram { sent })) = &mut self.exchange else {
            return false;
        };
        let Some(challenge) = self.challenges.pop_front() else {
            return false;
        };
        let base64 = challenge.strip_suffix(b"\r\n").unwrap();
        if !base64.is_empty() {
            *sent += 1;
        }
        let decoded = proto::codec::decode_base64(base64).unwrap();
        encode_sasl_line(&mut self.out, &decoded);
        self.session.expect_sasl_answer();
        true
    }
}
