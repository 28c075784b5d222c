"""Long documents: cut into chunks, or shortened by a language model."""

import re
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from ._sklearn import HasMethods, Interval, fit_context
from ._texts import check_texts
from ._warning import warn
from .llm import prompts
from .llm.base import ChatModel, Completion, Request
from .llm.names import chat_model
from .llm.runner import running
from .llm.usage import no_usage

SENTENCE_END = re.compile(r"[.!?。！？][\"'”’)]*$")


def split_texts(texts, y=None, *, max_words=200):
    """Cut long texts into chunks that inherit the target and remember where they are from.

    The chunks of a text are about equally long and end at the end of a sentence where one is
    near. They are not independent: give ``groups`` to
    :meth:`HypothesisGenerator.fit <sklearn_hypsae.HypothesisGenerator.fit>`, which keeps the
    chunks of a document on one side and makes its p-values allow for them.

    Parameters
    ----------
    texts : list, Series or 1-D array of str

    y : array-like of shape (n_texts,), default=None
        The target.

    max_words : int, default=200
        Longest chunk.

    Returns
    -------
    chunks : Bunch
        ``texts`` (n_chunks,) of str, ``y`` (n_chunks,) or None, and ``groups`` (n_chunks,),
        the position of the text that each chunk is from.

    Raises
    ------
    ValueError
        If an entry is not a text, or y has another length.

    Examples
    --------
    >>> from sklearn_hypsae.documents import split_texts
    >>> chunks = split_texts(["One two. Three four five.", "Six."], [1, 0], max_words=3)
    >>> chunks.texts.tolist(), chunks.y.tolist(), chunks.groups.tolist()
    (['One two.', 'Three four five.', 'Six.'], [1, 1, 0], [0, 0, 1])
    """
    if not isinstance(max_words, Integral) or max_words < 1:
        raise ValueError(f"split_texts got max_words={max_words!r}: it has to be at least 1.")
    texts = check_texts(texts, caller="split_texts", name="texts")
    if y is not None:
        y = np.asarray(y)
        if len(y) != len(texts):
            raise ValueError(
                f"split_texts got {len(texts)} texts but {len(y)} values in y: pass one for each."
            )
    pieces = [_chunks(text, max_words) for text in texts]
    groups = np.repeat(np.arange(len(texts)), [len(own) for own in pieces])
    chunks = np.array([chunk for own in pieces for chunk in own], dtype=object)
    return Bunch(texts=chunks, y=None if y is None else y[groups], groups=groups)


def _chunks(text, max_words):
    """Chunks of one text; the text itself where it is short, or blank."""
    words = list(re.finditer(r"\S+", text))
    chunks, start = [], 0
    while len(words) - start > max_words:
        n_left = -(-(len(words) - start) // max_words)
        stop = _stop(words, start, -(-(len(words) - start) // n_left), max_words)
        chunks.append(text[words[start].start() : words[stop - 1].end()])
        start = stop
    last = text[words[start].start() :].rstrip() if chunks else text
    return [*chunks, last]


def _stop(words, start, wanted, most):
    """Where to end a chunk: at the sentence end nearest to the length wanted, if one is near."""
    lengths = range(max(1, wanted // 2), most + 1)
    ends = [n for n in lengths if SENTENCE_END.search(words[start + n - 1].group())]
    return start + (min(ends, key=lambda n: abs(n - wanted)) if ends else wanted)


class TextSummarizer(TransformerMixin, BaseEstimator):
    """Shorten long texts by a language model, before they are embedded.

    Parameters
    ----------
    llm : str or client
        As for :class:`~sklearn_hypsae.LLMInterpreter`.

    max_words : int, default=150
        Texts with more words than this are shortened to about as many.

    prompt : str, default=None
        Instead of :data:`sklearn_hypsae.llm.prompts.SUMMARIZE`.

    max_requests, max_tokens_total : int, default=None
        Requests that may be sent, and tokens that may be used, from fit on. None: any number.

    cache : "auto", path-like or None, default="auto"
        As for :class:`~sklearn_hypsae.LLMInterpreter`.

    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    usage_ : dict
        Requests, tokens and seconds since fit.

    Examples
    --------
    >>> from sklearn_hypsae.documents import TextSummarizer
    >>> from sklearn_hypsae.llm import ChatModel, Completion
    >>> class Terse(ChatModel):
    ...     def complete(self, requests, monitor=None):
    ...         return [Completion("In short.") for _ in requests]
    >>> TextSummarizer(Terse(), max_words=3, cache=None).fit_transform(["a b c d e", "a b"])
    array(['In short.', 'a b'], dtype=object)
    """

    _parameter_constraints = {
        "llm": [str, ChatModel],
        "max_words": [Interval(Integral, 1, None, closed="left")],
        "prompt": [str, None],
        "max_requests": [Interval(Integral, 1, None, closed="left"), None],
        "max_tokens_total": [Interval(Integral, 1, None, closed="left"), None],
        "cache": [str, HasMethods("__fspath__"), None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        llm,
        *,
        max_words=150,
        prompt=None,
        max_requests=None,
        max_tokens_total=None,
        cache="auto",
        verbose=False,
    ):
        self.llm = llm
        self.max_words = max_words
        self.prompt = prompt
        self.max_requests = max_requests
        self.max_tokens_total = max_tokens_total
        self.cache = cache
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the texts and the client; there is nothing to learn.

        Parameters
        ----------
        X : list, Series or 1-D array of str

        y : ignored

        Returns
        -------
        self : TextSummarizer
        """
        check_texts(X, caller=type(self).__name__)
        self._client()
        self._check_prompt()
        self.usage_ = no_usage()
        self.n_features_in_ = 1
        return self

    def transform(self, X):
        """Shorten the texts that are too long.

        Parameters
        ----------
        X : list, Series or 1-D array of str

        Returns
        -------
        texts : Series with the index of X for a Series, else ndarray of shape (n_samples,)
            A text whose request failed is cut instead, with a warning.
        """
        check_is_fitted(self)
        # What was set after fit is checked before it is paid for.
        self._validate_params()
        self._check_prompt()
        texts = check_texts(X, caller=type(self).__name__)
        long = [row for row, text in enumerate(texts) if len(text.split()) > self.max_words]
        template = self.prompt or prompts.SUMMARIZE
        requests = [
            Request(template.format(text=prompts.tagged(texts[row]), n_words=self.max_words))
            for row in long
        ]
        with running(
            self.usage_,
            cache=self.cache,
            max_requests=self.max_requests,
            max_tokens_total=self.max_tokens_total,
            verbose=bool(self.verbose),
        ) as runner:
            outcomes = runner.ask(
                self._client(), requests, accept=_says_something, description="Summarising"
            )
        n_failed = 0
        for row, outcome in zip(long, outcomes, strict=True):
            done = isinstance(outcome, Completion)
            n_failed += not done
            texts[row] = outcome.text if done else prompts.cut_words(texts[row], self.max_words)
        if n_failed:
            reasons = [f"the budget {runner.spent} is spent"] if runner.spent else []
            reasons += [f"{error}" for error in runner.errors[:1]]
            warn(
                f"{n_failed} of {len(long)} long texts could not be summarised and were cut at "
                f"{self.max_words} words ({'; '.join(reasons)}).",
            )
        return pd.Series(texts, index=X.index, name=X.name) if isinstance(X, pd.Series) else texts

    def _check_prompt(self):
        if self.prompt is not None:
            prompts.check_prompt(self.prompt, "summary")

    def _client(self):
        client = chat_model(self.llm)
        client.check()
        return client

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        return tags


def _says_something(request, text):
    return bool(text.strip())
