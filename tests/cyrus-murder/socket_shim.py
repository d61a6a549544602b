#!/usr/bin/env python3
"""Run a program with listening sockets as systemd gives them (socket activation).

    socket_shim.py HOST:PORT,HOST:PORT PROGRAM [ARGS...]

The sockets are descriptors 3 and on; LISTEN_FDS and LISTEN_PID say so.
"""
import os
import socket
import sys

listeners = []
for address in sys.argv[1].split(","):
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, int(port)))
    listener.listen(128)
    listeners.append(os.dup2(listener.fileno(), 20 + len(listeners)))
for position, descriptor in enumerate(listeners):
    os.dup2(descriptor, 3 + position)
os.closerange(3 + len(listeners), 64)
os.environ["LISTEN_FDS"] = str(len(listeners))
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
