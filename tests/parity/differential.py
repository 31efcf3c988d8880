#!/usr/bin/env python3
"""Compiles random jobs with the real DSPy and with bsft, against one LM server, and compares all that can be seen.

    python differential.py --bsft target/release/bsft-coordinator -n 300 --seed 1     the cases 1/0 to 1/299
    python differential.py --bsft ... --seed 1 --only 17 --keep /tmp/case              one case again, its files kept
    python differential.py --bsft ... --cases cases.json                               the hand-written cases

Compared are the set of requests (messages and parameters), the training files byte for byte, the values in the traces, the
examples that failed, and the saved state, which DSPy also loads and saves again.

Where DSPy is known to go wrong the comparison reports it and goes on with what DSPy does apart from that:
  - DSPy aborts when an example fails: both sides are compared on the other examples, and on which ones failed;
  - DSPy gives rows to predictors by position: it is made to go by the predictor;
  - DSPy starts a fine-tune job without rows: bsft has to refuse it, with the other files equal.

Prints a table by profile of the LM server's answers. Ends with 1 where a clean or mild case differs, or more than one percent of
the messy or of the wild ones.
"""
import argparse
import collections
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

STEP_KEYS = ["name", "module", "signature", "instructions", "desc", "demos", "config", "inputs", "repeat"]
# Least share of equal cases, by profile.
WANTED = {"clean": 1.0, "mild": 1.0, "messy": 0.99, "wild": 0.99}
ABORTS = "DSPy aborts, for an example fails: compared on the others"
POSITION = "DSPy gives rows to predictors by position: compared by predictor"
EMPTY = "DSPy starts a fine-tune job without rows: bsft refuses it, so there is no state to compare"
# The hand-written cases share these rows.
TEXTS = ["plain", "two\nlines\n\n  indented", "«quoted» \"double\" 'single' back\\slash", "😀 naïve 東京 e\u0301", "[[ ## answer ## ]]\nnot a header",
         "<answer>tag</answer> & {curly} [1] list", " leading, trailing \t", "sep\u2028para\u0085end\r\nhere"]
GOLD = ["paris", "seven", "blue"]


def shared_rows():
    return [{"question": f"{TEXTS[i % 8]} {i}? gold={GOLD[i % 3]}", "text": f"{i}: {TEXTS[i % 8]}", "answer": GOLD[i % 3]} for i in range(24)]


# ------------------------------------------------------------------------------------------------- a case as a job file
def pick(of, keys):
    return {k: of[k] for k in keys if of.get(k) is not None}


def steps(case, own):
    out = []
    for step in case["program"]:
        table = pick(step, STEP_KEYS)
        for key in ("demos", "instructions"):
            if step["name"] in (own.get(key) or {}):
                table[key] = own[key][step["name"]]
        out.append(table)
    return out


def assigned(case, own):
    lm = own.get("lm")
    return {s["name"]: lm if isinstance(lm, str) else (lm or {}).get(s["name"], s["lm"]) for s in case["program"]}


def job(case, url):
    """The job file. With by_state the student's and the teachers' own instructions, descriptions and demos come from state files."""
    by_state = case.get("by_state", False)

    def bare(predictors):
        return [{k: v for k, v in p.items() if k not in ("instructions", "desc", "demos")} if by_state else p for p in predictors]

    def state(name):
        return {"state": f"{name}.json"} if by_state else {}

    lms = {}
    for lm in case["lms"]:
        train = case.get("train_kwargs") or {}
        train = train["by_lm"][lm["id"]] if "by_lm" in train else train
        lms[lm["id"]] = {**pick(lm, ["model", "temperature", "max_tokens"]), "api_base": url, "extra": lm.get("kwargs") or {},
                         "finetune": {"provider": "simulated", "train": train}}
    out = {
        "name": case["name"],
        "data": {"trainset": "train.jsonl", "inputs": case["input_keys"]},
        "program": {"predictors": bare(steps(case, {})), "types": case.get("types") or {}},
        "lm": lms,
        "student": {"lm": assigned(case, {}), **state("student")},
        "compile": {**pick(case, ["multitask", "exclude_demos"]), "adapter": case.get("run_adapter") or "chat"},
    }
    teacher = case.get("teacher")
    teachers = teacher if isinstance(teacher, list) else [teacher]
    if "teacher" in case:
        out["teacher"] = [{"lm": assigned(case, t or {}), "program": {"predictors": bare(steps(case, t or {}))}, **state(f"teacher{i}")}
                          for i, t in enumerate(teachers)]
    if case.get("metric", "none") != "none":
        kind, field = case["metric"].split(":")
        out["metric"] = {"f1": {"field": field}} if kind == "f1" else {kind: field}
    return out


# ------------------------------------------------------------------------------------------------------------- comparing
def read_lines(path):
    text = read_text(path) if os.path.exists(path) else ""
    return [json.loads(line) for line in text.split("\n") if line]


def read_text(path):
    with open(path, encoding="utf-8", newline="") as f:
        return f.read()


def models(path):
    """The predictors' models in a saved state."""
    state = json.loads(read_text(path))
    flat = [state] if "lm" in state else [entry for name, entry in state.items() if name != "metadata"]
    return [entry["lm"]["model"] for entry in flat]


def requests(log):
    """Requests without order, each with how often it was sent: path, messages and parameters in the order of their keys."""
    bodies = [dict(entry["body"]) for entry in log]
    return collections.Counter(json.dumps([entry["path"], body.pop("messages", None), body], ensure_ascii=False) for entry, body in zip(log, bodies))


def canonical(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def first_difference(ours, dspys):
    """The line of both in which they differ first, and the bytes around the difference."""
    ours, dspys = ours.split("\n"), dspys.split("\n")
    line = next((i for i, (a, b) in enumerate(zip(ours, dspys)) if a != b), min(len(ours), len(dspys)))
    a, b = (x[line] if line < len(x) else "(no such line)" for x in (ours, dspys))
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    part = slice(max(0, at - 80), at + 120)
    return f"line {line + 1}, character {at + 1}\n      ours {a[part]!r}\n      dspy {b[part]!r}"


def compare(what, ours, dspys, found):
    if ours != dspys:
        found.append((what, first_difference(ours, dspys)))


def differences(case, folder, bsft):
    """[(what, where)] and the notes on what DSPy is known for."""
    import lm_server
    import oracle

    found, notes = [], []
    server_of = case.get("server") or {}
    server, state, url = lm_server.serve(profile=server_of.get("profile", "mild"), salt=server_of.get("salt", ""))
    try:
        dspy_dir, run = os.path.join(folder, "dspy"), os.path.join(folder, "run")
        with open(os.path.join(folder, "train.jsonl"), "w", encoding="utf-8") as f:
            f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in case["trainset"])
        with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as f:
            json.dump(job(case, url), f, ensure_ascii=False, indent=1)
        with open(os.path.join(folder, "case.json"), "w", encoding="utf-8") as f:
            json.dump(case, f, ensure_ascii=False, indent=1)
        if case.get("by_state"):
            teacher = case.get("teacher")
            own = {"student": None, **{f"teacher{i}": t for i, t in enumerate(teacher if isinstance(teacher, list) else [teacher])}}
            for name, t in own.items():
                oracle.save_state(case, t, os.path.join(folder, f"{name}.json"))
        result = oracle.run_case(case, dspy_dir, url)
        if result["status"] != "ok":
            return [("DSPy itself", json.dumps(result["error"], ensure_ascii=False))], notes
        with state.lock:
            asked = requests(state.log)
            state.log.clear()
        ended = subprocess.run([bsft, "compile", "job.json", "--out", "run"], cwd=folder, capture_output=True, text=True, encoding="utf-8", env=os.environ | {"BSFT_LOG_FORMAT": "human"})
        with open(os.path.join(folder, "bsft.stderr"), "w", encoding="utf-8") as f:
            f.write(ended.stderr)
        empty = any(shard["lines"] == 0 for shard in result["finetune"])
        if ended.returncode != (1 if empty else 0):
            return [(f"bsft ended with {ended.returncode}", ended.stderr[-1500:])], notes
        with state.lock:
            sent = requests(state.log)
    finally:
        server.shutdown()
        server.server_close()

    if sent != asked:
        more, less = sent - asked, asked - sent
        found.append((f"requests ({more.total()} only ours, {less.total()} only DSPy's)", first_difference(min(more, default=""), min(less, default=""))))

    ours_failed = sorted((f["teacher"], f["example"]) for f in read_lines(os.path.join(run, "failures.jsonl")))
    dspys_failed = sorted((f["teacher"], f["example_ind"]) for f in result["failed"])
    compare("failed examples", canonical(ours_failed), canonical(dspys_failed), found)
    if dspys_failed:
        notes.append(ABORTS)
    if result["position_differs"]:
        notes.append(POSITION)

    lines = [{"teacher": t["teacher"], "example": t["example"], "score": t["score"],
              "calls": [pick_exact(c, ["predictor", "inputs", "outputs"]) for c in t["calls"]]} for t in read_lines(os.path.join(run, "traces.jsonl"))]
    theirs = [{"teacher": t["teacher"], "example": t["example_ind"], "score": True if t["score"] is None else t["score"], "calls": t["trace"]}
              for t in result["traces"]]
    compare("traces", "\n".join(json.dumps(x, ensure_ascii=False) for x in lines), "\n".join(json.dumps(x, ensure_ascii=False) for x in theirs), found)

    expected = set()
    for shard in result["finetune"]:
        name = shard["lm"] if shard["pred_ind"] is None else f"{shard['lm']}@{result['predictors'][shard['pred_ind']]['name']}"
        expected.add(f"{name}.jsonl")
        path = os.path.join(run, "data", f"{name}.jsonl")
        mine = read_text(path) if os.path.exists(path) else ""
        compare(f"training file {name}.jsonl", mine, read_text(os.path.join(dspy_dir, shard["file"])), found)
    more = sorted(set(os.listdir(os.path.join(run, "data"))) - expected)
    if more:
        found.append(("training files that DSPy does not have", ", ".join(more)))
    if empty:
        notes.append(EMPTY)
        return found, notes

    def anonymous(text):
        lines = text.replace(url, oracle.PLACEHOLDER).split("\n")
        return "\n".join('"model"' if line.lstrip().startswith('"model": ') else line for line in lines)

    states = [os.path.join(run, "compiled.json"), os.path.join(dspy_dir, "program.json")]
    # Both providers name a model after the digest of its training file, in their own ways.
    pairs = [(of["lm"], mine) for of, mine in zip(result["predictors"], models(states[0]), strict=True)]
    if not all(mine.split(":")[-1].startswith(theirs.split(":")[-1]) for theirs, mine in pairs):
        found.append(("models of the compiled predictors", f"DSPy's and ours: {pairs}"))
    compare("compiled.json", *(anonymous(read_text(path)) for path in states), found)
    for path in states:
        oracle.load_and_save(case, path, path + ".again.json")
    compare("compiled.json loaded and saved by DSPy", *(anonymous(read_text(path + ".again.json")) for path in states), found)
    return found, notes


def pick_exact(of, keys):
    return {key: of[key] for key in keys}


# --------------------------------------------------------------------------------------------------------------- running
def work(item):
    case, keep, bsft = item
    folder = os.path.join(keep, case["name"]) if keep else tempfile.mkdtemp(prefix="bsft_parity_")
    if keep:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    try:
        found, notes = differences(case, folder, bsft)
    except Exception as error:  # one odd case must not end the others
        import traceback

        found, notes = [("the comparison itself", f"{type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}")], []
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return case["name"], case.get("again", ""), (case.get("server") or {}).get("profile", "mild"), found, notes


def the_cases(a):
    if a.cases:
        with open(a.cases, encoding="utf-8") as f:
            cases = json.load(f)
        for case in cases:
            case.setdefault("trainset", shared_rows())
            case["again"] = f"--cases {a.cases} --only {case['name']}"
        return [case for case in cases if a.only in (None, case["name"])]
    from cases import random_case

    indexes = range(a.start, a.start + a.n) if a.only is None else [int(a.only)]
    cases = []
    for index in indexes:
        case = random_case(a.seed, index, a.profile)
        case["again"] = f"--seed {a.seed} --only {index}" + (f" --profile {a.profile}" if a.profile else "")
        cases.append(case)
    return cases


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bsft", required=True, help="the bsft-coordinator to test")
    ap.add_argument("-n", type=int, default=100, help="how many random cases")
    ap.add_argument("--start", type=int, default=0, help="the first of them")
    ap.add_argument("--seed", default="1")
    ap.add_argument("--profile", choices=sorted(WANTED), help="how well the LM server answers; default: drawn by case")
    ap.add_argument("--cases", help="a file of cases instead of random ones")
    ap.add_argument("--only", help="one case: its index, or its name with --cases")
    ap.add_argument("--keep", help="a folder for the cases' files")
    ap.add_argument("--jobs", type=int, default=os.cpu_count())
    ap.add_argument("--shown", type=int, default=10, help="differing cases to print whole")
    a = ap.parse_args()
    bsft = os.path.abspath(a.bsft)
    keep = os.path.abspath(a.keep) if a.keep else None
    cases = the_cases(a)
    if not cases:
        sys.exit("no such case")
    total, equal, causes, known = (collections.Counter() for _ in range(4))
    shown = 0
    with multiprocessing.get_context("spawn").Pool(min(a.jobs, len(cases))) as pool:
        for name, again, profile, found, notes in pool.imap_unordered(work, [(c, keep, bsft) for c in cases], chunksize=1):
            total[profile] += 1
            equal[profile] += not found
            known.update(notes)
            causes.update({f"{profile}: {what}" for what, _ in found})
            if found and shown < a.shown:  # the others are counted
                shown += 1
                print(f"{name} ({profile}) differs; again: {os.path.relpath(__file__)} --bsft {a.bsft} {again} --keep DIR")
                for what, where in found:
                    print(f"    {what}: {where}")
                sys.stdout.flush()
        pool.close()
        pool.join()
    print(f"\n{'profile':<8} {'cases':>6} {'equal':>6}  share")
    failed = False
    for profile in WANTED:
        if total[profile]:
            share = equal[profile] / total[profile]
            missed = share < WANTED[profile]
            failed |= missed
            print(f"{profile:<8} {total[profile]:>6} {equal[profile]:>6}  {100 * share:.2f} %" + (f", wanted {100 * WANTED[profile]:.0f} %" if missed else ""))
    for what, count in sorted(causes.items()):
        print(f"differs in {count:>5} cases: {what}")
    for what, count in sorted(known.items()):
        print(f"known in   {count:>5} cases: {what}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
