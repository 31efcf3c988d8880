#!/usr/bin/env python3
"""Holds the dashboard and the alert rules against the metrics that bsft has, and against what an operator reads about them.

    tests/deploy/monitoring.py [--metrics FILE] [--queries FILE]

Every metric in them is one of src/metrics/names.rs, every label one of that metric's; every alert has a severity, a summary, tests and a
heading in docs/operations/alerts.md; no panel lies on another. --queries writes the dashboard's queries as rules, for promtool to read.
"""
import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What Prometheus adds to every series.
SCRAPED = {"job", "instance"}
# Alerts whose value adds nothing to the fact that they fire.
BINARY = {"BsftServiceDown", "BsftProcessDown"}
CALLS = re.compile(r"\b(by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")
SELECTED = re.compile(r"\b(bsft[_:][a-z_:]+|up)\b(?:\{([^}]*)\})?")

wrong = []


def expect(holds, message):
    if not holds:
        wrong.append(message)


def defined(path):
    """The labels of every series, by its name."""
    series = {"up": set(SCRAPED)}
    for kind, name, labels in re.findall(r'\b(Counter|Gauge|Histogram) "(bsft_\w+)" \[([^\]]*)\]', path.read_text()):
        labels = set(re.findall(r'"(\w+)"', labels)) | SCRAPED
        if kind == "Histogram":
            series |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            series[name] = labels
    return series


def query(where, text, series):
    """Every series is there, and has the labels by which it is selected, joined and summed."""
    known = set()
    for name, selectors in SELECTED.findall(text):
        if not name.startswith("bsft:"):
            expect(name in series, f"{where}: there is no metric {name}")
        known |= series.get(name, {"run", "name", "lm_key"})
        for label in re.findall(r'(\w+)\s*[=!]~?\s*"', selectors):
            expect(label in series.get(name, {label}), f"{where}: {name} has no label {label}")
    for clause, labels in CALLS.findall(text):
        for label in re.findall(r"\w+", labels):
            expect(label in known, f"{where}: {clause} ({labels}): no metric there has a label {label}")


def blocks(text):
    """The rules of a file, as text: enough of YAML for a file of ours, which promtool reads in earnest."""
    return re.split(r"\n      - (?=alert: |record: )", text)[1:]


def field(block, name):
    """A scalar, on the key's own line or folded below it."""
    found = re.search(rf"^( *){name}:(?: [>|]-?)?(.*(?:\n\1 +.*)*)", block, re.M)
    return " ".join(found.group(2).split()).strip("\"'") if found else ""


def anchor(heading):
    """As GitHub makes them."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def alerts(series):
    text = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    tests = (ROOT / "tests/deploy/alerts.test.yml").read_text()
    manual = (ROOT / "docs/operations/alerts.md").read_text()
    headings = {anchor(line.lstrip("#")) for line in manual.splitlines() if line.startswith("#")}
    names = []
    for block in blocks(text):
        kind, name = re.match(r"(alert|record): (\S+)", block).groups()
        query(name, field(block, "expr"), series)
        if kind == "record":
            continue
        names.append(name)
        expect(field(block, "severity") in ("critical", "warning"), f"{name}: severity is critical or warning")
        expect(field(block, "summary"), f"{name}: has no summary")
        expect("{{ $value" in field(block, "description") or name in BINARY, f"{name}: its description has no value")
        file, _, part = field(block, "runbook").partition("#")
        expect(file == "docs/operations/alerts.md" and part in headings, f"{name}: {file} has no heading #{part}")
        asked = re.findall(rf"alertname: {name}\n *eval_time: \w+\n *exp_alerts:( \[\])?", tests)
        expect("" in asked, f"{name}: no test shows that it fires")
        expect(" []" in asked, f"{name}: no test shows that it keeps silent")
    told = re.findall(r"^### (Bsft\w+)$", manual, re.M)
    expect(sorted(told) == sorted(names), f"docs/operations/alerts.md has {sorted(told)}, alerts.yml has {sorted(names)}")
    expect(len(names) > 0, "alerts.yml has no alerts that this test can read")
    return len(names)


def overlap(one, other):
    a, b = one["gridPos"], other["gridPos"]
    return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def dashboard(series):
    board = json.loads((ROOT / "deploy/grafana/bsft.json").read_text())
    expect(board["id"] is None and board["uid"], "the dashboard has a uid and no id, so that it can be imported")
    variables = {variable["name"] for variable in board["templating"]["list"]}
    expect({"datasource", "job", "instance", "run"} <= variables, f"variables: {variables}")
    panels, queries = board["panels"], []
    ids = [panel["id"] for panel in panels]
    expect(len(set(ids)) == len(ids), "two panels have one id")
    for at, panel in enumerate(panels):
        title, grid = panel["title"], panel["gridPos"]
        expect(grid["x"] + grid["w"] <= 24, f"{title}: wider than the grid")
        for other in panels[:at]:
            expect(not overlap(panel, other), f"{title} lies on {other['title']}")
        if panel["type"] == "row":
            continue
        expect(panel.get("description"), f"{title}: says not what it shows")
        expect(panel["targets"], f"{title}: asks nothing")
        if panel["type"] in ("stat", "timeseries"):
            expect(panel["fieldConfig"]["defaults"].get("unit"), f"{title}: has no unit")
        for target in [*panel["targets"], panel]:
            expect(target["datasource"]["uid"] == "${datasource}", f"{title}: has a data source of its own")
        for target in panel["targets"]:
            queries.append(target["expr"])
            expect(target.get("format") == "table" or target["legendFormat"], f"{title}: a line without a name")
    queries += [variable["definition"] for variable in board["templating"]["list"] if "definition" in variable]
    for text in queries:
        expect(set(re.findall(r"\$\{?(\w+)", text)) <= variables | {"__rate_interval", "__range"}, f"unknown variable in {text}")
        if not text.startswith("label_values("):
            query("the dashboard", text, series)
        else:
            metric, label = re.match(r"label_values\((.*), (\w+)\)", text).groups()
            query("the dashboard", f"sum by ({label}) ({metric})", series)
    shown = set(re.findall(r"bsft_[a-z_]+", " ".join(queries)))
    for name in series.keys() - {"up"}:
        if not name.endswith(("_sum", "_count")):
            expect(name in shown, f"the dashboard does not show {name}")
    return len(panels), [text for text in queries if not text.startswith("label_values(")]


def as_rules(queries):
    """With values for Grafana's variables."""
    rules = []
    for number, text in enumerate(queries):
        text = re.sub(r"^query_result\((.*)\)$", r"\1", text)
        text = text.replace("$__rate_interval", "5m").replace("$__range", "3h")
        text = re.sub(r"\$(job|instance|run)\b", ".*", text)
        rules.append({"record": f"query:{number}", "expr": text})
    return json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}, indent=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--metrics", type=Path, default=ROOT / "src/metrics/names.rs")
    parser.add_argument("--queries", type=Path)
    given = parser.parse_args()
    series = defined(given.metrics)
    expect(len(series) > 10, f"{given.metrics} defines no metrics that this test can read")
    count = alerts(series)
    panels, queries = dashboard(series)
    if given.queries:
        # JSON is YAML.
        given.queries.write_text(as_rules(queries))
    if wrong:
        sys.exit("\n".join(["wrong in deploy/prometheus or deploy/grafana:", *wrong]))
    print(f"{count} alerts and {panels} panels ask for metrics that are there")


main()
