"""The cases: what the server does, and what is asked of it."""

# 30 requests a second: 600 calls take 20 s.
LIMITED = {"rpm": 1800}
# The account of each case that declares one, as TOML.
DECLARED_RPM = "account = \"limited\"\n[account.limited]\nrpm = {rpm}"
DECLARED_TPM = "account = \"limited\"\n[account.limited]\ntpm = {tpm}"
ALL = ("bsft", "openai", "dspy", "designer")


def case(name, server, examples=600, calls=1, in_flight=None, who=ALL, lm="", patience=180, quick=False, **more):
    """`in_flight`: None for bsft's default, and 64 for the others. `patience`: seconds until a contender is stopped."""
    return {
        "name": name,
        "server": server,
        "examples": examples,
        "calls": calls,
        "in_flight": in_flight,
        "who": who,
        "lm": lm,
        "patience": patience,
        "quick": quick,
        **more,
    }


CASES = [
    # Row 4 and the headline: bsft's defaults, 20 requests a second, two calls an example.
    case("20/s, nothing declared, no hint", {"rpm": 1200}, examples=300, calls=2, quick=True),
    # Row 1.
    *(
        case(f"100/s declared, {n} in flight", {"rpm": 6000}, 2000, in_flight=n, who=("bsft",), lm=DECLARED_RPM.format(rpm=6000), quick=n == 256)
        for n in (64, 256, 1024, 8192)
    ),
    # Row 2: 1,040 tokens a call on average.
    case(
        "tokens declared, answers of 1 to 2,000",
        {"tpm": 3_600_000, "answer_tokens": [1, 2000]},
        1200,
        in_flight=256,
        who=("bsft",),
        lm=DECLARED_TPM.format(tpm=3_600_000),
        quick=True,
    ),
    # Row 4.
    *(
        case(f"30/s, {hint}, {n} in flight", LIMITED | {"hint": hint}, in_flight=n, quick=n == 64 and hint == "retry-after")
        for n in (64, 256)
        for hint in ("retry-after", "none", "x-ratelimit")
    ),
    case("100/s, none, 1,024 in flight, 60 s", {"rpm": 6000}, 6000, in_flight=1024, who=("bsft",)),
    case("100/s, x-ratelimit, 1,024 in flight, 60 s", {"rpm": 6000, "hint": "x-ratelimit"}, 6000, in_flight=1024, who=("bsft",)),
    # Row 5.
    *(
        case(f"30/s, refusals charged, {n} in flight", LIMITED | {"hint": "retry-after", "charge_refused": True}, in_flight=n, quick=n == 64)
        for n in (64, 256)
    ),
    # Row 7; 600 calls of 500 ms take 5 s with 64 in flight.
    case("down for 30 s", {"latency_ms": 500, "outage": {"how": "refuse", "after_answers": 100, "for_s": 30}}, quick=True),
    case("connections reset for 30 s", {"latency_ms": 500, "outage": {"how": "reset", "after_answers": 100, "for_s": 30}}, who=("bsft",)),
    case("503 for 30 s", {"latency_ms": 500, "outage": {"how": "unavailable", "after_answers": 100, "for_s": 30}}),
    case("down for 90 s", {"latency_ms": 500, "outage": {"how": "refuse", "after_answers": 100, "for_s": 90}}, who=("bsft",), patience=300),
    # Row 8.
    case("key revoked after 300", {"revoke_after": 300}, quick=True),
    case("quota used up after 300", {"quota": 300}),
    case("unknown model", {"unknown_model": True}, who=("bsft",), quick=True),
    # Row 9.
    case("1 % of the calls hang, timeout of 10 s", {"hang": 0.01}, lm="timeout_secs = 10", who=("bsft",), quick=True),
    case("1 % of the calls hang, default timeout", {"hang": 0.01}, who=("bsft",), patience=120),
    # Row 11.
    case("one poisoned example", {"poison": "Question 333,"}, who=("bsft",), quick=True),
    # Row 6.
    case(
        "30/s shared, knee at 15 in flight, thrashes from 256",
        {"saturation": {"peak_rps": 30, "base_s": 0.5, "thrash_from": 256}},
        in_flight=1024,
        who=("bsft", "designer"),
    ),
    case(
        "100/s shared, knee at 30 in flight, thrashes from 256",
        {"saturation": {"peak_rps": 100, "base_s": 0.3, "thrash_from": 256}},
        3000,
        in_flight=1024,
        who=("bsft",),
        quick=True,
    ),
    # Row 10.
    case(
        "the same, timeout of 5 s",
        {"saturation": {"peak_rps": 100, "base_s": 0.3, "thrash_from": 256}},
        3000,
        in_flight=1024,
        lm="timeout_secs = 5",
        who=("bsft",),
    ),
]
