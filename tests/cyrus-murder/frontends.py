#!/usr/bin/env python3
"""Our slave under our master beside Cyrus's pair, in one run on one machine.

    frontends.py --mupdate target/release/mupdate [--mailboxes 100000] [--json FILE]

For each pair: the master is filled, a frontend's slave starts some times with nothing of its own and no mailboxes.db, and
then with a full one and nothing to change (medians are shown). A start is timed from the slave's process until it answers a NOOP and then a
kick, whose `ok` has been to the master and back. What the host does before (`ctl_cyrusdb -r`, Cyrus's START) is shown by itself:
it is the same with both. A reader takes the lock of mailboxes.db every millisecond meanwhile; its longest wait is what a proxy
would have noticed.
"""
import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import baseline  # noqa: E402
import compare  # noqa: E402
import murder as mu  # noqa: E402
from tap import Tap  # noqa: E402

SLAVE = ("sh -c '[ -e users ] || printf %s \"$MURDER_PASSWORD\" | {p}/mupdatectl passwd --users users \"$MURDER_USER\"; "
         "exec {p}/mupdate -C {{imapd_conf}} --listen {{host}}:{{port}} --users users'")


class Reader(threading.Thread):
    """Takes a shared lock on a file again and again, as Cyrus's readers do."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.longest, self.stopping = path, 0.0, threading.Event()

    def run(self):
        while not self.stopping.wait(0.001):
            try:
                with open(self.path, "r+b") as file:
                    began = time.monotonic()
                    fcntl.lockf(file, fcntl.LOCK_SH)
                    self.longest = max(self.longest, time.monotonic() - began)
            except OSError:
                pass            # not there yet

    def stop(self):
        self.stopping.set()
        self.join()
        return round(1000 * self.longest, 1)


def arguments(workdir, ours=None, retry_delay=20, more=()):
    """Options of a murder: Cyrus's, or with our programs in the directory `ours`."""
    argv = ["--workdir", workdir, "--retry-delay", str(retry_delay), *more]
    if ours:
        argv += ["--master-cmd", compare.MASTER.format(p=ours), "--slave-cmd", SLAVE.format(p=ours)]
    return mu.parser().parse_args(argv)


def tapped(options):
    """A murder whose frontend reaches its master by way of a tap; the tap's ports are known only then."""
    murder = mu.Murder(options)
    tap = Tap(murder.ports["master"])
    frontend = murder.frontend
    setting = dict(frontend.setting, mupdate_server="%s:%d" % (mu.HOST, tap.port))
    with open(frontend.conf, "w") as file:
        file.writelines("%s: %s\n" % (key, value) for key, value in setting.items() if value is not None)
    return murder, tap


def fill(murder, mailboxes):
    """Loads the master with the names of baseline.py."""
    options = argparse.Namespace(user=mu.MUSER, password=mu.MPASS, mech="AUTO", starttls=False, mailboxes=mailboxes,
                                 conns=4, batch=200, quickack=True)
    pid = compare.master_pid(murder)
    baseline.Target("master", mu.HOST, murder.ports["master"], pid, options).load()


def age(pid):
    """Seconds since a process began, to a hundredth."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def slave_pid(murder):
    return murder.slave_cmd.proc.pid if murder.slave_cmd else murder.frontend.child("mupdate")


def kicked(path):
    with socket.socket(socket.AF_UNIX) as kick:
        kick.settimeout(600)
        kick.connect(path)
        return kick.recv(16) == b"ok"


def start_slave(murder, tap=None):
    """Starts the frontend; (seconds before the slave's process began, seconds from there until verified).

    Cyrus's slave answers a NOOP by itself and asks its master when it is kicked; ours closes a kick without `ok` while it
    has no link. With a tap a NOOP that was seen there will do.
    """
    began = time.monotonic()
    murder.start_frontend(wait=False)
    mu.wait_for("process of the slave", lambda: slave_pid(murder), 600, 0.005)

    def noop():
        with murder.client(murder.ports["slave"], timeout=600) as client:
            sent = time.monotonic()
            client.ok("NOOP")
        if tap and tap.last_noop > sent:
            return True
        return kicked(murder.frontend.kick) and (not tap or tap.last_noop > sent)
    mu.wait_for("NOOP through the slave", noop, 1200, 0.01)
    verified = age(slave_pid(murder))
    return time.monotonic() - began - verified, verified


def empty(murder):
    """Takes the frontend's mailboxes.db away, and what our slave keeps beside it."""
    configdir = murder.frontend.configdir
    for name in os.listdir(configdir):
        path = os.path.join(configdir, name)
        if name.startswith("mailboxes.db"):
            os.unlink(path)
        elif name == "mupdate":
            shutil.rmtree(path)


def measure(murder, mailboxes, first_syncs, restarts):
    murder.start_master()
    fill(murder, mailboxes)
    database = os.path.join(murder.frontend.configdir, "mailboxes.db")
    result = {}

    def timed(name, times, prepare=None):
        reader, before, seconds = Reader(database), [], []
        reader.start()
        for _ in range(times):
            if prepare:
                prepare(murder)
            host, slave = start_slave(murder)
            before.append(host)
            seconds.append(slave)
            murder.stop_frontend()
        result[name + "_s"] = round(statistics.median(seconds), 2)
        result[name + "_range_s"] = "%.2f-%.2f" % (min(seconds), max(seconds))
        result[name + "_host_before_s"] = round(statistics.median(before), 2)
        result[name + "_longest_reader_wait_ms"] = reader.stop()
    timed("first_sync", first_syncs, empty)
    timed("restart", restarts)
    return result


def arguments_of(doc, mailboxes):
    """The command line of a program that measures two pairs."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--mupdate", required=True, metavar="FILE", help="our program, with mupdatectl beside it")
    parser.add_argument("--mailboxes", type=int, default=mailboxes)
    parser.add_argument("--only", choices=("cyrus", "ours"))
    parser.add_argument("--json")
    return parser


def both(options, run):
    """What `run(name, murder options, ours)` returns for Cyrus's pair and then ours; written to --json too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    base = tempfile.mkdtemp(prefix="mf", dir="/tmp")
    os.chmod(base, 0o755)
    results = {}
    try:
        programs = compare.installed(tempfile.mkdtemp(prefix="bin", dir=base), options.mupdate)
        for name, ours in (("cyrus", None), ("ours", programs)):
            if options.only in (None, name):
                results[name] = run(name, arguments(os.path.join(base, name), ours), bool(ours))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"mailboxes": options.mailboxes, "results": results}, file, indent=1)
    return results


def main():
    parser = arguments_of(__doc__, 100000)
    parser.add_argument("--first-syncs", type=int, default=3)
    parser.add_argument("--restarts", type=int, default=3)
    options = parser.parse_args()

    def run(name, of_murder, _):
        murder = mu.Murder(of_murder)
        try:
            result = measure(murder, options.mailboxes, options.first_syncs, options.restarts)
        finally:
            murder.stop()
        print("# %s: %s" % (name, result), file=sys.stderr, flush=True)
        return result
    results = both(options, run)
    print("%-40s%s" % ("%d mailboxes" % options.mailboxes, "".join("%14s" % name for name in results)))
    for key in next(iter(results.values())):
        print("%-40s%s" % (key, "".join("%14s" % result[key] for result in results.values())))


if __name__ == "__main__":
    main()
