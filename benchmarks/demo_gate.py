"""How often the demo passes its gate: split, fit, sample, attack and decide, again and again on the same survey.

    python -m benchmarks.demo_gate --runs 50

Each run is a line of benchmarks/results/demo_gate.jsonl; a run that is there already is not done again. A privacy budget is
not charged to a ledger: the survey is public, and this measures the gate.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from attacks.policy import Policy
from dpsynth.privacy.unit import new_key
from dpsynth.releasing.gate import Claimed, judge
from dpsynth.releasing.split import divide, shares_of
from dpsynth.synthesizers import MST
from dpsynth.tables.survey import SurveyTable, survey_schema

RESULTS = Path(__file__).parent / "results" / "demo_gate.jsonl"
EPSILON, DELTA = 1.0, 1e-9


def one_run(number: int) -> dict[str, object]:
    schema = survey_schema()
    policy = Policy.load("partner-contract")
    split = divide(SurveyTable(schema).rows(), schema, new_key(), shares_of(policy))
    start = time.perf_counter()
    model = MST(EPSILON, DELTA).fit(split.train, schema)
    candidate = model.sample(round(model.total / policy.split["train"]))
    fitted = time.perf_counter()
    document = judge(split, candidate, schema, policy, Claimed("mst", EPSILON, DELTA), number)
    return {
        "run": number,
        "verdict": document["verdict"],
        "reasons": [f"{r['code']}:{r['attack']}" for r in document["reasons"]],
        "fit_seconds": round(fitted - start, 2),
        "gate_seconds": round(time.perf_counter() - fitted, 2),
        "upper": {a["name"]: a["ci"] and round(a["ci"][1], 4) for a in document["attacks"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    runs = parser.parse_args().runs
    RESULTS.parent.mkdir(exist_ok=True)
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    done = {line["run"] for line in lines}
    for number in range(runs):
        if number not in done:
            lines.append(one_run(number))
            with RESULTS.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    passed = sum(line["verdict"] == "PASS" for line in lines[:runs])
    print(f"{passed} of {min(len(lines), runs)} runs end in PASS")
    for line in lines:
        if line["verdict"] != "PASS":
            print(f"  run {line['run']}: {line['verdict']}, {', '.join(line['reasons'])}")


if __name__ == "__main__":
    main()
