"""Servers that receive webhooks."""

import json
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver:
    """A server that records webhooks and answers with the given statuses, then 200."""

    def __init__(self):
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.received.append((dict(self.headers), body))
                status = outer.statuses.pop(0) if outer.statuses else 200
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def batches(self):
        """Return the ids of the batches in the received events, in order."""
        return [json.loads(body)["data"]["id"] for _, body in self.received]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class SlowReceiver:
    """A server that sends the head of its response byte by byte, for 5 seconds."""

    def __init__(self):
        self.is_called = threading.Event()
        self.may_end = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._respond, daemon=True)
        self._thread.start()

    def _respond(self):
        with suppress(OSError):
            connection, _ = self._server.accept()
            self.is_called.set()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                for _ in range(100):
                    connection.sendall(b"x")
                    if self.may_end.wait(0.05):
                        break
                connection.sendall(b"\r\n\r\n")

    def close(self):
        self.may_end.set()
        self._server.close()
        self._thread.join()
