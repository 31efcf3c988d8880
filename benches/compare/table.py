"""The results as Markdown: one table, then how far each target is met. Of repeated measurements the median counts."""

import json
import os
import sys

NAMES = {
    "bsft": "bsft, embedded",
    "dspy": "DSPy 3.4.1 bootstrap",
    "aiohttp": "aiohttp, calls only",
    "bare": "load generator, calls only",
    "bsft-prepare": "bsft, preparing data",
    "dspy-prepare": "DSPy 3.4.1, preparing data",
    "simulated": "bsft, simulated LM",
}
CORES = os.cpu_count()


def read(path):
    """The median measurement by wall time of each kind, in order of appearance; and whether both wrote the same data."""
    groups, same = {}, []
    with open(path) as file:
        for line in file:
            row = json.loads(line)
            if row["what"] == "same-bytes":
                same.append(row["same"])
                continue
            if row["rc"] == 0:
                key = row["what"], row.get("latency"), row.get("in_flight"), row["examples"]
                groups.setdefault(key, []).append(row)
    medians = {key: sorted(rows, key=lambda row: row["wall"])[len(rows) // 2] | {"times": len(rows)} for key, rows in groups.items()}
    return medians, same


def rate(row):
    return row["examples"] / row["wall"]


def phase_rate(row):
    """Examples a second while teachers ran, without the rest of the process's life."""
    seconds = row.get("phases", {}).get("bootstrap")
    return row["examples"] / seconds if seconds else None


def cost(row):
    """CPU seconds of the process for 1,000 examples."""
    return row["cpu"] / row["examples"] * 1000


def bounds(row):
    """What latency alone would allow, and what these cores would where client and server share them, in examples a second."""
    latency = row.get("latency")
    by_latency = row["in_flight"] / latency * 1000 if latency else None
    each = (row["cpu"] + row["server_cpu"]) / row["examples"]
    return by_latency, CORES / each


def show(number, digits=0):
    return "" if number is None else f"{number:,.{digits}f}"


def table(rows):
    print(
        "| what | examples | latency ms | in flight | examples/s | of which bootstrap/s | CPU s per 1,000 | server CPU s per 1,000 "
        "| peak RSS MB | latency-bound/s | CPU-bound/s | others' cores | runs |"
    )
    print("|---|" + "---:|" * 12)
    for row in rows.values():
        served = "server_cpu" in row and row["what"] in ("bsft", "dspy", "aiohttp", "bare")
        by_latency, by_cpu = bounds(row) if served else (None, None)
        cells = [
            NAMES[row["what"]],
            show(row["examples"]),
            show(row.get("latency")),
            show(row.get("in_flight")),
            show(rate(row)),
            show(phase_rate(row)) if row["what"] in ("bsft", "simulated") else "",
            show(cost(row), 3),
            show(row["server_cpu"] / row["examples"] * 1000, 3) if served else "",
            show(row["rss_mb"]),
            show(by_latency),
            show(by_cpu),
            show(row["others_cores"], 2),
            show(row["times"]),
        ]
        print("| " + " | ".join(cells) + " |")


def targets(rows, same):
    def line(what, is_met, text):
        print(f"- {'met' if is_met else '**missed**'}: {what}: {text}")

    zero = {row["examples"]: row for (what, latency, flight, _), row in rows.items() if (what, latency, flight) == ("bsft", 0, 256)}
    for examples, row in zero.items():
        line(f"{examples:,} examples at 0 ms, ≥ 12,000/s", rate(row) >= 12000, f"{rate(row):,.0f}/s ({rate(row) / 12000:.0%})")
        line(f"{examples:,} examples at 0 ms, ≤ 0.10 CPU s per 1,000", cost(row) <= 0.10, f"{cost(row):.3f}")
    for (what, latency, flight, _), row in rows.items():
        if what == "bsft" and latency == 200 and flight >= 1024:
            (by_latency, by_cpu), reached = bounds(row), phase_rate(row)
            allowed = min(by_latency, by_cpu)
            line(
                f"200 ms, {flight:,} in flight, ≥ 95 % of {by_latency:,.0f}/s",
                reached >= 0.95 * by_latency,
                f"{reached:,.0f}/s ({reached / by_latency:.0%}); {CORES} cores shared with the server allow {by_cpu:,.0f}/s, "
                f"so {reached / allowed:.0%} of what is possible here",
            )
    for (what, *_), row in rows.items():
        if what == "bsft-prepare":
            collect = row["phases"]["collect"]
            text = f"{row['cpu']:.2f} CPU s for the whole process, {collect:.2f} s wall in the phase, {row['rss_mb']:.0f} MB"
            line(f"preparing {row['examples']:,} traces, < 0.5 CPU s", row["cpu"] < 0.5, text)
        if what == "dspy-prepare":
            print(f"- DSPy prepares them in {row['cpu']:.2f} CPU s, {row['rss_mb']:.0f} MB at the peak ({row['grew_mb']:.0f} MB of it for this)")
        if what == "simulated":
            line(f"{row['examples']:,} examples in < 300 MB", row["rss_mb"] < 300, f"{row['rss_mb']:.0f} MB, {row['wall']:.0f} s")
    for one in set(same):
        line("training files byte for byte as DSPy writes them", one == "yes", one)


def main():
    rows, same = read(sys.argv[1])
    print(f"{CORES} cores; client and server share them, nothing is pinned. Loopback, HTTP/1.1. bsft's examples/s and CPU count the whole process, ")
    print("DSPy's and aiohttp's leave their imports out.\n")
    table(rows)
    print()
    targets(rows, same)


main()
