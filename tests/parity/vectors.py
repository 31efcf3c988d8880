#!/usr/bin/env python3
"""Fresh rows for tests/vectors from DSPy 3.4.1 and what is under it, in the forms that the READMEs there describe.

    python vectors.py --n 2000 --seed 1 --out DIR
    BSFT_VECTORS=DIR cargo nextest run --workspace --lib vectors

Rows with half of a surrogate pair, which no UTF-8 text has, are left out.
"""
import argparse
import ast
import json
import math
import os
import random
import struct
import sys
import tempfile
import warnings

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")
os.environ.setdefault("DSPY_CACHEDIR", tempfile.mkdtemp(prefix="vectors_"))
warnings.simplefilter("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import contextlib  # noqa: E402
import io  # noqa: E402

import dspy  # noqa: E402
import json_repair  # noqa: E402
import orjson  # noqa: E402
from dspy.adapters.json_adapter import _get_structured_outputs_response_format  # noqa: E402
from dspy.adapters.utils import _get_json_schema, format_field_value, get_annotation_name, parse_value, translate_field_type  # noqa: E402
from dspy.clients.legacy_requests import _strict_json_schema  # noqa: E402
from dspy.evaluate.metrics import EM, F1, normalize_text  # noqa: E402
from dspy.signatures.signature import infer_prefix  # noqa: E402

import lm_server  # noqa: E402
import oracle  # noqa: E402
from cases import CUSTOM, RICH, SIMPLE, TYPES, G  # noqa: E402

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--n", type=int, default=2000)
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--out", required=True)
A = ap.parse_args()
R = random.Random(A.seed)
ALL = sorted(set(SIMPLE + RICH + CUSTOM + ["Optional[float]", "bool | None", "set[int]", "Optional[bool]", "float | str", "Literal['a', 'b'] | None",
                                           "list[tuple[int, str]]", "dict[str, Optional[int]]", "Union[list[int], str]", "List[str]", "Dict[str, int]"]))
TY = oracle.build_types(TYPES)
NS = dict(TY)


def sig(s, instr=None):
    return dspy.Signature(s, instr, custom_types=NS) if instr is not None else dspy.Signature(s, custom_types=NS)


def ann(t):
    return sig(f"q -> o: {t}").output_fields["o"]


FIELDS = {t: ann(t) for t in ALL}


def has_half_pair(value):
    if isinstance(value, str):
        return any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, dict):
        return any(has_half_pair(k) or has_half_pair(v) for k, v in value.items())
    return isinstance(value, (list, tuple)) and any(map(has_half_pair, value))


class W:
    """Writes the rows of one file."""

    def __init__(self, name):
        path = os.path.join(A.out, name + ".jsonl")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.f = open(path, "w", encoding="utf-8")
        self.name, self.n = name, 0

    def __call__(self, **k):
        if not has_half_pair(k) and "\\ud" not in str(k.get("py", "") or k.get("out", "")):
            self.f.write(json.dumps(k, ensure_ascii=True) + "\n")
        self.n += 1

    def close(self):
        self.f.close()
        print(self.name, self.n)


def shown(value):
    """repr, a set's members sorted."""
    if isinstance(value, (set, frozenset)) and value:
        return "{" + ", ".join(map(repr, sorted(value))) + "}"
    return repr(value)


# ---------------------------------------------------------------------------------------------------- raw texts
BASE = ['{"a": 1, "b": [1, 2.5, null, true, "x"]}', '["a", "b", "c"]', "{'k': 'v', 'n': None, 't': True}", '[1, 2, 3]', '{"name": "Ann", "age": 3, "tags": ["x", "y"]}',
        '"text"', "3", "-4.5e3", "true", "False", "null", "None", '{"a": {"b": {"c": [1, {"d": "e"}]}}}', '```json\n{"a": 1}\n```', 'Here: {"a": "b"} done', '[["a", 1], ["b", 2]]',
        '{"text": "he said \\"hi\\" and \\n left", "n": 0}', "(1, 2)", "{1, 2}", "yes", "a, b, c", "- a\n- b", "{'it': 'it\\'s'}", '{"u": "\\u00e9\\ud83d\\ude00"}', '{"a": 1} {"a": 2}', '[1][2]',
        '{"a": "x", "b": }', '{"a": [1, 2, "b": 3}', '{a: b, c: d}', '{"a": "b" "c": "d"}', '["x", "y"', '{"k": "v', '"unterminated', '{"a":1,}', '[1,,2]', '// c\n{"a": 1}', '{"a": 1 /* c */}', '# c\n[1]',
        '{"a": "line1\nline2"}', '{"a": tru, "b": nul}', '{"a": 1.}', '{"a": .5}', '{"a": +1}', '{"a": 0x1F}', '{"a": 1_000}', '{"a": 1,000}', '{"a": NaN, "b": Infinity}', "[“a”, ‘b’]", '{“a”: “b”}']


def mutate(s):
    s = list(s)
    for _ in range(R.choice([1, 1, 2, 3])):
        if not s:
            break
        i = R.randrange(len(s))
        k = R.random()
        if k < 0.35:
            del s[i]
        elif k < 0.6:
            s.insert(i, R.choice(list('"\'{}[]:,() \n\\/#*`tfn0-.eE“”é«') + ["```", "//", "None", "\\u00e9", "\\n"]))
        elif k < 0.8:
            s[i] = R.choice('"\'{}[]:, \nab01')
        elif k < 0.9:
            s = s[:i]
        else:
            j = R.randrange(len(s))
            s[i], s[j] = s[j], s[i]
    return "".join(s)


def raw_text():
    k = R.random()
    if k < 0.25:
        return R.choice(BASE)
    if k < 0.75:
        return mutate(R.choice(BASE))
    g = G(A.seed, R.randrange(10**9))
    v = g.value(R.choice(RICH + CUSTOM), 1)
    t = R.choice([json.dumps(v, ensure_ascii=False), json.dumps(v), repr(v), json.dumps(v, indent=2)])
    return mutate(t) if R.random() < 0.5 else t


def encodable(s):
    try:
        s.encode("utf-8")
        return True
    except UnicodeEncodeError:
        return False


w = W("python/repair")
seen = set()
while w.n < A.n * 3:
    t = raw_text()
    if t in seen and R.random() < 0.99:
        if len(seen) > 10**6:
            break
        continue
    seen.add(t)
    with contextlib.suppress(Exception):
        w(**{"in": t, "out": repr(json_repair.loads(t))})
w.close()


def safe_fmt(field, v):
    try:
        s = format_field_value(field, v)
        return s if encodable(s) else None
    except Exception as e:
        return None


def pv(w, t, raw):
    f = FIELDS[t]
    try:
        v = parse_value(raw, f.annotation)
        w(type=t, **{"in": raw}, ok=True, py=shown(v))
    except Exception:
        w(type=t, **{"in": raw}, ok=False)


w = W("signature/parse_value")
SC = ["3", "3.0", "-7", "+7", " 7 ", "007", "1_000", "1e3", "three", '"3"', "'3'", "True", "true", "TRUE", "yes", "No", "on", "off", "1", "0", "1.0", "null", "None", "", "nan", "inf", "-Infinity", "0x10", "3 apples", "[3]", "3.5%",
      "12345678901234567890123", "9007199254740993.0", ".5", "5.", "1,234", "red", "RED", "dark blue", "DARK_BLUE", "'red'", "Color.RED", "yes.", "'yes'", "Literal['yes']", "Literal[no]", "str[alpha]", "it's", '"it\'s"', "alpha\n", "x", "y",
      "2024-01-02", "2024-01-02T03:04:05Z", "2024-01-02 03:04", "1700000000", "a: 1", "- x\n- y", "\u00a03", "3\u2028", "\uff13", "t", "f", "y", "n", "tRuE", "-0.0", "1e400", "1e-400"]
for t in ALL:
    for s in SC:
        pv(w, t, s)
for _ in range(A.n * 3):
    pv(w, R.choice(ALL), raw_text())
for i in range(A.n):
    t = R.choice(ALL)
    v = G(A.seed, 10**6 + i).value(t, 1) if t in SIMPLE + RICH + CUSTOM else 1
    s = v if isinstance(v, str) else R.choice([json.dumps(v, ensure_ascii=False), repr(v), json.dumps(v), str(v)])
    pv(w, t, s)
w.close()

w = W("signature/json_value")
for i in range(A.n * 2):
    t = R.choice(ALL)
    src = R.choice(ALL)
    v = G(A.seed, 2 * 10**6 + i).value(src if src in SIMPLE + RICH + CUSTOM else "Any", 1)
    v = json.loads(json.dumps(v))
    pv(w, t, v)
w.close()

w = W("adapter/format_value")
for i in range(A.n * 2):
    t = R.choice(ALL)
    src = t if (R.random() < 0.7 and t in SIMPLE + RICH + CUSTOM) else R.choice(SIMPLE + RICH)
    v = G(A.seed, 3 * 10**6 + i).value(src, R.choice([0, 1]))
    try:
        w(type=t, **{"in": v}, fmt=format_field_value(FIELDS[t], v))
    except Exception as e:
        w(type=t, **{"in": v}, err=type(e).__name__)
for v in [[], ["one"], ["a", "b"], ["a\nb", "c «q»", "d»"], [""], ["\n"], [1], ["x", 1], [None], [["a"]], [{"a": 1}], {"a": 1.0, "b": [1e-5, 1e16, None, True]}, None, True, 1.0, 1e16, -0.0, "", "  x ", {"é": "\u2028\u007f"}, 10**25, [[1], ["«"]]]:
    for t in ("str", "list[str]", "Any", "dict", "float"):
        try:
            w(type=t, **{"in": v}, fmt=format_field_value(FIELDS[t], v))
        except Exception as e:
            w(type=t, **{"in": v}, err=type(e).__name__)
w.close()

w = W("signature/types")
for t in ALL:
    f = FIELDS[t]
    s = sig(f"q -> o: {t}")
    try:
        schema = json.dumps(_get_json_schema(f.annotation), ensure_ascii=False)
    except Exception as e:
        schema = None
    try:
        strict = json.dumps(_strict_json_schema(_get_structured_outputs_response_format(s, False).model_json_schema()), ensure_ascii=False)
    except Exception as e:
        strict = None
    w(type=t, name=get_annotation_name(f.annotation), note=translate_field_type("o", f), schema=schema, strict_schema=strict)
w.close()

def constrained(name):
    """A field in the form of a table, and answers for it: some that are near its bounds, and some of another type."""
    field = {"name": name, "type": R.choice(["int", "int", "float", "float", "str", "str", "list[int]", "set[int]", "dict[str, int]", "tuple[int, ...]", "Optional[int]",
                                             "Optional[float]", "Optional[str]", "Optional[list[str]]", "Color", "Inner", "Optional[Color]", "list[Inner]", "bool"])}
    inner = field["type"].removeprefix("Optional[").split("[")[0].rstrip("]")
    odd = [None, "x", 3, 2.5, [], {}, [1, "a"], True]
    if inner in ("int", "float"):
        a, b = sorted(R.sample(range(-20, 40), 2))
        low, high, step = R.choice(["gt", "ge", None]), R.choice(["lt", "le", None]), R.choice([None, None, 2, 3])
        if inner == "float":
            a, b, step = a + R.choice([0, 0.5]), b + R.choice([0, 0.25]), step and step / R.choice([1, 4, 10])
        field |= {k: v for k, v in [(low, a), (high, b), ("multiple_of" if step else None, step)] if k}
        near = [a, b, a + 1, b - 1, (a + b) // 2, str(a + 1), float(int(a + b) // 2), a + 1e-12, *(k * (step or 1) for k in (0, 1, 3, 7))]
        near += [k * (step or 1) + (step or 1) / 1e8 for k in (1, 10**9)] if inner == "float" else []
        odd += [a - 1, b + 1, str(10**20), str(-(10**20)), "nan", "inf", "1_0", " 7 ", 10**6 * (step or 1)]
    elif inner in ("str", "list", "set", "dict", "tuple"):
        n, m = R.randint(0, 2), R.randint(2, 5)
        field |= {k: v for k, v in [(R.choice(["min_length", None]), n), (R.choice(["max_length", None]), m)] if k}
        if inner == "str" and R.random() < 0.6:
            field["pattern"] = R.choice(["^[a-z]+$", "\\d", "^(red|blue)", "\\bé", "^\\w*$", "(?i)X", "^.{2,3}$", "[^\\x00-\\x7F]", ""])
        k = R.choice([n, n, m, m, m + 1, max(n - 1, 0)])
        texts = ["a" * k, "é😀xé1"[:k], "red"[:k], "A1", "x\ny", "12", "", "👍🏽" * (k // 2), "blue x"]
        item = R.choice(["a", "é"]) if "str" in field["type"] else 1
        near = texts if inner == "str" else [[item] * k, [f"{item}{i}" if item != 1 else i for i in range(k)], [[item]] * 0]
        if inner == "dict":
            near = [{f"k{i}": R.choice([i, str(i)]) for i in range(k)}, {"a": 1}]
        odd += [*texts, list(range(k)), ["a"] * k, {str(i): "x" for i in range(k)}]
    else:
        near = {"Color": ["red", "dark blue"], "Inner": [{"a": 1}, {"a": "9", "b": "x"}], "bool": [True, "no", 0]}[inner]
        odd += ["RED", {"a": 99}, {"b": "x"}, "maybe"]
        near = [[x, near[0]] for x in near] + [[]] if field["type"].startswith("list") else near
    if field["type"].startswith("Optional"):
        near.append(None)
    if R.random() < 0.5:
        field["desc"] = R.choice(["in years", "", "A color.", "Inner doc.", "two\nlines «q»", "${x}"])
    if R.random() < 0.2:
        field["title"] = R.choice(["My Title", "Color", ""])
    if R.random() < 0.2:
        field["examples"] = R.choice([[1, "x"], [], [{"z": 1, "a": [None]}]])
    if R.random() < 0.3:
        field["default"] = R.choice([None, 7, "red", [1], {"b": 2, "a": 1}, -99])
    elif R.random() < 0.1:
        field["required"] = False
    return field, lambda: R.choice(near if R.random() < 0.85 else odd)


w = W("signature/fields")
while w.n < A.n // 4:
    fields = [constrained(n) for n in R.sample(["first", "userID", "score_of", "x", "tags2"], R.randint(1, 3))]
    types = {"Color": {"enum": ["red", "dark blue"], **R.choice([{}, {"doc": "A color."}, {"doc": "An enumeration."}, {"doc": "\n  Two\n    lines.\n"}])},
             "Inner": {"doc": "Inner doc.", "fields": [{"name": "a", "type": "int", "le": 9, "desc": "small"}, ["b", "str", "c"]]},
             "Model": {**R.choice([{}, {"doc": "A model."}]), "fields": [f for f, _ in fields]}}
    ty = R.choice(["Model", "Model", "Optional[Model]", "list[Model]", "dict[str, Model]", "Union[Model, int]", "list[Color]"])
    built = oracle.build_types(types)
    s = dspy.Signature(f"q -> o: {ty}", custom_types=built)
    ann = s.output_fields["o"].annotation
    note = translate_field_type("o", s.output_fields["o"])
    try:
        strict = json.dumps(_strict_json_schema(_get_structured_outputs_response_format(s, False).model_json_schema()), ensure_ascii=False)
    except ValueError:  # an open mapping
        strict = None
    answers = []
    for _ in range(6):
        value = {f["name"]: draw() for f, draw in fields if R.random() < 0.95}
        shapes = [value, [value, value], {"k": value}, "red", ["dark blue", "red"]]
        fits = {"list[Model]": 1, "dict[str, Model]": 2, "Color": 3, "list[Color]": 4}.get(ty, 0)
        value = shapes[fits] if R.random() < 0.9 else R.choice(shapes)
        text = json.dumps(value) if R.random() < 0.5 else value
        try:
            answers.append({"in": text, "ok": True, "py": shown(parse_value(text, ann))})
        except Exception:
            answers.append({"in": text, "ok": False})
    w(types=types, type=ty, name=get_annotation_name(ann), note=note, strict_schema=strict, answers=[a for a in answers if not has_half_pair(a)])
w.close()

w = W("signature/signature")
SIGS = ["q -> a", "q->a", "  q ,w  ->  a ", "q: str -> a: Optional[int]", "q -> a: int|None", "q -> a: str | int | None", "q -> a: None | int", "q -> a: dict[str, Any]", "q -> a: list[dict[str, list[int]]]", "q -> a: List[int]", "q -> a: tuple[int, ...]",
        "q -> a: Literal[1, True, None]", "q -> a: Literal['a', \"b'c\", 'd\"e', 'f\\'g\"h']", "q -> ", " -> a", "->", "q", "q -> a -> b", "q -> q", "q, q -> a", "q: Unknown -> a", "q = 3 -> a", "q, -> a,", "q\n-> a", "é -> ü", "q -> a: None",
        "q -> a: Sequence[str]", "q, /, w -> a", "q, *, w -> a", "class -> a", "q -> a: object", "q -> a: -1", "q -> a: Literal[-1]", "q -> a: 'int'", "camelCase, HTMLText2, x1y -> out_put9", "q:int->a:float,b:bool", "q -> a: list[Literal['x', 'y']] | None", "q->a:dict[str,list[int]]", "q -> a: Union[int, str, None]"]
for i in range(300):
    c = G(A.seed, 4 * 10**6 + i).case()
    SIGS += [st["signature"] for st in c["program"]]


def names(S):
    return {side: [[n, get_annotation_name(f.annotation)] for n, f in getattr(S, side[:-1] + "_fields").items()] for side in ("inputs", "outputs")}


for s in SIGS:
    try:
        S = sig(s)
        w(sig=s, ok=True, inputs=[[n, get_annotation_name(f.annotation)] for n, f in S.input_fields.items()], outputs=[[n, get_annotation_name(f.annotation)] for n, f in S.output_fields.items()], instructions=S.instructions,
          prefixes=[f.json_schema_extra["prefix"] for f in S.fields.values()],
          cot=names(dspy.ChainOfThought(S).predict.signature))
    except BaseException:
        w(sig=s, ok=False)
w.close()

w = W("signature/instructions")
INS = ["", "A", "  A", "A\n", "\nA\n", "\n    A\n  B", "\n    A\n  B\n   ", "A\n\n   \n  B", "  A\n    B\n   C\n \t \nD", "A\r\n  B", "A\u2028  B", "x\ty", " \n ", "A  \n", "\u00a0 A\n\u00a0B\n C", "a\n\tb\n\t\tc", "\n\n  x\n   y\n\n\n", "l1\x0bl2\x0cl3\x1cl4\x85l5",
       "- a\n  - b\n    - c", "\\n literal", "{braces} ${x}", "é «x»", "\ta\n\tb"]
for _ in range(400):
    INS.append("".join(R.choice(["a", "b c", " ", "  ", "\n", "\n", "\t", "\n    ", "\r\n", "é", "\u2028", "\u00a0", "\x1c", "."]) for _ in range(R.randint(1, 12))))
for i in INS:
    p = dspy.Predict(sig("q -> a", i))
    c = dspy.ChainOfThought(sig("q -> a", i))
    w(**{"in": i}, predict=p.signature.instructions, cot=c.predict.signature.instructions)
w.close()

ADS = {"chat": dspy.ChatAdapter(), "json": dspy.JSONAdapter(), "xml": dspy.XMLAdapter()}


def run_parse(w, ad, s, text):
    S = sig(s)
    try:
        r = ADS[ad].parse(S, text)
        w(sig=s, **{"in": text}, ok=True, fields={k: safe_fmt(S.output_fields[k], v) for k, v in r.items()}, py={k: repr(v) for k, v in r.items()})
    except Exception as e:
        pr = getattr(e, "parsed_result", None)
        w(sig=s, **{"in": text}, ok=False, err=type(e).__name__, partial=None if pr is None else list(pr))


PSIG = ["q -> a, n: int", "q -> a", "q -> a, tags: list[str], ok: bool", "q -> r, f: float, p: Person", "q -> x: Optional[int], y: Literal['yes', 'no'], z: dict[str, int]", "q -> c: Color, d: Any"]
ws = {k: W(f"adapter/{k}_parse") for k in ADS}
TYPESOF = {"a": "str", "n": "int", "tags": "list[str]", "ok": "bool", "r": "str", "f": "float", "p": "Person", "x": "Optional[int]", "y": "Literal['yes', 'no']", "z": "dict[str, int]", "c": "Color", "d": "Any"}
for i in range(A.n):
    s = R.choice(PSIG)
    S = sig(s)
    for k, ad in ADS.items():
        msgs = ad.format(S, [], {"q": f"probe {i} {R.random()}"})
        text = lm_server.completion_for(msgs, R.choice(["mild", "messy", "wild"]), str(i))
        if R.random() < 0.3:
            text = mutate(text)
        if encodable(text):
            run_parse(ws[k], k, s, text)
for x in ws.values():
    x.close()

# Answers as LMs write them, by hand: what DSPy makes of each is taken again.
OWN = {"Color": {"enum": ["red", "dark blue"]}, "Person": {"doc": "A person.", "fields": [["name", "str"], ["age", "int", 7]]}}
OWN_TYPES = oracle.build_types(OWN)
w = W("adapter/answers")
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vectors/adapter/answers.jsonl"), encoding="utf-8") as f:
    answers = [json.loads(line) for line in f]
for row in answers:
    S = dspy.Signature(row["sig"], custom_types=OWN_TYPES)
    read = {}
    for k in ("chat", "json"):
        try:
            read[k] = {name: shown(v) for name, v in ADS[k].parse(S, row["in"]).items()}
        except Exception:
            read[k] = None
    w(sig=row["sig"], **{"in": row["in"]}, **read)
w.close()

w = W("adapter/format")
training = W("adapter/training")
for i in range(A.n // 2):
    c = G(A.seed, 5 * 10**6 + i).case()
    st = R.choice(c["program"])
    try:
        S = oracle.build_signature(st, TY, st.get("instructions"))
    except Exception:
        continue
    if R.random() < 0.4:
        S = dspy.ChainOfThought(S).predict.signature
        cot = True
    else:
        cot = False
    g = G(A.seed, 6 * 10**6 + i)
    ins, outs = G.split(st["signature"])
    avail = {}
    for n, f in S.fields.items():
        nm = next((t for t in SIMPLE + RICH + CUSTOM if t in FIELDS and FIELDS[t].annotation == f.annotation), "str")
        avail[n] = nm
    demos = g.demos(ins, {o: avail.get(o, "str") for o in outs}, avail, "ChainOfThought" if cot else "Predict")
    inputs = {n: g.value(avail[n], R.choice([0, 1])) for n in ins if R.random() < 0.95}
    for k, ad in ADS.items():
        try:
            m = ad.format(S, demos, inputs)
            w(sig=st["signature"], instructions=st.get("instructions"), desc=st.get("desc"), cot=cot, demos=demos, inputs=inputs, adapter=k, messages=m)
        except Exception:
            continue
    outputs = {n: g.value(avail[n], 1) for n in S.output_fields if R.random() < 0.95}
    for k, ad in ADS.items():
        with contextlib.suppress(Exception):
            training(sig=st["signature"], cot=cot, instructions=st.get("instructions"), desc=st.get("desc"), outputs=outputs, adapter=k,
                     assistant=ad.format_assistant_message_content(S, outputs))
w.close()
training.close()

w = W("metric/normalize")
PIECES = ["The", "the", "a", "An", " ", "  ", "\t", "\u00a0", "\x1c", "paris", "Paris!", "don't", "U.S.", "-", "_", "the_end", "é", "e\u0301", "the\u0301", "İ", "ß", "Σ", "ΑΣ", "ﬁ", "１", "東京", "😀", "\u200b", "“q”", "3.14", "$5", "thé", "A", "théa", "Ⅷ", "ʼ", "\u0301", "x\u0301a"]
texts = ["".join(R.choice(PIECES) + R.choice(["", "", " "]) for _ in range(R.randint(0, 7))) for _ in range(A.n)]
for t in texts:
    w(**{"in": t}, out=normalize_text(t))
w.close()
w = W("metric/f1")
with contextlib.redirect_stdout(io.StringIO()):
    for _ in range(A.n):
        a, b = R.choice(texts), R.choice(texts)
        if R.random() < 0.4:
            b = R.choice([a.upper(), "the " + a, a + " x", a])
        w(a=a, b=b, em=bool(EM(a, [b])), f1=F1(a, [b]))
w.close()
w = W("signature/prefix")
for _ in range(600):
    n = "".join(R.choice(["a", "B", "C", "text", "HTML", "2", "10", "_", "é", "Name", "ID", "x"]) for _ in range(R.randint(1, 6)))
    w(**{"in": n}, out=infer_prefix(n))
w.close()
w = W("python/text")
for i in range(A.n // 2):
    t = "".join(R.choice(["a", "b", " ", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2028", "\u2029", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u180e", "\t", "É", "İ", "ẞ", "\u1680"]) for _ in range(R.randint(0, 9)))
    bits = [c.isspace() | c.isalpha() << 1 | c.isdigit() << 2 | c.isalnum() << 3 | (c.isalnum() or c == "_") << 4 | c.isprintable() << 5 for c in t]
    w(**{"in": t}, splitlines=t.splitlines(), split=t.split(), strip=t.strip(), lstrip=t.lstrip(), rstrip=t.rstrip(), expandtabs=t.expandtabs(8), classes=bits,
      capitalize=t.capitalize(), title=t.title(), isupper=t.isupper())
w.close()
w = W("python/floats")
vals = [0.0, -0.0, 1.0, 0.1, 1e15, 1e16, 1e17, 1e-4, 1e-5, 1e-6, 1e-7, 123456789.125, 5e-324, 1.7976931348623157e308, 1e22, 1e23, 2 / 3, 100.0, 1.5e16, 9007199254740993.0]
vals += [struct.unpack("<d", struct.pack("<Q", R.getrandbits(64)))[0] for _ in range(A.n)] + [R.uniform(-1, 1) * 10 ** R.randint(-12, 20) for _ in range(A.n)]
for v in vals:
    if math.isfinite(v):
        w(bits=struct.pack(">d", v).hex(), repr=repr(v), orjson=orjson.dumps(v).decode())
w.close()
w = W("python/orjson_str")
for i in range(400):
    t = "".join(chr(R.choice([R.randint(0, 0x7F), R.randint(0, 0xFF), R.randint(0x100, 0xD7FF), R.randint(0xE000, 0xFFFF), R.randint(0x10000, 0x1FFFF)])) for _ in range(R.randint(0, 12)))
    w(**{"in": t}, out_hex=orjson.dumps(t).hex())
w.close()
w = W("python/shuffle")
for n in list(range(0, 66)) + [100, 127, 128, 129, 255, 256, 257, 1000, 4096, 10007]:
    a = list(range(n))
    random.Random(0).shuffle(a)
    w(n=n, out=a)
w.close()

js, rp, lit = W("python/json"), W("python/repr"), W("python/literal")
for _ in range(A.n):
    t = raw_text()
    try:
        v = json.loads(t)
    except ValueError:
        js(**{"in": t}, repr=None)
    else:
        try:
            packed = orjson.dumps(v).decode()
        except TypeError:  # an integer beyond 64 bits
            packed = None
        js(**{"in": t}, repr=repr(v), dumps=json.dumps(v, ensure_ascii=False), indent=json.dumps(v, ensure_ascii=False, indent=2), orjson=packed)
        rp(json=t, out=repr(v))
    try:
        v = ast.literal_eval(t)
    except TypeError:
        lit(**{"in": t}, out="unhashable")
    except (SyntaxError, ValueError):
        lit(**{"in": t}, out=None)
    else:
        if isinstance(v, (str, int, float, list, tuple, dict, type(None))):  # no sets, whose order is Python's, and no bytes or complex
            lit(**{"in": t}, out=repr(v))
for x in (js, rp, lit):
    x.close()
