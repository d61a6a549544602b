#!/usr/bin/env python3
"""mupdate-bench on a real Cyrus master and ours, in one run on one machine.

    bench.py --mupdate target/release/mupdate [--export] [--only-ours] [mupdate-bench options]

Starts both masters, each in a work directory of its own, and runs mupdate-bench on them, row by row in turn. It needs
mupdatectl and mupdate-bench beside mupdate. Ours offers TLS too; Cyrus's does not, since with TLS it crashes. --export adds
a third master: ours, with every change in Cyrus's mailboxes.db before its OK.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import murder as mu  # noqa: E402

MECHANISMS = ("--sasl-mechs", "PLAIN SCRAM-SHA-256")
OURS = MECHANISMS + ("--tls", "--set", "master:allowplaintext=yes")


def columns(options, command):
    """(name, command line of our program or None for Cyrus's, options of the murder)"""
    if not options.only_ours:
        yield "cyrus", None, MECHANISMS
    yield "ours", command, OURS
    if options.export:
        yield "export", command, OURS + ("--set", "master:mupdate_export=before-ok")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--mupdate", required=True, metavar="FILE",
                        help="our program, with mupdatectl and mupdate-bench beside it")
    parser.add_argument("--export", action="store_true", help="also ours with the change in mailboxes.db before its OK")
    parser.add_argument("--only-ours", action="store_true", help="without Cyrus's")
    options, rest = parser.parse_known_args()
    bench = os.path.join(os.path.dirname(os.path.abspath(options.mupdate)), "mupdate-bench")
    if not os.access(bench, os.X_OK):
        sys.exit("no %s: cargo build --release" % bench)
    base = tempfile.mkdtemp(prefix="mb", dir="/tmp")
    os.chmod(base, 0o755)
    murders = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        programs = compare.installed(tempfile.mkdtemp(prefix="bin", dir=base), options.mupdate)
        password = os.path.join(base, "password")
        with open(password, "w") as file:
            file.write(mu.MPASS)
        argv = [bench, "--user", mu.MUSER, "--password-file", password, "--directory", base]
        for name, command, more in columns(options, compare.MASTER.format(p=programs)):
            murder = compare.start(os.path.join(base, name), command, more)
            murders.append(murder)
            place = "%s=%s:%d:%d" % (name, mu.HOST, murder.ports["master"], compare.master_pid(murder))
            argv += ["--server", place]
        return subprocess.run(argv + rest).returncode
    finally:
        for murder in murders:
            murder.stop_master()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
