"""How the servers of the tests start: standard library only.

A server prints its base URL when it listens. Port 0 takes a free one. With --while-stdin it ends when its stdin is closed, so that it
never outlives the test that started it.
"""
import argparse
import sys
import threading
from http.server import ThreadingHTTPServer


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        # A client may hang up, or be killed.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def argument_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--while-stdin", action="store_true")
    return parser


def serve(handler, arguments):
    """Serves until stdin is closed, or until it is interrupted."""
    server = QuietServer(("127.0.0.1", arguments.port), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    try:
        if arguments.while_stdin:
            sys.stdin.buffer.read()
        else:
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
