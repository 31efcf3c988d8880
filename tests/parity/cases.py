"""Random cases for differential.py: each is a function of its seed and index alone."""
import random

WORDS = ["paris", "london", "alpha", "beta", "seven", "blue", "naïve", "東京", "привет", "😀", "e\u0301", "«q»", "\"dq\"", "it's", "back\\slash",
         "tab\there", "nul\u0001", "nbsp\u00a0x", "a/b", "<tag>", "{x}", "[y]", "#z", "${v}", "line\u2028sep", "DEL\u007f", "ﬁ", "İ", "ß"]
GOLDS = ["paris", "london", "alpha", "seven", "blue"]

SIMPLE = ["str", "str", "int", "float", "bool"]
RICH = ["list[str]", "list[int]", "list[float]", "dict[str, int]", "dict[str, str]", "dict[str, Any]", "Optional[str]", "Optional[int]", "Literal['yes', 'no']",
        "Literal['alpha', 'beta', 'it\\'s']", "Literal[1, 2, 3]", "list[list[int]]", "list[Literal['x', 'y']]", "Union[int, str]", "int | None", "list[dict[str, float]]",
        "tuple[int, str]", "Any", "list", "dict", "dict[str, list[int]]", "Optional[list[str]]", "Optional[float]", "bool | None", "float | str",
        "list[tuple[int, str]]", "dict[str, Optional[int]]", "Optional[dict[str, int]]", "Union[list[int], str]", "Optional[Literal['a', 'b']]"]
CUSTOM = ["Color", "Person", "list[Person]", "Optional[Color]", "list[Color]", "dict[str, Person]", "Optional[Person]", "Pet", "list[Pet]", "Level", "Union[Color, int]"]
TYPES = {
    "Color": {"enum": ["red", "dark blue", "green"]},
    "Address": {"doc": "Where someone lives.", "fields": [["street", "str"], {"name": "zip", "type": "Optional[int]", "required": False, "ge": 0, "le": 99999, "desc": "five digits"}]},
    "Level": {"enum": [1, 2, 3]},
    "Pet": {"doc": "A pet.\n    With a name.", "fields": [{"name": "petName", "type": "str", "default": "Tom", "min_length": 1}, {"name": "lives", "type": "int", "default": 9, "ge": 0, "le": 9, "desc": "how many are left"}, ["level", "Optional[Level]", None], ["coat", "Literal['long', 'short']", "long"]]},
    "Person": {"fields": [["name", "str"], ["age", "int"], ["addr", "Address"], {"name": "tags", "type": "list[str]", "default": [], "max_length": 3}, {"name": "score", "type": "float", "default": 1.0, "lt": 1e300}]},
}
MODELS = ["openai/gpt-5-mini", "openai/o3", "openai/gpt-4o-mini", "openai/gpt-3.5-turbo", "openai/local-llm", "openai/meta-llama/Llama-3.2-1B-Instruct", "hosted_vllm/qwen"]


class G:
    def __init__(self, seed, idx):
        self.r = random.Random(f"{seed}/{idx}")
        self.idx = idx

    def text(self, gold=True):
        r = self.r
        k = r.random()
        if k < 0.05:
            return ""
        if k < 0.25:
            s = "\n".join(" ".join(r.choice(WORDS) for _ in range(r.randint(0, 4))) for _ in range(r.randint(2, 4)))
        elif k < 0.35:
            s = r.choice(["  lead", "trail  ", "\n\nx\n\n", "[[ ## answer ## ]]", "a\r\nb", "\tq", "x\n\n\n\ny"])
        else:
            s = " ".join(r.choice(WORDS) for _ in range(r.randint(1, 6)))
        if gold and r.random() < 0.5:
            s += f" gold={r.choice(GOLDS)}"
        return s

    def value(self, t, depth=0):
        r = self.r
        t = t.strip()
        if t == "str":
            # an un-typed / str input may receive lists too (numbered passages); only at top level
            if depth == 0 and r.random() < 0.08:
                return [self.text(False) for _ in range(r.randint(0, 3))]
            return self.text()
        if t == "int":
            return r.choice([0, 1, -7, 42, 10**18, 2**60, r.randint(-1000, 1000)])
        if t == "float":
            return r.choice([0.0, 1.0, -2.5, 1e-7, 1e16, 1.5e300, 0.1, 2 / 3, 123456.789, r.random()])
        if t == "bool":
            return r.random() < 0.5
        if t == "Any":
            return r.choice([self.text(False), 3, 2.5, True, None, [1, "x", None], {"k": [1.0]}])
        if t == "list":
            return [r.choice([1, "x", 2.5, None, True]) for _ in range(r.randint(0, 3))]
        if t == "dict":
            return {r.choice(["a", "b c", "é"]): r.choice([1, "x", None, [1]]) for _ in range(r.randint(0, 2))}
        if " | " in t and not t.startswith(("list", "dict", "Union", "Literal", "Optional", "tuple")):
            return self.value(r.choice(t.split(" | ")), depth + 1)
        if t == "None":
            return None
        for head in ("list", "Optional", "Union", "dict", "tuple", "Literal"):
            if t.startswith(head + "["):
                inner = t[len(head) + 1:-1]
                if head == "list":
                    return [self.value(inner, depth + 1) for _ in range(r.choice([0, 1, 2, 3]))]
                if head == "Optional":
                    return None if r.random() < 0.3 else self.value(inner, depth + 1)
                if head == "Union":
                    return self.value(r.choice(inner.split(", ")), depth + 1)
                if head == "dict":
                    v = inner.split(", ", 1)[1]
                    return {r.choice(["k", "a b", "é", "0", ""]) + str(i): self.value(v, depth + 1) for i in range(r.randint(0, 3))}
                if head == "tuple":
                    return [self.value(x, depth + 1) for x in inner.split(", ")]
                if head == "Literal":
                    return r.choice(list(eval(inner + ",")))  # noqa: S307  (own constant strings)
        if t == "Color":
            return r.choice(["red", "dark blue", "green"])
        if t == "Level":
            return r.choice([1, 2, 3])
        if t == "Pet":
            return {k: v for k, v in {"petName": self.text(False), "lives": r.randint(0, 9), "level": r.choice([None, 2]), "coat": "short"}.items() if r.random() < 0.8}
        if t == "Address":
            return {"street": self.text(False), "zip": r.choice([None, 12345])}
        if t == "Person":
            return {"name": self.text(False), "age": r.randint(0, 99), "addr": self.value("Address", 1), "tags": [self.text(False)], "score": 0.5}
        raise ValueError(t)

    def otype(self):
        r = self.r
        k = r.random()
        if k < 0.5:
            return r.choice(SIMPLE)
        if k < 0.87:
            return r.choice(RICH)
        return r.choice(CUSTOM)

    def itype(self):
        r = self.r
        return "str" if r.random() < 0.75 else r.choice(SIMPLE + ["list[str]", "dict[str, Any]", "Optional[str]", "list[int]", "float"])

    def case(self):
        r = self.r
        names = ["question", "context", "passage", "hintText", "docs2read", "topic", "HTMLBody"]
        onames = ["answer", "label", "score", "rationale2", "tags", "summary", "userID", "ok", "plan_b"]
        nsteps = r.choice([1, 1, 2, 2, 3])
        nlm = r.choice([1, 1, 2])
        lms = []
        for i in range(nlm):
            l = {"id": f"lm{i}", "model": r.choice(MODELS)}
            if r.random() < 0.3:
                l["temperature"] = r.choice([0.0, 0.5, 1.0])
            if r.random() < 0.3:
                l["max_tokens"] = r.choice([256, 1000])
            if l["model"] in MODELS[:2]:  # reasoning models, for which DSPy insists on these
                l.update({k: v for k, v in {"temperature": 1.0, "max_tokens": 20000}.items() if k in l})
            if r.random() < 0.2:
                l["kwargs"] = r.choice([{"top_p": 0.9}, {"seed": 7, "presence_penalty": 0.5}, {"stop": ["END"], "top_p": 1.0}])
            lms.append(l)
        in_fields = {n: self.itype() for n in r.sample(names, r.randint(1, 3))}
        avail = dict(in_fields)
        pool = r.sample(onames, len(onames))
        program = []
        for s in range(nsteps):
            ins = r.sample(sorted(avail), r.randint(1, min(3, len(avail))))
            if s > 0:  # prefer using the previous outputs
                prev = [f for f in avail if f not in in_fields]
                if prev and not set(ins) & set(prev):
                    ins.append(r.choice(prev))
            outs = {}
            for _ in range(r.choice([1, 1, 2, 3])):
                if pool:
                    outs[pool.pop()] = self.otype()
            if not outs:
                break
            kind = r.choice(["Predict", "ChainOfThought"])

            def ftxt(n, t):
                if t == "str" and r.random() < 0.7:
                    return n
                return f"{n}: {t}"

            renamed = {}
            if r.random() < 0.1:
                n = r.choice(ins)
                alias = n + "_in"
                ins = [alias if i == n else i for i in ins]
                avail = {**avail, alias: avail[n]}
                renamed = {alias: n}
            sig = ", ".join(ftxt(n, avail[n]) for n in ins) + " -> " + ", ".join(ftxt(n, t) for n, t in outs.items())
            st = {"name": f"step{s}", "module": kind, "signature": sig, "lm": r.choice(lms)["id"]}
            if renamed:
                st["inputs"] = renamed
            if r.random() < 0.4:
                st["instructions"] = r.choice(["Be concise.", "Do the task.\n\n    Indented line.\n  Less.\n", "Première règle: répondre «vite».", "Tab\there.\nNext\u2028line.", "   Leading spaces"])
            if r.random() < 0.2:
                st["desc"] = {r.choice(list(outs) + ins): r.choice(["a short desc", "multi\nline", "${weird}", "é «x»"])}
            if r.random() < 0.15:
                st["config"] = {"temperature": r.choice([0.1, 0.9])}
            elif r.random() < 0.05 and not any(lm["model"] in MODELS[:2] for lm in lms):  # for a reasoning model DSPy would send it by LiteLLM
                st["config"] = r.choice([{"max_tokens": 300}, {"top_p": 0.5, "temperature": 0.0}])
            if r.random() < 0.1:
                st["repeat"] = 2
            st["demos"] = self.demos(ins, outs, avail, kind)
            program.append(st)
            for alias in renamed:
                avail.pop(alias)
            avail.update(outs)
        n_ex = r.randint(2, 7)
        metric_kind = r.choice(["none", "exact_match", "exact_match", "f1"])
        gold_field, gold_type = "final", r.choice(["str", "str", "bool", "Literal['yes', 'no']"])
        hint = None  # the str input that carries gold=<word>
        if metric_kind != "none":
            last = program[-1]
            last["signature"] += ", final" + ("" if gold_type == "str" else f": {gold_type}")
            str_in = [n for n, t in in_fields.items() if t == "str"]
            if gold_type == "str" and str_in:
                hint = r.choice(str_in)
                ins_l, _ = self.split(last["signature"])
                if hint not in ins_l:
                    last["signature"] = f"{hint}, " + last["signature"]
        trainset = []
        for _ in range(n_ex):
            ex = {n: self.value(t) for n, t in in_fields.items()}
            g = r.choice(GOLDS) if gold_type == "str" else self.value(gold_type, 1)
            if hint and isinstance(ex[hint], str) and r.random() < 0.85:
                ex[hint] += f" gold={g}"
            if r.random() < 0.03 and len(ex) > 1:
                ex.pop(r.choice(sorted(ex)))
            ex[gold_field] = [g, "other"] if r.random() < 0.1 and isinstance(g, str) else g
            trainset.append(ex)
        c = {
            "name": f"case{self.idx:05d}",
            "server": {"profile": r.choices(["clean", "mild", "messy", "wild"], [2, 6, 3, 1])[0], "salt": f"s{self.idx}"},
            "lms": lms, "program": program, "trainset": trainset, "input_keys": sorted(in_fields),
            "metric": "none" if metric_kind == "none" else f"{metric_kind}:{gold_field}",
            "multitask": r.random() < 0.65, "exclude_demos": r.random() < 0.3, "num_threads": r.choice([4, 8, None, 6]),
        }
        if any(t in s["signature"] for s in program for t in ("Color", "Person", "Pet", "Level")):
            c["types"] = TYPES
        c["by_state"] = r.random() < 0.2
        if r.random() < 0.2:
            c["train_kwargs"] = {"n_epochs": 3, "lr": 1e-5}
        adapter = r.choices([None, "xml", "json"], [8, 1, 1])[0]
        if adapter:
            c["adapter"] = c["run_adapter"] = adapter
        k = r.random()

        def teacher():
            t = {}
            if r.random() < 0.6:
                t["demos"] = {st["name"]: self.demos(*self.split(st["signature"]), avail, st["module"]) for st in program}
            if r.random() < 0.5:
                t["instructions"] = {program[0]["name"]: "Teacher rules.\nSecond line."}
            if nlm > 1 and r.random() < 0.5:
                t["lm"] = r.choice(lms)["id"]
            return t

        if k < 0.15:
            c["teacher"] = None
        elif k < 0.35:
            c["teacher"] = teacher()
        elif k < 0.5:
            c["teacher"] = [teacher() if r.random() < 0.7 else None for _ in range(r.randint(1, 3))]
        return c

    @staticmethod
    def split(sig):
        i, o = sig.split(" -> ")

        def names(x):
            out, depth, cur = [], 0, ""
            for ch in x + ",":
                if ch in "[":
                    depth += 1
                if ch in "]":
                    depth -= 1
                if ch == "," and depth == 0:
                    out.append(cur.split(":")[0].strip())
                    cur = ""
                else:
                    cur += ch
            return [n for n in out if n]

        return names(i), {n: None for n in names(o)}

    def demos(self, ins, outs, avail, kind):
        r = self.r
        ds = []
        for _ in range(r.choice([0, 0, 1, 2, 4])):
            types = {**{n: avail.get(n, "str") for n in ins}, **{n: (t or avail.get(n, "str")) for n, t in outs.items()}}
            d = {n: self.value(t, 1) for n, t in types.items()}
            if kind == "ChainOfThought" and r.random() < 0.7:
                d["reasoning"] = self.text(False)
            for k in list(d):
                p = r.random()
                if p < 0.10:
                    d.pop(k)
                elif p < 0.14:
                    d[k] = None
            if r.random() < 0.1:
                d["augmented"] = True
            items = list(d.items())
            if r.random() < 0.3:
                r.shuffle(items)
            ds.append(dict(items))
        return ds


def random_case(seed, index, profile=None):
    """Case `index` of a seed; the profile of the LM server's answers can be set."""
    case = G(seed, index).case()
    if profile:
        case["server"]["profile"] = profile
    return case
