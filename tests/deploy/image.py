#!/usr/bin/env python3
"""The layer of deploy/Dockerfile that builds the dependencies has all that cargo asks for: the manifest of each member crate, and a stub for
each program and benchmark of the root package. Runs the steps of that layer, up to the build, in a folder. Needs no docker."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def targets(folder):
    """The targets of the workspace there whose source exists, tests apart."""
    read = ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]
    packages = json.loads(subprocess.run(read, cwd=folder, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    all_targets = [target for package in packages for target in package["targets"] if target["kind"] != ["test"]]
    return {target["name"] for target in all_targets if Path(target["src_path"]).exists()}


def main():
    stage = (ROOT / "deploy/Dockerfile").read_text().split(" AS build\n")[1]
    layer = stage.split("cargo build")[0]
    with tempfile.TemporaryDirectory() as folder:
        for sources in re.findall(r"^COPY (.+)$", layer, re.M):
            *names, to = sources.split()
            for name in names:
                source, at = ROOT / name, Path(folder, to)
                at.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, at)
                else:
                    shutil.copy(source, at)
        stubs = re.search(r"^RUN (.+?)&& *$", layer.replace("\\\n", " "), re.M | re.S)[1]
        subprocess.run(["bash", "-ec", stubs], cwd=folder, check=True)
        there = targets(folder)
    missing = targets(ROOT) - there
    if missing:
        sys.exit(f"deploy/Dockerfile: its first layer makes no stub for {', '.join(sorted(missing))}")
    print(f"the first layer of the image builds {len(there)} targets")


main()
