"""Produce the numbers the validation step is compared with: hypothesaes.score_hypotheses.

Needs the package hypothesaes (2.0.1) in an environment of its own:

    OPENAI_KEY_SAE=unused python benchmarks/peer_expected_numbers.py

Inputs come from seeds (tests/annotated.py); only the peer's numbers are stored, as
tests/data/peer_score_hypotheses.json.
"""

import importlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

from hypothesaes.evaluation import score_hypotheses

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))


def expected_numbers(name):
    annotated = importlib.import_module("annotated")
    annotations, y, classification = annotated.make_case(name)
    by_name = dict(zip(annotated.names_of(annotations), annotations.T, strict=True))
    metrics, table = score_hypotheses(by_name, y, classification=classification)
    table = table.set_index("hypothesis").loc[list(by_name)]
    n_significant, n_hypotheses, threshold = metrics.pop("Significant")
    return {
        "metrics": {key: float(value) for key, value in metrics.items()},
        "n_significant": n_significant,
        "n_hypotheses": n_hypotheses,
        "p_threshold": threshold,
        "table": {column: table[column].tolist() for column in table},
    }


def main():
    cases = importlib.import_module("annotated").PEER_CASES
    numbers = {name: expected_numbers(name) for name in cases}
    stored = {"hypothesaes": version("hypothesaes"), "cases": numbers}
    path = TESTS / "data" / "peer_score_hypotheses.json"
    path.write_text(json.dumps(stored, indent=1) + "\n")
    for name, case in numbers.items():
        print(name, case["metrics"], case["n_significant"], "of", case["n_hypotheses"])


if __name__ == "__main__":
    main()
