"""Record which neurons the peer selects, for the parity tests of NeuronSelector.

Run it in an environment that has ``hypothesaes`` 2.0.1::

    OPENAI_KEY_SAE=unused python benchmarks/peer_expected_selection.py \\
        > tests/data/peer_selection.json

The inputs are drawn again from their seed by the tests.
"""

import contextlib
import json
import sys
from pathlib import Path

from hypothesaes.select_neurons import select_neurons

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from planted_activations import planted_activations


def main():
    expected = {}
    for task in ("regression", "classification"):
        activations, y = planted_activations(task)
        for method in ("correlation", "lasso"):
            # Squared error also for a binary target, as its authors recommend for speed.
            with contextlib.redirect_stdout(sys.stderr):
                selected, scores = select_neurons(
                    activations, y, n_select=20, method=method, classification=False
                )
            expected[f"{task}/{method}"] = {"selected": selected, "scores": scores}
    json.dump(expected, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
