"""The five steps put together, and hypotheses tested on rows that discovery never saw."""

import warnings
from numbers import Integral, Real

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, get_tags

from ._discovery_run import checked_rows, discover, seeded_pipeline, split_rows, warn_dependent
from ._fit_rows import mark_fit_rows, text_fingerprints
from ._held_out import share_of_ceiling
from ._new_rows import NewRowsMixin
from ._pipeline_parts import (
    annotate_neurons,
    check_steps,
    joined,
    settle_pairs,
    settle_task,
    takes_numbers,
)
from ._probe import warn_no_signal
from ._several_splits import check_several, fit_splits
from ._sklearn import HasMethods, Interval, fit_context
from ._stock_pipeline import make_hypothesis_pipeline
from ._tables import TablesMixin
from ._texts import row_keys

__all__ = ["HypothesisGenerator", "make_hypothesis_pipeline"]


class HypothesisGenerator(NewRowsMixin, TablesMixin, TransformerMixin, BaseEstimator):
    """Discover hypotheses on some rows and test them on the others.

    p-values computed on the rows that chose the hypotheses are worthless: on pure noise most
    of them fall below .05. This estimator fits all steps but the last on the discovery rows
    and the last, the validator, once on the validation rows [1]_. Another split finds other
    hypotheses: ``n_repeats`` and ``cv`` tell which come back.

    Parameters
    ----------
    pipeline : Pipeline, default=None
        Steps that end in a :class:`HypothesisValidator`. None: what
        :func:`make_hypothesis_pipeline` builds. It is cloned, and steps whose
        ``random_state`` is None get one drawn from ``random_state``.

    validation_size : float, default=0.25
        Share of the rows (of the groups, where given) that is held out to test the
        hypotheses.

    random_state : int, RandomState instance or None, default=None
        Splits the rows, seeds the steps that have no seed of their own, and draws the
        bootstrap samples of ``signal_``.

    n_repeats : int, default=1
        How many times to split the rows, discover and test, each time with other seeds (the
        first time with those set on the pipeline). Above 1 the table has a row an idea, found
        in one or more of the splits (see Notes). A language model is paid that many times.

    cv : int or splitter, default=None
        Hold every row out once: discover on all folds but one, test on that one, for each of so
        many folds (or as a splitter of scikit-learn says). Whole groups and identical texts
        stay in one fold, classes are stratified. The table is as for ``n_repeats``.

    Attributes
    ----------
    pipeline_ : Pipeline
        The fitted steps; the validator's coefficients predict. Only with a single split.

    splits_ : list of HypothesisGenerator
        One a split, fitted, each as if it had been fitted alone: with its own table,
        ``pipeline_`` and rows. Only with ``n_repeats`` above 1 or ``cv``.

    hypotheses_ : DataFrame of shape (n_hypotheses, n_statistics)
        One tested hypothesis a row; see :class:`HypothesisValidator`. Over several splits one
        idea a row, those most often found first, then by p-value:

        - hypothesis : the wording that goes best with the others of the idea.
        - n_found : in how many splits the idea came back.
        - p-values : twice the median over all splits, a split that did not find the idea, or
          could not test it, counting as 1. So only what half of the splits found can be
          significant. ``corrected_pval`` is that of the corrected ones.
        - other numbers : medians over the splits that found the idea. So an interval is typical
          of one split.

    hypotheses_by_split_ : DataFrame of shape (n_hypotheses_of_all_splits, n_statistics + 2)
        The tables of ``splits_`` one below the other, with ``split`` and with ``idea``, the
        position in ``hypotheses_``. Only over several splits.

    metrics_ : dict
        Scores of all hypotheses together, see :class:`HypothesisValidator`, and

        - share_of_ceiling : how much of what the embeddings say about y the hypotheses say:
          ``(score - chance) / (ceiling - chance)``. The ceiling is the score of ``signal_``,
          the other score auc_cv or r2_cv of the hypotheses alone, whatever the covariates.
          Below 0 where they predict worse than chance. NaN where the ceiling does not exceed
          chance, or there is none.
        - n_splits : only over several splits. Scores and bounds of intervals are then means over
          them, with ``cv`` over all rows; counts are of ideas, and rows are counted as often as
          they were held out.

    covariates_ : DataFrame of shape (n_covariates, n_statistics)
        Coefficients of the covariates; empty without covariates.

    signal_ : dict or None
        How well a ridge or logistic probe of the raw embeddings predicts the validation rows,
        the ceiling for any hypotheses: ``metric``, ``score``, ``ci_low``, ``ci_high`` (95%
        bootstrap interval, by groups where given) and ``chance``. None where the pipeline
        embeds nothing. Over several splits the means.

    discovery_rows_, validation_rows_ : ndarray of int
        Positions of the rows in X that found and that tested the hypotheses. Only with a single
        split.

    multinomial_ : DataFrame of shape (n_hypotheses, 5)
        Joint tests over all classes, see :class:`HypothesisValidator`; only with more than two.

    classes_ : ndarray of shape (n_classes,)
        Labels in sorted order; only for classification.

    See Also
    --------
    make_hypothesis_pipeline : The pipeline used by default.

    Notes
    -----
    Over several splits, hypotheses are the same idea where they hold for the same rows
    (correlation of .4 or more on average, over rows that all are looked up on; for a language
    model, of the neurons, so that matching asks nothing of it) or say the same words. Each is
    tested, beside the others of its split, on rows its discovery did not see. Splits overlap, so
    their p-values depend on each other; twice the median is valid all the same [2]_: the chance
    that any idea without effect is significant stays below the validator's alpha, with
    "bonferroni" or "holm" as its correction, however the ideas are matched. It is cautious, the
    more so the fewer splits found the idea.

    ``predict``, ``predict_proba`` and ``score`` then average the splits; ``transform``,
    ``validate`` and ``get_hypothesis_info`` use one wording an idea. Budgets of a language model
    (``max_requests``, ``max_tokens_total``) are divided evenly among the splits, and the number
    of annotation requests is logged before the first is sent.

    References
    ----------
    .. [1] Movva, Peng, Garg, Kleinberg and Pierson (2025), "Sparse Autoencoders for
       Hypothesis Generation", arXiv 2502.04382.
    .. [2] Meinshausen, Meier and Bühlmann (2009), "p-Values for High-Dimensional Regression",
       Journal of the American Statistical Association 104.

    Examples
    --------
    >>> from sklearn_hypsae import HypothesisGenerator, make_hypothesis_pipeline
    >>> from sklearn_hypsae.datasets import load_movie_reviews
    >>> reviews = load_movie_reviews("rotten_tomatoes", n_samples=400, random_state=0)
    >>> pipeline = make_hypothesis_pipeline(M=16, K=4, n_hypotheses=3, random_state=0)
    >>> generator = HypothesisGenerator(pipeline, random_state=0)
    >>> generator = generator.fit(reviews.texts, reviews.y)
    >>> len(generator.validation_rows_)
    100
    >>> generator.metrics_["n_rows"], generator.metrics_["in_sample"]
    (100, False)
    >>> sorted(generator.get_hypothesis_info(0, reviews.texts, reviews.y, n_texts=1))
    ['candidates', 'effect', 'fidelity', 'hypothesis', 'neuron', 'texts']
    """

    _parameter_constraints = {
        "pipeline": [Pipeline, None],
        "validation_size": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "cv": [
            Interval(Integral, 2, None, closed="left"),
            HasMethods(["split", "get_n_splits"]),
            None,
        ],
    }

    def __init__(
        self, pipeline=None, *, validation_size=0.25, random_state=None, n_repeats=1, cv=None
    ):
        self.pipeline = pipeline
        self.validation_size = validation_size
        self.random_state = random_state
        self.n_repeats = n_repeats
        self.cv = cv

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, groups=None, *, covariates=None, sample_weight=None):
        """Split the rows, discover hypotheses on one part and test them on the other.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts; a frame of two columns of them for pairs. Where the pipeline starts from
            embeddings, a frame whose index is the texts.

        y : array-like of shape (n_samples,)
            Target: numbers, or two classes or more. Three or more that are numbers are classes
            where the task of the validator is "classification". For pairs 1 where the first text
            wins and 0 (or -1) where the second does, or a number that says by how much the first
            is ahead.

        groups : array-like of shape (n_samples,), default=None
            Rows that belong together (chunks of one document, reviews by one author). They
            stay on one side of the split, and the table is cluster-robust.

        covariates : DataFrame, array-like of shape (n_samples, n_covariates), str or list of \
                str, default=None
            What else may explain y: hypotheses are tested given it, on the validation rows;
            discovery does not see it. See :meth:`HypothesisValidator.fit`.

        sample_weight : array-like of shape (n_samples,), default=None
            How many texts each row stands for, in the tests and scores; discovery does not weigh
            its rows. See :meth:`HypothesisValidator.fit`.

        Returns
        -------
        self : HypothesisGenerator

        Raises
        ------
        ValueError
            If texts, target, groups, covariates, weights or a step's parameters cannot work;
            said before any embedding or training.
        """
        rng = check_random_state(self.random_state)
        pipeline = seeded_pipeline(self.pipeline, rng)
        rows = checked_rows(
            X, y, pipeline, groups=groups, covariates=covariates, sample_weight=sample_weight
        )
        settle_task(pipeline, rows.target.task)
        self._pairs = rows.are_pairs
        if self._pairs:
            settle_pairs(pipeline)
        check_several(pipeline, n_repeats=self.n_repeats, cv=self.cv)
        warn_dependent(rows)
        self._forget()
        if self.n_repeats > 1 or self.cv is not None:
            vars(self).update(fit_splits(self, rows, rng))
        else:
            split = split_rows(rows, self.validation_size, rng)
            check_steps(pipeline, n_discovery=len(split[0]))
            discovery = self._discover(pipeline, rows, split, rng)
            self._test(rows.take(split[1]), discovery)
        self._set_input_features(rows.X)
        if self.signal_ is not None:
            warn_no_signal(self.signal_)
        return self

    def _forget(self):
        """Drop what an earlier fit left, which may be of another kind."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _discover(self, pipeline, rows, split, rng, embedding=None):
        """Find hypotheses on the first part of a split."""
        self.discovery_rows_, self.validation_rows_ = split
        discovery = discover(pipeline, rows, split, rng, embedding)
        self.pipeline_ = joined(discovery.parts, pipeline)
        self.signal_ = discovery.signal
        self._discovery_fingerprints = text_fingerprints(row_keys(rows.X)[split[0]].ravel())
        return discovery

    def _test(self, rows, discovery):
        """Annotate the rows held out and fit the validator on them."""
        annotations = annotate_neurons(discovery.parts, discovery.neurons_held_out, rows.X)
        annotations = mark_fit_rows(annotations, False)
        options = {"groups": rows.groups, "sample_weight": rows.sample_weight}
        validator = self._validator.fit(annotations, rows.y, covariates=rows.covariates, **options)
        self.hypotheses_ = validator.hypotheses_
        self.covariates_ = validator.covariates_
        self.metrics_ = dict(validator.metrics_)
        if hasattr(validator, "classes_"):
            self.classes_ = validator.classes_
        if hasattr(validator, "multinomial_"):
            self.multinomial_ = validator.multinomial_
        unadjusted = self.metrics_
        if rows.covariates is not None:
            with warnings.catch_warnings():
                # Whatever is wrong with these rows was said above.
                warnings.simplefilter("ignore")
                unadjusted = clone(validator).fit(annotations, rows.y, **options).metrics_
        self.metrics_["share_of_ceiling"] = share_of_ceiling(unadjusted, self.signal_)

    def _set_input_features(self, X):
        self.n_features_in_ = X.shape[1] if isinstance(X, pd.DataFrame) else 1
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = X.columns.to_numpy(dtype=object)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "metrics_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        pipeline = self._any_pipeline()
        if pipeline is not None:
            final = get_tags(pipeline.steps[-1][1])
            tags.estimator_type = final.estimator_type
            tags.classifier_tags = final.classifier_tags
            tags.regressor_tags = final.regressor_tags
        starts_from_texts = pipeline is None or not takes_numbers(pipeline)
        tags.input_tags.two_d_array = not starts_from_texts
        tags.input_tags.string = starts_from_texts
        tags.target_tags.required = True
        return tags
