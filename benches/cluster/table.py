"""The results as Markdown: one table, how far each target is met, and memory over a long run. Of repeated measurements the median counts."""

import json
import os
import sys
from pathlib import Path

CORES = os.cpu_count()
PARTS = ["command", "workers", "rabbitmq", "redis"]


def read(path):
    """The median measurement by wall time of each kind, in order of appearance."""
    groups = {}
    with open(path) as file:
        for row in map(json.loads, file):
            if row["rc"] == 0:
                row["parts"] = row.get("parts", {}) | {"command": {"cpu": row["cpu"], "rss_mb": row["rss_mb"]}}
                key = tuple(row.get(name) for name in ("what", "latency", "in_flight", "workers", "pool", "examples"))
                groups.setdefault(key, []).append(row)
    return [sorted(rows, key=lambda row: row["wall"])[len(rows) // 2] | {"times": len(rows)} for rows in groups.values()]


def name(row):
    workers = f"{row.get('workers')} worker{'s' if row.get('workers') != 1 else ''}"
    return {
        "cluster": f"bsft, RabbitMQ + Redis, {workers}",
        "bsft": "bsft, embedded",
        "dspy": "DSPy 3.4.1 bootstrap, 100 threads",
        "celery-classify": f"Celery {row.get('version')} calling dspy, {workers}, pool {row.get('pool')}",
        "celery-nothing": f"Celery {row.get('version')}, empty tasks, {workers}, pool {row.get('pool')}",
    }[row["what"]]


def rate(row):
    return row["examples"] / row["wall"]


def phase_rate(row):
    """Examples a second while teachers ran, without the rest of the process's life."""
    seconds = row.get("phases", {}).get("bootstrap")
    return row["examples"] / seconds if seconds else None


def cost(row, part=None):
    """CPU seconds for 1,000 examples, of one part or of all but the LM server."""
    if part and part not in row["parts"]:
        return None
    used = row["parts"][part]["cpu"] if part else sum(part["cpu"] for part in row["parts"].values())
    return used / row["examples"] * 1000


def server_cost(row):
    return row["server_cpu"] / row["examples"] * 1000


def by_cores(row):
    """Examples a second that these cores allow, less what others had of them, at what an example costs everyone."""
    return (CORES - row["others_cores"]) / (cost(row) + server_cost(row)) * 1000


def by_latency(row):
    """Examples a second that the LM's latency allows."""
    return row["in_flight"] / row["latency"] * 1000 if row["latency"] else None


def show(number, digits=0):
    return "" if number is None else f"{number:,.{digits}f}"


def table(rows):
    print(
        "| what | examples | latency ms | in flight | examples/s | of which bootstrap/s | × DSPy's | × Celery's "
        "| CPU s per 1,000: all | command | workers | RabbitMQ | Redis | LM server | peak RSS MB: command | workers | RabbitMQ | Redis "
        "| latency-bound/s | CPU-bound/s | others' cores | runs |"
    )
    print("|---|" + "---:|" * 21)
    for row in rows:
        memory = [row["parts"].get(part, {}).get("rss_mb") for part in PARTS]
        cells = [
            name(row),
            show(row["examples"]),
            show(row["latency"]),
            show(row["in_flight"]),
            show(rate(row)),
            show(phase_rate(row)),
            show(against(rows, row, "dspy"), 1),
            show(against(rows, row, "celery-classify"), 1),
            show(cost(row), 3),
            *(show(cost(row, part), 3) for part in PARTS),
            show(server_cost(row), 3),
            *map(show, memory),
            show(by_latency(row)),
            show(by_cores(row)),
            show(row["others_cores"], 2),
            show(row["times"]),
        ]
        print("| " + " | ".join(cells) + " |")


def against(rows, row, what):
    """How many times the best rate that the other reached at this latency."""
    if row["what"] in ("celery-nothing", what):
        return None
    best = max((rate(other) for other in rows if (other["what"], other["latency"]) == (what, row["latency"])), default=None)
    return best and rate(row) / best


def targets(rows):
    def line(what, is_met, text):
        print(f"- {'met' if is_met else '**missed**'}: {what}: {text}")

    runs = [row for row in rows if row["what"] == "cluster"]
    for row in runs:
        about = f"{row['examples']:,} examples, {row['workers']} × {row['in_flight'] // row['workers']:,} in flight"
        if row["latency"] == 0:
            fast = f"{rate(row):,.0f}/s ({phase_rate(row):,.0f}/s in the bootstrap phase)"
            line(f"0 ms, {about}, ≥ 6,000 examples/s", rate(row) >= 6000, fast)
            line(f"0 ms, {about}, ≤ 0.20 CPU s per 1,000", cost(row) <= 0.20, f"{cost(row):.3f}")
        if row["latency"] == 200 and row["in_flight"] >= 4096:
            reached, latency_allows, cores_allow = phase_rate(row), by_latency(row), by_cores(row)
            text = (
                f"{reached:,.0f}/s in the bootstrap phase ({reached / latency_allows:.0%}); {CORES} cores shared with the LM server, less the "
                f"{row['others_cores']:.1f} that others had, allow {cores_allow:,.0f}/s, so {reached / min(latency_allows, cores_allow):.0%} of what is possible here"
            )
            line(f"200 ms, {about}, ≥ 90 % of {latency_allows:,.0f}/s", reached >= 0.9 * latency_allows, text)
        if row["workers"] > 1:
            alone = [r for r in runs if r["workers"] == 1 and all(r[key] == row[key] for key in ("examples", "latency", "in_flight"))]
            for one in alone:
                text = f"{rate(row):,.0f}/s, one {rate(one):,.0f}/s"
                line(f"{row['latency']} ms, {about}, {row['workers']} workers no slower than one", rate(row) >= rate(one), text)


def memory(path, examples):
    """What each holds when a tenth, a half and all of a long run are done; flat when the last is not above the first."""
    with open(path) as file:
        samples = [json.loads(line) for line in file]
    print(f"\nResident MB over a run of {examples:,}, sampled every few seconds:\n")
    print("| done | command | workers | RabbitMQ | Redis | of which Redis's data |\n|---:|---:|---:|---:|---:|---:|")
    points = [next((s for s in samples if s["done"] >= part * examples), samples[-1]) for part in (0.1, 0.5, 1)]
    for at in points:
        print(f"| {at['done'] / examples:.0%} | " + " | ".join(show(at["rss_mb"][part]) for part in PARTS) + f" | {at['redis_used_mb']:.1f} |")
    print()
    for part in PARTS:
        first, last = points[0]["rss_mb"][part], points[-1]["rss_mb"][part]
        is_flat = last <= first * 1.1 + 10
        print(f"- {'met' if is_flat else '**missed**'}: memory flat, {part}: {first:.0f} MB at 10 %, {last:.0f} MB at the end")


def main():
    rows = read(sys.argv[1])
    print(f"{CORES} cores; everything shares them, the LM server too, nothing is pinned. CPU-bound: what they allow without what others had. Command: bsft's coordinator, Celery's sender, DSPy. ")
    print("bsft's examples/s and CPU count the whole process, DSPy's and Celery's leave their imports out.\n")
    table(rows)
    print()
    targets(rows)
    long = [row for row in rows if row["examples"] == 1_000_000 and row["what"] == "cluster"]
    if long and Path(sys.argv[2]).exists():
        memory(sys.argv[2], 1_000_000)


main()
