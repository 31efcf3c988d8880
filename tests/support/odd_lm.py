#!/usr/bin/env python3
"""An LM server for tests whose answers are wrapped, cut, empty or wrong, as those of real servers are: standard library only.

The last message of a request names the case, as in `CASE:gzip`. See CASES.

Endpoints
  POST /v1/chat/completions
  POST /_whole   from now on every case is answered with a good answer
  GET  /_asked   {case: number of requests}

Usage: python3 odd_lm.py [--port P] [--while-stdin]
"""
import collections
import gzip
import json
import re
import threading
import zlib
from http.server import BaseHTTPRequestHandler

from serving import argument_parser, serve

GOOD = "[[ ## answer ## ]]\nblue\n\n[[ ## completed ## ]]"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def completion(content=GOOD, message=None, finish_reason="stop", **top):
    message = {"role": "assistant", "content": content, **(message or {})}
    choices = [{"index": 0, "message": message, "finish_reason": finish_reason}]
    return {"id": "x", "object": "chat.completion", "choices": choices, "usage": USAGE, **top}


def encoded(body, **headers):
    """Status, headers and bytes of a body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return 200, {name.replace("_", "-"): value for name, value in headers.items()}, data


WHOLE = json.dumps(completion()).encode()
CUT = "[[ ## answer ## ]]\nblu"
CASES = {
    "good": encoded(WHOLE),
    "status201": (201, {}, WHOLE),
    "gzip": encoded(gzip.compress(WHOLE), content_encoding="gzip"),
    "deflate": encoded(zlib.compress(WHOLE), content_encoding="deflate"),
    "bom": encoded(b"\xef\xbb\xbf" + WHOLE),
    "utf16": encoded(WHOLE.decode().encode("utf-16"), content_type="application/json; charset=utf-16"),
    "surrogate": encoded(WHOLE.replace(b"blue", b"\\ud83d blue")),
    "zstd": encoded(b"(\xb5/\xfd....", content_encoding="zstd"),
    "no_usage": encoded({**completion(), "usage": None}),
    "odd_usage": encoded(completion(usage={"prompt_tokens": -1, "completion_tokens": 3})),
    "text_usage": encoded(completion(usage={"prompt_tokens": "7", "completion_tokens": 3.0})),
    "length": encoded(completion(CUT, finish_reason="length")),
    "content_filter": encoded(completion(CUT, finish_reason="content_filter")),
    "reasoning": encoded(completion(None, {"reasoning_content": "x" * 1204}, "length")),
    "refusal": encoded(completion(None, {"refusal": "I cannot help with that."})),
    "tool_calls": encoded(completion(None, {"tool_calls": [{"function": {"name": "find"}}]}, "tool_calls")),
    "no_choice": encoded({**completion(), "choices": []}),
    "percent": encoded(completion("[[ ## answer ## ]]\n85%\n\n[[ ## completed ## ]]")),
    "final_error": encoded({"error": {"message": "the prompt is too long", "code": "context_length_exceeded"}}),
}
# Errors that come once, with status 200, before a good answer.
ONCE = {
    "once_429": encoded({"error": {"message": "slow down", "code": "429", "type": "rate_limit"}}),
    "once_502": encoded({"choices": [], "error": {"message": "Provider returned error", "code": 502}}),
    "once_503": encoded({"object": "error", "message": "The engine is overloaded", "code": 503}),
}


class State:
    def __init__(self):
        self.lock = threading.Lock()
        self.asked = collections.Counter()
        self.whole = False

    def answer(self, case):
        with self.lock:
            self.asked[case] += 1
            if self.whole:
                return CASES["good"]
            if case in ONCE:
                return ONCE[case] if self.asked[case] == 1 else CASES["good"]
            return CASES[case]


def make_handler(state):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def send(self, status, headers, data):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self):
            self.send(*encoded(dict(state.asked)))

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/_whole":
                state.whole = True
                return self.send(*encoded({}))
            last = json.loads(body)["messages"][-1]["content"]
            self.send(*state.answer(re.findall(r"CASE:(\w+)", last)[-1]))

    return Handler


if __name__ == "__main__":
    serve(make_handler(State()), argument_parser().parse_args())
