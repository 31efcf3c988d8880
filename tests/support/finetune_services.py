#!/usr/bin/env python3
"""Together AI and Fireworks AI as far as fine-tuning goes, for tests: standard library only, strict about what it is sent.

It accepts what the vendors' own SDKs send (together 3.1.1, fireworks-ai 1.2.30) and refuses with 400 what they never would: unknown
fields, wrong types, a key where none belongs, a body where none belongs. The answer names the reason, and /_state lists it.

Together (`/v1/…`)
  POST /v1/files (302), PUT /bucket/ID, POST /v1/files/ID/preprocess, GET /v1/files, GET/DELETE /v1/files/ID
  GET  /v1/fine-tunes/models/limits?model_name=, POST /v1/fine-tunes/estimate-price
  POST /v1/fine-tunes, GET /v1/fine-tunes, GET /v1/fine-tunes/ID, …/ID/events, …/ID/metrics, POST …/ID/cancel
Fireworks (`/v1/accounts/ACCOUNT/…`)
  GET  /v1/accounts/ACCOUNT, GET …/models/ID
  POST …/datasets, …/datasets/ID:upload, …:getUploadEndpoint, …:validateUpload, PUT /bucket/ID, GET/DELETE …/datasets/ID
  POST …/supervisedFineTuningJobs?supervisedFineTuningJobId=ID, GET/DELETE …/ID, POST …/ID:cancel

For tests
  POST /_set    {"states": [...], "faults": [...], "job": {...}, "slow": N}, each optional:
      states   what a job's state is at its first, second, … GET; the last one stays
      faults   [{"on": "POST /v1/fine-tunes", "do": D, "times": 1}]: D is a status that is answered without doing anything, "lose"
               (does it and hangs up), "drop" (hangs up without doing it), or "blur" (does it and answers 500)
      job      fields that every job shows, such as {"status": {"message": "out of memory"}}
      slow     how many GETs of an uploaded dataset answer UPLOADING
  GET  /_state  {"jobs": [...], "files": [...], "datasets": [...], "refused": [...], "requests": ["POST /v1/files", ...]}

  POST /_reset  forgets everything

Usage:  python3 finetune_services.py --port 0 [--key-variable NAME] [--while-stdin]
The API key is what the environment variable NAME holds, else `test-key`.
"""
import hashlib
import io
import json
import os
import re
import threading
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from serving import argument_parser, serve

ACCOUNT = "acme"
STATES = {
    "together": ["pending", "queued", "running", "compressing", "uploading", "completed"],
    "fireworks": [
        "JOB_STATE_CREATING", "JOB_STATE_VALIDATING", "JOB_STATE_PENDING", "JOB_STATE_RUNNING",
        "JOB_STATE_WRITING_RESULTS", "JOB_STATE_COMPLETED",
    ],
}
TOGETHER_ENDED = {"completed", "cancelled", "error", "user_error"}
FIREWORKS_ENDED = {
    "JOB_STATE_COMPLETED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED", "JOB_STATE_EARLY_STOPPED",
}
TOGETHER_MODEL = "Qwen/Qwen3-0.6B"
LIMITS = {
    "model_name": TOGETHER_MODEL, "default_gradient_accumulation_steps": 1, "max_learning_rate": 0.001,
    "min_learning_rate": 1e-8, "max_num_checkpoints": 20, "max_num_epochs": 20, "max_num_evals": 100,
    "max_seq_length_dpo": 4096, "max_seq_length_sft": 8192, "min_max_seq_length": 512, "merge_output_lora": False,
    "supports_full_training": False, "supports_reasoning": False, "supports_tools": True, "supports_vision": False,
    "lora_training": {
        "default_rank": 8, "max_rank": 64, "max_batch_size": 32, "max_batch_size_dpo": 16, "min_batch_size": 4,
        "target_modules": ["q_proj"],
    },
}
MODELS = {
    "accounts/fireworks/models/qwen3-0p6b": {"kind": "HF_BASE_MODEL", "tunable": True},
    "accounts/fireworks/models/frozen-1b": {"kind": "HF_BASE_MODEL", "tunable": False},
    "accounts/acme/models/earlier": {"kind": "HF_PEFT_ADDON", "tunable": True},
}


class Refused(Exception):
    def __init__(self, status, message, code=3):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class World:
    """Everything that is there."""

    def __init__(self):
        self.files, self.datasets, self.jobs = {}, {}, {}
        self.states, self.faults, self.extra, self.slow = None, [], {}, 0
        self.refused, self.requests, self.made = [], [], 0

    def name(self, prefix):
        self.made += 1
        return f"{prefix}{self.made:04}"


WORLD = World()
# One for all of it.
LOCK = threading.RLock()
KEY = "test-key"


# ------------------------------------------------------------------------------------------------------- shapes
def need(condition, message, status=400):
    if not condition:
        raise Refused(status, message)


def number(low=None, high=None):
    def check(value):
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        return good and (low is None or value >= low) and (high is None or value <= high)
    return check


def whole(low, high=None):
    return lambda value: isinstance(value, int) and number(low, high)(value)


def text(value):
    return isinstance(value, str)


def flag(value):
    return isinstance(value, bool)


def one_of(*values):
    return lambda value: any(value == other and type(value) is type(other) for other in values)


def either(*checks):
    return lambda value: any(check(value) for check in checks)


def table(fields, required=()):
    """An object with these fields and no others; what is wrong with it is raised."""
    def check(value, at="body"):
        need(isinstance(value, dict), f"{at} must be an object")
        for name in required:
            need(name in value, f"{at}.{name} is missing")
        for name, inner in value.items():
            need(name in fields, f"{at}.{name} is not known")
            shape = fields[name]
            if getattr(shape, "is_table", False):
                shape(inner, f"{at}.{name}")
            else:
                need(shape(inner), f"{at}.{name} cannot be {json.dumps(inner)}")
        return True
    check.is_table = True
    return check


def kinds(key, by_kind):
    """An object whose shape hangs on one of its fields."""
    def check(value, at="body"):
        need(isinstance(value, dict) and value.get(key) in by_kind, f"{at}.{key} must be one of {sorted(by_kind)}")
        return by_kind[value[key]](value, at)
    check.is_table = True
    return check


TRAINING_TYPE = kinds("type", {
    "Full": table({"type": text}),
    "Lora": table(
        {"type": text, "lora_r": whole(1, 64), "lora_alpha": whole(1), "lora_dropout": number(0, 1),
         "lora_trainable_modules": text},
        ("lora_r", "lora_alpha"),
    ),
})
TRAINING_METHOD = table({"method": one_of("sft"), "train_on_inputs": one_of(True, False, "auto")}, ("method", "train_on_inputs"))
TOGETHER_JOB = table(
    {
        "training_file": text, "validation_file": text, "model": text, "packing": flag, "n_epochs": whole(1, 20),
        "learning_rate": number(1e-8, 0.001), "warmup_ratio": number(0, 1), "max_grad_norm": number(0),
        "weight_decay": number(0), "n_checkpoints": whole(1, 20), "n_evals": whole(0, 100),
        "max_seq_length": whole(512, 8192), "batch_size": either(one_of("max"), whole(4, 32)),
        "gradient_accumulation_steps": whole(0), "suffix": lambda value: text(value) and 1 <= len(value) <= 40,
        "random_seed": whole(0), "early_stopping_enabled": flag, "early_stopping_patience": whole(1),
        "early_stopping_min_delta": number(), "early_stopping_warmup_evals": whole(0),
        "wandb_project_name": text, "wandb_name": text, "training_type": TRAINING_TYPE,
        "training_method": TRAINING_METHOD,
        "lr_scheduler": kinds("lr_scheduler_type", {
            "cosine": table({"lr_scheduler_type": text,
                             "lr_scheduler_args": table({"min_lr_ratio": number(0, 1), "num_cycles": number(0)})}),
            "linear": table({"lr_scheduler_type": text, "lr_scheduler_args": table({"min_lr_ratio": number(0, 1)})}),
        }),
    },
    # The SDK's FinetuneRequest has no defaults for these.
    ("training_file", "model", "n_epochs", "learning_rate", "warmup_ratio", "max_grad_norm", "weight_decay", "training_method"),
)
TOGETHER_PRICE = table(
    {"training_file": text, "validation_file": text, "model": text, "n_epochs": whole(1), "n_evals": whole(0),
     "training_type": either(lambda value: value is None, TRAINING_TYPE), "training_method": TRAINING_METHOD},
    ("training_file",),
)
FIREWORKS_DATASET = table(
    {
        "datasetId": text,
        "dataset": table({
            "displayName": text, "exampleCount": lambda value: text(value) and value.isdigit(),
            "format": one_of("CHAT"), "userUploaded": table({}),
        }, ("userUploaded",)),
    },
    ("datasetId", "dataset"),
)
FIREWORKS_JOB = table(
    {
        "dataset": text, "evaluationDataset": text, "baseModel": text, "warmStartFrom": text, "outputModel": text,
        "displayName": text, "epochs": whole(1), "learningRate": number(0), "loraRank": whole(1, 64),
        "maxContextLength": whole(1), "batchSize": whole(1), "batchSizeSamples": whole(1), "earlyStop": flag,
        "evalAutoCarveout": flag, "gradientAccumulationSteps": whole(1), "learningRateWarmupSteps": whole(0),
        "optimizerWeightDecay": number(0), "isTurbo": flag, "nodes": whole(1), "region": text, "jinjaTemplate": text,
    },
    ("dataset",),
)
RESOURCE = re.compile(r"[a-z0-9-]{1,63}")


def rows_of(body):
    """What is wrong with training rows; none: nothing."""
    if not body:
        return "the file is empty"
    for index, line in enumerate(io.BytesIO(body)):
        try:
            row = json.loads(line)
        except ValueError:
            return f"line {index + 1} is not JSON"
        messages = row.get("messages") if isinstance(row, dict) else None
        if not messages or any(set(message) != {"role", "content"} for message in messages):
            return f"line {index + 1} holds no messages"
    return None


# ----------------------------------------------------------------------------------------------------- together
def file_shown(file):
    shown = {
        "id": file["id"], "object": "file", "bytes": len(file["body"] or b""), "created_at": 1,
        "filename": file["filename"], "FileType": "jsonl", "purpose": "fine-tune", "processing_status": file["status"],
    }
    if file["problem"]:
        shown["validation_report"] = {"valid": False, "error": file["problem"], "error_type": "INVALID_FORMAT"}
    return shown


def together_files(request, rest):
    method = request.command
    if method == "POST" and not rest:
        fields = request.form()
        need(sorted(fields) == ["checksum", "file_name", "file_type", "purpose"], f"the form has {sorted(fields)}")
        need(all(name is None for _, name in fields.values()), "the form carries a file; PUT it to the Location")
        values = {key: value.decode() for key, (value, _) in fields.items()}
        need(values["purpose"] == "fine-tune" and values["file_type"] == "jsonl", f"cannot take {values}")
        need(values["file_name"].endswith(".jsonl"), "file_name must end in .jsonl")
        need(re.fullmatch("[0-9a-f]{64}", values["checksum"]), "checksum must be a SHA-256 in hexadecimal")
        for file in WORLD.files.values():
            if file["checksum"] == values["checksum"]:
                return 409, {"file_id": file["id"]}, {}
        name = WORLD.name("file-")
        WORLD.files[name] = {
            "id": name, "filename": values["file_name"], "checksum": values["checksum"], "body": None, "status": "PENDING",
            "problem": None,
        }
        return 302, None, {"Location": f"{request.address()}/bucket/{name}", "X-Together-File-Id": name}
    if method == "GET" and not rest:
        return 200, {"data": [file_shown(file) for file in WORLD.files.values()]}, {}
    file = WORLD.files.get(rest[0])
    need(file, f"no file {rest[0]}", 404)
    if method == "POST" and rest[1:] == ["preprocess"]:
        need(not request.body, "preprocess takes no body")
        need(file["body"] is not None, "nothing was uploaded")
        file["problem"] = rows_of(file["body"])
        file["status"] = "INVALID_FORMAT" if file["problem"] else "COMPLETED"
        return 200, file_shown(file), {}
    if len(rest) == 1 and method == "GET":
        return 200, file_shown(file), {}
    if len(rest) == 1 and method == "DELETE":
        del WORLD.files[rest[0]]
        return 200, {"id": rest[0], "deleted": True}, {}
    raise Refused(405, "no such call")


def together_shown(job):
    state = job["state"]
    shown = dict(job["body"], id=job["id"], status=state, user_id="u", created_at="2026-01-01T00:00:00Z",
                 updated_at="2026-01-01T00:00:00Z", model_output_name=f"acme/{job['body']['model']}-{job['body'].get('suffix', '')}-1f2e")
    if state in ("running", "completed"):
        shown.update(steps_completed=3, total_steps=8, epochs_completed=1, token_count=4321)
    shown.update(WORLD.extra)
    return shown


def together_jobs(request, rest):
    method = request.command
    if method == "GET" and rest == ["models", "limits"]:
        need(request.query.get("model_name") == [TOGETHER_MODEL], "no such model can be fine-tuned", 404)
        return 200, LIMITS, {}
    if method == "POST" and rest == ["estimate-price"]:
        TOGETHER_PRICE(request.json())
        return 200, {"estimation_available": True, "estimated_total_price": 4.2, "allowed_to_proceed": True}, {}
    if method == "POST" and not rest:
        body = request.json()
        TOGETHER_JOB(body)
        need(body["model"] == TOGETHER_MODEL, f"no such model: {body['model']}")
        for name in ("training_file", "validation_file"):
            # The SDK sends "" if there is none.
            if body.get(name):
                file = WORLD.files.get(body[name])
                need(file, f"no file {body[name]}")
                need(file["status"] == "COMPLETED", f"{body[name]} is not ready")
        need(not body.get("n_evals") or body.get("validation_file"), "n_evals needs a validation_file")
        name = WORLD.name("ft-")
        WORLD.jobs[name] = job = {"id": name, "kind": "together", "body": body, "state": None, "asked": 0, "cancelled": False}
        job["state"] = (WORLD.states or STATES["together"])[0]
        return 200, together_shown(job), {}
    if method == "GET" and not rest:
        return 200, {"data": [together_shown(job) for job in WORLD.jobs.values()]}, {}
    job = WORLD.jobs.get(rest[0])
    need(job, f"no job {rest[0]}", 404)
    if method == "GET" and len(rest) == 1:
        step(job, "together", "cancelled")
        return 200, together_shown(job), {}
    if method == "GET" and rest[1:] == ["events"]:
        events = [
            {"object": "fine-tune-event", "type": "job_start", "message": "started", "created_at": "2026-01-01T00:00:01Z"},
            {"object": "fine-tune-event", "type": "epoch_complete", "message": "epoch 1 done", "step": 4, "total_steps": 8,
             "created_at": "2026-01-01T00:00:05Z"},
            {"object": "fine-tune-event", "type": "training_start", "message": "training", "created_at": "2026-01-01T00:00:02Z"},
        ]
        return 200, {"data": events}, {}
    if method == "GET" and rest[1:] == ["metrics"]:
        return 200, {"metrics": [{"train/global_step": 1, "train/loss": 2.5}, {"train/global_step": 8, "train/loss": 0.5}]}, {}
    if method == "POST" and rest[1:] == ["cancel"]:
        need(not request.body, "cancel takes no body")
        need(job["state"] not in TOGETHER_ENDED, f"the job is {job['state']}")
        job["cancelled"], job["state"] = True, "cancel_requested"
        return 200, together_shown(job), {}
    raise Refused(405, "no such call")


def step(job, kind, cancelled):
    """A job's next state: one for every GET."""
    states = WORLD.states or STATES[kind]
    job["state"] = cancelled if job["cancelled"] else states[min(job["asked"], len(states) - 1)]
    job["asked"] += 1


# ---------------------------------------------------------------------------------------------------- fireworks
def dataset_shown(dataset):
    ready = dataset["body"] is not None and dataset["slow"] <= 0 and not dataset["problem"]
    if dataset["body"] is not None:
        dataset["slow"] -= 1
    shown = {"name": dataset["name"], "state": "READY" if ready else "UPLOADING", "status": {"code": "OK", "message": ""}}
    if dataset["problem"]:
        shown["status"] = {"code": "INVALID_ARGUMENT", "message": dataset["problem"]}
    return shown


def fireworks_datasets(request, rest, verb):
    method = request.command
    if method == "POST" and not rest:
        body = request.json()
        FIREWORKS_DATASET(body)
        name = body["datasetId"]
        need(RESOURCE.fullmatch(name), f"{name} cannot be an id")
        if name in WORLD.datasets:
            raise Refused(409, f"dataset {name} already exists", 6)
        WORLD.datasets[name] = {
            "name": f"accounts/{ACCOUNT}/datasets/{name}", "body": None, "problem": None, "sizes": {}, "slow": WORLD.slow,
            "count": body["dataset"].get("exampleCount"),
        }
        return 200, dataset_shown(WORLD.datasets[name]), {}
    dataset = WORLD.datasets.get(rest[0])
    if not dataset:
        raise Refused(404, f"no dataset {rest[0]}", 5)

    def arrived(body):
        dataset["body"], dataset["problem"] = body, rows_of(body)
        lines = str(sum(1 for _ in io.BytesIO(body)))
        need(dataset["count"] in (None, lines), f"exampleCount is {dataset['count']}, the file has {lines} lines")

    if method == "POST" and verb == "upload":
        need(dataset["body"] is None, "something was uploaded already")
        fields = request.form()
        need(list(fields) == ["file"] and fields["file"][1], "the form must carry one file, named `file`")
        need(fields["file"][1].endswith(".jsonl"), "the file's name must end in .jsonl")
        arrived(fields["file"][0])
        return 200, {"id": rest[0], "bytes": len(dataset["body"]), "object": "file"}, {}
    if method == "POST" and verb == "getUploadEndpoint":
        body = request.json()
        table({"filenameToSize": lambda sizes: all(name.endswith(".jsonl") and size.isdigit() for name, size in sizes.items())},
              ("filenameToSize",))(body)
        dataset["sizes"] = body["filenameToSize"]
        urls = {name: f"{request.address()}/bucket/{rest[0]}?signature=s" for name in dataset["sizes"]}
        return 200, {"filenameToSignedUrls": urls}, {}
    if method == "POST" and verb == "validateUpload":
        need(request.json() == {}, "validateUpload takes {}")
        need(dataset.get("put") is not None, "nothing was uploaded")
        arrived(dataset["put"])
        return 200, {}, {}
    if method == "GET" and not verb:
        return 200, dataset_shown(dataset), {}
    if method == "DELETE" and not verb:
        del WORLD.datasets[rest[0]]
        return 200, {}, {}
    raise Refused(405, "no such call")


def fireworks_shown(job):
    shown = dict(job["body"], name=f"accounts/{ACCOUNT}/supervisedFineTuningJobs/{job['id']}", state=job["state"],
                 status={"code": "OK", "message": ""}, createTime="2026-01-01T00:00:00Z")
    shown.setdefault("outputModel", f"accounts/{ACCOUNT}/models/{job['id']}")
    shown["estimatedCost"] = {"currencyCode": "USD", "units": "1", "nanos": 250000000}
    if job["state"] == "JOB_STATE_RUNNING":
        shown["jobProgress"] = {"percent": 40, "epoch": 1}
    shown.update(WORLD.extra)
    return shown


def fireworks_jobs(request, rest, verb):
    method = request.command
    if method == "POST" and not rest:
        body = request.json()
        FIREWORKS_JOB(body)
        need(set(request.query) <= {"supervisedFineTuningJobId"}, f"unknown parameters: {sorted(request.query)}")
        name = request.query.get("supervisedFineTuningJobId", [WORLD.name("job-")])[0]
        need(RESOURCE.fullmatch(name), f"{name} cannot be an id")
        if name in WORLD.jobs:
            raise Refused(409, f"supervisedFineTuningJob {name} already exists", 6)
        need(("baseModel" in body) != ("warmStartFrom" in body), "say baseModel or warmStartFrom")
        model = body.get("baseModel") or body.get("warmStartFrom")
        need(MODELS.get(model, {}).get("tunable"), f"{model} cannot be tuned")
        need((MODELS[model]["kind"] == "HF_PEFT_ADDON") == ("warmStartFrom" in body), f"{model} is of another kind")
        for name_of in ("dataset", "evaluationDataset"):
            if name_of in body:
                prefix = f"accounts/{ACCOUNT}/datasets/"
                need(body[name_of].startswith(prefix), f"{name_of} must be a resource's name")
                dataset = WORLD.datasets.get(body[name_of].removeprefix(prefix))
                need(dataset and dataset_shown(dataset)["state"] == "READY", f"{body[name_of]} is not ready")
        WORLD.jobs[name] = job = {"id": name, "kind": "fireworks", "body": body, "asked": 0, "cancelled": False,
                                  "state": "JOB_STATE_CREATING"}
        return 200, fireworks_shown(job), {}
    if method == "GET" and not rest:
        return 200, {"supervisedFineTuningJobs": [fireworks_shown(job) for job in WORLD.jobs.values()]}, {}
    job = WORLD.jobs.get(rest[0])
    if not job:
        raise Refused(404, f"no supervisedFineTuningJob {rest[0]}", 5)
    if method == "GET" and not verb:
        step(job, "fireworks", "JOB_STATE_CANCELLED")
        return 200, fireworks_shown(job), {}
    if method == "POST" and verb == "cancel":
        need(request.json() == {}, "cancel takes {}")
        need(job["state"] not in FIREWORKS_ENDED, f"the job is {job['state']}")
        job["cancelled"], job["state"] = True, "JOB_STATE_CANCELLING"
        return 200, {}, {}
    if method == "DELETE" and not verb:
        del WORLD.jobs[rest[0]]
        return 200, {}, {}
    raise Refused(405, "no such call")


def fireworks(request, parts):
    need(parts[0] in (ACCOUNT, "fireworks"), f"no account {parts[0]}", 404)
    if len(parts) == 1 and request.command == "GET":
        return 200, {"name": f"accounts/{parts[0]}"}, {}
    if parts[1] == "models" and request.command == "GET":
        name = f"accounts/{parts[0]}/models/{parts[2]}"
        if name not in MODELS:
            raise Refused(404, f"no model {name}", 5)
        return 200, dict(MODELS[name], name=name, state="READY"), {}
    need(parts[0] == ACCOUNT, "this is not the account of the key", 403)
    last, _, verb = parts[-1].partition(":")
    rest = [*parts[2:-1], last] if len(parts) > 2 else []
    if parts[1] == "datasets":
        return fireworks_datasets(request, rest, verb)
    if parts[1] == "supervisedFineTuningJobs":
        return fireworks_jobs(request, rest, verb)
    raise Refused(404, "no such resource")


def bucket(request, name):
    """A signed address: it needs no API key, and refuses a request that carries one."""
    need(request.command == "PUT", "PUT only", 405)
    need("authorization" not in request.headers, "an API key went to the bucket")
    need("content-length" in request.headers, "the length must be said beforehand", 411)
    if name in WORLD.files:
        file = WORLD.files[name]
        need(hashlib.sha256(request.body).hexdigest() == file["checksum"], "the file is not as its checksum says")
        file["body"] = request.body
        return 200, None, {}
    dataset = WORLD.datasets.get(name)
    need(dataset, "no such upload", 404)
    size = str(len(request.body))
    need(size in dataset["sizes"].values(), "the size was announced otherwise")
    need(request.headers.get("content-type") == "application/octet-stream", "the signature covers the content type", 403)
    need(request.headers.get("x-goog-content-length-range") == f"{size},{size}", "the signature covers the length", 403)
    dataset["put"] = request.body
    return 200, None, {}


# --------------------------------------------------------------------------------------------------------- http
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece, at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def address(self):
        return f"http://{self.headers['Host']}"

    def json(self):
        need(self.headers.get("content-type", "").startswith("application/json"), "the body must be JSON")
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(400, "the body is not JSON") from None

    def form(self):
        kind = self.headers.get("content-type", "")
        need(kind.startswith("multipart/form-data") and "boundary=" in kind, "the body must be multipart/form-data")
        message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + self.body)
        need(message.is_multipart(), "the form cannot be read")
        fields = {}
        for part in message.get_payload():
            name = part.get_param("name", header="content-disposition")
            fields[name] = (part.get_payload(decode=True), part.get_filename())
        return fields

    def read(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def handle_any(self):
        url = urlsplit(self.path)
        self.query, self.body = parse_qs(url.query, strict_parsing=bool(url.query)), self.read()
        parts = url.path.strip("/").split("/")
        with LOCK:
            if parts[0].startswith("_"):
                return self.answer(200, self.for_tests(parts[0]), {})
            WORLD.requests.append(f"{self.command} {url.path}")
            fault = self.fault(url.path)
            if isinstance(fault, int):
                return self.answer(fault, {"error": {"message": f"a fault of kind {fault}", "type": "server_error"}}, {"Retry-After": "0"})
            if fault == "drop":
                return self.hang_up()
            try:
                status, body, headers = self.route(parts)
            except Refused as why:
                if why.status != 404 and why.status != 409:
                    WORLD.refused.append(f"{self.command} {url.path}: {why.message}")
                # Errors of Fireworks have the form of a gRPC gateway, those of Together the form of OpenAI.
                body = {"code": why.code, "message": why.message, "details": []} if parts[1:2] == ["accounts"] else {
                    "error": {"message": why.message, "type": "invalid_request_error", "param": None, "code": None}}
                status, headers = why.status, {}
            if fault == "lose":
                return self.hang_up()
            if fault == "blur":
                status, body, headers = 500, {"error": {"message": "something went wrong"}}, {}
        self.answer(status, body, headers)

    def route(self, parts):
        if parts[0] == "bucket":
            return bucket(self, parts[1])
        need(self.headers.get("authorization") == f"Bearer {KEY}", "the API key is wrong", 401)
        if parts[:2] == ["v1", "files"]:
            return together_files(self, parts[2:])
        if parts[:2] == ["v1", "fine-tunes"]:
            return together_jobs(self, parts[2:])
        if parts[:2] == ["v1", "accounts"]:
            return fireworks(self, parts[2:])
        raise Refused(404, f"no such address: {self.path}")

    def fault(self, path):
        for fault in WORLD.faults:
            if fault["on"] == f"{self.command} {path}" and fault.get("times", 1) > 0:
                fault["times"] = fault.get("times", 1) - 1
                return fault["do"]
        return None

    def for_tests(self, name):
        if name == "_reset":
            WORLD.__init__()
        if name == "_set":
            wanted = json.loads(self.body)
            WORLD.states = wanted.get("states", WORLD.states)
            WORLD.faults = wanted.get("faults", WORLD.faults)
            WORLD.extra = wanted.get("job", WORLD.extra)
            WORLD.slow = wanted.get("slow", WORLD.slow)
        return {
            "jobs": [{"id": job["id"], "state": job["state"], "body": job["body"]} for job in WORLD.jobs.values()],
            "files": [file_shown(file) for file in WORLD.files.values()],
            "datasets": list(WORLD.datasets), "refused": WORLD.refused, "requests": WORLD.requests,
        }

    def answer(self, status, body, headers):
        payload = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if payload:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def hang_up(self):
        self.close_connection = True
        self.connection.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

    def log_message(self, *_):
        pass


def main():
    parser = argument_parser()
    parser.add_argument("--key-variable")
    arguments = parser.parse_args()
    if arguments.key_variable:
        global KEY
        KEY = os.environ[arguments.key_variable].strip()
    serve(Handler, arguments)


if __name__ == "__main__":
    main()
