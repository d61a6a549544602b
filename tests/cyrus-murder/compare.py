#!/usr/bin/env python3
"""Our master beside Cyrus's, in one run on one machine.

    compare.py --mupdate target/release/mupdate [--mailboxes 100000] [--slaves 8] [baseline.py options]

Starts a real Cyrus master and ours, each in a work directory of its own, and runs baseline.py on both, phase by
phase in turn. Figures of the two come from the same minutes, so their ratios hold on a noisy machine.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import murder as mu  # noqa: E402


MASTER = ("sh -c 'printf %s \"$MURDER_PASSWORD\" | {p}/mupdatectl passwd --users users \"$MURDER_USER\" && "
          "exec {p}/mupdate -m -C {{imapd_conf}} --listen {{host}}:{{port}} --users users'")


def start(workdir, command, more=()):
    """A master of a murder, Cyrus's or the one that `command` runs; without backend and frontend."""
    argv = ["--workdir", workdir, *more] + (["--master-cmd", command] if command else [])
    murder = mu.Murder(mu.parser().parse_args(argv))
    murder.start_master()
    return murder


def master_pid(murder):
    return murder.master_cmd.proc.pid if murder.master_cmd else murder.master.child("mupdate") or 0


def installed(programs, binary):
    """Copies of our programs where the user that Cyrus runs as may execute them."""
    here = os.path.dirname(os.path.abspath(binary))
    os.chmod(programs, 0o755)
    for name in ("mupdate", "mupdatectl"):
        shutil.copy(os.path.join(here, name), programs)
    return programs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mupdate", required=True, metavar="FILE",
                        help="our program, with mupdatectl beside it")
    options, rest = parser.parse_known_args()
    base = tempfile.mkdtemp(prefix="mc", dir="/tmp")
    os.chmod(base, 0o755)
    programs = installed(tempfile.mkdtemp(prefix="bin", dir=base), options.mupdate)
    command = MASTER.format(p=programs)
    murders = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        targets = []
        for name, how in (("cyrus", None), ("ours", command)):
            murder = start(os.path.join(base, name), how)
            murders.append(murder)
            targets += ["--target", "%s=%s:%d:%d" % (name, mu.HOST, murder.ports["master"], master_pid(murder))]
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baseline.py")
        return subprocess.run([sys.executable, script] + targets + rest).returncode
    finally:
        for murder in murders:
            murder.stop_master()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
