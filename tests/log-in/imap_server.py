#!/usr/bin/env python3
"""An IMAP server that knows LOGIN only: imap_server.py PORT USER PASSWORD.

What saslauthd's mechanism `rimap` asks. One connection after the other.
"""
import re
import socket
import sys


def serve(connection):
    with connection, connection.makefile("rwb") as stream:
        stream.write(b"* OK ready\r\n")
        stream.flush()
        for line in stream:
            found = re.match(rb'(\S+) LOGIN "([^"]*)" "([^"]*)"', line, re.IGNORECASE)
            tag = line.split(b" ", 1)[0]
            if not found:
                stream.write(tag + b" OK bye\r\n")
            elif (found[2].decode(), found[3].decode()) == (user, password):
                stream.write(tag + b" OK LOGIN\r\n")
            else:
                stream.write(tag + b" NO LOGIN\r\n")
            stream.flush()


port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with socket.create_server(("127.0.0.1", port)) as server:
    while True:
        connection, _ = server.accept()
        try:
            serve(connection)
        except OSError:
            # It has closed without waiting for the answer to its LOGOUT.
            pass
