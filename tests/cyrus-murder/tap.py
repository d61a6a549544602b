"""A way from slaves to their master that counts what goes over it.

    tap = Tap(master_port); murder option: --set frontend:mupdate_server=127.0.0.1:%d" % tap.port

Without TLS it also sees the slave's NOOPs, so a NOOP answered by the slave alone is told from one that has been to the master.
"""
import socket
import threading
import time

HOST = "127.0.0.1"


class Tap:
    def __init__(self, port):
        self.to = port
        self.listener = socket.create_server((HOST, 0), backlog=16)
        self.port = self.listener.getsockname()[1]
        self.up = self.down = 0
        self.last_noop = 0.0            # when the latest NOOP passed, by time.monotonic()
        self.commands = []              # what slaves have asked for, but for NOOP and the log-in
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self):
        self.up = self.down = 0
        self.commands = []

    def octets(self):
        return self.up + self.down

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((HOST, self.to))
            except OSError:
                near.close()
                continue
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(near, far, self._note_up), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, self._note_down), daemon=True).start()

    def _note_up(self, data):
        self.up += len(data)
        for line in data.split(b"\n"):
            words = line.split(None, 2)[:2]
            if len(words) == 2 and words[1].rstrip(b"\r").isalpha():
                verb = words[1].decode().upper()
                if verb == "NOOP":
                    self.last_noop = time.monotonic()
                elif verb in ("UPDATE", "RESYNC", "GROUPS", "BUCKETS", "ENTRIES"):
                    self.commands.append(verb)

    def _note_down(self, data):
        self.down += len(data)

    @staticmethod
    def _pump(source, sink, note):
        try:
            while True:
                data = source.recv(1 << 18)
                if not data:
                    break
                note(data)
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
