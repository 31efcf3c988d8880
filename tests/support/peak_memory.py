#!/usr/bin/env python3
"""Runs a command, and writes into FILE how much memory it took at most, in KiB: python3 peak_memory.py FILE COMMAND [ARGUMENT...]

The command gets the signals TERM and INT that this process gets, and its exit status is that of this process.
"""
import os
import signal
import subprocess
import sys

child = subprocess.Popen(sys.argv[2:])
for name in (signal.SIGTERM, signal.SIGINT):
    signal.signal(name, lambda number, _: child.send_signal(number))
_, status, usage = os.wait4(child.pid, 0)
with open(sys.argv[1], "w") as file:
    file.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
