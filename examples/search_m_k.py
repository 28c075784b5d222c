"""Choose M, K and Matryoshka prefixes by what the neurons predict, not by reconstruction.

    python examples/search_m_k.py [--n-samples 2000] [--plot search_m_k.png]

Every further neuron and every further active one lowers the reconstruction error, so that FVU
always votes for the largest autoencoder of the grid. What a hypothesis needs are neurons that say
something about the target on rows nobody trained on: the AUC of 20 selected neurons in
cross-validation. The texts are embedded once, before the search.
"""

import argparse

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_hypsae import EmbeddingTransformer, NeuronSelector, SparseAutoencoderTransformer
from sklearn_hypsae.datasets import load_movie_reviews

GRID = [
    {"sae__M": [M], "sae__K": [4, 8], "sae__matryoshka_prefix_lengths": [None, [16, M]]}
    for M in (32, 64, 256)
]


def explained(pipeline, X, y):
    """Fraction of variance that the autoencoder explains on held-out rows, 1 - FVU."""
    return pipeline.named_steps["sae"].score(X)


def search(X, y):
    pipeline = Pipeline(
        [
            ("sae", SparseAutoencoderTransformer(random_state=0)),
            ("select", NeuronSelector(20)),
            ("scale", StandardScaler()),
            ("predict", LogisticRegression()),
        ]
    )
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    scoring = {"auc": "roc_auc", "explained": explained}
    return GridSearchCV(pipeline, GRID, scoring=scoring, refit="auc", cv=folds).fit(X, y)


def as_table(results):
    table = pd.DataFrame(results["params"])
    table.columns = ["K", "M", "prefixes"]
    table["FVU"] = 1 - results["mean_test_explained"]
    table["AUC"] = results["mean_test_auc"]
    table["AUC_std"] = results["std_test_auc"]
    return table.sort_values("AUC", ascending=False, ignore_index=True)


def plot(table, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for nested, rows in table.groupby(table["prefixes"].notna()):
        label = "Matryoshka" if nested else "plain"
        axes.errorbar(rows["FVU"], rows["AUC"], rows["AUC_std"], fmt="o", capsize=3, label=label)
    for row in table.itertuples():
        axes.annotate(
            f"{row.M}, {row.K}",
            (row.FVU, row.AUC),
            xytext=(4, 4) if row.prefixes else (-32, -10),
            fontsize=8,
            textcoords="offset points",
        )
    axes.set(
        xlabel="FVU, held out (lower reconstructs better)", ylabel="AUC of 20 neurons, held out"
    )
    axes.legend(title="beside each point: M, K")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=2000)
    parser.add_argument("--plot", default=None, help="file for the figure; needs matplotlib")
    options = parser.parse_args()
    reviews = load_movie_reviews("rotten_tomatoes", n_samples=options.n_samples, random_state=0)
    embeddings = np.asarray(EmbeddingTransformer(verbose=True).fit_transform(reviews.texts))
    table = as_table(search(embeddings, reviews.y).cv_results_)
    print(table.to_string(float_format="{:.3f}".format))
    by_fvu = table.loc[table["FVU"].idxmin()]
    print(f"\nBest by AUC: M={table.M[0]}, K={table.K[0]}, prefixes={table.prefixes[0]}.")
    print(f"FVU would have chosen M={by_fvu.M}, K={by_fvu.K}, prefixes={by_fvu.prefixes}.")
    if options.plot:
        plot(table, options.plot)
