#!/usr/bin/env python3
"""Record what a MUPDATE server puts on the wire, one transcript file per scenario.

    capture.py --port 3905 --user U --password P [--out transcripts] [--only NAME ...]

Needs only the standard library.  The server must offer PLAIN without TLS (allowplaintext),
have U among its admins and hold an empty or disposable database: every scenario first
deletes all records.  Extra switches name further servers for the scenarios that need
them: --slave-port, --replicated-port, --notls-port, --maxconn-port; --ca/--cert/--key for TLS;
--nonadmin for a user with the same password that is not an admin; --dangerous to run the
scenarios that kill a Cyrus server process.

Transcript format: one wire line per text line.
    C: bytes sent     S: bytes received     (with a connection name when there are several: C[b]:)
    Bytes outside 0x20..0x7e and the backslash are written \\r \\n \\t \\\\ \\xNN; every line shows
    its own line end.  <N*"x"> stands for N repetitions of one byte.
    S: <EOF>  the server closed the connection      -- text   a remark, a pause or a TLS step
    @1.2  seconds since the scenario began, where time matters.
"""
import argparse, base64, hashlib, hmac, os, re, socket, ssl, sys, time, zlib

SCEN = []
def scenario(name, **kw):
    def deco(f):
        SCEN.append((name, f, kw)); return f
    return deco

def esc(b):
    out = []
    i = 0
    while i < len(b):
        j = i
        while j < len(b) and b[j] == b[i]:
            j += 1
        c = b[i]
        s = {13: '\\r', 10: '\\n', 9: '\\t', 92: '\\\\'}.get(c) or (chr(c) if 32 <= c < 127 else '\\x%02x' % c)
        if j - i > 40:
            out.append('<%d*"%s">' % (j - i, s)); i = j
        else:
            out.append(s); i += 1
    return ''.join(out)

class Conn:
    def __init__(self, ctx, name='', port=None, greet=True, quiet=0.2):
        self.ctx, self.name, self.quiet = ctx, name, quiet
        self.s = socket.create_connection((ctx.a.host, port or ctx.port), timeout=10)
        self.eof = False; self.buf = b''; self.z = None
        self.logging = True
        if greet: self.banner = self.read()
    def log(self, who, data):
        if not self.logging: return
        tagc = '%s%s: ' % (who, '[%s]' % self.name if self.name else '')
        stamp = ('@%.1f ' % (time.time() - self.ctx.t0)) if self.ctx.stamps else ''
        for line in re.findall(rb'[^\n]*\n|[^\n]+$', data):
            self.ctx.out.append(stamp + tagc + esc(line))
    def send(self, data, log=True):
        if log: self.log('C', data)
        raw = data
        if self.z: raw = self.z[0].compress(data) + self.z[0].flush(zlib.Z_SYNC_FLUSH)
        try: self.s.sendall(raw)
        except OSError as e: self.ctx.note('send failed: %s' % e.__class__.__name__)
    def read(self, quiet=None, until=None, limit=15):
        """everything up to `quiet` seconds of silence, EOF, or a line matching `until`"""
        q = self.quiet if quiet is None else quiet
        got = b''; end = time.time() + limit
        while time.time() < end and not self.eof:
            self.s.settimeout(q if until is None else max(0.05, end - time.time()))
            try: d = self.s.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError): break
            except OSError: d = b''
            if not d:
                self.eof = True; break
            if self.z: d = self.z[1].decompress(d)
            got += d
            if until and re.search(until, got): break
        self.log('S', got)
        if self.eof: self.log('S', b'') ; self.ctx.out.append('S%s: <EOF>' % ('[%s]' % self.name if self.name else '')) if self.logging else None
        return got
    def cmd(self, data, quiet=None):
        self.send(data); return self.read(quiet)
    def login(self, show=False):
        l = self.logging; self.logging = show
        ir = base64.b64encode(b'\0' + self.ctx.a.user.encode() + b'\0' + self.ctx.a.password.encode())
        self.send(b'A01 AUTHENTICATE "PLAIN" "' + ir + b'"\r\n')
        r = self.read(until=rb'A01 .*\n')
        self.logging = l
        if not r.startswith(b'A01 OK'): raise RuntimeError('login: %r' % r)
        if not show: self.ctx.note('%sauthenticated as an admin' % (('[%s] ' % self.name) if self.name else ''))
        return self
    def tls(self, cert=False):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
        if cert: c.load_cert_chain(self.ctx.a.cert, self.ctx.a.key)
        self.s.settimeout(10)
        try:
            self.s = c.wrap_socket(self.s)
            self.ctx.note('TLS handshake done' + (' with a client certificate' if cert else ''))
        except (ssl.SSLError, OSError) as e:
            self.ctx.note('TLS handshake failed'); self.eof = True
    def deflate(self):
        self.z = (zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15))
        self.ctx.note('raw DEFLATE (RFC 1951, no zlib header) both ways from here; contents shown decompressed')
    def close(self):
        try: self.s.close()
        except OSError: pass

class Ctx:
    def __init__(self, a, port):
        self.a, self.port, self.out, self.stamps, self.t0, self.conns = a, port, [], False, time.time(), []
    def note(self, s): self.out.append('-- ' + s)
    def conn(self, name='', login=False, **kw):
        shown = kw.pop('log', True) and not login
        self.note('%sconnection opened%s' % ('[%s] ' % name if name else '', '' if shown else ', greeting not shown'))
        n = len(self.out)
        c = Conn(self, name, **kw)
        if not shown: del self.out[n:]
        if login: c.login()
        self.conns.append(c); return c
    def alive(self, label='server process'):
        """is the listening service still the one that served connection w?"""
        try:
            c = Conn(self, 'probe'); ok = c.banner.startswith(b'* AUTH'); c.close()
        except OSError: ok = False
        return ok
    def wipe(self):
        n = len(self.out)
        c = Conn(self, 'wipe'); c.logging = False; c.login()
        c.send(b'L LIST\r\n'); r = c.read(until=rb'(?m)^L OK ')
        names = []
        p = 0
        while True:
            m = re.compile(rb'L (MAILBOX|RESERVE) \{(\d+)\+?\}\r\n').search(r, p)
            if not m: break
            names.append(r[m.end():m.end() + int(m.group(2))]); p = m.end() + int(m.group(2))
        for x in names:
            c.send(b'D DELETE {%d+}\r\n%s\r\n' % (len(x), x)); c.read(until=rb'D .*\n')
        c.close(); del self.out[n:]

def lit(x, plus=True):
    x = x if isinstance(x, bytes) else x.encode()
    return b'{%d%s}\r\n%s' % (len(x), b'+' if plus else b'', x)
def b64(x): return base64.b64encode(x)

# ---------------------------------------------------------------- scenarios
@scenario('01-banner')
def _(x):
    "greeting of a master and LOGOUT, before and after login"
    c = x.conn(); c.cmd(b'L01 LOGOUT\r\n')
    d = x.conn('b', login=True); d.cmd(b'L01 LOGOUT\r\n')

@scenario('02-auth-plain')
def _(x):
    "every way to carry the PLAIN exchange"
    u, p = x.a.user.encode(), x.a.password.encode(); tok = b64(b'\0' + u + b'\0' + p)
    x.note('initial response, quoted'); c = x.conn(); c.cmd(b'A01 AUTHENTICATE "PLAIN" "%s"\r\n' % tok); c.close()
    x.note('initial response, non-synchronising literal (what the Cyrus clients send)')
    c = x.conn(log=False); c.cmd(b'A01 AUTHENTICATE "PLAIN" ' + lit(tok) + b'\r\n'); c.close()
    x.note('initial response, synchronising literal'); c = x.conn(log=False)
    c.cmd(b'A01 AUTHENTICATE "PLAIN" {%d}\r\n' % len(tok)); c.cmd(tok + b'\r\n'); c.close()
    x.note('no initial response: the empty challenge is an empty line, the answer is bare base64')
    c = x.conn(log=False); c.cmd(b'A01 AUTHENTICATE "PLAIN"\r\n'); c.cmd(tok + b'\r\n'); c.close()
    x.note('mechanism name in lower case, command name in mixed case'); c = x.conn(log=False); c.cmd(b'A01 aUtHeNtIcAtE "plain" "%s"\r\n' % tok); c.close()
    x.note('mechanism as a literal'); c = x.conn(log=False); c.cmd(b'A01 AUTHENTICATE ' + lit('PLAIN') + b' "%s"\r\n' % tok); c.close()
    x.note('mechanism as a bare atom (the RFC 3656 grammar)'); c = x.conn(log=False); c.cmd(b'A01 AUTHENTICATE PLAIN "%s"\r\n' % tok); c.cmd(b'N NOOP\r\n'); c.close()
    x.note('with an authorization identity equal to the login name'); c = x.conn(log=False); c.cmd(b'A01 AUTHENTICATE "PLAIN" "%s"\r\n' % b64(u + b'\0' + u + b'\0' + p)); c.close()
    x.note('with another authorization identity'); c = x.conn(log=False); c.cmd(b'A01 AUTHENTICATE "PLAIN" "%s"\r\n' % b64(b'someone\0' + u + b'\0' + p)); c.cmd(b'N01 NOOP\r\n'); c.close()

@scenario('03-auth-errors')
def _(x):
    "what goes wrong in AUTHENTICATE"
    u, p = x.a.user.encode(), x.a.password.encode(); tok = b64(b'\0' + u + b'\0' + p)
    c = x.conn(log=False)
    x.note('wrong password'); c.cmd(b'A01 AUTHENTICATE "PLAIN" "%s"\r\n' % b64(b'\0' + u + b'\0wrong'), 4)
    x.note('unknown user, same connection'); c.cmd(b'A02 AUTHENTICATE "PLAIN" "%s"\r\n' % b64(b'\0nobody\0wrong'), 4)
    x.note('unknown mechanism'); c.cmd(b'A03 AUTHENTICATE "NOSUCH"\r\n', 4)
    x.note('empty mechanism'); c.cmd(b'A04 AUTHENTICATE ""\r\n', 4)
    x.note('cancelled with *'); c.cmd(b'A05 AUTHENTICATE "PLAIN"\r\n'); c.cmd(b'*\r\n')
    x.note('a line that begins with * is also a cancellation'); c.cmd(b'A06 AUTHENTICATE "PLAIN"\r\n'); c.cmd(b'*abc\r\n')
    x.note('bad base64 in the initial response'); c.cmd(b'A07 AUTHENTICATE "PLAIN" "!!!!"\r\n', 4)
    x.note('bad base64 in an answer'); c.cmd(b'A08 AUTHENTICATE "PLAIN"\r\n'); c.cmd(b'!!!!\r\n', 4)
    x.note('empty answer line'); c.cmd(b'A09 AUTHENTICATE "PLAIN"\r\n'); c.cmd(b'\r\n', 4)
    x.note('= as initial response (zero length)'); c.cmd(b'A10 AUTHENTICATE "PLAIN" "="\r\n', 4)
    x.note('= as a bare atom'); c.cmd(b'A11 AUTHENTICATE "PLAIN" =\r\n', 4)
    x.note('empty string as initial response'); c.cmd(b'A12 AUTHENTICATE "PLAIN" ""\r\n', 4)
    x.note('no mechanism'); c.cmd(b'A13 AUTHENTICATE\r\n')
    x.note('three arguments'); c.cmd(b'A14 AUTHENTICATE "PLAIN" "%s" "x"\r\n' % tok)
    if x.a.nonadmin:
        x.note('right password, but the user is not listed in admins'); c.cmd(b'A15 AUTHENTICATE "PLAIN" "%s"\r\n' % b64(b'\0' + x.a.nonadmin.encode() + b'\0' + p), 4)
    x.note('all those failures do not close the connection; now it succeeds'); c.cmd(b'A16 AUTHENTICATE "PLAIN" "%s"\r\n' % tok)
    x.note('a second AUTHENTICATE'); c.cmd(b'A17 AUTHENTICATE "PLAIN" "%s"\r\n' % tok)
    c.cmd(b'A18 AUTHENTICATE "PLAIN" "=" "x"\r\n'); c.cmd(b'N01 NOOP\r\n')

def scram(x, c, alg, name, ir=True, tag=b'A01'):
    u, p = x.a.user, x.a.password.encode()
    cf = 'n=%s,r=fixedclientnonce0123456789' % u
    first = b64(b'n,,' + cf.encode())
    if ir: r = c.cmd(tag + b' AUTHENTICATE "%s" ' % name + lit(first) + b'\r\n')
    else:
        c.cmd(tag + b' AUTHENTICATE "%s"\r\n' % name); r = c.cmd(first + b'\r\n')
    sf = base64.b64decode(r.strip()).decode(); x.note('server-first-message: ' + re.sub(r'(r=fixedclientnonce0123456789)[^,]*', r'\1<server nonce>', sf))
    f = dict(t.split('=', 1) for t in sf.split(','))
    salted = hashlib.pbkdf2_hmac(alg, p, base64.b64decode(f['s']), int(f['i']))
    ck = hmac.new(salted, b'Client Key', alg).digest(); sk = hashlib.new(alg, ck).digest()
    fin = 'c=biws,r=' + f['r']; am = ','.join([cf, sf, fin]).encode()
    sig = hmac.new(sk, am, alg).digest()
    r = c.cmd(b64((fin + ',p=' + b64(bytes(a ^ b for a, b in zip(ck, sig))).decode()).encode()) + b'\r\n')
    return r

@scenario('04-auth-scram')
def _(x):
    "SCRAM: the server-final-message is a challenge of its own, answered by an empty line"
    for alg, name in (('sha1', b'SCRAM-SHA-1'), ('sha256', b'SCRAM-SHA-256')):
        c = x.conn(log=False); x.note(name.decode() + ' with an initial response')
        r = scram(x, c, alg, name)
        if not r.startswith(b'A01 '):
            x.note('server-final-message decodes to v=<server signature>'); c.cmd(b'\r\n')
        c.cmd(b'N01 NOOP\r\n'); c.close()
    c = x.conn(log=False); x.note('SCRAM-SHA-256 without an initial response: an empty line asks for it')
    scram(x, c, 'sha256', b'SCRAM-SHA-256', ir=False); c.cmd(b'\r\n'); c.close()
    c = x.conn(log=False); x.note('cancelled at the last step'); scram(x, c, 'sha256', b'SCRAM-SHA-256'); c.cmd(b'*\r\n'); c.close()
    c = x.conn(log=False); x.note('the client sends its next command instead of the empty line'); scram(x, c, 'sha256', b'SCRAM-SHA-256'); c.cmd(b'N01 NOOP\r\n', 4); c.close()

@scenario('05-before-login')
def _(x):
    "every command before login"
    c = x.conn(log=False)
    for l in (b'ACTIVATE "a" "b!c" "d"', b'DEACTIVATE "a" "b!c"', b'RESERVE "a" "b!c"', b'DELETE "a"', b'FIND "a"', b'LIST', b'LIST "a"', b'UPDATE', b'UPDATE "h"', b'NOOP', b'FIND', b'ACTIVATE',
              b'NOSUCH', b'Nosuch "a"', b'Xyz', b'ACTIVATEX', b'DELETED', b'LISTX', b'LOGOUT x', b'COMPRESS "DEFLAT"', b'STARTTLS x'):
        c.cmd(b'X1 ' + l + b'\r\n')
    x.note('a literal argument of a refused command is swallowed'); c.cmd(b'X2 FIND {3+}\r\nabc\r\n'); c.cmd(b'X3 FIND {3}\r\n'); c.cmd(b'abc\r\n')
    c.cmd(b'X4 LOGOUT\r\n')

@scenario('06-transitions-standard')
def _(x):
    "the state machine with mupdate_config: standard (the default)"
    transitions(x)

def transitions(x, std=True):
    c = x.conn(login=True)
    def f(t): c.cmd(b'F FIND "%s"\r\n' % t)
    A = b'"anyone\tlrs\t"'
    x.note('NONE: FIND'); f(b's.none')
    x.note('NONE: RESERVE'); c.cmd(b'1 RESERVE "s.res" "h1!p1"\r\n'); f(b's.res')
    x.note('NONE: ACTIVATE'); c.cmd(b'2 ACTIVATE "s.act" "h1!p1" ' + A + b'\r\n'); f(b's.act')
    x.note('RESERVED: RESERVE, same location'); c.cmd(b'3 RESERVE "s.res" "h1!p1"\r\n'); f(b's.res')
    x.note('RESERVED: RESERVE, same server, other partition'); c.cmd(b'4 RESERVE "s.res" "h1!p2"\r\n'); f(b's.res')
    x.note('RESERVED: RESERVE, other server'); c.cmd(b'5 RESERVE "s.res" "h2!p1"\r\n'); f(b's.res')
    if std: x.note('RESERVED: DEACTIVATE, other location'); c.cmd(b'6 DEACTIVATE "s.res" "h9!p1"\r\n'); f(b's.res')
    x.note('RESERVED: ACTIVATE from another server'); c.cmd(b'7 ACTIVATE "s.res" "h2!p1" "u\tlrs\t"\r\n'); f(b's.res')
    x.note('ACTIVE: RESERVE, same location'); c.cmd(b'8 RESERVE "s.act" "h1!p1"\r\n'); f(b's.act')
    c.cmd(b'9 ACTIVATE "s.act" "h1!p1" ' + A + b'\r\n')
    x.note('ACTIVE: RESERVE, other location'); c.cmd(b'10 RESERVE "s.act" "h2!p2"\r\n'); f(b's.act')
    c.cmd(b'10a ACTIVATE "s.act" "h1!p1" ' + A + b'\r\n')
    x.note('ACTIVE: ACTIVATE, new acl, longer'); c.cmd(b'11 ACTIVATE "s.act" "h1!p1" "anyone\tlrs\tadmin\tlrswipkxtecda\t"\r\n'); f(b's.act')
    x.note('ACTIVE: ACTIVATE, new acl, shorter'); c.cmd(b'12 ACTIVATE "s.act" "h1!p1" "a\tl\t"\r\n'); f(b's.act')
    x.note('ACTIVE: ACTIVATE, other location'); c.cmd(b'13 ACTIVATE "s.act" "h3!p9" "a\tl\t"\r\n'); f(b's.act')
    x.note('ACTIVE: DEACTIVATE, other location: accepted, the location changes'); c.cmd(b'14 DEACTIVATE "s.act" "h4!p4"\r\n'); f(b's.act')
    c.cmd(b'15 ACTIVATE "s.act" "h1!p1" "a\tl\t"\r\n')
    x.note('ACTIVE: DEACTIVATE, same location'); c.cmd(b'16 DEACTIVATE "s.act" "h1!p1"\r\n'); f(b's.act')
    x.note('RESERVED: DELETE'); c.cmd(b'17 DELETE "s.act"\r\n'); f(b's.act')
    x.note('ACTIVE: DELETE'); c.cmd(b'18 DELETE "s.res"\r\n'); f(b's.res')
    x.note('an ACL that is not in the TAB form is stored as far as it parses'); c.cmd(b'19 ACTIVATE "s.acl" "h1!p1" "anyone lrs"\r\n'); f(b's.acl'); c.cmd(b'20 ACTIVATE "s.acl" "h1!p1" "anyone\tlrs"\r\n'); f(b's.acl')

@scenario('07-none-delete-crash', dangerous=True)
def _(x):
    "NONE: DELETE.  Connection w does nothing; it shows that the whole process ends"
    w = x.conn('w', login=True); c = x.conn(login=True)
    c.cmd(b'1 DELETE "s.none"\r\n', 2); w.read(0.5)
    x.note('a new connection is greeted by a new process: %s' % ('yes' if wait_up(x) else 'no'))

@scenario('08-none-deactivate-crash', dangerous=True)
def _(x):
    "NONE: DEACTIVATE.  Connection w does nothing; it shows that the whole process ends"
    w = x.conn('w', login=True); c = x.conn(login=True)
    c.cmd(b'1 DEACTIVATE "s.none" "h1!p1"\r\n', 2); w.read(0.5)
    x.note('a new connection is greeted by a new process: %s' % ('yes' if wait_up(x) else 'no'))

def wait_up(x):
    n = len(x.out)
    for _ in range(50):
        try:
            c = Conn(x, 'probe', quiet=1); ok = b'OK MUPDATE' in c.banner; c.close()
            if ok: del x.out[n:]; return True
        except OSError: pass
        time.sleep(0.3)
    del x.out[n:]; return False

@scenario('08b-reserved-deactivate-crash', dangerous=True)
def _(x):
    "RESERVED: DEACTIVATE with the same location.  Connection w does nothing"
    w = x.conn('w', login=True); c = x.conn(login=True)
    c.cmd(b'1 RESERVE "s.res" "h1!p1"\r\n'); c.cmd(b'2 DEACTIVATE "s.res" "h1!p1"\r\n', 2); w.read(0.5)
    x.note('a new connection is greeted by a new process: %s' % ('yes' if wait_up(x) else 'no'))

@scenario('09-find-list')
def _(x):
    "FIND and LIST, order and prefix"
    c = x.conn(login=True)
    for i, (m, l, a) in enumerate([('user.zed', 'be2!p1', 'zed\tlrs\t'), ('user.amy', 'be1!p1', 'amy\tlrs\t'), ('user.amy.Drafts', 'be1!p2', 'amy\tlrs\t'), ('user.Bob', 'be10!p1', 'bob\tlrs\t'), ('shared', 'be1', ''), ('user.amy^x', 'be1!p1', 'x'), ('user.amy2', 'be1!p1', 'x')]):
        c.cmd(b'%d ACTIVATE "%s" "%s" "%s"\r\n' % (i, m.encode(), l.encode(), a.encode()))
    c.cmd(b'7 RESERVE "user.carl" "be2!p2"\r\n')
    c.cmd(b'L1 LIST\r\n'); c.cmd(b'L2 LIST "be1!"\r\n'); c.cmd(b'L3 LIST "be1"\r\n'); c.cmd(b'L4 LIST ""\r\n'); c.cmd(b'L5 LIST "BE1!"\r\n'); c.cmd(b'L6 LIST "nohost!"\r\n'); c.cmd(b'L7 LIST {4+}\r\nbe2!\r\n')
    c.cmd(b'F1 FIND "user.amy"\r\n'); c.cmd(b'F2 FIND "USER.AMY"\r\n'); c.cmd(b'F3 FIND "user.carl"\r\n'); c.cmd(b'F4 FIND "user"\r\n'); c.cmd(b'F5 FIND "user.*"\r\n')

@scenario('10-arguments')
def _(x):
    "missing, surplus and malformed arguments, after login"
    c = x.conn(login=True)
    for i, l in enumerate((b'ACTIVATE', b'ACTIVATE ', b'ACTIVATE "a"', b'ACTIVATE "a" "b"', b'ACTIVATE "a" "b" "c" "d"', b'ACTIVATE "a" "b" "c" ', b'RESERVE', b'RESERVE "a"', b'RESERVE "a" "b" "c"', b'DEACTIVATE', b'DEACTIVATE "a"', b'DEACTIVATE "a" "b" "c"',
              b'DELETE', b'DELETE "a" "b"', b'FIND', b'FIND "a" "b"', b'FIND a', b'FIND NIL', b'FIND  "a"', b'FIND\t"a"', b'FIND "a" ', b'LIST "a" "b"', b'LIST ', b'LIST a', b'NOOP x', b'NOOP ', b'LOGOUT x', b'UPDATE ""', b'UPDATE a', b'UPDATE ', b'COMPRESS', b'COMPRESS "X"', b'STARTTLS', b'STARTTLS x', b'AUTHENTICATE', b'SELECT "INBOX"', b'FIND "unterminated', b'FIND "a"b', b'FIND ("a")', b'FIND {x}', b'FIND {3', b'FIND {+}', b'FIND {-1+}', b'FIND {3+} ')):
        c.cmd(b'T%d ' % i + l + b'\r\n')
        if c.eof: break
    c.cmd(b'END NOOP\r\n')

@scenario('11-lines')
def _(x):
    "line ends, empty lines, tags, case, pipelining"
    c = x.conn(login=True)
    x.note('LF alone'); c.cmd(b'1 NOOP\n'); c.cmd(b'2 FIND "a"\n')
    x.note('CR alone, then LF later'); c.cmd(b'3 NOOP\r'); c.cmd(b'\n')
    x.note('CR CR LF'); c.cmd(b'4 NOOP\r\r\n')
    x.note('empty line'); c.cmd(b'\r\n'); c.cmd(b'\n')
    x.note('tag only'); c.cmd(b'5\r\n'); c.cmd(b'6 \r\n'); c.cmd(b'7  NOOP\r\n'); c.cmd(b' NOOP\r\n')
    x.note('odd tags'); c.cmd(b'a.b-c_d* NOOP\r\n'); c.cmd(b'* NOOP\r\n'); c.cmd(b'+ NOOP\r\n'); c.cmd(b'{3} NOOP\r\n'); c.cmd(b'"q" NOOP\r\n'); c.cmd(b'(x) NOOP\r\n'); c.cmd(b'\xc3\xa9 NOOP\r\n'); c.cmd(b'a\\b NOOP\r\n'); c.cmd(b'%s%d%n NOOP\r\n')
    x.note('a tag of 1000 octets'); c.cmd(b't' * 1000 + b' NOOP\r\n')
    x.note('TAB between tag and command'); c.cmd(b'8\tNOOP\r\n')
    x.note('case'); c.cmd(b'9 noop\r\n'); c.cmd(b'10 nOoP\r\n'); c.cmd(b'11 fInD "a"\r\n')
    x.note('NUL in a command'); c.cmd(b'12 NO\0OP\r\n'); c.cmd(b'13 NOOP\0\r\n'); c.cmd(b'1\x004 NOOP\r\n')
    x.note('pipelining in one segment'); c.cmd(b'P1 NOOP\r\nP2 RESERVE "s.pipe" "h!p"\r\nP3 FIND "s.pipe"\r\nP4 DELETE "s.pipe"\r\nP5 FIND "s.pipe"\r\nP6 NOSUCH\r\nP7 NOOP\r\n')
    x.note('a command in many pieces')
    for ch in (b'Q', b'1 FI', b'ND "', b'a', b'"', b'\r', b'\n'): c.send(ch); time.sleep(0.05)
    c.read()
    x.note('LOGOUT in the middle of a pipeline'); c.cmd(b'R1 NOOP\r\nR2 LOGOUT\r\nR3 NOOP\r\n')

@scenario('12-strings')
def _(x):
    "quoted strings and literals"
    c = x.conn(login=True)
    x.note('quoted with backslash escapes'); c.cmd(b'1 RESERVE "s.a\\"b\\\\c\\d" "h!p"\r\n'); c.cmd(b'2 LIST\r\n'); c.cmd(b'3 DELETE "s.a\\"b\\\\cd"\r\n')
    x.note('synchronising literal: the server asks for the data'); c.cmd(b'4 FIND {3}\r\n'); c.cmd(b'abc\r\n')
    x.note('data sent without waiting for the go-ahead'); c.cmd(b'5 FIND {3}\r\nabc\r\n')
    x.note('non-synchronising literal, in pieces')
    for ch in (b'6 FIND {1', b'0+}', b'\r', b'\nabc', b'defghi', b'j\r\n'): c.send(ch); time.sleep(0.1)
    c.read()
    x.note('three literals, mixed forms'); c.cmd(b'7 ACTIVATE {5+}\r\ns.lit "h!p" {3}\r\n'); c.cmd(b'a l\r\n'); c.cmd(b'8 FIND "s.lit"\r\n')
    x.note('zero-length literal and string'); c.cmd(b'9 FIND {0+}\r\n\r\n'); c.cmd(b'10 FIND {0}\r\n'); c.cmd(b'\r\n'); c.cmd(b'11 FIND ""\r\n')
    x.note('literal header ended by LF alone'); c.cmd(b'12 FIND {3+}\nabc\r\n')
    x.note('CR and LF inside a literal'); c.cmd(b'13 RESERVE {7+}\r\ns.a\r\nbc "h!p"\r\n'); c.cmd(b'14 LIST\r\n'); c.cmd(b'15 DELETE {7+}\r\ns.a\r\nbc\r\n')
    x.note('a literal longer than the line that follows'); c.cmd(b'16 FIND {2+}\r\nabcd\r\n')
    x.note('NUL inside a literal'); c.cmd(b'17 FIND {3+}\r\na\0b\r\n'); c.cmd(b'18 NOOP\r\n')
    x.note('NUL inside a quoted string'); c.cmd(b'19 FIND "a\0b"\r\n'); c.cmd(b'19a RESERVE "s.n\0b" "h!p"\r\n'); c.cmd(b'19b LIST\r\n')
    x.note('8-bit in a quoted string, valid and invalid UTF-8'); c.cmd(b'20 RESERVE "s.\xc3\xa9" "h!p"\r\n'); c.cmd(b'21 RESERVE "s.\xff\xfe" "h!p"\r\n'); c.cmd(b'22 FIND "s.\xff\xfe"\r\n'); c.cmd(b'23 LIST\r\n')
    x.note('literal8 is not known'); c.cmd(b'24 FIND ~{3+}\r\nabc\r\n'); c.cmd(b'25 NOOP\r\n')

@scenario('14-oversize-crash', dangerous=True)
def _(x):
    "inputs that end the whole Cyrus process; connection w is a bystander"
    for pre, what, data in ((False, 'a tag of 140000 octets, before login', b't' * 140000), (False, 'a quoted string of 140000 octets, before login', b'1 AUTHENTICATE "' + b'q' * 140000), (False, 'a literal size above 2^31-1, before login', b'1 AUTHENTICATE {2147483648+}\r\n'), (True, 'a literal size above 2^31-1, after login', b'1 FIND {99999999999}\r\n')):
        x.note(what); w = x.conn('w', login=True); c = x.conn(login=pre, log=False)
        c.cmd(data + (b' NOOP\r\n' if data[:1] == b't' else b''), 2); w.read(1)
        x.note('a new connection is greeted again: %s' % ('yes' if wait_up(x) else 'no'))
        c.close(); w.close()

@scenario('15-starttls')
def _(x):
    "STARTTLS and the banner after it"
    c = x.conn(); c.cmd(b'S01 STARTTLS\r\n'); c.tls(); c.read(); x.note('second STARTTLS'); c.cmd(b'S02 STARTTLS\r\n'); c.login(show=True); x.note('after login'); c.cmd(b'S03 STARTTLS\r\n'); c.cmd(b'L LOGOUT\r\n')
    c = x.conn('b', login=True); x.note('after login without TLS'); c.cmd(b'S01 STARTTLS\r\n')
    if x.a.cert:
        c = x.conn('c', log=False); c.cmd(b'S01 STARTTLS\r\n'); c.tls(cert=True); c.read()
        x.note('EXTERNAL with an empty initial response'); c.cmd(b'A01 AUTHENTICATE "EXTERNAL" "="\r\n', 4); c.cmd(b'N NOOP\r\n')
        c = x.conn('d', log=False); c.cmd(b'S01 STARTTLS\r\n'); c.tls(cert=True); c.read(0.4)
        x.note('EXTERNAL without an initial response'); c.cmd(b'A01 AUTHENTICATE "EXTERNAL"\r\n', 1); c.cmd(b'\r\n', 4)
    x.note('a command pipelined behind STARTTLS in clear'); c = x.conn('e', log=False); c.send(b'S01 STARTTLS\r\nN01 NOOP\r\n'); c.read(until=rb'S01 .*\n'); c.tls(); c.read()

@scenario('16-starttls-off', port='notls_port')
def _(x):
    "STARTTLS on a server without a certificate"
    c = x.conn(); c.cmd(b'S01 STARTTLS\r\n'); c.cmd(b'N01 NOOP\r\n')

@scenario('17-compress')
def _(x):
    "COMPRESS before and after login"
    c = x.conn(login=True); c.cmd(b'Z00 COMPRESS "LZ4"\r\n'); c.cmd(b'Z01 COMPRESS "deflate"\r\n'); c.deflate(); c.cmd(b'N01 NOOP\r\n'); x.note('second COMPRESS'); c.cmd(b'Z02 COMPRESS "DEFLATE"\r\n'); c.cmd(b'F FIND "s.none"\r\n'); c.cmd(b'L LOGOUT\r\n')
    c = x.conn('b'); x.note('before login: accepted'); c.cmd(b'Z01 COMPRESS "DEFLATE"\r\n'); c.deflate(); c.cmd(b'S01 STARTTLS\r\n'); c.login(show=True); c.cmd(b'N01 NOOP\r\n')
    c = x.conn('c', login=True); x.note('while streaming: accepted too'); c.cmd(b'U01 UPDATE\r\n'); c.cmd(b'Z01 COMPRESS "DEFLATE"\r\n'); c.deflate(); c.cmd(b'N01 NOOP\r\n')

@scenario('18-update')
def _(x):
    "UPDATE: the dump, what is refused while streaming, NOOP as a barrier, LOGOUT"
    b = x.conn('b', login=True); b.cmd(b'1 ACTIVATE "user.amy" "be1!p1" "amy\tlrs\t"\r\n'); b.cmd(b'2 RESERVE "user.bob" "be2!p1"\r\n')
    c = x.conn('s', login=True); c.cmd(b'U01 UPDATE\r\n')
    for l in (b'FIND "a"', b'LIST', b'ACTIVATE "a" "b" "c"', b'RESERVE "a" "b"', b'DEACTIVATE "a" "b"', b'DELETE "a"', b'UPDATE', b'AUTHENTICATE "PLAIN"', b'STARTTLS', b'NOSUCH', b'FIND'):
        c.cmd(b'X ' + l + b'\r\n')
    x.note('changes made on b are sent when s asks with NOOP'); b.cmd(b'3 RESERVE "user.cat" "be1!p1"\r\n'); b.cmd(b'4 ACTIVATE "user.cat" "be1!p1" "cat\tlrs\t"\r\n'); b.cmd(b'5 DELETE "user.bob"\r\n'); b.cmd(b'6 DEACTIVATE "user.amy" "be1!p1"\r\n')
    c.cmd(b'N01 NOOP\r\n'); c.cmd(b'N02 NOOP\r\n')
    x.note('created and deleted between two NOOPs'); b.cmd(b'7 RESERVE "user.dan" "be1!p1"\r\n'); b.cmd(b'8 DELETE "user.dan"\r\n'); c.cmd(b'N03 NOOP\r\n')
    x.note('a refused change sends nothing'); b.cmd(b'9 RESERVE "user.cat" "be9!p1"\r\n'); c.cmd(b'N04 NOOP\r\n')
    x.note('an ACTIVATE that changes nothing is still sent'); b.cmd(b'10 ACTIVATE "user.cat" "be1!p1" "cat\tlrs\t"\r\n'); c.cmd(b'N05 NOOP\r\n'); c.cmd(b'L01 LOGOUT\r\n')

@scenario('19-update-batching')
def _(x):
    "without NOOP: changes are pushed on a 5-second timer"
    x.stamps = True
    b = x.conn('b', login=True); c = x.conn('s', login=True); c.cmd(b'U01 UPDATE\r\n')
    for i in range(3):
        time.sleep(1.0); b.cmd(b'%d ACTIVATE "user.n%d" "be1!p1" "x"\r\n' % (i, i))
    c.read(until=rb'user.n2', limit=12)
    time.sleep(1); b.cmd(b'5 DELETE "user.n0"\r\n'); c.read(until=rb'user.n0', limit=12)
    time.sleep(1); x.note('NOOP restarts the timer'); b.cmd(b'6 DELETE "user.n1"\r\n'); time.sleep(1); c.cmd(b'N1 NOOP\r\n'); b.cmd(b'7 DELETE "user.n2"\r\n'); c.read(until=rb'user.n2', limit=12)

@scenario('20-update-partial')
def _(x):
    "UPDATE with host names"
    b = x.conn('b', login=True); b.cmd(b'1 ACTIVATE "user.amy" "be1!p1" "amy\tlrs\t"\r\n'); b.cmd(b'2 ACTIVATE "user.bob" "be2!p1" "bob\tlrs\t"\r\n'); b.cmd(b'3 ACTIVATE "user.cat" "be10!p1" "x"\r\n'); b.cmd(b'4 ACTIVATE "user.nopart" "be1" "x"\r\n')
    c = x.conn('s', login=True); c.cmd(b'U01 UPDATE "be1"\r\n')
    x.note('a record moves into, out of and outside the set'); b.cmd(b'5 ACTIVATE "user.bob" "be1!p1" "bob\tlrs\t"\r\n'); c.cmd(b'N1 NOOP\r\n'); b.cmd(b'6 ACTIVATE "user.bob" "be2!p1" "bob\tlrs\t"\r\n'); c.cmd(b'N2 NOOP\r\n'); b.cmd(b'7 ACTIVATE "user.bob" "be3!p1" "bob\tlrs\t"\r\n'); c.cmd(b'N3 NOOP\r\n'); b.cmd(b'8 DELETE "user.cat"\r\n'); b.cmd(b'9 DELETE "user.amy"\r\n'); c.cmd(b'N4 NOOP\r\n'); c.close()
    c = x.conn('t', login=True); x.note('two hosts, one as a literal'); c.cmd(b'U01 UPDATE "be2" {3+}\r\nbe3\r\n'); c.close()
    c = x.conn('u', login=True); x.note('host with a partition matches nothing'); c.cmd(b'U01 UPDATE "be1!p1"\r\n'); c.close()
    c = x.conn('v', login=True); x.note('empty host'); c.cmd(b'U01 UPDATE ""\r\n'); c.cmd(b'U02 UPDATE "be1" ""\r\n'); x.note('30 hosts, then 31'); c.cmd(b'U03 UPDATE' + b''.join(b' "h%d"' % i for i in range(31)) + b'\r\n'); c.cmd(b'U04 UPDATE' + b''.join(b' "h%d"' % i for i in range(30)) + b'\r\n')

@scenario('21-slave', port='slave_port')
def _(x):
    "a slave: banner, what it refuses, what it answers"
    c = x.conn(); c.login(show=True)
    for l in (b'ACTIVATE "a" "b!c" "d"', b'DEACTIVATE "a" "b!c"', b'RESERVE "a" "b!c"', b'DELETE "a"', b'ACTIVATE "a"', b'FIND "a"', b'LIST', b'NOOP', b'UPDATE'):
        c.cmd(b'X ' + l + b'\r\n')
    c.cmd(b'X RESERVE "a" "b"\r\n'); c.cmd(b'N01 NOOP\r\n')

@scenario('22-transitions-replicated', port='replicated_port')
def _(x):
    "the state machine with mupdate_config: replicated"
    c = x.conn(login=True); x.note('NONE: DELETE'); c.cmd(b'0 DELETE "s.none"\r\n'); c.cmd(b'N NOOP\r\n')
    transitions(x, std=False)

@scenario('22b-replicated-crashes', port='replicated_port', dangerous=True)
def _(x):
    "replicated: DEACTIVATE of what is not active ends the process"
    for what, pre, cmd in (('NONE', None, b'1 DEACTIVATE "s.none" "h1!p1"\r\n'), ('RESERVED', b'0 RESERVE "s.res" "h1!p1"\r\n', b'1 DEACTIVATE "s.res" "h2!p1"\r\n')):
        x.note(what + ': DEACTIVATE'); c = x.conn(login=True)
        if pre: c.cmd(pre)
        c.cmd(cmd, 2); x.note('a new connection is greeted by a new process: %s' % ('yes' if wait_up(x) else 'no')); time.sleep(2)

@scenario('23-connections-max', port='maxconn_port')
def _(x):
    "more connections than mupdate_connections_max (2 here)"
    a = x.conn('a', quiet=0.5); b = x.conn('b', quiet=0.5); c = x.conn('c', quiet=0.5); c.read()

@scenario('24-half-close')
def _(x):
    "the client closes its sending side, or sends half a command and closes"
    c = x.conn(login=True); c.send(b'1 NOOP\r\n2 FIND "a"\r\n'); c.s.shutdown(socket.SHUT_WR); x.note('client shut down its sending side'); c.read(1)
    c = x.conn('b', login=True); c.send(b'1 FIND {10+}\r\nabc'); c.s.shutdown(socket.SHUT_WR); x.note('client shut down its sending side'); c.read(1)
    c = x.conn('c', login=True); c.send(b'1 NOOP'); c.s.shutdown(socket.SHUT_WR); x.note('client shut down its sending side'); c.read(1)
    c = x.conn('d', log=False); c.cmd(b'1 AUTHENTICATE "PLAIN"\r\n'); c.s.shutdown(socket.SHUT_WR); x.note('client shut down its sending side'); c.read(1)

@scenario('25-contents')
def _(x):
    "locations, ACLs and names the server stores without a check"
    c = x.conn(login=True)
    for i, (m, l, a) in enumerate([(b's.noloc', b'', b'x'), (b's.noexcl', b'host', b'x'), (b's.empty', b'h!', b'x'), (b's.part', b'!p', b'x'), (b's.two', b'h!p!q', b'x'), (b's.noacl', b'h!p', b''), (b's.acltab', b'h!p', b'a lrs\tb lrs\t'), (b's.aclspace', b'h!p', b' lead'), (b's.acl8', b'h!p', b'\xff\xfe l'), (b's.aclpar', b'h!p', b'a (l) "q" {3} %'), (b's.pct', b'h%s!p%n', b'%s'), (b's sp ace', b'h!p', b'x'), (b's.\t', b'h!p', b'x'), (b'UPPER.Case', b'h!p', b'x'), (b'dom.ain!user.x', b'h!p', b'x'), (b'DELETED.user.x.5F', b'h!p', b'x')]):
        c.cmd(b'%d ACTIVATE ' % i + lit(m) + b' ' + lit(l) + b' ' + lit(a) + b'\r\n')
        c.cmd(b'F%d FIND ' % i + lit(m) + b'\r\n')
        if c.eof: x.note('connection lost'); wait_up(x); c = x.conn(login=True)
    x.note('names of 489, 490, 491, 1000, 1023, 1024 and 4000 octets')
    for n in (489, 490, 491, 1000, 1023, 1024, 4000):
        c.cmd(b'R RESERVE ' + lit(b's.' + b'n' * (n - 2)) + b' "h!p"\r\n'); c.cmd(b'F FIND ' + lit(b's.' + b'n' * (n - 2)) + b'\r\n')
        if c.eof: x.note('connection lost'); wait_up(x); c = x.conn(login=True)
    x.note('the empty name'); c.cmd(b'11a ACTIVATE "" "h!p" "x"\r\n'); c.cmd(b'11b FIND ""\r\n'); c.cmd(b'11c LIST\r\n')
    x.note('an ACL of 200000 octets that is not in the TAB form'); c.cmd(b'B ACTIVATE "s.big" "h!p" ' + lit(b'a' * 200000) + b'\r\n', 1); c.cmd(b'F FIND "s.big"\r\n', 1)
    x.note('a literal of 5000000 octets for a FIND'); c.send(b'G FIND ' + lit(b'a' * 5000000) + b'\r\n'); c.read(2)


@scenario('26-literal-limit', dangerous=True)
def _(x):
    "literals around maxliteral (131072 by default where it exists): {n} is refused, {n+} ends the process"
    for n in (131072, 131073):
        c = x.conn(login=True); x.note('%d, synchronising' % n); r = c.cmd(b'1 FIND {%d}\r\n' % n)
        if r.startswith(b'+'): c.cmd(b'a' * n + b'\r\n', 0.5)
        c.cmd(b'N NOOP\r\n')
        w = x.conn('w', login=True); c = x.conn(login=True); x.note('%d, non-synchronising' % n); c.cmd(b'1 FIND {%d+}\r\n' % n + b'a' * n + b'\r\n', 0.7); w.cmd(b'N NOOP\r\n', 0.5)
        x.note('a new connection is greeted: %s' % ('yes' if wait_up(x) else 'no')); time.sleep(2)

def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--host', default='127.0.0.1'); ap.add_argument('--port', type=int, required=True)
    ap.add_argument('--user', required=True); ap.add_argument('--password', required=True); ap.add_argument('--nonadmin')
    for k in ('slave', 'replicated', 'notls', 'maxconn'): ap.add_argument('--%s-port' % k, type=int)
    ap.add_argument('--ca'); ap.add_argument('--cert'); ap.add_argument('--key'); ap.add_argument('--dangerous', action='store_true')
    ap.add_argument('--out', default='transcripts'); ap.add_argument('--only', nargs='*'); ap.add_argument('--label', default='')
    a = ap.parse_args(); os.makedirs(a.out, exist_ok=True)
    for name, f, kw in SCEN:
        if a.only and not any(name.startswith(o) for o in a.only): continue
        if kw.get('dangerous') and not a.dangerous: continue
        port = a.port
        if 'port' in kw:
            port = getattr(a, kw['port'])
            if not port: continue
        x = Ctx(a, port)
        if not wait_up(x) and name[:2] != '23': print('server gone before', name); return 1
        if name[:2] not in ('21', '23'): x.wipe()
        x.t0 = time.time()
        try: f(x)
        except Exception as e:
            x.note('script error: %s %s' % (type(e).__name__, e)); print(name, type(e).__name__, e)
        for c in x.conns: c.close()
        head = ['# %s: %s' % (name, f.__doc__)]
        if a.label: head.append('# recorded from: ' + a.label)
        open(os.path.join(a.out, name + '.txt'), 'w').write('\n'.join(head + [''] + x.out) + '\n')
        print('%-28s %4d lines %5.1fs' % (name, len(x.out), time.time() - x.t0))
        if kw.get('dangerous'): time.sleep(2); wait_up(x)

if __name__ == '__main__': sys.exit(main())
