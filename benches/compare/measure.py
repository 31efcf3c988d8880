"""Runs one command and appends what it cost to a file of results, one JSON object a line.

    measure.py RESULTS key=value... [run_json=FILE] [server=PID] [parts=NAME:PID[+PID...],...] [samples=FILE [redis=PORT]] -- COMMAND...

Wall seconds, user and system CPU seconds and peak resident memory are the command's own (wait4), the whole process from exec to exit. A
command whose last line on stdout is a JSON object overrides them: Python drivers leave their imports out. `server_cpu` and `others_cpu` are what
the server and everything else on this machine used meanwhile: a measurement with busy others is a poor one.

Parts are processes that were there before and take part in the work: what each used meanwhile, with the processes under it, and its peak
memory since the measurement began. With `samples` a line is written every few seconds: how far the run is (its run_json), everyone's memory
now, and the memory that Redis reports.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_EVERY = 2.0


def stat(pid):
    """The fields of a process after its name: state, parent, ..."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(") ")[2].split()


def cpu_of(pid):
    """User and system seconds of a process so far, and of its children that have ended."""
    return sum(int(word) for word in stat(pid)[11:15]) / TICKS


def cpu_of_all():
    """Seconds in which some core of this machine was not idle, so far."""
    with open("/proc/stat") as file:
        words = [int(word) for word in file.readline().split()[1:]]
    return (sum(words[:8]) - words[3] - words[4]) / TICKS


def with_children(pids):
    """These processes and all under them."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(stat(entry)[1]), []).append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended
    found = list(pids)
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def memory_of(pid, field):
    """`VmRSS` or `VmHWM` of a process in MB."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return 0.0  # it has ended


class Part:
    """Processes that work for the command."""

    def __init__(self, pids):
        self.pids = pids
        for pid in with_children(pids):
            try:
                Path(f"/proc/{pid}/clear_refs").write_text("5")  # restarts the peak of memory
            except OSError:
                pass  # it has ended
        self.before = self.cpu()

    def cpu(self):
        return sum(cpu_of(pid) for pid in with_children(self.pids))

    def memory(self, field):
        return sum(memory_of(pid, field) for pid in with_children(self.pids))

    def used(self):
        return {"cpu": self.cpu() - self.before, "rss_mb": self.memory("VmHWM")}


def phases(path):
    """Seconds by phase of a run; they add up over the processes that worked on it."""
    try:
        with open(path) as file:
            return json.load(file)["seconds"]
    except FileNotFoundError:
        return {}


def progress(path):
    """Tasks of the run that have their outcome in DIR."""
    try:
        with open(path) as file:
            tally = json.load(file)["tally"]
        return tally["traces"] + sum(tally["failures"].values())
    except FileNotFoundError:
        return 0


def redis_used_mb(port):
    """The memory of the data in MB, as INFO reports it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"INFO memory\r\n")
        answer = b""
        while b"\r\nmaxmemory_policy" not in answer:
            answer += connection.recv(65536)
    return int(answer.partition(b"used_memory:")[2].split(b"\r", 1)[0]) / (1 << 20)


def sample(path, run_json, parts, pid, redis, ended):
    """Writes samples until the command has ended."""
    start = time.monotonic()
    with open(path, "w", buffering=1) as file:
        while not ended.wait(SAMPLE_EVERY):
            line = {"seconds": time.monotonic() - start, "done": progress(run_json)}
            line["rss_mb"] = {"command": memory_of(pid, "VmRSS")}
            line["rss_mb"] |= {name: part.memory("VmRSS") for name, part in parts.items()}
            if redis:
                line["redis_used_mb"] = redis_used_mb(redis)
            file.write(json.dumps(line) + "\n")


def main():
    split = sys.argv.index("--")
    results, command = sys.argv[1], sys.argv[split + 1 :]
    facts = dict(pair.split("=", 1) for pair in sys.argv[2:split])
    facts = {key: int(value) if value.isdigit() else value for key, value in facts.items()}
    server, run_json, samples, redis = (facts.pop(key, None) for key in ("server", "run_json", "samples", "redis"))
    named = (part.split(":") for part in facts.pop("parts", "").split(",") if part)
    parts = {name: Part([int(pid) for pid in pids.split("+")]) for name, pids in named}

    before_phases = phases(run_json) if run_json else {}
    before_server = cpu_of(server) if server else 0
    before_all, start = cpu_of_all(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    ended = threading.Event()
    if samples:
        sampler = threading.Thread(target=sample, args=(samples, run_json, parts, process.pid, redis, ended))
        sampler.start()
    stdout = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    cpu = usage.ru_utime + usage.ru_stime
    server_cpu = cpu_of(server) - before_server if server else 0
    used = {name: part.used() for name, part in parts.items()}
    others = max(0, cpu_of_all() - before_all - cpu - server_cpu - sum(part["cpu"] for part in used.values()))
    ended.set()
    if samples:
        sampler.join()
    facts |= {
        "rc": os.waitstatus_to_exitcode(status),
        "wall": wall,
        "cpu": cpu,
        "rss_mb": usage.ru_maxrss / 1024,
        "server_cpu": server_cpu,
        "others_cores": others / wall,
    }
    if parts:
        facts["parts"] = used
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
