"""A search over M and K embeds each text once and needs no language model."""

import numpy as np
import pytest
from embedding_server import running_server
from sklearn.model_selection import GridSearchCV

from sklearn_hypsae import make_hypothesis_pipeline


# Validation within a search is no test; its p-values are not looked at.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_search_over_m_and_k_embeds_each_text_once(monkeypatch, tmp_path):
    texts = [f"review number {i}" for i in range(120)]
    y = np.arange(120) % 2
    pipeline = make_hypothesis_pipeline(
        model="openai:text-embedding-3-small", task="classification", random_state=0
    ).set_params(
        embed__cache=tmp_path, sae__n_epochs=1, select__n_select=4, interpret="passthrough"
    )
    grid = {"sae__M": [8, 16], "sae__K": [2, 4], "sae__matryoshka_prefix_lengths": [None]}
    with running_server() as (server, url):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(texts, y)
        assert len(search.cv_results_["params"]) == 4
        assert sorted(server.texts) == sorted(texts)
