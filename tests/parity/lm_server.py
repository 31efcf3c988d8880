#!/usr/bin/env python3
"""A deterministic OpenAI-compatible LM server for tests: standard library only.

The answer's text is a pure function of `messages` and of the server-wide --profile and --salt: model name, temperature,
response_format, headers, order of arrival and concurrency have no influence. The same question always gets the same
answer, from dspy and from bsft: both can be run against it and compared.

    seed = sha256( salt \\n compact-JSON([[role, content], ...]) )          # see seed_of()
    every random draw = sha256(seed ":" counter)                            # class Rng

What it answers is derived from the prompt itself:
  * last user message ends in "Respond with the corresponding output fields, starting with the field `[[ ## x ## ]]` ..."
        -> ChatAdapter layout
  * "... Respond with a JSON object in the following order of fields: `x` ..."      -> JSONAdapter layout
  * "... Respond with the corresponding output fields wrapped in XML tags `<x>` ..." -> XMLAdapter layout
  * anything else -> free text
Field types and JSON schemas are read from the "# note: the value you produce ..." notes of the system message.
If the last user message contains `gold=<word>`, string fields often repeat that word, so that exact-match metrics
are sometimes satisfied.

Profiles (how often the layout is damaged): clean (never), mild (default), messy, wild.

Endpoints
  POST /v1/chat/completions           the LM
  POST /v1/completions                same, prompt wrapped as a single user message
  GET  /v1/models
  POST /v1/files, GET/DELETE /v1/files/<id>, GET /v1/files/<id>/content
  POST /v1/fine_tuning/jobs, GET /v1/fine_tuning/jobs/<id>, GET .../events, POST .../cancel
  GET  /_log       [{path, body}, ...] of every chat request so far
  GET  /_count     {requests, distinct, repeated, most_asked}: of the log, by `messages`; cheap
  GET  /_asked     [{question, asker, arrived, status}, ...]: every chat request by the digest under which bsft records its answer,
                   with the API key that it came with, when (seconds since 1970), and the status that it was or will be given
  GET  /_paid      {answers, prompt_tokens, completion_tokens, answered_again}: of the answers with status 200 since the last reset;
                   answered_again is the number of different `messages` that were answered more than once
  POST /_content   {"messages": [...]} -> {"content": "..."} without logging (for unit tests)
  POST /_reset     clears the log and the fault state
  POST /_hold      from now on no answer is sent: requests are logged, and wait. ?from=N holds only those about `Question M,` with
                   M >= N; ?after=N sends N more answers first; ?distinct=N holds every question that is not among the first N
                   different ones since the last reset
  POST /_release   sends every answer that is held, and those to come
  POST /_refuse    from now on every chat request is refused. ?status=401, ?code=invalid_api_key; ?after=N answers N more first; ?field=F&example=N
                   refuses only requests for output field F of examples about `Question M,` with M >= N
  POST /_accept    ends it
  GET  /_held      {"held": n}: requests that wait now; one whose client has gone waits no longer
  GET  /_health

Faults (off by default; they change when an answer comes, never its text):
  --fail-first P   each distinct `messages` fails on its first arrival with probability P (hash based) with one of
                   500, 503, 429 (Retry-After: 0); the second arrival succeeds
  --latency-ms L   hash-based latency in [0, L); a test that must not depend on speed uses /_hold instead

Usage:  python3 lm_server.py --port 18080 [--profile mild] [--salt s] [--log requests.jsonl] [--while-stdin]
It prints its base URL when it listens. Port 0 takes a free one. With --while-stdin it ends when its stdin is closed, so
that it never outlives the test that started it.
"""
import argparse
import ast
import hashlib
import json
import re
import select
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

PROFILES = {
    # p_damage: chance that a ChatAdapter answer is damaged so that it should NOT parse (forces the JSON fallback)
    # p_quirk:  chance of a harmless oddity (still parses)
    # p_value:  chance that a single value is written in a sloppy-but-acceptable way
    # p_json_damage: chance that a JSONAdapter answer cannot be parsed at all
    # p_json_quirk:  chance that a JSON answer needs json_repair
    "clean": dict(p_damage=0.0, p_quirk=0.0, p_value=0.0, p_json_damage=0.0, p_json_quirk=0.0),
    "mild": dict(p_damage=0.10, p_quirk=0.25, p_value=0.20, p_json_damage=0.0, p_json_quirk=0.20),
    "messy": dict(p_damage=0.25, p_quirk=0.40, p_value=0.40, p_json_damage=0.01, p_json_quirk=0.40),
    "wild": dict(p_damage=0.50, p_quirk=0.50, p_value=0.60, p_json_damage=0.10, p_json_quirk=0.60),
}

WORDS = (
    "alpha beta gamma delta river stone Paris the a an of and table seven blue «quote» naïve café Zürich 東京 привет "
    "😀 e\u0301clair don't \"quoted\" back\\slash <tag> & {curly} [square] `tick` $dollar 50% 3.14 null None true "
    "True # hash // slash Москва İstanbul ß ﬁ \u00a0 tab\there"
).split(" ")
LABELS = ["yes", "no", "paris", "london", "42", "blue", "red", "alpha", "beta", "seven"]


# ----------------------------------------------------------------------------------------------- determinism
def content_text(content):
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(b.get("text", "") if isinstance(b, dict) else str(b) for b in content)


def seed_of(messages, salt=""):
    canon = json.dumps([[m.get("role"), m.get("content")] for m in messages], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256((salt + "\n" + canon).encode("utf-8", "surrogatepass")).hexdigest()


def question_of(model, raw):
    """As `bsft::trace::question`, for an LM whose name in the job is its model's: a digest of the name and of the bytes of
    `messages` as they were sent. None where they do not stand as bsft sends them."""
    text = raw.decode("utf-8")
    key = text.find('"messages":[')
    if key < 0:
        return None
    start = key + len('"messages":')
    _, end = json.JSONDecoder().raw_decode(text, start)
    return hashlib.sha256(f"{model}\0{text[start:end]}".encode()).hexdigest()[:32]


class Rng:
    def __init__(self, seed):
        self.seed, self.i = seed, 0

    def u64(self):
        h = hashlib.sha256(f"{self.seed}:{self.i}".encode()).digest()
        self.i += 1
        return int.from_bytes(h[:8], "big")

    def below(self, n):
        return self.u64() % n

    def chance(self, p):
        return self.below(1_000_000) < int(p * 1_000_000)

    def pick(self, xs):
        return xs[self.below(len(xs))]


# --------------------------------------------------------------------------------------------- prompt reading
CHAT_REQ = "Respond with the corresponding output fields, starting with the field "
JSON_REQ = "Respond with a JSON object in the following order of fields: "
XML_REQ = "Respond with the corresponding output fields wrapped in XML tags "
NOTE = "        # note: the value you produce "


def parse_request(messages):
    """-> (layout, [(field, python_type_text or None)])"""
    users = [m for m in messages if m.get("role") == "user"]
    last = content_text(users[-1].get("content")) if users else ""
    for layout, marker, rx in (
        ("chat", CHAT_REQ, r"`\[\[ ## (\w+) ## \]\]`"),
        ("json", JSON_REQ, r"`(\w+)`"),
        ("xml", XML_REQ, r"`<(\w+)>`"),
    ):
        pos = last.rfind(marker)
        if pos < 0:
            continue
        tail = last[pos + len(marker):]
        if layout == "chat":
            tail = tail.split(", and then ending with the marker for ")[0]
        fields = []
        ms = list(re.finditer(rx, tail))
        for k, m in enumerate(ms):
            end = ms[k + 1].start() if k + 1 < len(ms) else len(tail)
            seg = tail[m.end():end]
            t = None
            mm = re.match(r" \(must be formatted as a valid Python (.*)\)(?:, then |\.?)\s*$", seg, re.S)
            if mm:
                t = mm.group(1)
            if not any(f == m.group(1) for f, _ in fields):
                fields.append((m.group(1), t))
        return layout, fields, last
    return "text", [], last


def read_notes(messages, layout):
    """field -> note text (what follows 'the value you produce ')"""
    sys_text = "\n".join(content_text(m.get("content")) for m in messages if m.get("role") in ("system", "developer"))
    notes = {}
    if layout == "json":
        marker = "Outputs will be a JSON object with the following fields.\n\n"
        pos = sys_text.find(marker)
        if pos >= 0:
            try:
                obj, _ = json.JSONDecoder().raw_decode(sys_text[pos + len(marker):])
                for k, v in obj.items():
                    if isinstance(v, str) and NOTE in v:
                        notes[k] = v.split(NOTE, 1)[1]
            except ValueError:
                pass
    for m in re.finditer(r"^\{(\w+)\}" + re.escape(NOTE) + r"(.*)$", sys_text, re.M):
        notes.setdefault(m.group(1), m.group(2))
    return notes, sys_text


# -------------------------------------------------------------------------------------------- value generation
def gen_word(r):
    return r.pick(WORDS)


def gen_text(r, gold=None):
    if gold and r.chance(0.6):
        return r.pick([gold, gold, gold, gold.upper(), gold.capitalize(), f"The {gold}.", f" {gold} ", f"a {gold}!", f"gold={gold}"])
    k = r.below(10)
    if k == 0:
        return r.pick(LABELS)
    if k == 1:
        return ""
    if k == 2:
        return "\n".join(" ".join(gen_word(r) for _ in range(1 + r.below(4))) for _ in range(2 + r.below(3)))
    if k == 3:
        return "- " + gen_word(r) + "\n\n\n  indented " + gen_word(r) + "  \n\tend"
    if k == 4:
        return r.pick(["[1] x", '{"k": "v"}', "['a', 'b']", "```python\nprint(1)\n```", "[[ ## note ##", "]] odd [[", "#", "0012", "1e5"])
    s = " ".join(gen_word(r) for _ in range(1 + r.below(8)))
    if gold and r.chance(0.2):
        s += f" gold={gold}"
    return s


def gen_float(r):
    return r.pick([0.0, 1.0, 0.5, -2.25, 3.14159, 1e-7, 1e16, 123456789.125, 1e22, 0.1, 2.0 / 3.0, -0.0, 100.0,
                   r.below(10**6) / 1000.0, r.below(10**9) * 1e-12])


def gen_int(r):
    return r.pick([0, 1, 2, 3, 7, 42, -5, 100, 2**53 + 1, 10**20, r.below(1000)])


def gen_schema(r, s, root, depth=0, gold=None):
    if not isinstance(s, dict):
        return gen_text(r)
    if "$ref" in s:
        node = root
        for part in s["$ref"][2:].split("/"):
            node = node.get(part, {}) if isinstance(node, dict) else {}
        return gen_schema(r, node, root, depth + 1, gold)
    if "const" in s:
        return s["const"]
    if "enum" in s:
        return r.pick(s["enum"])
    if "anyOf" in s:
        return gen_schema(r, r.pick(s["anyOf"]), root, depth + 1, gold)
    t = s.get("type")
    if t == "string":
        f = s.get("format")
        if f == "date-time":
            return f"20{10 + r.below(20)}-0{1 + r.below(9)}-1{r.below(10)}T0{r.below(10)}:0{r.below(10)}:00" + r.pick(["", "Z", "+02:00", ".5"])
        if f == "date":
            return f"20{10 + r.below(20)}-0{1 + r.below(9)}-1{r.below(10)}"
        return gen_text(r, gold)
    if t == "integer":
        lo, hi = s.get("minimum"), s.get("maximum")
        if isinstance(lo, int) and isinstance(hi, int):
            return lo + r.below(hi - lo + 1)
        return gen_int(r)
    if t == "number":
        return gen_float(r)
    if t == "boolean":
        return r.chance(0.5)
    if t == "null":
        return None
    if t == "array":
        if "prefixItems" in s:
            return [gen_schema(r, x, root, depth + 1) for x in s["prefixItems"]]
        n = r.pick([0, 1, 2, 2, 3]) if depth < 3 else r.below(2)
        return [gen_schema(r, s.get("items", {}), root, depth + 1) for _ in range(n)]
    if t == "object":
        props = s.get("properties")
        if props:
            req = set(s.get("required", []))
            out = {}
            for k, v in props.items():
                if k in req or r.chance(0.6):
                    out[k] = gen_schema(r, v, root, depth + 1)
            return out
        ap = s.get("additionalProperties")
        n = r.below(4) if depth < 3 else r.below(2)
        return {r.pick(["k", "a b", "é", "x_1", "", "key"]) + str(i): gen_schema(r, ap if isinstance(ap, dict) else {}, root, depth + 1)
                for i in range(n)}
    # {}: anything
    return r.pick([gen_text(r), gen_int(r), gen_float(r), True, None, [1, "two"], {"z": 1}])


class Lit(str):
    """a value that is written verbatim (Literal / Enum member text)"""


def gen_value(r, name, note, pytype, gold):
    if note is None:
        if pytype is None:
            return gen_text(r, gold)
        if pytype == "bool":
            note = "must be True or False"
        elif pytype in ("int", "float"):
            note = f"must be a single {pytype} value"
        else:
            return gen_text(r, gold)
    if note.startswith("must be True or False"):
        return r.chance(0.5)
    if note.startswith("must be a single int"):
        return gen_int(r)
    if note.startswith("must be a single float"):
        return gen_float(r)
    for p in ("must be one of: ", "must exactly match (no extra characters) one of: "):
        if note.startswith(p):
            opts = note[len(p):].split("; ")
            if gold in opts and r.chance(0.5):
                return Lit(gold)
            return Lit(r.pick(opts))
    p = "must adhere to the JSON schema: "
    if note.startswith(p):
        try:
            schema = json.loads(note[len(p):])
        except ValueError:
            return gen_text(r, gold)
        return gen_schema(r, schema, schema, 0, gold)
    return gen_text(r, gold)


# ------------------------------------------------------------------------------------------------- ReAct support
def read_tools(sys_text):
    """-> {tool: {arg: schema}} from a ReAct system prompt"""
    tools = {}
    for m in re.finditer(r"^\s*\(\d+\) (\w+)(?:, whose description is <desc>.*?</desc>)?\. It takes arguments (\{.*\})\.$", sys_text, re.M):
        try:
            tools[m.group(1)] = ast.literal_eval(m.group(2))
        except (ValueError, SyntaxError):
            tools[m.group(1)] = {}
    return tools


# ------------------------------------------------------------------------------------------------------ rendering
def as_text(r, v, prof, is_str):
    """how a value is written under a chat header"""
    if isinstance(v, Lit):
        s = str(v)
        if r.chance(prof["p_value"]):
            s = r.pick([f"'{s}'", f'"{s}"', f" {s} ", f"Literal[{s}]", f"Literal['{s}']", f"str[{s}]"])
        return s
    if isinstance(v, str):
        return v if is_str else (json.dumps(v, ensure_ascii=False) if r.chance(0.5) else v)
    if isinstance(v, bool):
        return r.pick(["true", "false", "TRUE", "yes", "no", "1", "0", '"True"']) if r.chance(prof["p_value"]) else str(v)
    if v is None:
        return r.pick(["null", "None"])
    if isinstance(v, int):
        if r.chance(prof["p_value"]):
            return r.pick([f"{v}.0", f'"{v}"', f" {v}", f"{v:_}", f"+{abs(v)}", f"{v}"]) if abs(v) < 2**53 else f'"{v}"'
        return str(v)
    if isinstance(v, float):
        if r.chance(prof["p_value"]):
            return r.pick([f"{v:.6f}", f"{v:e}", f'"{v!r}"', f"{v:g}", f" {v!r}"])
        return repr(v)
    compact = json.dumps(v, ensure_ascii=False)
    if r.chance(prof["p_value"]):
        return r.pick([
            json.dumps(v, ensure_ascii=False, indent=2),
            "```json\n" + compact + "\n```",
            json.dumps(v),  # \uXXXX escapes
            repr(v),
            compact[:-1] + ("," if len(compact) > 2 else "") + compact[-1],
            compact + " ",
        ])
    return compact


def render_chat(r, fields, values, prof, strs):
    quirk = r.chance(prof["p_quirk"])
    damage = r.chance(prof["p_damage"])
    q = r.below(9) if quirk else -1
    d = r.below(6) if damage else -1
    sep = "\r\n" if q == 0 else "\n"
    blocks = []
    order = list(fields)
    if q == 1 and len(order) > 1:
        order = order[::-1]
    for k, f in enumerate(order):
        txt = as_text(r, values[f], prof, f in strs)
        if q == 2 and "\n" not in txt:
            blocks.append(f"[[ ## {f} ## ]] {txt}")
        elif q == 3:
            blocks.append(f"[[ ## {f} ## ]]\n\n{txt}\n")
        elif q == 4:
            blocks.append(f"[[ ## {f} ## ]]\n{txt}" + r.pick(["\u2028", "\x0b", "\x85", "  "]))
        else:
            blocks.append(f"[[ ## {f} ## ]]\n{txt}")
    if q == 5:
        blocks.insert(0, "Sure! Here is the answer:\n")
    if q == 6 and blocks:
        blocks.append(f"[[ ## {order[0]} ## ]]\nduplicate that must be ignored")
    if q == 7:
        blocks.append("[[ ## unrelated ## ]]\nnoise")
    if d == 0:  # drop one field
        blocks.pop(r.below(len(blocks)))
    elif d == 1:  # prose only
        return "I think the answer is " + " ".join(gen_word(r) for _ in range(3))
    elif d == 2:  # empty content
        return ""
    elif d == 3:  # inline header, never recognised
        blocks = [" ".join(b.replace("\n", " ") for b in blocks)]
        blocks[0] = "Answer: " + blocks[0]
    elif d == 4:  # header typo
        k = r.below(len(blocks))
        blocks[k] = blocks[k].replace("[[ ## ", "[[## ", 1)
    elif d == 5:  # unparsable non-string
        non = [f for f in order if f not in strs]
        if non:
            f = r.pick(non)
            blocks = [b if not b.startswith(f"[[ ## {f} ## ]]") else f"[[ ## {f} ## ]]\nn/a (unknown)" for b in blocks]
        else:
            blocks.pop()
    if q != 8:
        blocks.append("[[ ## completed ## ]]")
    return (sep + sep).join(blocks) if q != 0 else "\r\n\r\n".join(b.replace("\n", "\r\n") for b in blocks)


def render_json(r, fields, values, prof):
    obj = {f: (str(values[f]) if isinstance(values[f], Lit) else values[f]) for f in fields}
    if r.chance(prof["p_json_damage"]):
        return r.pick(["I cannot answer.", "", "[1, 2]", "{}", '{"wrong": 1}'])
    s = json.dumps(obj, ensure_ascii=False)
    if r.chance(prof["p_json_quirk"]):
        return r.pick([
            "```json\n" + json.dumps(obj, ensure_ascii=False, indent=2) + "\n```",
            "Here you go: " + s,
            s + "\n\nHope that helps!",
            json.dumps(obj),
            s[:-1] + ",}" if len(obj) else s,
            json.dumps({**obj, "extra": 1}, ensure_ascii=False),
            json.dumps(dict(reversed(list(obj.items()))), ensure_ascii=False),
            repr(obj),
            s[:-1],
        ])
    return s


def render_xml(r, fields, values, prof, strs):
    def esc(x):
        return x.replace("&", "&amp;").replace("<", "&lt;")

    out = []
    for f in fields:
        v = values[f]
        t = as_text(r, v, dict(prof, p_value=0.0), f in strs)
        t = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", " ", t)
        out.append(f"<{f}>\n{esc(t)}\n</{f}>")
    if r.chance(prof["p_damage"]):
        out.pop(r.below(len(out)))
    return "\n\n".join(out)


def completion_for(messages, profile="mild", salt=""):
    prof = PROFILES[profile]
    r = Rng(seed_of(messages, salt))
    layout, fields, last = parse_request(messages)
    if layout == "text":
        return gen_text(r) or "ok"
    notes, sys_text = read_notes(messages, layout)
    m = re.findall(r"gold=(\w+)", last)
    gold = m[-1] if m else None
    names = [f for f, _ in fields]
    strs = {f for f, t in fields if t is None and f not in notes}
    values = {}
    tools = read_tools(sys_text) if "next_tool_name" in names else {}
    for f, t in fields:
        if f == "next_tool_name" and tools:
            n_obs = len(re.findall(r"^\[\[ ## observation_\d+ ## \]\]$", last, re.M))
            pool = [x for x in tools if x != "finish"]
            tool = "finish" if (not pool or r.chance(0.25 + 0.2 * n_obs)) else r.pick(pool)
            values[f] = Lit(tool)
        elif f == "next_tool_args" and tools:
            args = tools.get(str(values.get("next_tool_name", "finish")), {})
            values[f] = {k: gen_schema(r, s, s) for k, s in args.items() if "default" not in s or r.chance(0.5)}
            if r.chance(0.1):
                values[f] = dict(values[f], bogus=1)
        else:
            values[f] = gen_value(r, f, notes.get(f), t, gold)
    if not names:
        return "[[ ## completed ## ]]"
    if layout == "chat":
        return render_chat(r, names, values, prof, strs)
    if layout == "json":
        return render_json(r, names, values, prof)
    return render_xml(r, names, values, prof, strs)


# ----------------------------------------------------------------------------------------------------- HTTP server
class Gate:
    """Holds answers until the test releases them."""

    LOOK_EVERY = 0.05  # seconds between two looks at whether a client that waits has gone

    def __init__(self):
        self.changed = threading.Condition()
        self.rule = None
        self.held = 0

    def hold(self, rule):
        with self.changed:
            self.rule = {name: int(value) for name, value in rule.items()}
            self.changed.notify_all()

    def release(self):
        with self.changed:
            self.rule = None
            self.changed.notify_all()

    def pass_through(self, messages, number, client):
        """Returns when the answer may be sent; False if the client has gone. `number`: of the question, among the
        different ones, from 1."""
        with self.changed:
            if self._opens(messages, number):
                return True
            self.held += 1
            try:
                while not self._opens(messages, number):
                    if has_gone(client):
                        return False
                    self.changed.wait(self.LOOK_EVERY)
                return True
            finally:
                self.held -= 1

    def _opens(self, messages, number):
        if self.rule is None:
            return True
        if "distinct" in self.rule:
            return number <= self.rule["distinct"]
        if "from" in self.rule:
            users = [m for m in messages if m.get("role") == "user"]
            about = re.findall(r"Question (\d+),", content_text(users[-1].get("content")) if users else "")
            return not about or int(about[-1]) < self.rule["from"]
        if self.rule.get("after", 0) > 0:
            self.rule["after"] -= 1
            return True
        return False


def has_gone(client):
    """Whether the other end has closed the connection."""
    readable, _, _ = select.select([client], [], [], 0)
    if not readable:
        return False
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


class Refusal:
    """What chat requests get in place of an answer: all, or those for an output field of examples from a number on."""

    def __init__(self, status, code="", after=0, field=None, example=0):
        self.status, self.code, self.left = int(status), code, int(after)
        self.field, self.example = field, int(example)

    def applies(self, messages):
        """Whether the next request is refused; called once for each."""
        if self.field is not None:
            _, fields, last = parse_request(messages)
            about = re.findall(r"Question (\d+),", last)
            return self.field in (name for name, _ in fields) and bool(about) and int(about[-1]) >= self.example
        self.left -= 1
        return self.left < 0

    def body(self):
        return {"error": {"message": f"refused: {self.code}", "type": "invalid_request_error", "code": self.code}}


NOTHING_PAID = {"answers": 0, "prompt_tokens": 0, "completion_tokens": 0}


class State:
    def __init__(self, profile="mild", salt="", fail_first=0.0, latency_ms=0, log_path=None):
        self.profile, self.salt, self.fail_first, self.latency_ms = profile, salt, fail_first, latency_ms
        self.lock = threading.Lock()
        self.log = []
        self.asked = []
        self.seen = {}
        self.numbers = {}
        self.answered = {}
        self.paid = dict(NOTHING_PAID)
        self.gate = Gate()
        self.refusal = None
        self.files = {}
        self.jobs = {}
        self.log_file = open(log_path, "a", encoding="utf-8") if log_path else None


def make_handler(st: State):
    class H(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body of an answer leave in one packet, at once.
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def log_message(self, *a):
            pass

        def _send(self, code, obj, headers=None, raw=None):
            body = raw if raw is not None else json.dumps(obj, ensure_ascii=False).encode("utf-8", "surrogatepass")
            self.send_response(code)
            for k, v in (headers or {}).items():
                self.send_header(k, v)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _body(self):
            n = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(n)

        def do_GET(self):
            p = self.path.split("?")[0]
            if p == "/_health":
                return self._send(200, {"ok": True, "profile": st.profile, "salt": st.salt})
            if p == "/_count":
                with st.lock:
                    times = st.seen.values()
                    return self._send(200, {"requests": len(st.log), "distinct": len(times),
                                            "repeated": sum(n > 1 for n in times), "most_asked": max(times, default=0)})
            if p == "/_paid":
                with st.lock:
                    return self._send(200, {**st.paid, "answered_again": sum(n > 1 for n in st.answered.values())})
            if p == "/_held":
                with st.gate.changed:
                    return self._send(200, {"held": st.gate.held})
            if p == "/_asked":
                with st.lock:
                    return self._send(200, list(st.asked))
            if p == "/_log":
                with st.lock:
                    return self._send(200, list(st.log))
            if p == "/v1/models":
                return self._send(200, {"object": "list", "data": [{"id": "oracle", "object": "model"}]})
            if p.startswith("/v1/files/"):
                fid = p.split("/")[3]
                if fid not in st.files:
                    return self._send(404, {"error": {"message": "no such file", "code": "not_found"}})
                if p.endswith("/content"):
                    return self._send(200, None, raw=st.files[fid])
                return self._send(200, {"id": fid, "object": "file", "purpose": "fine-tune", "bytes": len(st.files[fid])})
            m = re.match(r"/v1/fine_tuning/jobs/([^/]+)(/events)?$", p)
            if m and m.group(1) in st.jobs:
                j = st.jobs[m.group(1)]
                if m.group(2):
                    return self._send(200, {"object": "list", "has_more": False, "data": [
                        {"id": "ev1", "object": "fine_tuning.job.event", "created_at": 1700000000, "level": "info", "message": "done"}]})
                return self._send(200, j)
            self._send(404, {"error": {"message": "not found", "code": "not_found"}})

        def do_DELETE(self):
            st.files.pop(self.path.split("/")[-1], None)
            self._send(200, {"deleted": True, "id": self.path.split("/")[-1], "object": "file"})

        def do_POST(self):
            raw = self._body()
            p = self.path.split("?")[0]
            if p == "/_reset":
                with st.lock:
                    st.log.clear()
                    st.asked.clear()
                    st.seen.clear()
                    st.numbers.clear()
                    st.answered.clear()
                    st.paid = dict(NOTHING_PAID)
                return self._send(200, {"ok": True})
            if p == "/_hold":
                st.gate.hold(dict(parse_qsl(urlsplit(self.path).query)))
                return self._send(200, {"ok": True})
            if p == "/_release":
                st.gate.release()
                return self._send(200, {"ok": True})
            if p == "/_refuse":
                with st.lock:
                    st.refusal = Refusal(**dict(parse_qsl(urlsplit(self.path).query)))
                return self._send(200, {"ok": True})
            if p == "/_accept":
                with st.lock:
                    st.refusal = None
                return self._send(200, {"ok": True})
            if p == "/_content":
                return self._send(200, {"content": completion_for(json.loads(raw)["messages"], st.profile, st.salt)})
            if p in ("/v1/chat/completions", "/v1/completions"):
                return self._chat(p, raw, json.loads(raw))
            if p == "/v1/files":
                m = re.search(rb'boundary="?([^";]+)', self.headers.get("Content-Type", "").encode())
                data = raw
                if m:
                    for part in raw.split(b"--" + m.group(1)):
                        if b'name="file"' in part:
                            data = part.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n", 1)[0]
                fid = "file-" + hashlib.sha256(data).hexdigest()[:16]
                st.files[fid] = data
                return self._send(200, {"id": fid, "object": "file", "bytes": len(data), "created_at": 1700000000,
                                        "filename": "train.jsonl", "purpose": "fine-tune", "status": "processed"})
            if p == "/v1/fine_tuning/jobs":
                b = json.loads(raw)
                fid = b["training_file"]
                jid = "ftjob-" + hashlib.sha256((fid + b["model"]).encode()).hexdigest()[:12]
                st.jobs[jid] = {"id": jid, "object": "fine_tuning.job", "model": b["model"], "status": "succeeded",
                                "created_at": 1700000000, "finished_at": 1700000001, "estimated_finish": None,
                                "training_file": fid, "validation_file": None, "hyperparameters": b.get("hyperparameters") or {},
                                "fine_tuned_model": f"ft:{b['model']}:oracle::{fid[5:13]}", "organization_id": "org", "result_files": [],
                                "seed": 0, "trained_tokens": 1, "error": None}
                return self._send(200, st.jobs[jid])
            if re.match(r"/v1/fine_tuning/jobs/[^/]+/cancel$", p):
                j = st.jobs.get(p.split("/")[4])
                if j:
                    j["status"] = "cancelled"
                    return self._send(200, j)
            self._send(404, {"error": {"message": "not found", "code": "not_found"}})

        def _chat(self, path, raw, body):
            arrived = time.time()
            messages = body.get("messages") or [{"role": "user", "content": body.get("prompt", "")}]
            h = seed_of(messages, st.salt)
            fr = Rng(h + "#fault")
            latency = fr.below(st.latency_ms) / 1000.0 if st.latency_ms else 0.0
            fault = fr.pick([500, 503, 429]) if st.fail_first and fr.chance(st.fail_first) else None
            entry = {"path": path, "body": body}
            asked = {"question": question_of(body.get("model"), raw), "arrived": arrived,
                     "asker": self.headers.get("Authorization", "").removeprefix("Bearer ")}
            with st.lock:
                if st.seen.get(h, 0) > 0:
                    fault = None
                st.seen[h] = st.seen.get(h, 0) + 1
                number = st.numbers.setdefault(h, len(st.numbers) + 1)
                refusal = st.refusal if st.refusal and st.refusal.applies(messages) else None
                st.log.append(entry)
                st.asked.append({**asked, "status": refusal.status if refusal else fault or 200})
                if st.log_file:
                    st.log_file.write(json.dumps(entry, ensure_ascii=False) + "\n")
                    st.log_file.flush()
            time.sleep(latency)
            if not st.gate.pass_through(messages, number, self.connection):
                self.close_connection = True
                return
            if refusal:
                return self._send(refusal.status, refusal.body())
            if fault:
                return self._send(fault, {"error": {"message": "injected fault", "type": "server_error", "code": None}}, {"Retry-After": "0"})
            text = completion_for(messages, st.profile, st.salt)
            pt = sum(len(content_text(m.get("content"))) for m in messages) // 4
            usage = {"prompt_tokens": pt, "completion_tokens": len(text) // 4, "total_tokens": pt + len(text) // 4}
            with st.lock:
                st.answered[h] = st.answered.get(h, 0) + 1
                for key, amount in (("answers", 1), ("prompt_tokens", pt), ("completion_tokens", len(text) // 4)):
                    st.paid[key] += amount
            n = int(body.get("n") or 1)
            base = {"id": "chatcmpl-" + h[:24], "created": 1700000000, "model": body.get("model", "oracle"), "usage": usage}
            if path.endswith("/chat/completions"):
                base["object"] = "chat.completion"
                base["choices"] = [{"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"} for i in range(n)]
            else:
                base["object"] = "text_completion"
                base["choices"] = [{"index": i, "text": text, "finish_reason": "stop", "logprobs": None} for i in range(n)]
            self._send(200, base)

    return H


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 4096

    def handle_error(self, request, client_address):
        pass


def serve(host="127.0.0.1", port=0, **kw):
    """Start in a daemon thread; returns (server, state, base_url)."""
    st = State(**kw)
    srv = QuietServer((host, port), make_handler(st))
    threading.Thread(target=srv.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return srv, st, f"http://{host}:{srv.server_port}/v1"


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--host", default="127.0.0.1")
    ap.add_argument("--port", type=int, default=18080)
    ap.add_argument("--profile", choices=sorted(PROFILES), default="mild")
    ap.add_argument("--salt", default="")
    ap.add_argument("--fail-first", type=float, default=0.0)
    ap.add_argument("--latency-ms", type=int, default=0)
    ap.add_argument("--log", default=None)
    ap.add_argument("--while-stdin", action="store_true")
    a = ap.parse_args()
    srv, st, url = serve(a.host, a.port, profile=a.profile, salt=a.salt, fail_first=a.fail_first, latency_ms=a.latency_ms, log_path=a.log)
    print(url, flush=True)
    try:
        if a.while_stdin:
            sys.stdin.buffer.read()
        else:
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
