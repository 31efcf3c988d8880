#!/usr/bin/env python3
"""A strict server of OpenAI's files and fine-tuning jobs for tests: standard library only.

Every request is held against the published shapes; what does not fit is answered with 400 and counted as a violation, also where
the real service lets it pass. Time is counted in requests, never in seconds: a job goes one status further each time it is
asked for. Nothing is trained.

Endpoints, under /v1
  POST /files, GET /files, GET /files/<id>, DELETE /files/<id>, GET /files/<id>/content
  POST /uploads, POST /uploads/<id>/parts, POST /uploads/<id>/complete, POST /uploads/<id>/cancel
  POST /fine_tuning/jobs, GET /fine_tuning/jobs, GET /fine_tuning/jobs/<id>, GET .../events, GET .../checkpoints, POST .../cancel
  GET  /models, GET /models/<id>
and for tests, without a key
  POST /_end    jobs may come to the last status of their walk, where the switch `waits` is on
  GET  /_state  {"jobs": [...], "files": [...], "violations": [...], "requests": [{method, path, status}, ...]}

Switches (--switch NAME or NAME=VALUE, any number)
  lose-create         the first job is made and its connection closed without an answer
  drop-create         the first request for a job is not carried out and its connection closed without an answer
  fail-create         the first request for a job makes the job and is answered with 502, as by a gateway
  lose-upload         the first file is kept and its connection closed without an answer
  hidden=N            lists show a job only after N lists
  ignore-filter       the list of jobs gives all of them, whatever metadata is asked for
  refuse-metadata     a job with metadata is refused
  refuse-filter=CODE  a list of jobs that asks for metadata is answered with that
  drop-metadata       jobs keep no metadata
  crowd=N             after each job, N jobs of other people are made
  no-lists            there is no list of files nor of jobs
  no-list-of-files    there is no list of files
  no-events, no-models
  walk=A,B,...        the statuses that a job goes through; default validating_files,queued,running,succeeded
  waits               the last status of the walk is not reached before POST /_end
  error=object|string|null   the error of a failed job
  nameless            a job succeeds without a model
  own-names           models are called plainly, without "ft:"
  pending=N           a file is "pending" for its first N looks
  bad-file            files are found bad
  cancel=CODE         cancelling a job is answered with that and not carried out
  answer=N:CODE       the N-th request (from 1) is answered with that status and not carried out; may be given often
  shutdown=DATE       the models' shutdown_date
  key=KEY             the only key that is taken; without it any key will do, but there must be one
  auth-header=NAME    the key comes bare in this header
  bom                 files must begin with a byte order mark

Usage: python3 openai_server.py [--port P] [--log FILE] [--while-stdin] [--switch ...]
--log gets a line for every request.
"""
import hashlib
import json
import re
import threading
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, unquote, urlsplit

from serving import argument_parser, serve

MODELS = ["gpt-test", "org/base-model"]
ENDED = ("succeeded", "failed", "cancelled")
LEAST_ROWS = 10
WALK = "validating_files,queued,running,succeeded"


class Wrong(Exception):
    """A request that does not fit the published shapes."""

    def __init__(self, message, param=None, status=400, code=None, violates=True):
        super().__init__(message)
        self.message, self.param, self.status, self.code, self.violates = message, param, status, code, violates


def need(fits, message, param=None):
    if not fits:
        raise Wrong(message, param)


def whole(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class State:
    def __init__(self, switches, log_path):
        self.switches = [s.partition("=")[::2] for s in switches]
        self.lock = threading.Lock()
        self.files, self.uploads, self.jobs = {}, {}, {}
        self.violations, self.requests = [], []
        self.spent = set()
        self.may_end = False
        self.clock = 1_700_000_000
        self.count = 0
        self.log = open(log_path, "a", encoding="utf-8") if log_path else None
        self.answers = dict(map(int, v.split(":")) for k, v in self.switches if k == "answer")

    def on(self, name):
        return any(k == name for k, _ in self.switches)

    def value(self, name, default=None):
        return next((v for k, v in self.switches if k == name), default)

    def once(self, name):
        """Whether the switch is on and this is the first time that it matters."""
        first = self.on(name) and name not in self.spent
        self.spent.add(name)
        return first

    def tick(self):
        self.clock += 1
        return self.clock

    def number(self):
        self.count += 1
        return self.count


# ------------------------------------------------------------------------------------------------------ files
def form(content_type, raw):
    """The parts of a multipart form: {name: (filename, bytes)}."""
    need(content_type.startswith("multipart/form-data; boundary="), f"content-type {content_type!r} is no form")
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + raw)
    need(message.is_multipart() and not message.defects, f"the form is broken: {message.defects}")
    parts = {}
    for part in message.iter_parts():
        need(part.get_content_disposition() == "form-data", "a part without content-disposition: form-data")
        name = part.get_param("name", header="content-disposition")
        need(name and name not in parts, f"the field {name!r} is nameless or comes twice")
        parts[name] = (part.get_filename(), part.get_payload(decode=True))
    return parts


def keep_file(st, name, data, purpose):
    need(data, "the file is empty", "file")
    fid = f"file-{st.number():04}"
    st.files[fid] = {"object": {"id": fid, "object": "file", "bytes": len(data), "created_at": st.tick(), "filename": name,
                                "purpose": purpose, "status": "processed"},
                     "data": data, "looks": 0}
    return st.files[fid]


def shown_file(st, file):
    file["looks"] += 1
    status = "processed"
    if file["looks"] <= int(st.value("pending", 0)):
        status = "pending"
    elif st.on("bad-file"):
        return {**file["object"], "status": "error", "status_details": "line 3 is no example"}
    return {**file["object"], "status": status}


def post_file(st, h, raw):
    parts = form(h.headers.get("Content-Type", ""), raw)
    need(set(parts) == {"file", "purpose"}, f"the fields are {sorted(parts)}, not file and purpose")
    need(parts["purpose"][1] == b"fine-tune", f"purpose is {parts['purpose'][1]!r}", "purpose")
    name, data = parts["file"]
    need(name and name.endswith(".jsonl"), f"the file's name is {name!r}: .jsonl only", "file")
    need(data.startswith("\ufeff".encode()) == st.on("bom"), "the byte order mark is missing, or there is one", "file")
    file = keep_file(st, name, data, "fine-tune")
    if st.once("lose-upload"):
        return None
    return shown_file(st, file)


def rows_problem(data):
    """The problem that validation finds in the rows; the service reports it for the job, not for the file."""
    try:
        # Not splitlines(): rows may hold other separators.
        lines = data.decode("utf-8-sig").removesuffix("\n").split("\n")
        for number, line in enumerate(lines, 1):
            messages = json.loads(line)["messages"]
            if not messages or messages[-1]["role"] != "assistant" or not all(isinstance(m["content"], str) for m in messages):
                return f"line {number} is no example"
    except (ValueError, KeyError, TypeError) as error:
        return f"a line cannot be read: {error}"
    if len(lines) < LEAST_ROWS:
        return f"{len(lines)} examples; the least is {LEAST_ROWS}"
    return None


# ----------------------------------------------------------------------------------------------------- uploads
LARGEST_PART = 64 << 20


def post_upload(st, body):
    need(set(body) == {"filename", "purpose", "bytes", "mime_type"}, f"the keys are {sorted(body)}")
    need(body["purpose"] == "fine-tune", f"purpose is {body['purpose']!r}", "purpose")
    need(whole(body["bytes"], 1, 8 << 30), "bytes is out of range", "bytes")
    uid = f"upload_{st.number():04}"
    st.uploads[uid] = {"id": uid, "object": "upload", "status": "pending", "created_at": st.tick(),
                       "expires_at": st.clock + 3600, **{k: body[k] for k in ("filename", "purpose", "bytes")}, "parts": {}}
    return upload_object(st.uploads[uid])


def upload_object(upload):
    return {k: v for k, v in upload.items() if k != "parts"}


def post_part(st, h, upload, raw):
    need(upload["status"] == "pending", f"the upload is {upload['status']}")
    parts = form(h.headers.get("Content-Type", ""), raw)
    need(set(parts) == {"data"}, f"the fields are {sorted(parts)}, not data")
    data = parts["data"][1]
    need(0 < len(data) <= LARGEST_PART, f"a part of {len(data)} bytes", "data")
    pid = f"part_{st.number():04}"
    upload["parts"][pid] = data
    return {"id": pid, "object": "upload.part", "created_at": st.tick(), "upload_id": upload["id"]}


def complete(st, upload, body):
    need(set(body) <= {"part_ids", "md5"} and isinstance(body.get("part_ids"), list), f"the keys are {sorted(body)}")
    need(upload["status"] == "pending", f"the upload is {upload['status']}")
    need(all(p in upload["parts"] for p in body["part_ids"]), "an unknown part", "part_ids")
    data = b"".join(upload["parts"][p] for p in body["part_ids"])
    need(len(data) == upload["bytes"], f"{len(data)} bytes came and {upload['bytes']} were announced", "bytes")
    upload["status"] = "completed"
    upload["file"] = shown_file(st, keep_file(st, upload["filename"], data, upload["purpose"]))
    return upload_object(upload)


# -------------------------------------------------------------------------------------------------------- jobs
CREATE_KEYS = {"model", "training_file", "validation_file", "suffix", "seed", "method", "metadata", "hyperparameters", "integrations"}


def check_hyperparameters(given, where):
    need(isinstance(given, dict), "hyperparameters are an object", where)
    for key, value in given.items():
        fits = {
            "n_epochs": lambda: whole(value, 1, 50),
            "batch_size": lambda: whole(value, 1, 256),
            "learning_rate_multiplier": lambda: isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0,
        }
        need(key in fits, f"no such hyperparameter: {key}", where)
        need(value == "auto" or fits[key](), f"{key} = {value!r}", where)


def check_create(st, body):
    need(isinstance(body, dict), "the body is no object")
    need(set(body) <= CREATE_KEYS, f"unknown keys: {sorted(set(body) - CREATE_KEYS)}")
    if body.get("model") not in MODELS:
        raise Wrong(f"no such model: {body.get('model')!r}", "model", code="model_not_available")
    for key in ("training_file", "validation_file"):
        fid = body.get(key)
        need(fid is not None or key == "validation_file", f"{key} is missing", key)
        if fid is not None:
            need(fid in st.files, f"no such file: {fid!r}", key)
            need(st.files[fid]["looks"] >= int(st.value("pending", 0)), "the file is still looked at", key)
    need(body.get("validation_file") != body["training_file"], "the files are one and the same", "validation_file")
    suffix = body.get("suffix")
    need(suffix is None or (isinstance(suffix, str) and 1 <= len(suffix) <= 64), f"suffix = {suffix!r}", "suffix")
    need(suffix is None or re.fullmatch(r"[A-Za-z0-9_-]+", suffix), f"suffix = {suffix!r}", "suffix")
    need(body.get("seed") is None or whole(body["seed"], 0, 2**31 - 1), f"seed = {body.get('seed')!r}", "seed")
    need(("method" in body) + ("hyperparameters" in body) < 2, "both method and hyperparameters", "method")
    if "method" in body:
        method = body["method"]
        need(isinstance(method, dict) and method.get("type") == "supervised", f"method = {method!r}", "method")
        need(set(method) <= {"type", "supervised"}, f"unknown keys in method: {sorted(method)}", "method")
        supervised = method.get("supervised", {})
        need(isinstance(supervised, dict) and set(supervised) <= {"hyperparameters"}, f"supervised = {supervised!r}", "method")
        check_hyperparameters(supervised.get("hyperparameters", {}), "method")
    if "hyperparameters" in body:
        check_hyperparameters(body["hyperparameters"], "hyperparameters")
    metadata = body.get("metadata")
    need(metadata is None or (isinstance(metadata, dict) and len(metadata) <= 16), f"metadata = {metadata!r}", "metadata")
    for key, value in (metadata or {}).items():
        need(len(key) <= 64 and isinstance(value, str) and len(value) <= 512, f"metadata: {key!r} = {value!r}", "metadata")


def make_job(st, body, foreign=False):
    jid = f"ftjob-{st.number():04}"
    method = body.get("method") or {"type": "supervised", "supervised": {"hyperparameters": body.get("hyperparameters", {})}}
    given = method.get("supervised", {}).get("hyperparameters", {})
    job = {"id": jid, "object": "fine_tuning.job", "created_at": st.tick(), "model": body["model"], "organization_id": "org-test",
           "status": "validating_files", "training_file": body["training_file"], "validation_file": body.get("validation_file"),
           "hyperparameters": {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto", **given},
           "result_files": [], "seed": body.get("seed", 0), "trained_tokens": None, "fine_tuned_model": None, "finished_at": None,
           "error": None, "estimated_finish": None, "method": method, "integrations": [],
           "metadata": body.get("metadata") or {}}
    if st.on("drop-metadata"):
        del job["metadata"]
    st.jobs[jid] = {"object": job, "looks": 0, "lists": 0, "foreign": foreign, "suffix": body.get("suffix"), "events": []}
    event(st, st.jobs[jid], "Created fine-tuning job: " + jid)
    return st.jobs[jid]


def event(st, job, message, data=None):
    job["events"].append({"id": f"ftevent-{st.number():04}", "object": "fine_tuning.job.event", "created_at": st.tick(), "level": "info",
                          "message": message, "type": "metrics" if data else "message", "data": data or {}})


def walk(st, job):
    """One status further."""
    shown = job["object"]
    if shown["status"] in ENDED:
        return
    statuses = st.value("walk", WALK).split(",")
    last = len(statuses) - (1 if st.may_end or not st.on("waits") else 2)
    status = statuses[min(job["looks"], last)]
    job["looks"] += 1
    problem = rows_problem(st.files[shown["training_file"]]["data"]) if shown["training_file"] in st.files else None
    if problem and status not in ("validating_files", *ENDED):
        finish(st, job, "failed", {"code": "invalid_training_file", "message": problem, "param": "training_file"})
    elif status == "failed":
        errors = {"object": {"code": "server_error", "message": "the machine broke", "param": None}, "string": "the machine broke",
                  "null": None}
        finish(st, job, "failed", errors[st.value("error", "object")])
    elif status in ENDED:
        finish(st, job, status)
    else:
        shown["status"] = status
        if status == "running":
            step = min(job["looks"], 10)
            event(st, job, f"Step {step}/10: training loss={2 / step:.2f}",
                  {"step": step, "total_steps": 10, "train_loss": 2 / step, "train_mean_token_accuracy": 0.5})


def finish(st, job, status, error=None):
    shown = job["object"]
    shown.update(status=status, finished_at=st.tick(), error=error)
    event(st, job, f"The job has ended: {status}")
    if status == "succeeded":
        shown["trained_tokens"] = 1234
        if not st.on("nameless"):
            name = f"{shown['model']}:org-test:{job['suffix'] or ''}:{shown['id'][6:]}"
            shown["fine_tuned_model"] = name.replace(":", "-") if st.on("own-names") else "ft:" + name


def page(items, query, most):
    limit = query.get("limit", "20")
    need(limit.isdigit() and 1 <= int(limit) <= most, f"limit = {limit}", "limit")
    after = query.get("after")
    if after is not None:
        ids = [item["id"] for item in items]
        need(after in ids, f"after = {after}", "after")
        items = items[ids.index(after) + 1:]
    shown = items[:int(limit)]
    return {"object": "list", "data": shown, "has_more": len(items) > len(shown)}


def list_jobs(st, query):
    wanted = {}
    for key, value in query.items():
        match = re.fullmatch(r"metadata\[(.+)\]", key)
        need(match or key in ("limit", "after"), f"unknown in the query: {key}", key)
        if match:
            wanted[match[1]] = value
    if wanted and st.on("refuse-filter"):
        raise Wrong("unknown in the query: metadata", status=int(st.value("refuse-filter")), violates=False)
    jobs = []
    for job in reversed(st.jobs.values()):
        job["lists"] += 1
        metadata = job["object"].get("metadata", {})
        fits = all(metadata.get(k) == v for k, v in wanted.items()) or st.on("ignore-filter")
        if fits and job["lists"] > int(st.value("hidden", 0)):
            jobs.append(job["object"])
    return page(jobs, query, 100)


def list_files(st, query):
    need(set(query) <= {"purpose", "limit", "order", "after"}, f"unknown in the query: {sorted(query)}")
    files = [f for f in reversed(st.files.values()) if query.get("purpose") in (None, f["object"]["purpose"])]
    if query.get("order", "desc") == "asc":
        files.reverse()
    return page([shown_file(st, f) for f in files], {"limit": "10000", **query}, 10000)


# ------------------------------------------------------------------------------------------------------ serving
def found(things, key, what):
    if key not in things:
        raise Wrong(f"No such {what}: {key}", status=404, code="not_found", violates=False)
    return things[key]


def route(st, h, method, path, query, raw):
    """The answer to a request that came with its key; None closes the connection without one."""
    parts = [unquote(part) for part in path.split("/")[2:]]

    def body():
        need(h.headers.get("Content-Type", "").split(";")[0] == "application/json", "the body is not declared as JSON")
        try:
            return json.loads(raw)
        except ValueError as error:
            raise Wrong(f"the body is no JSON: {error}") from error

    no_lists = Wrong("no such list", status=501, violates=False)
    match (method, *parts):
        case ("POST", "files"):
            return post_file(st, h, raw)
        case ("GET", "files"):
            if st.on("no-lists") or st.on("no-list-of-files"):
                raise no_lists
            return list_files(st, query)
        case ("GET", "files", fid):
            return shown_file(st, found(st.files, fid, "file"))
        case ("GET", "files", fid, "content"):
            return found(st.files, fid, "file")["data"]
        case ("DELETE", "files", fid):
            found(st.files, fid, "file")
            used = [j for j in st.jobs.values() if fid in (j["object"]["training_file"], j["object"]["validation_file"])]
            need(all(j["object"]["status"] in ENDED or j["foreign"] for j in used), f"{fid} is trained on")
            del st.files[fid]
            return {"id": fid, "object": "file", "deleted": True}
        case ("POST", "uploads"):
            return post_upload(st, body())
        case ("POST", "uploads", uid, "parts"):
            return post_part(st, h, found(st.uploads, uid, "upload"), raw)
        case ("POST", "uploads", uid, "complete"):
            return complete(st, found(st.uploads, uid, "upload"), body())
        case ("POST", "uploads", uid, "cancel"):
            found(st.uploads, uid, "upload")["status"] = "cancelled"
            return upload_object(st.uploads[uid])
        case ("POST", "fine_tuning", "jobs"):
            wanted = body()
            check_create(st, wanted)
            if st.on("refuse-metadata") and "metadata" in wanted:
                raise Wrong("Unrecognized request argument supplied: metadata", "metadata", violates=False)
            if st.once("drop-create"):
                return None
            job = make_job(st, wanted)
            for _ in range(int(st.value("crowd", 0))):
                other = make_job(st, {"model": MODELS[0], "training_file": "file-of-others"}, foreign=True)
                finish(st, other, "succeeded")
            if st.once("lose-create"):
                return None
            if st.once("fail-create"):
                raise Wrong("bad gateway", status=502, violates=False)
            return job["object"]
        case ("GET", "fine_tuning", "jobs"):
            if st.on("no-lists"):
                raise no_lists
            return list_jobs(st, query)
        case ("GET", "fine_tuning", "jobs", jid):
            job = found(st.jobs, jid, "job")
            walk(st, job)
            return job["object"]
        case ("GET", "fine_tuning", "jobs", jid, "events"):
            job = found(st.jobs, jid, "job")
            if st.on("no-events"):
                raise Wrong("no events here", status=404, violates=False)
            return page(list(reversed(job["events"])), query, 100)
        case ("GET", "fine_tuning", "jobs", jid, "checkpoints"):
            found(st.jobs, jid, "job")
            return page([], query, 100)
        case ("POST", "fine_tuning", "jobs", jid, "cancel"):
            job = found(st.jobs, jid, "job")
            need(not raw, "a cancellation has no body")
            if job["object"]["status"] in ENDED:
                raise Wrong(f"Job has already completed: {jid}", status=400, violates=False)
            if st.on("cancel"):
                raise Wrong("not now", status=int(st.value("cancel")), violates=False)
            finish(st, job, "cancelled")
            return job["object"]
        case ("GET", "models", *rest) if not st.on("no-models"):
            models = {m: {"id": m, "object": "model", "created": 1, "owned_by": "test", "shutdown_date": st.value("shutdown")} for m in MODELS}
            if rest:
                return found(models, "/".join(rest), "model")
            return {"object": "list", "data": list(models.values())}
    raise Wrong(f"there is no {method} {path}", status=404, violates=False)


def make_handler(st):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass

        def handle_any(self):
            length = self.headers.get("Content-Length")
            raw = self.rfile.read(int(length)) if length else b""
            url = urlsplit(self.path)
            if url.path == "/_state":
                with st.lock:
                    jobs = [j["object"] for j in st.jobs.values() if not j["foreign"]]
                    files = [{**f["object"], "sha256": hashlib.sha256(f["data"]).hexdigest()} for f in st.files.values()]
                    state = {"jobs": jobs, "files": files, "violations": st.violations, "requests": st.requests}
                    return self.answer(200, state)
            if url.path == "/_end":
                st.may_end = True
                return self.answer(200, {"ok": True})
            with st.lock:
                status, answer = self.decide(url, raw)
                entry = {"method": self.command, "path": self.path, "status": status}
                st.requests.append(entry)
                if st.log:
                    text = raw.decode("utf-8", "replace")
                    st.log.write(json.dumps({**entry, "body": text}, ensure_ascii=False) + "\n")
                    st.log.flush()
            if status == 0:
                self.close_connection = True
                return
            self.answer(status, answer)

        do_GET = do_POST = do_DELETE = handle_any

        def decide(self, url, raw):
            """(status, answer); status 0 closes the connection."""
            number = len(st.requests) + 1
            if number in st.answers:
                return st.answers[number], {"error": {"message": "injected", "type": "server_error", "code": None, "param": None}}
            try:
                self.check_key()
                need("Transfer-Encoding" not in self.headers, "the body's length is not told")
                answer = route(st, self, self.command, url.path, dict(parse_qsl(url.query, keep_blank_values=True)), raw)
                return (0, None) if answer is None else (200, answer)
            except Wrong as wrong:
                if wrong.violates:
                    st.violations.append(f"{self.command} {self.path}: {wrong.message}")
                kind = "invalid_request_error"
                return wrong.status, {"error": {"message": wrong.message, "type": kind, "param": wrong.param, "code": wrong.code}}

        def check_key(self):
            header = st.value("auth-header")
            given = self.headers.get(header or "Authorization", "")
            given = given if header else given.removeprefix("Bearer ") if given.startswith("Bearer ") else ""
            wanted = st.value("key", given)
            if not given or given != wanted:
                # A careless server repeats the key.
                raise Wrong(f"Incorrect API key provided: {given}", status=401, code="invalid_api_key", violates=False)

        def answer(self, status, answer):
            raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(raw)

    return Handler


if __name__ == "__main__":
    parser = argument_parser()
    parser.add_argument("--log", default=None)
    parser.add_argument("--switch", action="append", default=[])
    arguments = parser.parse_args()
    serve(make_handler(State(arguments.switch, arguments.log)), arguments)
