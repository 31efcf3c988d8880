#!/usr/bin/env python3
"""An LM server for tests whose answers are as long as the question asks for: standard library only.

The last message of a request names kind and length in bytes, as in `GIANT:text:8000000`; other requests get a short answer. The kinds
are those of KINDS: what the value of the first output field looks like, in the layout of the chat adapter.

Usage: python3 giant_lm.py [--port P] [--while-stdin] [--together N]
With --together no long answer is sent before N requests for one have arrived: then the answers come all at once.
"""
import json
import re
import threading
from http.server import BaseHTTPRequestHandler

from serving import argument_parser, serve

# The beginning, what is repeated, and the end.
KINDS = {
    "text": ("", "So long, and thanks for all the fish. ", ""),
    "control": ("", "\x01", ""),
    "quotes": ("", '"', ""),
    "numbers": ("[1", ",1", "]"),
    "floats": ("[1.5", ",1.5", "]"),
    "texts": ('["a"', ',"a"', "]"),
    "lists": ("[[1]", ",[1]", "]"),
    "words": ("", "a ", ""),
}


def answer(field, content):
    message = {"role": "assistant", "content": f"[[ ## {field} ## ]]\n{content}\n\n[[ ## completed ## ]]"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}).encode()


def giant(field, kind, length):
    """A body of about that many bytes."""
    begin, part, end = KINDS[kind]
    encoded = len(json.dumps(part)) - 2
    return answer(field, begin + part * (length // encoded) + end)


class State:
    def __init__(self, together):
        self.together = together
        self.bodies = {}
        self.requests = 0
        self.changed = threading.Condition()

    def body(self, question):
        found = re.findall(r"GIANT:(\w+):(\d+)", question)
        field = re.findall(r"starting with the field `\[\[ ## (\w+) ## \]\]`", question)[-1]
        if not found:
            return answer(field, "short")
        kind, length = found[-1]
        with self.changed:
            self.requests += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.requests >= self.together)
            if (field, kind, length) not in self.bodies:
                self.bodies[field, kind, length] = giant(field, kind, int(length))
            return self.bodies[field, kind, length]


def make_handler(state):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass

        def send(self, body):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send(state.body(request["messages"][-1]["content"]))

    return Handler


if __name__ == "__main__":
    parser = argument_parser()
    parser.add_argument("--together", type=int, default=1)
    arguments = parser.parse_args()
    serve(make_handler(State(arguments.together)), arguments)
