//! The server's side of a session.

use bytes::{Buf, BytesMut};

use super::checked;
use super::request::{Request, SaslAnswer, Step};
use super::state::{Pending, Phase, State};
use crate::codec::{
    Command, Fault, Limits, ResyncCommand, Split, Splitter, Tag, TooLong, Verb, before_nul,
    decode_base64, encode, parse_command,
};
use crate::{MAILBOX_NAME_BYTES_MAX, MailboxName, Refusal};

/// What a session may do, fixed for its life.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a line of the administrator's configuration"
)]
pub struct SessionConfig {
    /// Whether there is a certificate. Without one STARTTLS is an unknown command.
    pub starttls_available: bool,
    /// Whether COMPRESS is a known command.
    pub compress_available: bool,
    /// Whether RESYNC is offered, and with it the commands of a compare.
    pub resync_available: bool,
    /// Whether edits are refused: a slave.
    pub read_only: bool,
    /// Whether a DELETE of a name that can't exist is a NO (`mupdate_strict`).
    pub strict: bool,
    /// Longest mailbox name that is taken in, in octets (`mupdate_max_name`).
    pub name_bytes_max: usize,
    /// How much a peer may send.
    pub limits: Limits,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            starttls_available: false,
            compress_available: true,
            resync_available: false,
            read_only: false,
            strict: false,
            name_bytes_max: MAILBOX_NAME_BYTES_MAX,
            limits: Limits::default(),
        }
    }
}

/// One client's session, as the server sees it.
#[derive(Debug)]
pub struct ServerSession {
    config: SessionConfig,
    buffer: BytesMut,
    splitter: Splitter,
    state: State,
    tls: bool,
    compress: bool,
    /// Tag and verb of the command that is being read.
    command: Option<Tag>,
}

impl ServerSession {
    /// A session whose banner has been sent.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            splitter: Splitter::new(&config.limits),
            config,
            buffer: BytesMut::new(),
            state: State::Ready(Phase::NotAuthenticated),
            tls: false,
            compress: false,
            command: None,
        }
    }

    /// Where octets from the socket go, at the end. The driver must not take from it, except by
    /// [`take_buffer`](Self::take_buffer).
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// What to do next. To be called until it says [`Step::NeedInput`].
    #[expect(
        clippy::should_implement_trait,
        reason = "NeedInput is not an end, so this is no iterator"
    )]
    pub fn next(&mut self) -> Step {
        match &self.state {
            State::Ready(_) => self.next_command(),
            State::SaslAnswer { tag, at } => {
                let (tag, at) = (tag.clone(), *at);
                self.next_sasl_answer(tag, at)
            }
            State::Driver(..) => Step::NeedInput,
            State::Closed => {
                self.buffer.clear();
                Step::NeedInput
            }
        }
    }

    /// The peer sends no more: last words, possibly none, before the connection is closed. Only
    /// after [`next`](Self::next) has said [`Step::NeedInput`].
    pub fn eof(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.state {
            State::Ready(_) => {
                if let (Some(fault), Some(tag)) = (self.splitter.cut_off(), &self.command) {
                    encode::bad(&mut out, tag, fault.text());
                }
            }
            State::SaslAnswer { tag, .. } | State::Driver(_, Pending::Sasl(tag)) => {
                encode::no_bare(
                    &mut out,
                    tag,
                    "Error reading client response: end of file reached",
                );
            }
            State::Driver(_, Pending::Other) | State::Closed => {}
        }
        self.state = State::Closed;
        out
    }

    /// Whether the peer has logged in.
    pub fn is_authenticated(&self) -> bool {
        self.state.phase() != Phase::NotAuthenticated
    }

    /// Whether the peer has sent UPDATE and the driver has answered it.
    pub fn is_streaming(&self) -> bool {
        self.state.phase() == Phase::Streaming
    }

    /// Whether a compare is under way.
    pub fn is_comparing(&self) -> bool {
        self.state.phase() == Phase::Comparing
    }

    /// Whether the session waits for its driver to finish a request. Nothing should be read
    /// meanwhile: it would only pile up in the buffer.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Driver(..))
    }

    /// Whether nothing more is to be read.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The exchange succeeded and OK has been sent.
    pub fn authenticated(&mut self) {
        self.splitter.set_limits(self.config.limits.after_login);
        self.state = State::Ready(Phase::Authenticated);
    }

    /// The exchange failed or was cancelled, and NO has been sent.
    pub fn authentication_ended(&mut self) {
        self.state = State::Ready(Phase::NotAuthenticated);
    }

    /// A challenge has been sent: the next line is the client's answer.
    pub fn expect_sasl_answer(&mut self) {
        if let State::Driver(_, Pending::Sasl(tag)) = &self.state {
            let tag = tag.clone();
            self.state = State::SaslAnswer { tag, at: 0 };
        }
    }

    /// TLS is up. Whatever came before it in clear is thrown away, lest somebody else's octets be
    /// read as the peer's own.
    pub fn tls_started(&mut self) {
        self.tls = true;
        self.discard_buffer();
        self.resume();
    }

    /// STARTTLS has been answered with NO.
    pub fn tls_refused(&mut self) {
        self.discard_buffer();
        self.resume();
    }

    /// Compression is up. What came behind the command has been taken by
    /// [`take_buffer`](Self::take_buffer) and will come back decompressed.
    pub fn compress_started(&mut self) {
        self.compress = true;
        self.resume();
    }

    /// The dump has been sent, or is about to be: from now on only NOOP, LOGOUT and COMPRESS are
    /// legal.
    pub fn streaming(&mut self) {
        self.state = State::Ready(Phase::Streaming);
    }

    /// RESYNC has been answered by DIGEST: from now on only the commands of a compare are legal.
    pub fn comparing(&mut self) {
        self.state = State::Ready(Phase::Comparing);
    }

    /// RESYNC has been answered by NO.
    pub fn resync_refused(&mut self) {
        self.resume();
    }

    /// Throws away what has not been looked at.
    pub fn discard_buffer(&mut self) {
        self.buffer.clear();
        self.splitter.restart();
    }

    /// Removes what has not been looked at: after [`Request::Compress`], octets that are compressed
    /// already.
    pub fn take_buffer(&mut self) -> BytesMut {
        self.splitter.restart();
        self.buffer.split()
    }

    fn resume(&mut self) {
        if let State::Driver(phase, _) = self.state {
            self.state = State::Ready(phase);
        }
    }

    fn next_command(&mut self) -> Step {
        loop {
            match self.splitter.next(&mut self.buffer) {
                Split::Incomplete => return Step::NeedInput,
                Split::GoAhead => return Step::Reply(b"+ go ahead\r\n".to_vec()),
                Split::Head { tag, word } => {
                    let tag = Tag::from(self.buffer.get(tag).unwrap_or_default());
                    let word = before_nul(self.buffer.get(word).unwrap_or_default());
                    match self.judge(word) {
                        Ok(verb) => {
                            self.splitter.accept(verb.shape());
                            self.command = Some(tag);
                        }
                        Err(text) => {
                            self.splitter.refuse();
                            return bad(&tag, text);
                        }
                    }
                }
                Split::Broken(fault) => return self.broken(fault),
                Split::Whole { len } => {
                    let command = self.buffer.split_to(len);
                    return self.run(&command);
                }
                Split::TooLong(what) => return self.too_long(what),
            }
        }
    }

    /// Whether a command may go on after its first word. Cyrus asks for a login by the first letter
    /// of the word, known or not.
    fn judge(&self, word: &[u8]) -> Result<Verb, &'static str> {
        let Some(first) = word.first() else {
            return Err("Null command");
        };
        let verb = Verb::from_word(word);
        let public = matches!(verb, Some(Verb::Authenticate | Verb::Logout));
        let ours = self.config.resync_available && matches!(verb, Some(Verb::Resync(_)));
        let needs_login = ours || b"ADFLNRU".contains(&first.to_ascii_uppercase());
        if !public && !self.is_authenticated() && needs_login {
            return Err("Please login first");
        }
        let known = match verb {
            Some(Verb::StartTls) => self.config.starttls_available,
            Some(Verb::Compress) => self.config.compress_available,
            Some(Verb::Resync(_)) => self.config.resync_available,
            Some(_) => true,
            None => false,
        };
        verb.filter(|_| known).ok_or("Unrecognized command")
    }

    fn broken(&mut self, fault: Fault) -> Step {
        match (fault, self.command.take()) {
            (Fault::NeedCommand, _) | (_, None) => bad(&Tag::untagged(), fault.text()),
            (_, Some(tag)) => bad(&tag, fault.text()),
        }
    }

    /// A streaming peer might take a BYE for the end of its dump, so it gets none.
    fn too_long(&mut self, what: TooLong) -> Step {
        let mut last_words = Vec::new();
        if !self.is_streaming() {
            let text = match what {
                TooLong::Tag => "tag too long",
                TooLong::Line => "command line too long",
                TooLong::Literal => "literal too long",
            };
            encode::bye(&mut last_words, text);
        }
        self.buffer.clear();
        self.state = State::Closed;
        Step::Close(last_words)
    }

    fn run(&mut self, octets: &[u8]) -> Step {
        self.command = None;
        match parse_command(octets) {
            Ok((tag, command)) => self.carry_out(tag, command),
            // The splitter lets nothing through that does not parse.
            Err(_) => bad(&Tag::untagged(), Fault::ExtraArguments.text()),
        }
    }

    fn carry_out(&mut self, tag: Tag, command: Command<'_>) -> Step {
        let max = self.config.name_bytes_max;
        if self.is_comparing() && !is_legal_in_a_compare(&command) {
            return bad(&tag, NOT_IN_A_COMPARE);
        }
        match command {
            Command::Authenticate { mechanism, initial } => {
                if self.is_authenticated() {
                    return bad(&tag, "already authenticated");
                }
                self.wait(Pending::Sasl(tag.clone()));
                let mechanism = mechanism.into_owned();
                Step::Request(checked::authenticate(tag, mechanism, initial.as_deref()))
            }
            Command::StartTls => self.start_tls(tag),
            Command::Compress { algorithm } => self.start_compress(tag, &algorithm),
            Command::Logout => {
                self.state = State::Closed;
                Step::Request(Request::Logout { tag })
            }
            Command::Noop => Step::Request(Request::Noop { tag }),
            Command::Activate {
                name,
                location,
                acl,
            } => self.edit(tag, || checked::activate(&name, &location, &acl, max)),
            Command::Reserve { name, location } => {
                self.edit(tag, || checked::reserve(&name, &location, max))
            }
            Command::Deactivate { name, location } => {
                self.edit(tag, || checked::deactivate(&name, &location))
            }
            Command::Delete { name } => self.delete(tag, &name),
            Command::Find { name } => self.unless_streaming(tag, |tag| Request::Find {
                tag,
                name: MailboxName::try_from(name.as_ref()).ok(),
            }),
            Command::List { prefix } => self.unless_streaming(tag, |tag| Request::List {
                tag,
                prefix: prefix.unwrap_or_default().into_owned(),
            }),
            Command::Update { hosts } => {
                let hosts = hosts
                    .into_iter()
                    .map(std::borrow::Cow::into_owned)
                    .collect();
                let step = self.unless_streaming(tag, |tag| Request::Update { tag, hosts });
                if matches!(step, Step::Request(_)) {
                    self.wait(Pending::Other);
                }
                step
            }
            Command::Resync(command) => self.resync(&tag, &command),
        }
    }

    /// The commands of `docs/resync.md`.
    fn resync(&mut self, tag: &Tag, command: &ResyncCommand<'_>) -> Step {
        let is_question = !matches!(command, ResyncCommand::Resync { .. });
        if self.is_streaming() {
            return bad(tag, NOT_WHEN_STREAMING);
        }
        if is_question && !self.is_comparing() {
            return bad(tag, ONLY_IN_A_COMPARE);
        }
        let Some(request) = checked::resync(tag.clone(), command) else {
            return bad(tag, Fault::BadlyFormedArguments.text());
        };
        if !is_question {
            self.wait(Pending::Other);
        }
        Step::Request(request)
    }

    fn unless_streaming(&self, tag: Tag, request: impl FnOnce(Tag) -> Request) -> Step {
        if self.is_streaming() {
            return bad(&tag, NOT_WHEN_STREAMING);
        }
        Step::Request(request(tag))
    }

    fn edit_refusal(&self) -> Option<&'static str> {
        match (self.is_streaming(), self.config.read_only) {
            (true, _) => Some(NOT_WHEN_STREAMING),
            (false, true) => Some("read-only session"),
            (false, false) => None,
        }
    }

    fn edit(&self, tag: Tag, edit: impl FnOnce() -> Result<crate::Edit, Refusal>) -> Step {
        match self.edit_refusal() {
            Some(text) => bad(&tag, text),
            None => Step::Request(Request::Edit { tag, edit: edit() }),
        }
    }

    /// A name that can't be stored isn't there; a NO would leave its mailbox undeletable on its
    /// backend for ever.
    fn delete(&self, tag: Tag, name: &[u8]) -> Step {
        let edit = checked::delete(name);
        if edit.is_none() && !self.config.strict && self.edit_refusal().is_none() {
            let mut out = Vec::new();
            encode::ok(&mut out, &tag, "done");
            return Step::Reply(out);
        }
        self.edit(tag, || edit.ok_or(Refusal::DoesNotExist))
    }

    fn start_tls(&mut self, tag: Tag) -> Step {
        let refusal = match (self.is_authenticated(), self.compress, self.tls) {
            (true, _, _) => "Can't Starttls after authentication",
            (_, true, _) => "Can't Starttls after Compress",
            (_, _, true) => "Already did a successful Starttls",
            (false, false, false) => {
                self.wait(Pending::Other);
                return Step::Request(Request::StartTls { tag });
            }
        };
        let mut out = Vec::new();
        encode::bad_bare(&mut out, &tag, refusal);
        Step::Reply(out)
    }

    fn start_compress(&mut self, tag: Tag, algorithm: &[u8]) -> Step {
        let mut out = Vec::new();
        if self.compress {
            encode::bad_bare(&mut out, &tag, "DEFLATE active via COMPRESS");
        } else if algorithm.eq_ignore_ascii_case(b"DEFLATE") {
            self.wait(Pending::Other);
            let algorithm = algorithm.to_vec();
            return Step::Request(Request::Compress { tag, algorithm });
        } else {
            let text = [b"Unknown COMPRESS algorithm: ".as_slice(), algorithm].concat();
            encode::no_bare(&mut out, &tag, text);
        }
        Step::Reply(out)
    }

    fn wait(&mut self, pending: Pending) {
        self.state = State::Driver(self.state.phase(), pending);
    }

    fn next_sasl_answer(&mut self, tag: Tag, at: usize) -> Step {
        let max = self.config.limits.sasl_line_bytes_max + LINE_END_BYTES;
        let visible = self
            .buffer
            .get(..max.min(self.buffer.len()))
            .unwrap_or_default();
        let unseen = visible.get(at..).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\n', unseen) else {
            if self.buffer.len() >= max {
                return self.too_long(TooLong::Line);
            }
            let at = visible.len();
            self.state = State::SaslAnswer { tag, at };
            return Step::NeedInput;
        };
        let line = self.buffer.split_to(at + found);
        self.buffer.advance(1);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        self.state = State::Driver(Phase::NotAuthenticated, Pending::Sasl(tag));
        Step::Request(Request::SaslAnswer(match line {
            [b'*', ..] => SaslAnswer::Cancelled,
            text => decode_base64(text).map_or(SaslAnswer::BadBase64, SaslAnswer::Data),
        }))
    }
}

fn bad(tag: &Tag, text: &str) -> Step {
    let mut out = Vec::new();
    encode::bad(&mut out, tag, text);
    Step::Reply(out)
}

fn is_legal_in_a_compare(command: &Command<'_>) -> bool {
    matches!(
        command,
        Command::Resync(_) | Command::Noop | Command::Logout
    )
}

const NOT_WHEN_STREAMING: &str = "not legal when streaming";
const NOT_IN_A_COMPARE: &str = "not legal in a compare";
const ONLY_IN_A_COMPARE: &str = "only legal in a compare";
const LINE_END_BYTES: usize = 2;
