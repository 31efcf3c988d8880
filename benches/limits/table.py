"""The results as Markdown: a row for each case and contender.

    table.py RESULTS
"""

import json
import sys

NAMES = {"bsft": "**bsft**", "openai": "AsyncOpenAI, semaphore", "dspy": "DSPy", "designer": "Data Designer"}


def share(row):
    """Answers in relation to what the limit allows from the first request to the last answer; None without a limit."""
    server, counts = row["server"], row["counts"]
    seconds = counts["answered_for_s"]
    if not seconds:
        return None
    if server.get("rpm"):
        return counts["answers"] / (server["rpm"] / 60 * seconds)
    if server.get("tpm"):
        return counts["tokens"] / (server["tpm"] / 60 * seconds)
    if server.get("saturation"):
        return counts["answers"] / (server["saturation"]["peak_rps"] * seconds)
    return None


def percent(value):
    return "" if value is None else f"{value:.1%}".replace("%", " %")


def main():
    print("| case | who | in flight | lost | failed | requests / needed | refused | refused after 10 s | wall s | share of the limit | exit |")
    print("|---|---|" + "---:|" * 9)
    with open(sys.argv[1]) as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        counts, needed = row["counts"], row["examples"] * row["calls"]
        refused = sum(n for status, n in counts["by_status"].items() if status != "200")
        cells = [
            row["name"],
            NAMES[row["who"]],
            row["in_flight"] or ("default" if row["who"] == "bsft" else 64),
            f"{row['examples'] - row['kept']:,}",
            row.get("failed", ""),
            f"{(counts['arrivals'] + counts['resets']) / needed:.2f}",
            f"{refused + counts['resets']:,}",
            f"{counts['rate_refused_later']:,}",
            f"{row['wall']:.1f}",
            percent(share(row)),
            "stopped" if row["exit"] is None else row["exit"],
        ]
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


main()
