#!/usr/bin/env python3
"""deploy/docker-compose.yml: the users have the rights of docs/operations/servers.md, and each container sees what it needs.

tests/deploy/kubernetes.sh runs it, because it needs a parser of YAML. tests/compose/run.sh starts the containers.
"""
import json
import re
import shlex
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
NOTES = (ROOT / "docs/operations/servers.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "deploy/docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]

wrong = []


def expect(holds, message):
    if not holds:
        wrong.append(message)


def commands(heading):
    """The commands in the first block under a heading of the notes, each as a list of arguments."""
    block = re.search(rf"^## {heading}$.*?^```sh$(.*?)^```$", NOTES, re.M | re.S)[1]
    return [shlex.split(line) for line in block.replace("\\\n", " ").strip().splitlines()]


def rabbitmq():
    definitions = json.loads((ROOT / "deploy/rabbitmq-definitions.json").read_text())
    given = {one["user"]: [one[of] for of in ("configure", "write", "read")] for one in definitions["permissions"]}
    tags = {one["name"]: one["tags"] for one in definitions["users"]}
    noted = [command for command in commands("Rights of the RabbitMQ users") if command[1] == "set_permissions"]
    expect({command[4] for command in noted} == {"coordinator", "worker"}, "the notes have other users of RabbitMQ")
    for command in noted:
        expect(given[command[4]] == command[5:], f"RabbitMQ, {command[4]}: not the permissions of the notes")
        expect(tags[command[4]] == [], f"RabbitMQ, {command[4]}: has tags")
    (policy,) = definitions["policies"]
    (noted,) = commands("Dead letters")
    expect([policy["name"], policy["pattern"]] == noted[-3:-1] and policy["definition"] == json.loads(noted[-1]), "RabbitMQ: not the policy of the notes")


def redis():
    script = (ROOT / "deploy/redis-start.sh").read_text().replace("$of", "~bsft:$BSFT_NAMESPACE:v1:{*}").replace("$BSFT_NAMESPACE", "default")
    given = {words[1]: words[3:] for words in map(str.split, script.splitlines()) if words and words[0] == "user"}
    for command in commands("Rights of the Redis users"):
        user, rules = command[3], command[4:]
        rules = [rule.replace(">PASSWORD", f">$REDIS_{user.upper()}_PASSWORD") for rule in rules]
        expect(given[user] == rules, f"Redis, {user}: not the rights of the notes")


def containers():
    networks = {name: set(of["networks"]) for name, of in SERVICES.items()}
    expect(networks["lm"] == {"models"}, "lm reaches more than its callers")
    expect("management" not in networks["worker"] | networks["trainer"] | networks["coordinator"] | networks["lm"], "a program reaches the management page")
    expect(SERVICES["rabbitmq"]["networks"]["management"]["aliases"] == [SERVICES["rabbitmq"]["environment"]["MANAGEMENT_HOST"]], "the page listens elsewhere")
    for name, user in (("worker", "worker"), ("trainer", "worker"), ("coordinator", "coordinator")):
        for variable, service in (("BSFT_AMQP_URL", "RABBITMQ"), ("BSFT_REDIS_URL", "REDIS")):
            url = SERVICES[name]["environment"][variable]
            expect(f"//{user}:${{{service}_{user.upper()}_PASSWORD:?" in url, f"{name}: {variable} is another user's")
    keys = {name: of.get("env_file") for name, of in SERVICES.items() if of.get("env_file")}
    expect(keys == {"worker": "lm.env", "trainer": "trainer.env"}, f"keys: {keys}")
    for name, of in SERVICES.items():
        image = re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", of["image"])
        is_ours = image in ("bsft", "bsft-trainer")
        expect(is_ours or re.search(r":v?\d+\.\d+\.\d+", image), f"{name}: {image} is no exact version")
        for port in of.get("ports", []):
            expect(port.startswith("127.0.0.1:"), f"{name}: the port {port} is open to other machines")


rabbitmq()
redis()
containers()
if wrong:
    sys.exit("\n".join(["wrong in deploy/docker-compose.yml and its like:", *wrong]))
print(f"{len(SERVICES)} services of docker-compose.yml have the rights of the notes")
