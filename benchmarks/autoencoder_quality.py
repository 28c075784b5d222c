"""Reconstruction, sparsity, stability and prediction of ours beside hypothesaes 2.0.1.

    python benchmarks/autoencoder_quality.py --peer-python PATH [--n-seeds 3]

Rotten Tomatoes, all-MiniLM-L6-v2, 6,500 rows to train and 2,030 held out, M=256, K=8, at most 100
epochs, patience 3. Held out: FVU, active neurons a row (L0), dead neurons (silent on every
training row), and the AUC of the 20 neurons most correlated with the verdict; in words, the
cross-fitted AUC of their keyphrase hypotheses. Stability is the mean cosine of Hungarian-matched
decoder rows between seeds. PATH is the Python of an environment with hypothesaes; without it the
peer is left out.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

N_TRAIN = 6500
VARIANTS = {
    "TopK": ({}, {}),
    "Matryoshka": ({"matryoshka_prefix_lengths": [32, 256]}, {"prefix_lengths": [32, 256]}),
    "BatchTopK": ({"batch_topk": True}, {"use_batch_topk": True}),
}


def train_peer(folder, n_seeds):
    """In the peer's own environment: decoder and activations of each variant and seed."""
    import torch
    from hypothesaes.sae import SparseAutoencoder

    X = np.load(folder / "X.npy")
    train, test = torch.from_numpy(X[:N_TRAIN]), torch.from_numpy(X[N_TRAIN:])
    for variant, (_, parameters) in VARIANTS.items():
        for seed in range(n_seeds):
            torch.manual_seed(seed)
            order = np.random.RandomState(seed).permutation(N_TRAIN)
            sae = SparseAutoencoder(X.shape[1], 256, 8, device="cpu", **parameters)
            n_held_out = N_TRAIN // 10
            sae.fit(
                train[order[n_held_out:]],
                train[order[:n_held_out]],
                n_epochs=100,
                patience=3,
                show_progress=False,
            )
            sae.eval()
            with torch.no_grad():
                np.savez(
                    folder / f"{variant}-{seed}.npz",
                    train=sae.get_activations(train, show_progress=False),
                    test=sae.get_activations(test, show_progress=False),
                    reconstruction=sae(test)[0].numpy(),
                    decoder=sae.decoder.weight.T.numpy(),
                )


def train_ours(X, y, seed, **parameters):
    from sklearn_hypsae import SparseAutoencoderTransformer

    sae = SparseAutoencoderTransformer(256, 8, device="cpu", random_state=seed, **parameters)
    train = sae.fit_transform(X[:N_TRAIN], y[:N_TRAIN])
    test = sae.transform(X[N_TRAIN:])
    return {
        "train": train,
        "test": test,
        "reconstruction": sae.inverse_transform(test),
        "decoder": sae.components_,
    }


def describe(name, runs, X, y, texts):
    rows = [figures(run, X, y, texts) for run in runs]
    means = {key: np.mean([row[key] for row in rows]) for key in rows[0]}
    means["stability"] = stability([run["decoder"] for run in runs])
    print(f"{name:>26} " + " ".join(f"{value:9.3f}" for value in means.values()), flush=True)


def figures(run, X, y, texts):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from sklearn_hypsae import NeuronSelector

    X_test, y_train, y_test = X[N_TRAIN:], y[:N_TRAIN], y[N_TRAIN:]
    selector = NeuronSelector(20).fit(run["train"], y_train)
    train, test = selector.transform(run["train"]), selector.transform(run["test"])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, y_train)
    overlap = np.abs(np.corrcoef(train.T)[np.triu_indices(train.shape[1], 1)])
    error = np.square(X_test - run["reconstruction"]).sum()
    return {
        "fvu": error / np.square(X_test - X_test.mean(axis=0)).sum(),
        "l0": (run["test"] > 0).sum(axis=1).mean(),
        "dead": (run["train"] <= 0).all(axis=0).mean(),
        "auc": roc_auc_score(y_test, model.predict_proba(test)[:, 1]),
        "words": words(train, y_train, y_test, texts),
        "overlap": overlap.mean(),
    }


def words(train, y_train, y_test, texts):
    """Cross-fitted AUC of the neurons' keyphrase hypotheses on the held-out rows."""
    from sklearn_hypsae import HypothesisValidator, LLMInterpreter

    interpreter = LLMInterpreter(random_state=0)
    interpreter.fit(train, y_train, texts=texts[:N_TRAIN])
    annotations = interpreter.transform(
        np.zeros((len(y_test), train.shape[1]), np.float32), texts=texts[N_TRAIN:]
    )
    validator = HypothesisValidator(task="classification").fit(annotations, y_test)
    return validator.metrics_["auc_cv"]


def stability(decoders):
    from scipy.optimize import linear_sum_assignment

    cosines = []
    for i, first in enumerate(decoders):
        for second in decoders[:i]:
            products = first @ second.T
            cosines.append(products[linear_sum_assignment(-products)].mean())
    return np.mean(cosines) if cosines else np.nan


def main(peer_python, n_seeds, coefs):
    from sklearn_hypsae import EmbeddingTransformer
    from sklearn_hypsae.datasets import load_movie_reviews

    reviews = load_movie_reviews("rotten_tomatoes")
    order = np.random.RandomState(0).permutation(len(reviews.texts))
    texts = np.asarray(reviews.texts, dtype=object)[order]
    y = np.asarray(reviews.y)[order]
    X = np.asarray(EmbeddingTransformer(verbose=True).fit_transform(texts), dtype=np.float32)
    columns = ("FVU", "L0", "dead", "AUC", "in words", "overlap", "stability")
    print(f"{'':>26} " + " ".join(f"{column:>9}" for column in columns))
    for variant, (parameters, _) in VARIANTS.items():
        runs = [train_ours(X, y, seed, **parameters) for seed in range(n_seeds)]
        describe(f"ours, {variant}", runs, X, y, texts)
    for coef in coefs:
        runs = [train_ours(X, y, seed, target_coef=coef) for seed in range(n_seeds)]
        describe(f"ours, target_coef={coef}", runs, X, y, texts)
    shuffled = np.r_[np.random.RandomState(0).permutation(y[:N_TRAIN]), y[N_TRAIN:]]
    runs = [train_ours(X, shuffled, seed, target_coef=1.0) for seed in range(n_seeds)]
    describe("ours, shuffled y", runs, X, shuffled, texts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "X.npy", X)
        command = [peer_python, __file__, "--train-peer", name, "--n-seeds", str(n_seeds)]
        environment = {**os.environ, "OPENAI_KEY_SAE": "none"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if "No module named 'hypothesaes'" in run.stderr:
            return
        if run.returncode:
            raise RuntimeError(run.stderr)
        for variant in VARIANTS:
            runs = [dict(np.load(folder / f"{variant}-{seed}.npz")) for seed in range(n_seeds)]
            describe(f"peer, {variant}", runs, X, y, texts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--n-seeds", type=int, default=3)
    parser.add_argument("--coefs", type=float, nargs="*", default=[0.15, 0.5, 1.0])
    parser.add_argument("--train-peer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train_peer:
        train_peer(options.train_peer, options.n_seeds)
    else:
        main(options.peer_python, options.n_seeds, options.coefs)
