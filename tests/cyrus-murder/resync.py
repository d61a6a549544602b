#!/usr/bin/env python3
"""What a slave that comes back costs: octets on the wire and seconds, ours beside Cyrus's, in one run.

    resync.py --mupdate target/release/mupdate [--mailboxes 500000] [--json FILE]

A slave is stopped, the master's list is changed, the slave is started again. Octets are counted by a relay between the two,
both ways, until a NOOP has been through the slave to the master and back; seconds count from the slave's process. With Cyrus
every start is a full dump, so only two of the cases are measured there.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import baseline  # noqa: E402
import frontends  # noqa: E402

OWNER = len(baseline.FOLDERS)           # mailboxes of one owner


def change(murder, names, round_):
    """Gives mailboxes another ACL, one command after the other in batches."""
    with murder.client(murder.ports["master"], timeout=600) as client:
        for at in range(0, len(names), 200):
            batch = names[at:at + 200]
            client.send(b"".join(b"C ACTIVATE %s %s %s\r\n" % tuple(map(
                baseline.lit, (name, baseline.LOCATION, "anyone\tlrswip%s\t" % "kxtecdan"[:round_ % 8])))
                for name in batch))
            for _ in batch:
                answer = client.read()
                if answer[1] != "OK":
                    raise RuntimeError("ACTIVATE: %s" % (answer,))


def scattered(mailboxes, count):
    """One mailbox of each of `count` owners."""
    owners = mailboxes // OWNER
    return [baseline.entry(owner * OWNER + owner % OWNER)[0] for owner in range(0, owners, max(1, owners // count))][:count]


def clustered(mailboxes, owners, count):
    """`count` mailboxes of `owners` owners, old ones and new ones."""
    step = max(1, mailboxes // OWNER // owners)
    names = [baseline.entry(owner * step * OWNER)[0] for owner in range(owners)]
    each = count // owners
    folders = baseline.FOLDERS + [".New.n%d" % n for n in range(each)]
    return [name + folder for name in names for folder in folders[:each]]


def set_history(murder, changes):
    """Starts the master anew with a history of so many changes."""
    murder.stop_master()
    with open(murder.master.conf) as file:
        lines = [line for line in file if not line.startswith("mupdate_history_changes")]
    with open(murder.master.conf, "w") as file:
        file.writelines(lines + ["mupdate_history_changes: %d\n" % changes])
    murder.start_master()


def measure(murder, tap, mailboxes, ours):
    murder.start_master()
    frontends.fill(murder, mailboxes)
    result = {}

    def comes_back(name):
        tap.reset()
        _, seconds = frontends.start_slave(murder, tap)
        result[name] = {"octets": tap.octets(), "seconds": round(seconds, 2), "commands": sorted(set(tap.commands))}
        print("#   %s: %s" % (name, result[name]), file=sys.stderr, flush=True)
        murder.stop_frontend()
    comes_back("empty slave")
    comes_back("nothing changed")
    change(murder, scattered(mailboxes, 1000), 1)
    comes_back("1 000 changed, history there")
    if ours:
        set_history(murder, 100)
        change(murder, scattered(mailboxes, 1000), 2)
        comes_back("history cut, 1 000 owners changed")
        change(murder, clustered(mailboxes, 50, 1000), 3)
        comes_back("history cut, 1 000 changes on 50 owners")
        comes_back("nothing changed, again")
    return result


def main():
    options = frontends.arguments_of(__doc__, 500000).parse_args()

    def run(_, of_murder, ours):
        murder, tap = frontends.tapped(of_murder)
        try:
            return measure(murder, tap, options.mailboxes, ours)
        finally:
            murder.stop()
            tap.close()
    results = frontends.both(options, run)
    print("%d mailboxes" % options.mailboxes)
    for server, rows in results.items():
        for name, row in rows.items():
            print("%-8s%-42s%12d octets%8.2f s  %s" % (server, name, row["octets"], row["seconds"], " ".join(row["commands"])))


if __name__ == "__main__":
    main()
