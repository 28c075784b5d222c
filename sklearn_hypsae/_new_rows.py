"""What a fitted HypothesisGenerator says of rows it was not fitted on."""

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._asking_splits import annotate_ideas, mean_prediction, score_mean_prediction
from ._counts import n_hypotheses, warn_if_none
from ._discovery_run import check_target_of
from ._fit_rows import mark_fit_rows, seen_rows
from ._held_out import check_covariates
from ._hypothesis_info import check_info_request, effect_of, hypothesis_info
from ._pipeline_parts import annotate, check_rows, cut
from ._targets import check_groups, check_weights
from ._texts import holds_pairs, like_input, row_keys, text_index
from ._warning import warn
from .validation import HypothesisValidator


def _validator_has(method):
    """Whether the last step of the pipeline offers a method."""

    def check(generator):
        pipeline = generator._any_pipeline()
        final = HypothesisValidator() if pipeline is None else pipeline.steps[-1][1]
        getattr(final, method)
        return True

    return check


class NewRowsMixin:
    """Tests, predictions and annotations of new rows, by one split or several."""

    def validate(self, X, y, groups=None, *, covariates=None, sample_weight=None):
        """Test the same hypotheses on other rows.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts that discovery did not see.

        y : array-like of shape (n_samples,)
            Their target.

        groups : array-like of shape (n_samples,), default=None
            Rows that belong together.

        covariates : DataFrame, array-like of shape (n_samples, n_covariates), str or list of \
                str, default=None
            What else may explain y in these rows, as for :meth:`fit`.

        sample_weight : array-like of shape (n_samples,), default=None
            How many texts each row stands for, as for :meth:`fit`.

        Returns
        -------
        validator : HypothesisValidator
            Fitted on these rows: its ``hypotheses_`` is the table, ``metrics_`` the scores.
            Rows whose text discovery saw are warned of, and mark it ``in_sample``.
        """
        check_is_fitted(self)
        X = check_rows(X, self._any_pipeline())
        self._check_same_classes(check_target_of(y, X, self._any_pipeline()))
        groups = check_groups(groups, n_samples=len(X), caller=type(self).__name__)
        covariates = check_covariates(covariates, X)
        weights = check_weights(sample_weight, n_samples=len(X), caller=type(self).__name__)
        n_seen = self._n_seen_by_discovery(X)
        if n_seen:
            warn(
                f"{n_seen} of the {len(X)} rows have a text that discovery saw, so their "
                "p-values are not honest: pass rows that were not used to fit.",
            )
        annotations = mark_fit_rows(self._annotations(X), bool(n_seen))
        return clone(self._validator).fit(
            annotations, y, groups=groups, covariates=covariates, sample_weight=weights
        )

    def get_hypothesis_info(self, i, X=None, y=None, n_texts=3):
        """Tell all there is about one hypothesis, with texts it applies to.

        Parameters
        ----------
        i : int
            Its position in ``hypotheses_``, from 0; with more than two classes among the rows of
            one class.

        X : list, Series or 1-D array of str, or DataFrame, default=None
            Texts to choose from, as for :meth:`predict`. Fit keeps no texts, so without X none
            are shown. They are annotated with this hypothesis only: keyphrases are looked up
            without embedding anything; a language model is asked once for each text that its
            cache does not know, which ``usage_`` of the interpreter counts, so pass few.

        y : array-like of shape (n_samples,), default=None
            The target of X; sorts its texts.

        n_texts : int, default=3
            Most texts to show of each kind.

        Returns
        -------
        info : dict
            - hypothesis : str, the wording.
            - neuron : name of the neuron, None for the user's own hypotheses.
            - candidates : list of str, the wordings it was chosen from.
            - fidelity : dict, how well the wording fits the neuron; the other columns of
              ``interpretations_`` of :class:`LLMInterpreter`.
            - effect : Series, its row of ``hypotheses_``; with more than two classes a DataFrame
              of one row a class.
            - texts : None without X. Else a dict of lists of distinct texts to which the
              hypothesis applies, keyed by the labels in ``classes_``, in the order of X; for a
              regression "low" and "high", with y up to the median of X (lowest first) and
              above it (highest first); "all" without y. Of pairs, tuples of the text to which
              it applies and the other, to which it does not, keyed by what becomes of the
              first: "wins" and "loses" (clearest first). In texts that keyphrases annotated,
              the phrases found are marked, as in ``the waiter was **rude**``.

            Where the pipeline has no :class:`LLMInterpreter` right before the validator, there
            is no neuron, candidate or fidelity, and a text counts if its column is above 0.

        Raises
        ------
        TypeError
            If i is no whole number.

        IndexError
            If there is no such position.

        ValueError
            If n_texts is not positive, y comes without X, X has no texts, or X and y do not fit
            together.
        """
        check_is_fitted(self)
        check_info_request(i, X, y, n_texts, n_hypotheses=n_hypotheses(self.hypotheses_))
        target = None
        if X is not None:
            X = check_rows(X, self._any_pipeline())
            if y is not None:
                target = check_target_of(y, X, self._any_pipeline())
                self._check_same_classes(target)
        number, column = self._worded_by[i] if hasattr(self, "splits_") else (0, i)
        pipeline = self._fitted_generators()[number].pipeline_
        return hypothesis_info(
            column, X, target, n_texts, effect=effect_of(i, self.hypotheses_), pipeline=pipeline
        )

    def predict(self, X):
        """Predict the target from the hypotheses that the texts satisfy.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels for a classification, numbers for a regression.
        """
        check_is_fitted(self)
        if hasattr(self, "splits_"):
            predicted = mean_prediction(self.splits_, check_rows(X, self._any_pipeline()))
            return predicted if predicted.ndim == 1 else self.classes_[predicted.argmax(axis=1)]
        return self._validator.predict(self._annotations(X))

    @available_if(_validator_has("predict_proba"))
    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        if hasattr(self, "splits_"):
            return mean_prediction(self.splits_, check_rows(X, self._any_pipeline()))
        return self._validator.predict_proba(self._annotations(X))

    def score(self, X, y):
        """Score the predictions: AUC for a classification, R² for a regression.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts.

        y : array-like of shape (n_samples,)
            Target.

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        if hasattr(self, "splits_"):
            X = check_rows(X, self._any_pipeline())
            return score_mean_prediction(self.splits_, X, y)
        return self._validator.score(self._annotations(X), y)

    def transform(self, X):
        """Annotate texts with the significant hypotheses.

        Parameters
        ----------
        X : list, Series or 1-D array of str, or DataFrame
            Texts.

        Returns
        -------
        annotations : DataFrame or ndarray of shape (n_samples, n_significant)
            What the validator's transform gives: 1 present, 0 absent.
        """
        check_is_fitted(self)
        if hasattr(self, "splits_"):
            X = check_rows(X, self._any_pipeline())
            significant = np.flatnonzero(self.hypotheses_["significant"])
            warn_if_none(len(significant))
            kept = self._annotations_of_ideas(X, significant)
        else:
            kept = self._validator.transform(self._annotations(X))
        return like_input(np.asarray(kept), kept, self)

    def get_feature_names_out(self, input_features=None):
        """Name the columns of the output: the significant hypotheses.

        Parameters
        ----------
        input_features : None
            Ignored, as texts have no feature names.

        Returns
        -------
        names : ndarray of shape (n_significant,), dtype=object
        """
        check_is_fitted(self)
        table = self.hypotheses_
        return table.loc[table["significant"], "hypothesis"].to_numpy(dtype=object)

    def _check_same_classes(self, target):
        if target.classes is not None and not np.array_equal(target.classes, self.classes_):
            raise ValueError(
                "HypothesisGenerator was fitted on other classes than y now has: pass the same "
                "labels, or the signs of all effects would mean something else."
            )

    def _fitted_generators(self):
        """The generators of the splits; of a single split, this one."""
        return getattr(self, "splits_", [self])

    def _any_pipeline(self):
        """A pipeline that says what kind of rows and target this is about."""
        return getattr(self._fitted_generators()[0], "pipeline_", self.pipeline)

    @property
    def _validator(self):
        return self._any_pipeline().steps[-1][1]

    def _n_seen_by_discovery(self, X):
        """Count the rows that had a say in the hypotheses; none has in the user's own."""
        interpret = cut(self._any_pipeline()).interpret
        if interpret is not None and interpret.hypotheses is not None:
            return 0
        seen = [each._discovery_fingerprints for each in self._fitted_generators()]
        return seen_rows(np.concatenate(seen), X).sum()

    def _annotations(self, X):
        """Annotations of new rows by all hypotheses of the table, from the fitted steps."""
        X = check_rows(X, self._any_pipeline())
        if hasattr(self, "splits_"):
            return self._annotations_of_ideas(X, np.arange(len(self.hypotheses_)))
        parts = cut(self.pipeline_)
        return annotate(parts, parts.embed.transform(X), X)

    def _annotations_of_ideas(self, X, ideas):
        annotations = annotate_ideas(self.splits_, self._worded_by[ideas], X)
        has_index = isinstance(X, pd.DataFrame) and not holds_pairs(X)
        index = X.index if has_index else text_index(row_keys(X))
        return pd.DataFrame(annotations, index, self.hypotheses_["hypothesis"].iloc[ideas])
