#!/usr/bin/env python3
"""Our slave under our master beside Cyrus's pair, in one run on one machine.

    frontends.py --mupdate target/release/mupdate [--mailboxes 100000] [--json FILE]

For each pair: the master is filled, a frontend's slave starts with an empty mailboxes.db, and once more with a full one
and nothing to change. A start has ended when a NOOP sent to the slave, which reaches through to the master, is answered. A
reader takes the lock of mailboxes.db every millisecond meanwhile; its longest wait is what a proxy would have noticed.
"""
import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import baseline  # noqa: E402
import compare  # noqa: E402
import murder as mu  # noqa: E402

SLAVE = ("sh -c 'printf %s \"$MURDER_PASSWORD\" | {p}/mupdatectl passwd --users users \"$MURDER_USER\" && "
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


def until_noop(murder):
    """Seconds from the start of the slave's process to the answer of a NOOP through it."""
    def noop():
        with murder.client(murder.ports["slave"], timeout=5) as client:
            client.ok("NOOP")
        return True
    began = time.monotonic()
    murder.start_frontend(wait=False)
    mu.wait_for("slave", noop, 1200, 0.01)
    return round(time.monotonic() - began, 2)


def measure(murder, mailboxes):
    murder.start_master()
    pid = compare.master_pid(murder)
    options = argparse.Namespace(user=mu.MUSER, password=mu.MPASS, mech="AUTO", starttls=False, mailboxes=mailboxes,
                                 conns=4, batch=200, quickack=True)
    target = baseline.Target("master", mu.HOST, murder.ports["master"], pid, options)
    target.load()
    database = os.path.join(murder.frontend.configdir, "mailboxes.db")
    result = {}
    for name in ("first_sync", "restart"):
        reader = Reader(database)
        reader.start()
        result[name + "_s"] = until_noop(murder)
        result[name + "_longest_reader_wait_ms"] = reader.stop()
        murder.stop_frontend()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mupdate", required=True, metavar="FILE", help="our program, with mupdatectl beside it")
    parser.add_argument("--mailboxes", type=int, default=100000)
    parser.add_argument("--json")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    base = tempfile.mkdtemp(prefix="mf", dir="/tmp")
    os.chmod(base, 0o755)
    programs = compare.installed(tempfile.mkdtemp(prefix="bin", dir=base), options.mupdate)
    ours = ["--master-cmd", compare.MASTER.format(p=programs), "--slave-cmd", SLAVE.format(p=programs)]
    results = {}
    try:
        for name, more in (("cyrus", []), ("ours", ours)):
            argv = ["--workdir", os.path.join(base, name), "--retry-delay", "20"] + more
            murder = mu.Murder(mu.parser().parse_args(argv))
            try:
                results[name] = measure(murder, options.mailboxes)
            finally:
                murder.stop()
            print("# %s: %s" % (name, results[name]), file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print("%-40s%12s%12s" % ("%d mailboxes" % options.mailboxes, "cyrus", "ours"))
    for key in results["cyrus"]:
        print("%-40s%12s%12s" % (key, results["cyrus"][key], results["ours"][key]))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"mailboxes": options.mailboxes, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
