#!/usr/bin/env python3
"""deploy/kubernetes: valid to the letter, and in step with the programs that it starts. tests/deploy/kubernetes.sh runs it.

Schemas know nothing of bsft. Here it is held that every flag is one that the program has, that Secrets hold the variables that
it reads, that a pod has more time to end than its program, that KEDA looks at the queues that the code declares, and more of the kind.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
AT = ROOT / "deploy/kubernetes"
# The newest that the tool has, and the oldest in which all of it has left alpha and beta but for podReplacementPolicy.
VERSIONS = [kubernetes_validate.latest_version(), "1.31"]
# Their schemas are in no registry; what of them matters to bsft is held below.
FOREIGN = {"keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
# Not part of the kustomization: one holds no values, the other is a tool.
APART = {"secret.example.yaml", "files.yaml"}
# How long a program may take after --drain: five seconds for handing back, and its goodbyes.
GOODBYES = 10

# What each program gets, and no more.
SECRETS = {
    "bsft-coordinator": {"bsft-services-coordinator"},
    "bsft-worker": {"bsft-services-worker", "bsft-lm-keys"},
    "bsft-trainer": {"bsft-services-worker", "bsft-trainer-keys"},
}

wrong = []


def expect(holds, message):
    if not holds:
        wrong.append(message)


def source(path):
    return (ROOT / path).read_text()


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def named(everything, kind, name):
    found = [document for document in everything if document["kind"] == kind and document["metadata"]["name"] == name]
    expect(len(found) == 1, f"there is one {kind} {name}, not {len(found)}")
    return found[0] if found else {}


def pod(document):
    """The pod that it makes, metadata and spec."""
    if document["kind"] == "Pod":
        return document
    return document.get("spec", {}).get("template")


def is_ours(document):
    return document["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "bsft" and pod(document)


def valid(path, document):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            at = ".".join(map(str, error.path))
            expect(False, f"{path.name}: not valid for Kubernetes {version}: {at}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            expect(False, f"{path.name}: {error.message}")


def strict(name, document):
    """The namespace admits nothing else."""
    spec = pod(document)["spec"]
    whole = spec["securityContext"]
    expect(whole.get("runAsNonRoot") is True and whole["runAsUser"] > 0, f"{name}: may be root")
    expect(whole.get("seccompProfile") == {"type": "RuntimeDefault"}, f"{name}: no seccomp profile")
    expect(spec.get("automountServiceAccountToken") is False, f"{name}: has a token for Kubernetes, and no use for it")
    mounted = {volume["name"] for volume in spec.get("volumes", [])}
    mounted |= {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
    for container in spec["containers"]:
        of = container["securityContext"]
        tag = container["image"].rpartition(":")[2]
        expect(re.match(r"\d+\.\d+\.\d+", tag), f"{name}: {container['image']} is no exact version")
        expect(of.get("allowPrivilegeEscalation") is False, f"{name}: may gain privileges")
        expect(of.get("capabilities") == {"drop": ["ALL"]}, f"{name}: keeps capabilities")
        expect(of.get("readOnlyRootFilesystem") or container["image"].startswith("rabbitmq:"), f"{name}: may write its image")
        expect({"requests", "limits"} <= container["resources"].keys(), f"{name}: says not what it needs")
        expect({mount["name"] for mount in container.get("volumeMounts", [])} == mounted, f"{name}: volumes and mounts differ")


def help_of(programs, arguments):
    """The text of --help of the program or subcommand."""
    command = [programs / arguments[0], *arguments[1:], "--help"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def program(document, programs, cargo_version, known):
    name, template = document["metadata"]["name"], pod(document)
    labels, spec = template["metadata"]["labels"], template["spec"]
    expect(labels["app.kubernetes.io/component"] == name, f"{name}: Prometheus' job is not called so")
    (container,) = spec["containers"]
    image, _, tag = container["image"].partition(":")
    expect(image in ("bsft", "bsft-trainer") and tag == cargo_version, f"{name}: {container['image']} is not of version {cargo_version}")
    expect("command" not in container, f"{name}: goes without the image's tini")
    arguments = container["args"]
    subcommand = [word for word in arguments[:2] if not word.startswith(("-", "/"))]
    expect(subcommand[0] in ("bsft-worker", "bsft-coordinator"), f"{name}: starts {subcommand[0]}")
    manual = help_of(programs, subcommand)
    flags = dict(word.partition("=")[::2] for word in arguments if word.startswith("--"))
    for flag, value in flags.items():
        expect(re.search(rf"{flag} <", manual), f"{name}: {' '.join(subcommand)} has no {flag}")
        expect(value, f"{name}: {flag} has no value")

    # Every variable is one that a program reads.
    for origin in container["envFrom"]:
        of = origin.get("configMapRef") or origin["secretRef"]
        expect(of["name"] in known, f"{name}: the content of {of['name']} is unknown")
        for variable in known.get(of["name"], ()):
            reads = f"[env: {variable}" in manual or f'"{variable}"' in known["source"] or of["name"].endswith("-keys")
            expect(reads, f"{name}: no program reads {variable} of {of['name']}")
    secrets = {origin["secretRef"]["name"] for origin in container["envFrom"] if "secretRef" in origin}
    expect(secrets == SECRETS[name], f"{name}: has the secrets {sorted(secrets)}")

    # Time to end.
    drain = int(flags.get("--drain") or re.search(r"const DRAIN: Duration = Duration::from_secs\((\d+)\)", source("src/cli/execution.rs"))[1])
    grace = spec["terminationGracePeriodSeconds"]
    expect(grace >= drain + GOODBYES, f"{name}: is killed after {grace} s, and may drain for {drain} s")

    # One port for all who ask.
    (port,) = container["ports"]
    annotated = template["metadata"]["annotations"]
    expect(port["name"] == "metrics", f"{name}: its port is called {port['name']}")
    expect(flags["--metrics-addr"] == f"0.0.0.0:{port['containerPort']}", f"{name}: listens at {flags['--metrics-addr']}")
    expect(annotated["prometheus.io/port"] == str(port["containerPort"]), f"{name}: annotated with another port")
    expect(container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}, f"{name}: its readinessProbe asks elsewhere")
    # Who keeps the port busy ends no pod.
    alive = flags["--alive-file"]
    touched = int(re.search(r"const TOUCH_EVERY: Duration = Duration::from_secs\((\d+)\)", source("src/cli/alive_file.rs"))[1])
    for probe in ("startupProbe", "livenessProbe"):
        command = container[probe]["exec"]["command"]
        expect(command[:2] == ["sh", "-c"] and f"stat -c %Y {alive})" in command[2], f"{name}: its {probe} looks at another file than {alive}")
        expect(int(re.search(r"-lt (\d+)$", command[2])[1]) >= 4 * touched, f"{name}: its {probe} is less patient than the program")
        expect(subprocess.run(command[:2] + [command[2].replace(alive, __file__ + ".missing")], capture_output=True).returncode != 0, f"{name}: its {probe} needs no file")
        with tempfile.NamedTemporaryFile() as file:
            fresh = command[:2] + [command[2].replace(alive, file.name)]
            expect(subprocess.run(fresh).returncode == 0, f"{name}: its {probe} fails on a fresh file")
            os.utime(file.name, (0, 0))
            expect(subprocess.run(fresh).returncode != 0, f"{name}: its {probe} takes an old file")
    return flags


def policies(everything):
    """Nothing goes in or out without a rule, and no rule leads to the cloud's metadata service."""
    rules = {one["metadata"]["name"]: one["spec"] for one in everything if one["kind"] == "NetworkPolicy"}
    denied = rules.pop("default-deny")
    expect(denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, "default-deny: allows something")
    for name, spec in rules.items():
        (kind,) = spec["policyTypes"]
        for rule in spec[kind.lower()]:
            ends = rule["to" if kind == "Egress" else "from"]
            expect(ends and rule["ports"], f"{name}: is open on one side")
            blocks = {end["ipBlock"]["cidr"]: end["ipBlock"]["except"] for end in ends if "ipBlock" in end}
            wanted = {"0.0.0.0/0": ["169.254.0.0/16"], "::/0": ["fe80::/10", "fd00:ec2::254/128"]}
            expect(not blocks or (kind == "Egress" and blocks == wanted), f"{name}: leads to link-local addresses")

    def ports(component, kind):
        labels = {"app.kubernetes.io/name": "bsft", "app.kubernetes.io/component": component}
        selected = [spec for spec in rules.values() if spec["podSelector"].get("matchLabels", {}).items() <= labels.items()]
        return {port["port"] for spec in selected for rule in spec.get(kind, []) for port in rule["ports"]}

    services = {53, 5671, 5672, 6379}
    expect(ports("bsft-coordinator", "egress") == services, f"the coordinator talks to {ports('bsft-coordinator', 'egress')}")
    for component in ("bsft-worker", "bsft-trainer"):
        expect(ports(component, "egress") == services | {443}, f"{component} talks to {ports(component, 'egress')}")
        expect(ports(component, "ingress") == {"metrics"}, f"{component} listens at {ports(component, 'ingress')}")
    programs_only = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "bsft"}}}]
    for name, port in (("rabbitmq", "amqp"), ("redis", "redis")):
        for rule in rules[name]["ingress"]:
            opened = [one["port"] for one in rule["ports"]]
            expect(opened == [port] if rule["from"] == programs_only else opened == ["management"], f"{name}: {opened} is open to {rule['from']}")


def trial(everything):
    """RabbitMQ and Redis start as they do in compose; KEDA has a user of its own."""
    def plain(path):
        return "".join(line for line in source(path).splitlines(True) if not line.startswith("#"))

    rabbitmq, redis = (named(everything, "ConfigMap", name)["data"] for name in ("rabbitmq", "redis"))
    expect(rabbitmq["20-bsft.conf"] == plain("deploy/rabbitmq.conf"), "services.yaml: another rabbitmq.conf")
    expect(rabbitmq["rabbitmq-start.sh"] == source("deploy/rabbitmq-start.sh"), "services.yaml: another rabbitmq-start.sh")
    expect(redis["redis.conf"] == plain("deploy/redis.conf"), "services.yaml: another redis.conf")
    expect(redis["redis-start.sh"] == source("deploy/redis-start.sh"), "services.yaml: another redis-start.sh")
    ours, theirs = json.loads(source("deploy/rabbitmq-definitions.json")), json.loads(rabbitmq["rabbitmq-definitions.json"])
    keda = {"name": "keda", "password": "KEDA_PASSWORD", "tags": ["monitoring"]}
    expect(theirs["users"] == ours["users"] + [keda], "services.yaml: other users of RabbitMQ")
    nothing = {"user": "keda", "vhost": "/", "configure": "^$", "write": "^$", "read": "^$"}
    expect(theirs["permissions"] == ours["permissions"] + [nothing], "services.yaml: other permissions of RabbitMQ")
    expect(theirs["policies"] == ours["policies"] and theirs["vhosts"] == ours["vhosts"], "services.yaml: other policies of RabbitMQ")


def exit_codes():
    found = re.findall(r"Exit::(\w+) => (\d+)", source("src/cli/exit.rs"))
    return {name: int(code) for name, code in found}


def coordinator(job):
    """What will not go better another time ends the Job; everything else is run again."""
    codes, rules = exit_codes(), job["spec"]["podFailurePolicy"]["rules"]
    failing = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob"]
    expect(failing == [sorted([codes["Failed"], codes["Usage"], codes["Bug"]])], f"exit codes that end the Job: {failing}")
    expect(rules[0].get("onPodConditions"), "a pod that is evicted is not counted, whatever its exit code")
    expect(pod(job)["spec"]["restartPolicy"] == "Never", "podFailurePolicy is for pods that are not restarted")


def queues(everything, namespace, concurrency):
    """KEDA looks at the lanes and their wait queues, and at nothing else."""
    version = re.search(r'"bsft\.\{\}\.(v\d+)\.\{rest\}"', source("src/broker/rabbitmq/names.rs"))[1]
    scaled = named(everything, "ScaledObject", "bsft-worker")
    target = scaled["spec"]["scaleTargetRef"]["name"]
    named(everything, "Deployment", target)
    expect("replicas" not in named(everything, "Deployment", target)["spec"], "the number of workers is KEDA's")
    expect(scaled["spec"]["minReplicaCount"] == 0, "down to none")
    for lane, trigger in zip(["bootstrap", "finetune"], scaled["spec"]["triggers"], strict=True):
        of = trigger["metadata"]
        for wanted, rest in [
            (True, [lane, f"wait.{lane}.256ms", f"wait.{lane}.4194304ms"]),
            (False, [f"dead.{lane}", f"completions.{lane}", "probe.0011223344556677"]),
        ]:
            for name in rest:
                name = f"bsft.{namespace}.{version}.{name}"
                expect(bool(re.search(of["queueName"], name)) == wanted, f"KEDA, {lane}: {name} is looked at: {not wanted}")
        # Over AMQP, or without tasks at work, the last workers would be taken away.
        expect((of["protocol"], of["useRegex"], of["excludeUnacknowledged"]) == ("http", "true", "false"), f"KEDA, {lane}: tasks at work")
        expect(trigger["type"] == "rabbitmq" and of["mode"] == "QueueLength", f"KEDA, {lane}: by length")
        authentication = named(everything, "TriggerAuthentication", trigger["authenticationRef"]["name"])
        (parameter,) = authentication["spec"]["secretTargetRef"]
        expect(parameter["key"] in named(everything, "Secret", parameter["name"])["stringData"], f"KEDA, {lane}: its Secret")
    expect(scaled["spec"]["triggers"][0]["metadata"]["value"] == concurrency, "KEDA: tasks a worker are its --concurrency")
    lanes = set(re.findall(r'Queue::\w+(?:\(_\))? => "(\w+)"', source("src/broker/mod.rs")))
    expect({"bootstrap", "finetune"} <= lanes, f"the code's lanes are {lanes}")


def kustomization(everything, cargo_version):
    path = AT / "kustomization.yaml"
    of, text = documents(path)[0], path.read_text()
    optional = set(re.findall(r"^  # - (\S+\.yaml)", text, re.M))
    files = {file.name for file in AT.glob("*.yaml")} - APART - {path.name}
    expect(files == set(of["resources"]) | optional, f"kustomization.yaml and the folder differ: {files ^ (set(of['resources']) | optional)}")
    expect(of["images"][0]["name"] == "bsft" and of["images"][0]["newTag"] == cargo_version, "kustomization.yaml: the image")
    if shutil.which("kubectl"):
        made = subprocess.run(["kubectl", "kustomize", AT], check=True, capture_output=True, text=True).stdout
        made = {(document["kind"], document["metadata"]["name"]) for document in yaml.safe_load_all(made)}
        wanted = {(one["kind"], one["metadata"]["name"]) for name in of["resources"] for one in documents(AT / name)}
        expect(made == wanted, f"kubectl kustomize: {made ^ wanted}")
    for document in everything:
        at = document["metadata"].get("namespace", document["kind"])
        expect(at in ("bsft", "Namespace"), f"{document['metadata']['name']}: in the namespace {at}")


def neighbours(everything):
    """The same images and user as without Kubernetes, where those files are."""
    compose, dockerfile = ROOT / "deploy/docker-compose.yml", ROOT / "deploy/Dockerfile"
    if compose.exists():
        for name in ("rabbitmq", "redis"):
            (container,) = pod(named(everything, "StatefulSet", name))["spec"]["containers"]
            expect(container["image"] in compose.read_text(), f"{name}: docker-compose.yml has another image than {container['image']}")
    user = re.search(r"^USER (\d+):(\d+)$", dockerfile.read_text(), re.M) if dockerfile.exists() else None
    for document in filter(is_ours, everything):
        whole = pod(document)["spec"]["securityContext"]
        expect(not user or user.groups() == (str(whole["runAsUser"]), str(whole["runAsGroup"])), f"{document['metadata']['name']}: user")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=Path, required=True)
    programs = parser.parse_args().programs.resolve()
    cargo_version = re.search(r'^version = "(.+)"', source("Cargo.toml"), re.M)[1]
    everything = []
    for path in sorted(AT.glob("*.yaml")):
        if path.name == "kustomization.yaml":
            continue
        for document in documents(path):
            everything.append(document)
            if document["apiVersion"] not in FOREIGN:
                valid(path, document)
            if pod(document):
                strict(document["metadata"]["name"], document)
    known = {one["metadata"]["name"]: one.get("stringData") or one["data"] for one in everything if one["kind"] in ("Secret", "ConfigMap")}
    known["source"] = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    secrets = [one for one in everything if one["kind"] == "Secret"]
    expect(not any(value for one in secrets for value in one["stringData"].values()), "a Secret of the repository has a value")
    given = {}
    for document in filter(is_ours, everything):
        given[document["metadata"]["name"]] = program(document, programs, cargo_version, known)
    expect(given.keys() == {"bsft-worker", "bsft-coordinator", "bsft-trainer"}, f"programs: {list(given)}")
    coordinator(named(everything, "Job", "bsft-coordinator"))
    queues(everything, known["bsft-settings"]["BSFT_NAMESPACE"], given["bsft-worker"]["--concurrency"])
    monitored = named(everything, "PodMonitor", "bsft")["spec"]
    expect(monitored["podMetricsEndpoints"][0]["port"] == "metrics", "PodMonitor: its port")
    kustomization(everything, cargo_version)
    neighbours(everything)
    policies(everything)
    trial(everything)
    if wrong:
        sys.exit("\n".join(["wrong in deploy/kubernetes:", *wrong]))
    print(f"{len(everything)} objects are valid for Kubernetes {' and '.join(VERSIONS)}, and in step with the programs")


main()
