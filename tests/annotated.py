"""Synthetic annotations with a target, made again from a seed wherever they are needed."""

import numpy as np
import pandas as pd

PEER_CASES = {
    "binary": {"seed": 1, "n_samples": 800, "classification": True},
    "binary_small": {"seed": 2, "n_samples": 320, "classification": True},
    "stars": {"seed": 3, "n_samples": 700, "classification": False},
    "skewed": {"seed": 4, "n_samples": 900, "classification": False},
}


def make_case(name):
    """Draw the annotations (n, 12), the target and the task of a named case."""
    case = PEER_CASES[name]
    rng = np.random.default_rng(case["seed"])
    prevalence = np.linspace(0.08, 0.6, 12)
    annotations = (rng.random((case["n_samples"], 12)) < prevalence).astype(float)
    signal = annotations @ np.r_[0.9, -0.8, 0.6, -0.5, 0.3, np.zeros(7)]
    noise = rng.normal(size=case["n_samples"])
    if case["classification"]:
        return annotations, (signal + noise > 0.2).astype(float), True
    if name == "stars":
        return annotations, np.clip(np.round(3 + signal + noise), 1, 5), False
    return annotations, np.exp(0.5 * signal + 0.6 * noise), False


def names_of(annotations):
    return [f"concept {j}" for j in range(annotations.shape[1])]


def draw_annotations(rng, n_samples, prevalence):
    """Draw independent annotations, one column a prevalence."""
    return (rng.random((n_samples, len(prevalence))) < prevalence).astype(float)


def annotated_frame(name="binary"):
    """Draw a case as a frame whose index is texts of different lengths."""
    annotations, y, _ = make_case(name)
    texts = pd.Index([f"text {i}" + " more" * (i % 7) for i in range(len(y))], name="text")
    return pd.DataFrame(annotations, index=texts, columns=names_of(annotations)), y
