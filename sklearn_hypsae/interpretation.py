"""Step four: put each neuron into words, and annotate texts with those words."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ._fidelity import METRICS
from ._fit_rows import fit_rows, mark_fit_rows, mark_own_rows
from ._interpreting import (
    check_again,
    holds_texts,
    interpretation_table,
    keyphrase_rows,
    llm_rows,
    own_rows,
    refusing_texts,
    unique_names,
    warn_unanswered,
    warn_undescribed,
)
from ._keyphrases import hypothesis_to_phrases, match_phrases
from ._pairs import check_pair_target
from ._sklearn import HasMethods, Interval, StrOptions, fit_context
from ._targets import check_target
from ._texts import check_pairs, check_texts, holds_pairs, like_input, text_index, texts_of
from .llm.annotation import annotate
from .llm.base import ChatModel
from .llm.describing import Asking
from .llm.names import chat_model
from .llm.runner import running
from .llm.usage import no_usage


class LLMInterpreter(TransformerMixin, BaseEstimator):
    """Describe neurons in words, and say of any text whether the words apply to it.

    Without a language model the words are keyphrases, the n-grams that best tell the texts that
    fire a neuron from the others: ``mentions "slow service", "waited" or "rude"``. A text is
    annotated by whether one of them occurs in it. A language model words what the firing
    texts have in common, and answers for each text whether that holds [1]_.

    Of pairs of texts (the index of X is "text_a" and "text_b") a neuron favours the first where
    it is positive, the second where it is negative. Phrases are those that the favoured text
    has and the other lacks; a language model is shown favoured texts beside the others. Each
    distinct text is annotated once, and a pair's annotation is that of the first text less that
    of the second: 1, 0 or -1.

    Parameters
    ----------
    llm : str, client or None, default=None
        Words the neurons: a model name ("gpt-5-mini", "openai:gpt-5-mini",
        "vllm:Qwen/Qwen3-8B"), a client from :mod:`sklearn_hypsae.llm`, or None for keyphrases.

    annotator_llm : str, client or None, default=None
        Answers whether a hypothesis holds for a text. None: the same as ``llm``.

    hypotheses : list of str, default=None
        The user's own statements; no neuron is interpreted then. Without a language model
        each has to quote the phrases to look for: ``'mentions "refund" or "money back"'``.

    n_examples : int, default=20
        Texts shown to the model for one neuron, half firing and half silent; for pairs, half
        favoured and half the others of these pairs. Fewer rows than this are refused, with
        keyphrases too.

    sampling : {"top", "quantile"} or callable, default="top"
        Show the strongest firing texts, or a draw from ``quantile_range``, or what a callable
        ``(activation, rows, n_examples, rng) -> (firing_rows, silent_rows)`` chooses. For
        pairs, among pairs by the magnitude of the activation; silent rows are not used.

    quantile_range : (float, float), default=(0.9, 1.0)
        For "quantile": quantiles of the neuron's positive activations.

    negatives : {"random", "hard"}, default="random"
        Show any silent texts, or those most like the firing ones in their words (TF-IDF). Not
        used for pairs.

    max_words_per_example : int or None, default=256
        Longer texts are cut there in prompts, and marked as cut. None: never cut.

    n_candidates : int, default=1
        Wordings asked for per neuron; the one with the best ``scoring_metric`` is kept.

    n_scoring_examples : int, default=100
        Texts per neuron, none of which the model was shown, on which fidelity is scored.
        0: no scoring.

    scoring_metric : {"f1", "precision", "recall", "correlation", "auc"}, default="f1"
        What decides between candidates; "auc" needs ``soft_labels``.

    temperature, max_tokens : float and int, default=None
        Sampling temperature and longest completion. None: the server's own.

    task_specific_instructions : str, default=None
        For the interpretation prompt: what the texts are, which properties to look for.

    concepts_per_request : int, default=1
        Hypotheses asked of one text in one annotation request. More cost fewer tokens.

    max_requests : int, default=None
        Requests that may be sent from fit on, in fit and all later transforms together; what is
        not asked any more is NaN.

    cache : "auto", path-like or None, default="auto"
        SQLite file that keeps answers under hashes of what was asked, without the texts.
        "auto": in the user's cache folder, which ``SKLEARN_HYPSAE_CACHE`` moves.

    random_state : int, RandomState instance or None, default=None
        Draws the examples.

    verbose : bool, default=False
        Show progress bars.

    refine : bool, default=False
        Show the model the mistakes of its wording on one half of the scoring examples, and keep
        a second wording where it does better on the other half.

    soft_labels : bool, default=False
        Annotate with the probability of yes where the server tells, and score AUC too.

    max_tokens_total : int, default=None
        As ``max_requests``, for prompt and completion tokens together.

    interpretation_prompt, annotation_prompt, refinement_prompt : str, default=None
        Instead of ``INTERPRET``, of ``ANNOTATE`` or ``ANNOTATE_MANY``, and of ``REFINE``, in
        :mod:`sklearn_hypsae.llm.prompts`, with the same placeholders.

    merge_redundant : bool, default=True
        Make one hypothesis of neurons that got the same words, or forms of them, before any is
        annotated. The user's own ``hypotheses`` are never merged.

    Attributes
    ----------
    hypotheses_ : list of str
        One hypothesis for each neuron that could be put into words.

    interpretations_ : DataFrame of shape (n_hypotheses, 10)
        ``neuron`` (its column's name in X, else its position), ``hypothesis``, ``candidates``
        (all wordings, best first), fidelity (``f1``, ``precision``, ``recall``,
        ``correlation``, with ``soft_labels`` also ``auc``), ``n_scoring_examples`` it rests
        on, and ``scored_on``: "unseen" for a language model, scored on as many silent as
        firing texts that it was not shown; "fit rows" for keyphrases, scored on all rows of
        fit, which chose them, and so flattered. Of pairs, present means in the favoured text
        and not in the other. ``merged`` lists the neurons that were merged into this one, as
        ``merge_redundant`` has it. None and NaN for the user's own ``hypotheses``, with no
        neurons merged.

    usage_ : dict
        Since fit: ``requests`` sent, answers ``cached``, requests ``retried`` and ``failed``
        for good, ``prompt_tokens``, ``completion_tokens``, ``seconds`` spent waiting, and
        ``money`` where the client has prices, else None.

    n_features_in_ : int
        Number of columns seen in fit.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the neurons; only where X has column names.

    References
    ----------
    .. [1] Movva, Peng, Garg, Kleinberg and Pierson (2025), "Sparse Autoencoders for
       Hypothesis Generation", arXiv 2502.04382.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae import LLMInterpreter
    >>> interpreter = LLMInterpreter(hypotheses=['mentions "refund" or "money back"'])
    >>> interpreter.fit_transform(["I want my money back", "all fine"]).to_numpy()
    array([[1.], [0.]])
    >>> texts = ["the soup was cold"] * 50 + ["the soup was hot"] * 50
    >>> activations = np.repeat([[2.0], [0.0]], 50, axis=0)
    >>> interpreter = LLMInterpreter().fit(activations, texts=texts)
    >>> interpreter.transform(np.zeros((2, 1)), texts=["so cold", "quite hot"])
    array([[1.], [0.]])
    """

    _parameter_constraints = {
        "llm": [str, ChatModel, None],
        "annotator_llm": [str, ChatModel, None],
        "hypotheses": [list, tuple, None],
        "n_examples": [Interval(Integral, 2, None, closed="left")],
        "sampling": [StrOptions({"top", "quantile"}), callable],
        "quantile_range": [tuple, list],
        "negatives": [StrOptions({"random", "hard"})],
        "max_words_per_example": [Interval(Integral, 1, None, closed="left"), None],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_scoring_examples": [Interval(Integral, 0, None, closed="left")],
        "scoring_metric": [StrOptions({"f1", "precision", "recall", "correlation", "auc"})],
        "temperature": [Interval(Real, 0, None, closed="left"), None],
        "max_tokens": [Interval(Integral, 1, None, closed="left"), None],
        "task_specific_instructions": [str, None],
        "concepts_per_request": [Interval(Integral, 1, None, closed="left")],
        "max_requests": [Interval(Integral, 1, None, closed="left"), None],
        "cache": [str, HasMethods("__fspath__"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "refine": ["boolean"],
        "soft_labels": ["boolean"],
        "max_tokens_total": [Interval(Integral, 1, None, closed="left"), None],
        "interpretation_prompt": [str, None],
        "annotation_prompt": [str, None],
        "refinement_prompt": [str, None],
        "merge_redundant": ["boolean"],
    }

    def __init__(
        self,
        llm=None,
        annotator_llm=None,
        *,
        hypotheses=None,
        n_examples=20,
        sampling="top",
        quantile_range=(0.9, 1.0),
        negatives="random",
        max_words_per_example=256,
        n_candidates=1,
        n_scoring_examples=100,
        scoring_metric="f1",
        temperature=None,
        max_tokens=None,
        task_specific_instructions=None,
        concepts_per_request=1,
        max_requests=None,
        cache="auto",
        random_state=None,
        verbose=False,
        refine=False,
        soft_labels=False,
        max_tokens_total=None,
        interpretation_prompt=None,
        annotation_prompt=None,
        refinement_prompt=None,
        merge_redundant=True,
    ):
        self.llm = llm
        self.annotator_llm = annotator_llm
        self.hypotheses = hypotheses
        self.n_examples = n_examples
        self.sampling = sampling
        self.quantile_range = quantile_range
        self.negatives = negatives
        self.max_words_per_example = max_words_per_example
        self.n_candidates = n_candidates
        self.n_scoring_examples = n_scoring_examples
        self.scoring_metric = scoring_metric
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.task_specific_instructions = task_specific_instructions
        self.concepts_per_request = concepts_per_request
        self.max_requests = max_requests
        self.cache = cache
        self.random_state = random_state
        self.verbose = verbose
        self.refine = refine
        self.soft_labels = soft_labels
        self.max_tokens_total = max_tokens_total
        self.interpretation_prompt = interpretation_prompt
        self.annotation_prompt = annotation_prompt
        self.refinement_prompt = refinement_prompt
        self.merge_redundant = merge_redundant

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, texts=None):
        """Put the neurons into words.

        Parameters
        ----------
        X : DataFrame, ndarray or CSR of shape (n_samples, n_neurons)
            Activations. With ``hypotheses`` given, also the texts themselves as a list,
            Series or one-dimensional array.

        y : array-like of shape (n_samples,), default=None
            The target. Keyphrases prefer, among phrases that fit the neuron, those that also
            say something about y. A language model is not told.

        texts : collection of str of length n_samples, default=None
            The texts. None: the index of X, where
            :class:`~sklearn_hypsae.EmbeddingTransformer` puts them.

        Returns
        -------
        self : LLMInterpreter

        Raises
        ------
        ValueError
            If the texts are nowhere, rows are too few, or no neuron can be put into words.
        """
        activations, _, texts = self._check_rows(X, texts, reset=True)
        self._check_before_fit(len(texts))
        self.usage_ = no_usage()
        if self.hypotheses is not None:
            rows = own_rows(self.hypotheses, has_model=self._has_model())
        elif self.llm is None:
            rows = self._describe_by_keyphrases(activations, texts, y)
        else:
            rows = self._describe_by_llm(activations, texts)
        metrics = (*METRICS, "auc") if self.soft_labels else METRICS
        names = getattr(self, "feature_names_in_", None)
        self.interpretations_ = interpretation_table(rows, metrics, names, self.merge_redundant)
        self.hypotheses_ = self.interpretations_["hypothesis"].tolist()
        # The user's own hypotheses were chosen by none of the rows.
        self._fit_rows = False if self.hypotheses is not None else fit_rows(texts)
        return self

    def fit_transform(self, X, y=None, texts=None):
        """Put the neurons into words, and annotate the same rows.

        Parameters
        ----------
        X, y, texts
            As for :meth:`fit`.

        Returns
        -------
        annotations : DataFrame or ndarray of shape (n_samples, n_hypotheses)
            As from :meth:`transform`; a frame is marked as holding the rows that chose its
            columns, unless the user's own ``hypotheses`` are its columns.
        """
        annotations = self.fit(X, y, texts=texts).transform(X, texts=texts)
        return mark_own_rows(annotations, self._fit_rows)

    def transform(self, X, texts=None):
        """Say of each text whether each hypothesis holds.

        Parameters
        ----------
        X : DataFrame, ndarray or CSR of shape (n_samples, n_neurons)
            Activations, of which only the rows' texts are used; with ``hypotheses`` given,
            also the texts themselves.

        texts : collection of str of length n_samples, default=None
            The texts. None: the index of X.

        Returns
        -------
        annotations : DataFrame or ndarray of shape (n_samples, n_hypotheses)
            1.0 present, 0.0 absent, NaN where the request failed for good or the budget ended;
            for pairs, of the first text less the second. A frame where X is one, or the texts
            themselves, which are then its index.
        """
        check_is_fitted(self)
        check_again(self)
        _, rows, texts = self._check_rows(X, texts, reset=False)
        annotations = self._annotate(texts)
        return mark_fit_rows(like_input(annotations, rows, self), self._fit_rows)

    def get_feature_names_out(self, input_features=None):
        """Names of the annotation columns: the hypotheses, made unique.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        names : ndarray of shape (n_hypotheses,) of str
        """
        check_is_fitted(self)
        return np.array(unique_names(self.hypotheses_), dtype=object)

    def _check_before_fit(self, n_samples):
        """Refuse what cannot work, also for a caller that checks before any step works."""
        check_again(self)
        self._clients()
        if self.hypotheses is not None:
            own_rows(self.hypotheses, has_model=self._has_model())
        elif n_samples < self.n_examples:
            raise ValueError(
                f"{type(self).__name__} got {n_samples} rows, fewer than "
                f"n_examples={self.n_examples}: pass more rows, or set n_examples lower."
            )

    def _has_model(self):
        return self.llm is not None or self.annotator_llm is not None

    def _check_rows(self, X, texts, *, reset):
        """Activations (None where X is texts), the container for an output, and the texts."""
        caller = type(self).__name__
        if self.hypotheses is not None and holds_texts(X):
            check = check_pairs if holds_pairs(X) else check_texts
            own_texts = check(X, caller=caller)
            if reset:
                self.n_features_in_ = own_texts.ndim
            rows = pd.DataFrame(index=text_index(own_texts))
            return None, rows, texts_of(rows, texts, caller=caller)
        with refusing_texts(caller):
            activations = validate_data(
                self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=reset
            )
        rows = X if isinstance(X, pd.DataFrame) else activations
        return activations, rows, texts_of(rows, texts, caller=caller)

    def _clients(self):
        """The clients that word and annotate, checked before any work; None for keyphrases."""
        client = None if self.llm is None else chat_model(self.llm)
        annotator = client if self.annotator_llm is None else chat_model(self.annotator_llm)
        for model in (client, annotator):
            if model is not None:
                model.check()
        return client, annotator

    def _describe_by_keyphrases(self, activations, texts, y):
        target = None
        if y is not None:
            check = (
                check_pair_target if texts.ndim == 2 else partial(check_target, max_classes=None)
            )
            target = check(y, n_samples=len(texts), caller=type(self).__name__)
        rows = keyphrase_rows(texts, activations, target)
        warn_undescribed(self, activations.shape[1], rows)
        return rows

    def _describe_by_llm(self, activations, texts):
        client, annotator = self._clients()
        asking = Asking(
            client,
            annotator,
            metric=self.scoring_metric,
            instructions=self.task_specific_instructions,
            prompt=self.interpretation_prompt,
            refine=self.refine,
            refinement_prompt=self.refinement_prompt,
            max_words=self.max_words_per_example,
            options=self._request_options(),
            annotating=self._annotating(),
        )
        with self._running() as runner:
            rows, errors = llm_rows(
                runner,
                texts,
                activations,
                asking,
                negatives=self.negatives,
                rng=check_random_state(self.random_state),
                n_examples=self.n_examples,
                n_scoring=self.n_scoring_examples,
                n_candidates=self.n_candidates,
                sampling=self.sampling,
                quantile_range=self.quantile_range,
            )
        warn_undescribed(self, activations.shape[1], rows, errors, runner)
        return rows

    def _running(self):
        return running(
            self.usage_,
            cache=self.cache,
            max_requests=self.max_requests,
            max_tokens_total=self.max_tokens_total,
            verbose=bool(self.verbose),
        )

    def _request_options(self):
        options = (("temperature", float, self.temperature), ("max_tokens", int, self.max_tokens))
        return tuple((name, kind(value)) for name, kind, value in options if value is not None)

    def _annotating(self):
        return {
            "per_request": self.concepts_per_request,
            "max_words": self.max_words_per_example,
            "prompt": self.annotation_prompt,
            "soft": self.soft_labels,
            "options": self._request_options(),
        }

    def _annotate(self, texts):
        """Annotations of the texts, (n_texts, n_hypotheses); of pairs, their differences."""
        if texts.ndim == 2:
            first, second = np.split(self._annotate(texts.T.ravel()), 2)
            return first - second
        _, annotator = self._clients()
        if annotator is None:
            return match_phrases(texts, [hypothesis_to_phrases(h) for h in self.hypotheses_])
        with self._running() as runner:
            (annotations,) = annotate(
                runner,
                annotator,
                [(texts, self.hypotheses_)],
                description="Annotating",
                **self._annotating(),
            )
        warn_unanswered(annotations, runner)
        return annotations

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.string = self.hypotheses is not None
        return tags
