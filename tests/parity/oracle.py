#!/usr/bin/env python3
"""Runs the real dspy.BootstrapFinetune (dspy==3.4.1) on a declarative case and writes down everything observable.

    python oracle.py case.json --out outdir [--server http://127.0.0.1:18080/v1]

Without --server the deterministic LM of lm_server.py is started in-process (profile and salt from the case).

Case file (JSON)
  name         str
  server       {"profile": "clean|mild|messy|wild", "salt": "..."}          (in-process server only)
  types        {"Color": {"enum": ["red", "dark blue"]},                      optional custom types; enum member NAMES are the
                                                                              upper-cased values with ' ' and '-' -> '_'
                "Person": {"doc": "...", "fields": [["name", "str"], ["age", "int", <default>],
                                                    {"name": "age", "type": "int", "default": 7, "desc": "...", "ge": 0}, ...]}}
  lms          [{"id": "lm0", "model": "openai/gpt-4o-mini", "temperature": null, "max_tokens": null, "kwargs": {}}]
  program      [{"name": "step1", "module": "Predict|ChainOfThought|ReAct", "signature": "q -> a: int",
                 "instructions": null | str, "desc": {"field": "text"}, "demos": [{...}],   demos: JSON values
                 "config": {...lm kwargs...}, "lm": "lm0", "repeat": 1, "inputs": {"field": "namespace key"},
                 "tools": ["add", "search"], "max_iters": 3}]
  bare         bool = false: the program is the module of its only step, `self`
  trainset     [{field: value}], input_keys [field]
  metric       "none" | "exact_match:<field>" | "f1:<field>"     (see METRICS below)
  multitask    bool = true
  exclude_demos bool = false
  num_threads  int | null
  adapter      null | "chat" | "json" | "xml"        BootstrapFinetune(adapter=...)
  run_adapter  null | "chat" | "json" | "xml"        dspy.settings.adapter while bootstrapping
  train_kwargs {} | {"by_lm": {"lm0": {...}}}
  react_errors "plain": tool errors become "<ExceptionType>: <message>" instead of the real dspy text, which is a python
               traceback with absolute file paths and line numbers (not reproducible outside this very venv)
  teacher      absent -> argument omitted;  null -> teacher=None;
               object -> one teacher module; list (of object | null) -> list of teachers
               teacher object: {"demos": {step: [...]}, "instructions": {step: "..."}, "lm": "lm1" | {step: "lm1"}}

Program semantics (forward): a namespace starts as the example inputs; each step is called with those of its signature's
input fields found in the namespace (after the optional "inputs" renaming), `repeat` times in a row; after every call the
prediction's fields are merged into the namespace and into the result; the program returns dspy.Prediction(**result).
So predictor names are `step`, `step.predict` (ChainOfThought), `step.react` + `step.extract.predict` (ReAct); of a bare module `self` or
`predict`.

Output directory
  result.json      status, error, finetune jobs, per-trace scores/outputs, compiled LMs per predictor, request count
  requests.jsonl   every LM request {"messages": ..., "params": {...}} (sorted; or arrival order when num_threads == 1)
  data.<n>.<lm>.<pred|all>.jsonl   training file bytes exactly as save_data writes them, one per finetune job
  program.json     compiled program.save() bytes ("api_base" normalised to http://LM_SERVER/v1)
"""
import argparse
import ast
import hashlib
import json
import logging
import os
import sys
import tempfile
import threading
import urllib.request
import warnings

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # bundled capability snapshot, no network
os.environ.setdefault("DSPY_CACHEDIR", tempfile.mkdtemp(prefix="oracle_dspy_cache_"))
for k in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
    os.environ.pop(k, None)
warnings.simplefilter("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import enum  # noqa: E402
from typing import Any, Literal, Optional, Union  # noqa: E402, F401

import dspy  # noqa: E402
import orjson  # noqa: E402
import pydantic  # noqa: E402
from dspy.clients.provider import Provider, TrainingJob  # noqa: E402
from dspy.clients.utils_finetune import save_data  # noqa: E402
from dspy.evaluate.metrics import EM, F1  # noqa: E402
from dspy.signatures.signature import _parse_type_node  # noqa: E402
from dspy.teleprompt import bootstrap_finetune as bf_mod  # noqa: E402
from dspy.teleprompt.bootstrap_finetune import BootstrapFinetune  # noqa: E402
from dspy.teleprompt.bootstrap_trace import FailedPrediction  # noqa: E402

import lm_server  # noqa: E402

PLACEHOLDER = "http://LM_SERVER/v1"
_save_lock = threading.Lock()

# CPython 3.11: ast.parse is not thread-safe ("SystemError: AST constructor recursion depth mismatch"); dspy.Signature("...")
# calls it on every ReAct iteration, so multi-threaded ReAct programs fail at random (about 1 run in several hundred).
# Serialising it keeps the oracle deterministic and changes nothing else.
_ast_lock = threading.RLock()
_ast_parse = ast.parse


def _locked_ast_parse(*a, **k):
    with _ast_lock:
        return _ast_parse(*a, **k)


ast.parse = _locked_ast_parse


# ------------------------------------------------------------------------------------------------------- tools
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


def search(query: str, k: int = 2) -> list[str]:
    """Search the library.
    Returns passages."""
    return [f"{query} #{i + 1}" for i in range(max(0, min(k, 5)))]


def lookup(key: str) -> str:
    if not key:
        raise KeyError("empty key")
    return key[::-1]


TOOLS = {"add": add, "search": search, "lookup": lookup}


# ------------------------------------------------------------------------------------------------------- types
def build_types(spec):
    import typing

    types = {}
    names = dict(typing.__dict__)
    names["NoneType"] = type(None)
    names["dspy"] = dspy
    for name, t in (spec or {}).items():
        if "enum" in t:
            vals = t["enum"]
            members = {str(v).upper().replace(" ", "_").replace("-", "_"): v for v in vals}
            types[name] = enum.Enum(name, members)
            if t.get("doc") is not None:
                types[name].__doc__ = t["doc"]
        else:
            fields = {}
            for f in t["fields"]:
                if isinstance(f, dict):
                    more = {{"desc": "description"}.get(k, k): v for k, v in f.items() if k not in ("name", "type", "default", "required")}
                    default = f.get("default", None if f.get("required") is False else ...)
                    f = [f["name"], f["type"], pydantic.Field(default, **more)]
                ann = _parse_type_node(ast.parse(f[1], mode="eval").body, {**names, **types})
                fields[f[0]] = (ann, f[2]) if len(f) > 2 else (ann, ...)
            types[name] = pydantic.create_model(name, __doc__=t.get("doc"), **fields)
    return types


# ----------------------------------------------------------------------------------------------------- program
class Pipeline(dspy.Module):
    def __init__(self, steps):
        super().__init__()
        self._steps_meta = []
        for s in steps:
            setattr(self, s["name"], s["module"])
            self._steps_meta.append((s["name"], list(s["input_fields"]), s["inputs"], s["repeat"]))

    def forward(self, **kwargs):
        ns, result = dict(kwargs), {}
        for name, fields, rename, repeat in self._steps_meta:
            module = getattr(self, name)
            for _ in range(repeat):
                call = {f: ns[rename.get(f, f)] for f in fields if rename.get(f, f) in ns}
                pred = module(**call)
                for k, v in pred.items():
                    ns[k] = v
                    result[k] = v
        return dspy.Prediction(**result)


def build_signature(step, types, instructions):
    custom = dict(types) or None
    sig = dspy.Signature(step["signature"], instructions, custom_types=custom) if instructions is not None else dspy.Signature(
        step["signature"], custom_types=custom)
    for f, d in (step.get("desc") or {}).items():
        sig = sig.with_updated_fields(f, desc=d)
    return sig


def build_program(case, types, lms, override=None):
    override = override or {}
    steps = []
    for st in case["program"]:
        instr = (override.get("instructions") or {}).get(st["name"], st.get("instructions"))
        sig = build_signature(st, types, instr)
        cfg = dict(st.get("config") or {})
        kind = st["module"]
        if kind == "Predict":
            m = dspy.Predict(sig, **cfg)
        elif kind == "ChainOfThought":
            m = dspy.ChainOfThought(sig, **cfg)
        elif kind == "ReAct":
            m = dspy.ReAct(sig, tools=[TOOLS[t] for t in st.get("tools", [])], max_iters=st.get("max_iters", 3))
        else:
            raise ValueError(kind)
        steps.append(dict(name=st["name"], module=m, input_fields=sig.input_fields, inputs=st.get("inputs") or {}, repeat=st.get("repeat", 1)))
    prog = steps[0]["module"] if case.get("bare") else Pipeline(steps)
    olm = override.get("lm")
    for st in case["program"]:
        lm_id = olm if isinstance(olm, str) else (olm or {}).get(st["name"], st.get("lm"))
        demos = (override.get("demos") or {}).get(st["name"], st.get("demos") or [])
        mod = prog if case.get("bare") else getattr(prog, st["name"])
        for _, p in mod.named_predictors():
            if lm_id is not None:
                p.lm = lms[lm_id]
        first = mod if isinstance(mod, dspy.Predict) else mod.predictors()[-1]
        first.demos = [dict(d) for d in demos]
    return prog


# ----------------------------------------------------------------------------------------------------- metrics
def as_str(v):
    """str for str values; otherwise compact JSON of the JSON-serialised value with ', ' / ': ' separators and no ASCII escaping"""
    from dspy.adapters.utils import serialize_for_json

    if isinstance(v, str):
        return v
    j = serialize_for_json(v)
    return j if isinstance(j, str) else json.dumps(j, ensure_ascii=False)


def make_metric(spec):
    if spec in (None, "none"):
        return None
    kind, field = spec.split(":", 1)

    def metric(example, pred, trace=None):
        gold, got = example.get(field), pred.get(field)
        golds = [as_str(g) for g in gold] if isinstance(gold, list) else [as_str(gold)]
        if not golds:
            return False
        if kind == "exact_match":
            return bool(EM(as_str(got), golds))
        if kind == "f1":
            return F1(as_str(got), golds)
        raise ValueError(kind)

    return metric


class TrainableJSONAdapter(dspy.JSONAdapter):
    """DSPy's JSON adapter writes no training rows; a row's answer is what its demos would show."""

    def format_finetune_data(self, signature, demos, inputs, outputs):
        return dspy.ChatAdapter.format_finetune_data(self, signature, demos, inputs, outputs)


ADAPTERS = {None: lambda: None, "chat": dspy.ChatAdapter, "json": TrainableJSONAdapter, "xml": dspy.XMLAdapter}


# ---------------------------------------------------------------------------------------------------- provider
class StubProvider(Provider):
    """finetune() writes the file exactly as OpenAIProvider/LocalProvider do (save_data) and 'returns' a model name
    derived from the bytes: ft:<model without openai/>:oracle::<first 8 hex of sha256(jsonl)>"""

    def __init__(self):
        super().__init__()
        self.finetunable = True
        self.TrainingJob = TrainingJob

    @staticmethod
    def finetune(job, model, train_data, train_data_format, train_kwargs=None):
        # The lock hides a real dspy race: jobs run in parallel threads and two jobs with equal data truncate and
        # rewrite the SAME content-addressed file, so a reader may see an empty/partial file.
        with _save_lock:
            path = save_data(train_data)
            with open(path, "rb") as f:
                raw = f.read()
        job.saved_path, job.saved_bytes = path, raw
        return "openai/ft:" + model.removeprefix("openai/") + ":oracle::" + hashlib.sha256(raw).hexdigest()[:8]


def http_json(url, data=None):
    req = urllib.request.Request(url, data=None if data is None else json.dumps(data).encode(), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(req) as r:
        return json.loads(r.read())


def jsonable(v):
    from dspy.adapters.utils import serialize_for_json

    return serialize_for_json(v)


_run_lock = threading.Lock()


def run_case(case, outdir, server_url=None):
    with _run_lock:
        return _run_case(case, outdir, server_url)


def _run_case(case, outdir, server_url=None):
    os.makedirs(outdir, exist_ok=True)
    for f in os.listdir(outdir):
        os.remove(os.path.join(outdir, f))
    srv = None
    if server_url is None:
        sv = case.get("server") or {}
        srv, state, url = lm_server.serve(profile=sv.get("profile", "mild"), salt=sv.get("salt", ""))
    else:
        url = server_url
        http_json(url.removesuffix("/v1") + "/_reset", {})

    ft_dir = tempfile.mkdtemp(prefix="oracle_ft_")
    os.environ["DSPY_FINETUNEDIR"] = ft_dir
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    logging.getLogger("dspy").setLevel(logging.CRITICAL)
    logging.disable(logging.ERROR)

    types = build_types(case.get("types"))
    lms, lm_ids = {}, {}
    for l in case["lms"]:
        lm = dspy.LM(l["model"], api_base=url, api_key="sk-oracle", temperature=l.get("temperature"),
                     max_tokens=l.get("max_tokens"), provider=StubProvider(), num_retries=l.get("num_retries", 3), **(l.get("kwargs") or {}))
        lms[l["id"]] = lm
        lm_ids[id(lm)] = l["id"]

    student = build_program(case, types, lms)
    trainset = [dspy.Example(**ex).with_inputs(*case["input_keys"]) for ex in case["trainset"]]

    kw = {}
    if "teacher" in case:
        t = case["teacher"]
        if isinstance(t, list):
            kw["teacher"] = [None if x is None else build_program(case, types, lms, x) for x in t]
        else:
            kw["teacher"] = None if t is None else build_program(case, types, lms, t)

    tk = case.get("train_kwargs") or {}
    if "by_lm" in tk:
        tk = {lms[k]: v for k, v in tk["by_lm"].items()}

    captured, traces = [], []

    class CapturingBF(BootstrapFinetune):
        @staticmethod
        def finetune_lms(finetune_dict):
            for (lm, ind), kws in finetune_dict.items():
                captured.append({"lm": lm_ids[id(lm)], "pred_ind": ind, "model": lm.model, "format": str(kws["train_data_format"].value),
                                 "train_kwargs": kws["train_kwargs"], "data": kws["train_data"]})
            return BootstrapFinetune.finetune_lms(finetune_dict)

        def _prepare_finetune_data(self, trace_data, lm, pred_ind=None):
            # By the predictor that made the call, where DSPy goes by position.
            if pred_ind is None:
                return super()._prepare_finetune_data(trace_data, lm)
            own = [{**d, "trace": [e for e in d["trace"] if position_of[id(e[0])] == pred_ind]} for d in trace_data]
            return super()._prepare_finetune_data(own, lm)

    orig_btd = bf_mod.bootstrap_trace_data

    def capturing_btd(*a, **k):
        # DSPy aborts when an example fails, or chokes on the placeholder for an answer that does not parse: these are left out here.
        data = orig_btd(*a, **{**k, "raise_on_error": False})
        data = [d for d in data if not isinstance(d["prediction"], FailedPrediction)]
        done = {d["example_ind"] for d in data}
        failed.extend({"teacher": len(teachers_seen), "example_ind": i} for i in range(len(k["dataset"])) if i not in done)
        position_of.update({id(p): i for i, p in enumerate(k["program"].predictors())})
        for d in data:
            if any(position_of[id(p)] != i for i, (p, _, _) in enumerate(d["trace"])):
                position_differs.append(not case.get("multitask", True))
        name_of = {id(p): n for n, p in k["program"].named_predictors()}
        for d in data:
            traces.append({
                "teacher": len(teachers_seen), "example_ind": d["example_ind"], "score": jsonable(d.get("score")),
                "trace": [{"predictor": name_of.get(id(p), "?"), "inputs": jsonable(i),
                           "outputs": jsonable(dict(o.items())) if hasattr(o, "items") else {"_failed": o.completion_text}} for p, i, o in d["trace"]],
            })
        teachers_seen.append(1)
        return data

    teachers_seen, failed, position_of, position_differs = [], [], {}, []
    bf_mod.bootstrap_trace_data = capturing_btd
    out = {"name": case.get("name"), "dspy": dspy.__version__}
    compiled = None
    import dspy.predict.react as react_mod

    real_fmt = react_mod.format_error_for_lm
    if case.get("react_errors") == "plain":
        react_mod.format_error_for_lm = lambda err, traceback_frames=0: f"{type(err).__name__}: {err}"
    opt = CapturingBF(metric=make_metric(case.get("metric")), multitask=case.get("multitask", True), train_kwargs=tk,
                      adapter=ADAPTERS[case.get("adapter")](), exclude_demos=case.get("exclude_demos", False), num_threads=case.get("num_threads"))
    devnull = open(os.devnull, "w")
    old_out, old_err = sys.stdout, sys.stderr
    try:
        sys.stdout = sys.stderr = devnull
        with dspy.context(adapter=ADAPTERS[case.get("run_adapter")](), lm=None):
            compiled = opt.compile(student, trainset=trainset, **kw)
        out["status"] = "ok"
    except Exception as e:  # the outcome of a case may legitimately be an error
        out["status"] = "error"
        root = e
        while root.__cause__ is not None:
            root = root.__cause__
        out["error"] = {"type": type(e).__name__, "message": str(e)[:500], "root_type": type(root).__name__}
    finally:
        sys.stdout, sys.stderr = old_out, old_err
        bf_mod.bootstrap_trace_data = orig_btd
        react_mod.format_error_for_lm = real_fmt
        logging.disable(logging.NOTSET)

    # --- requests
    log = state.log if srv is not None else http_json(url.removesuffix("/v1") + "/_log")
    reqs = []
    for e in list(log):
        b = dict(e["body"])
        reqs.append({"messages": b.pop("messages", None), "params": b})
    ordered = case.get("num_threads") == 1
    if not ordered:
        reqs.sort(key=lambda r: json.dumps(r, ensure_ascii=False, sort_keys=True))
    with open(os.path.join(outdir, "requests.jsonl"), "w", encoding="utf-8") as f:
        for r in reqs:
            f.write(json.dumps(r, ensure_ascii=False) + "\n")
    out["requests"] = {"count": len(reqs), "ordered": ordered}

    # --- training data
    out["finetune"] = []
    for n, c in enumerate(captured):
        raw = b"".join(orjson.dumps(item) + b"\n" for item in c.pop("data"))
        fn = f"data.{n}.{c['lm']}.{'all' if c['pred_ind'] is None else c['pred_ind']}.jsonl"
        with open(os.path.join(outdir, fn), "wb") as f:
            f.write(raw)
        # cross-check against the file the provider really wrote
        sha = hashlib.sha256(raw).hexdigest()
        on_disk = {hashlib.sha256(open(os.path.join(ft_dir, p), "rb").read()).hexdigest(): p for p in sorted(os.listdir(ft_dir))}
        # save_data_name: dspy's own content-addressed file name = sha256(pickle.dumps(train_data, protocol 4)) + ".jsonl"
        out["finetune"].append({**c, "file": fn, "lines": raw.count(b"\n"), "sha256": sha, "written_by_provider": sha in on_disk,
                                "save_data_name": on_disk.get(sha)})
    out["traces"] = traces
    out["failed"] = failed
    out["position_differs"] = any(position_differs)

    # --- compiled program
    if compiled is not None:
        assert compiled is student
        p = os.path.join(outdir, "program.json")
        compiled.save(p)
        raw = open(p, "rb").read().replace(url.encode(), PLACEHOLDER.encode())
        with open(p, "wb") as f:
            f.write(raw)
        out["predictors"] = [{"name": n, "lm": pr.lm.model, "demos": len(pr.demos)} for n, pr in compiled.named_predictors()]
        out["compiled_flag"] = compiled._compiled
    else:
        out["predictors"] = [{"name": n, "lm": pr.lm.model if pr.lm else None, "demos": len(pr.demos)} for n, pr in student.named_predictors()]
        out["compiled_flag"] = student._compiled
    with open(os.path.join(outdir, "result.json"), "w", encoding="utf-8") as f:
        json.dump(out, f, ensure_ascii=False, indent=1)
    if srv is not None:
        srv.shutdown()
        srv.server_close()
    return out


def save_state(case, own, path):
    """The state file that a user of DSPy has of the student, or of a teacher with demos and instructions of its `own`."""
    build_program(case, build_types(case.get("types")), {lm["id"]: None for lm in case["lms"]}, own).save(path)


def load_and_save(case, path, saved):
    """Loads a saved state into the case's program, as a user of DSPy would, and saves it again."""
    program = build_program(case, build_types(case.get("types")), {lm["id"]: None for lm in case["lms"]})
    program.load(path, allow_unsafe_lm_state=True)  # else DSPy drops api_base
    program.save(saved)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("case")
    ap.add_argument("--out", required=True)
    ap.add_argument("--server", default=None)
    a = ap.parse_args()
    with open(a.case, encoding="utf-8") as f:
        cases = json.load(f)
    if isinstance(cases, dict):
        cases = [cases]
        multi = False
    else:
        multi = True
    for c in cases:
        d = os.path.join(a.out, c["name"]) if multi else a.out
        o = run_case(c, d, a.server)
        print(c.get("name"), o["status"], (o.get("error") or {}).get("type", ""), "requests", o["requests"]["count"], "jobs",
              [(j["lm"], j["pred_ind"], j["lines"]) for j in o["finetune"]])
