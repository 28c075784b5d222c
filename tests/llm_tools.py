"""What the tests of the language-model side share."""

import numpy as np
import pandas as pd

from sklearn_hypsae._texts import text_index
from sklearn_hypsae.llm import prompts
from sklearn_hypsae.llm.annotation import annotate
from sklearn_hypsae.llm.runner import running
from sklearn_hypsae.llm.usage import no_usage


def word_texts(n, word="dog"):
    """Distinct texts of which every other one has the word."""
    return [f"text {i} about a {word if i % 2 else 'cat'}" for i in range(n)]


def ask(chat, texts, concepts=("mentions a dog",), *, usage=None, cache=None, limits=None, **how):
    """Annotate the texts."""
    usage = no_usage() if usage is None else usage
    with running(usage, cache=cache, **(limits or {})) as runner:
        (found,) = annotate(runner, chat, [(texts, list(concepts))], description="Test", **how)
    return found


def truth(texts, word="dog"):
    """What WordRule answers for "mentions a dog"."""
    return np.array([[float(word in text)] for text in texts])


WORDS = ["dog", "train", "soup", "rain", "piano", "garden", "doctor", "winter"]
INTERPRETS = prompts.INTERPRET.split("{")[0]
CONCEPTS = {f"mentions a {word}": [word] for word in WORDS}


def planted(n_rows, seed=0):
    """Texts of random words, and neurons that fire where their word occurs."""
    rng = np.random.RandomState(seed)
    filler = ["house", "road", "table", "walk", "light", "paper", "story", "river", "bread"]
    present = rng.uniform(size=(n_rows, len(WORDS))) < 0.25
    texts = []
    for row in range(n_rows):
        words = [WORDS[i] for i in np.flatnonzero(present[row])]
        words += list(rng.choice(filler, 4)) + [str(row)]
        texts.append(" ".join(rng.permutation(words)))
    return np.array(texts, object), (present * rng.uniform(0.5, 2, present.shape)).astype("f4")


def planted_frame():
    """Three hundred planted texts as the index of their activations."""
    texts, activations = planted(300)
    columns = [f"neuron_{3 * i}" for i in range(activations.shape[1])]
    return pd.DataFrame(activations, index=text_index(texts), columns=columns)
