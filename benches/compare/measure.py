"""Runs one command and appends what it cost to a file of results, one JSON object a line.

    measure.py RESULTS key=value... [run_json=FILE] [server=PID] -- COMMAND...

Wall seconds, user and system CPU seconds and peak resident memory are the command's own (wait4), the whole process from exec to exit. A
command whose last line on stdout is a JSON object overrides them: Python drivers leave their imports out. `server_cpu` and `others_cpu` are what
the server and everything else on this machine used meanwhile: a measurement with busy others is a poor one.
"""

import json
import os
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    """User and system seconds of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        words = file.read().rpartition(") ")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def cpu_of_all():
    """Seconds in which some core of this machine was not idle, so far."""
    with open("/proc/stat") as file:
        words = [int(word) for word in file.readline().split()[1:]]
    return (sum(words[:8]) - words[3] - words[4]) / TICKS


def phases(path):
    """Seconds by phase of a run; they add up over the processes that worked on it."""
    try:
        with open(path) as file:
            return json.load(file)["seconds"]
    except FileNotFoundError:
        return {}


def main():
    split = sys.argv.index("--")
    results, command = sys.argv[1], sys.argv[split + 1 :]
    facts = dict(pair.split("=", 1) for pair in sys.argv[2:split])
    facts = {key: int(value) if value.isdigit() else value for key, value in facts.items()}
    server, run_json = facts.pop("server", None), facts.pop("run_json", None)

    before_phases = phases(run_json) if run_json else {}
    before_server = cpu_of(server) if server else 0
    before_all, start = cpu_of_all(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stdout = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    cpu = usage.ru_utime + usage.ru_stime
    server_cpu = cpu_of(server) - before_server if server else 0
    others = max(0, cpu_of_all() - before_all - cpu - server_cpu)
    facts |= {
        "rc": os.waitstatus_to_exitcode(status),
        "wall": wall,
        "cpu": cpu,
        "rss_mb": usage.ru_maxrss / 1024,
        "server_cpu": server_cpu,
        "others_cores": others / wall,
    }
    if run_json:
        now = phases(run_json)
        facts["phases"] = {name: now[name] - before_phases.get(name, 0) for name in now}
    last = stdout.strip().rpartition("\n")[2]
    if last.startswith("{"):
        facts |= json.loads(last)
    with open(results, "a") as file:
        file.write(json.dumps(facts) + "\n")
    shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in facts.items()}
    print(json.dumps(shown), file=sys.stderr)
    sys.exit(1 if facts["rc"] else 0)


main()
