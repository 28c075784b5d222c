"""A run of requests: answered from the cache where possible, counted, and kept within a budget."""

import contextlib
import logging
import math
import sqlite3
import time

from .._warning import warn
from .base import Completion, CompletionError, LLMError, Monitor
from .cache import AnswerCache, request_keys
from .usage import Progress, add_money

CHARACTERS_PER_TOKEN = 4
REASK_ROUNDS = 3

logger = logging.getLogger(__name__)


class Runner:
    """Send requests to clients, with one cache, one budget and one set of counters.

    Parameters
    ----------
    usage : dict
        Counters as from :func:`~sklearn_hypsae.llm.usage.no_usage`, counted up in place.

    cache : AnswerCache or None
        Where answers are looked up and kept.

    max_requests : int or None
        Requests that may be sent in all, those already counted in ``usage`` included.

    max_tokens_total : int or None
        Tokens that may be used in all, likewise.

    verbose : bool
        Show progress bars.

    Attributes
    ----------
    n_unsent : int
        Requests without an outcome, because a budget ended before them.

    spent : str or None
        The budget that ended, by its parameter's name.

    errors : list of CompletionError
        Of requests that failed for good.
    """

    def __init__(
        self, usage, *, cache=None, max_requests=None, max_tokens_total=None, verbose=False
    ):
        self.usage = usage
        self.cache = cache
        self.max_requests = max_requests
        self.max_tokens_total = max_tokens_total
        self.verbose = verbose
        self.n_unsent = 0
        self.spent = None
        self.errors = []

    def ask(self, client, requests, *, accept, description, also=()):
        """Ask each distinct request once.

        Parameters
        ----------
        client : ChatModel

        requests : list of Request

        accept : callable
            ``(request, text) -> bool``: whether an answer has the form asked for.

        description : str
            Names the progress bar.

        also : collection of ChatModel, default=()
            Clients of which the answers will then be asked: where one of them cannot answer,
            nothing is sent.

        Returns
        -------
        outcomes : list of Completion, CompletionError or None
            One a request; None where a budget ended before it.

        Raises
        ------
        LLMError
            If no request can succeed. Answers so far are in the cache.
        """
        distinct = list(dict.fromkeys(requests))
        keys = dict(zip(distinct, request_keys(client.identity(), distinct), strict=True))
        answers = self.cached(keys, accept)
        missing = [request for request in distinct if request not in answers]
        self.usage["cached"] += len(answers)
        logger.info(
            "%s: %s%d requests to send, %d answered already",
            description,
            "" if self.max_tokens_total is None else "at most ",
            min(len(missing), self.requests_left()),
            len(answers),
        )
        for other in also if missing else ():
            other.reach()
        progress = Progress(len(missing), description, self.verbose)
        started = time.monotonic()
        try:
            for batch in _batches(missing, client.batch_size):
                run = _Run(self, client, batch, keys, accept, progress)
                answers.update(run.answer_all())
        finally:
            self.usage["seconds"] += time.monotonic() - started
            progress.close(self.usage)
        self.n_unsent += len(distinct) - len(answers)
        return [answers.get(request) for request in requests]

    def requests_left(self):
        """Requests that the budget of requests still allows; infinite without one."""
        if self.max_requests is None:
            return math.inf
        return max(0, self.max_requests - self.usage["requests"])

    def cached(self, keys, accept):
        """Answers that the cache has.

        Parameters
        ----------
        keys : dict of Request to bytes

        accept : callable
            As for :meth:`ask`; what it refuses counts as not there.

        Returns
        -------
        answers : dict of Request to Completion
        """
        if self.cache is None:
            return {}
        try:
            found = self.cache.get(list(keys.values()))
        except sqlite3.Error as error:
            self._drop_cache(error)
            return {}
        return {
            request: found[key]
            for request, key in keys.items()
            if key in found and accept(request, found[key].text)
        }

    def keep(self, key, completion):
        """Put an answer into the cache."""
        if self.cache is None:
            return
        try:
            self.cache.put(key, completion)
        except sqlite3.Error as error:
            self._drop_cache(error)

    def _drop_cache(self, error):
        """Go on without a cache: what is asked is worth more than what could be kept."""
        warn(
            f"The answer cache {self.cache.path} failed ({error}): the run goes on without it.",
        )
        self.cache = None


class _Run(Monitor):
    """One batch on its way: decides on each request and takes its outcome."""

    def __init__(self, runner, client, requests, keys, accept, progress):
        self.runner, self.client, self.requests = runner, client, requests
        self.keys, self.accept, self.progress = keys, accept, progress
        self.outcomes = {}
        # Requests under way, and the tokens each is expected to take.
        self.waiting = {}
        self._n_expected = self._n_answers = self._answer_tokens = 0

    def answer_all(self):
        """Outcomes by request; requests that the budget left out are not among them."""
        returned = self._complete(self.requests)
        for position, outcome in enumerate(returned):
            if outcome is not None and self.requests[position] not in self.outcomes:
                self.record(position, outcome)
        return self.outcomes

    def _complete(self, requests):
        if self.client.batch_size is None:
            return self.client.complete(requests, self)
        # A client that takes a batch at a time cannot ask for each request.
        outcomes, n_asked = {}, [0] * len(requests)
        while True:
            allowed = []
            for i in range(len(requests)):
                if n_asked[i] > REASK_ROUNDS or self._settled(outcomes, i):
                    continue
                permitted = self.permit(requests[i])
                if not permitted:
                    break
                allowed.append(i)
            if not allowed:
                break
            asked = [requests[i] for i in allowed]
            answered = _checked(self.client.complete(asked, self), asked, self.client)
            outcomes.update(zip(allowed, answered, strict=True))
            for i in allowed:
                n_asked[i] += 1
                if not self._settled(outcomes, i):
                    self.retried(requests[i], outcomes[i])
                elif requests[i] not in self.outcomes:
                    # Kept before the rest is asked again, which may take a batch's whole day.
                    self.record(i, outcomes[i])
            self.client.forget(asked)
        return [
            outcomes.get(i) if i not in outcomes or self._settled(outcomes, i) else off_format()
            for i in range(len(requests))
        ]

    def _settled(self, outcomes, position):
        outcome = outcomes.get(position)
        if isinstance(outcome, Completion):
            return self.accept(self.requests[position], outcome.text)
        return isinstance(outcome, CompletionError)

    def permit(self, request):
        """Count one more request, unless a budget forbids it."""
        runner, usage = self.runner, self.runner.usage
        if not runner.requests_left():
            runner.spent = "max_requests"
            return False
        expected = 0
        if runner.max_tokens_total is not None:
            answer = self._usual_answer(request)
            if self.waiting and answer is None:
                return None
            expected = len(request.prompt) // CHARACTERS_PER_TOKEN + 1 + (answer or 0)
            used = usage["prompt_tokens"] + usage["completion_tokens"] + self._n_expected
            if used + expected > runner.max_tokens_total:
                if self.waiting:
                    return None
                runner.spent = "max_tokens_total"
                return False
        usage["requests"] += 1
        self.waiting[request] = expected
        self._n_expected += expected
        return True

    def _usual_answer(self, request):
        """Tokens an answer will take, as far as can be told; None before the first has come."""
        if self._n_answers:
            return self._answer_tokens / self._n_answers
        return dict(request.options).get("max_tokens")

    def _has_come(self, request):
        self._n_expected -= self.waiting.pop(request, 0)

    def retried(self, request, wasted=None):
        """Count a request that failed for now, and what its refused answer cost."""
        self._has_come(request)
        self.runner.usage["retried"] += 1
        if wasted is not None:
            self._count_tokens(wasted)

    def withdrawn(self, request):
        """Count a request that was refused unread as not sent: it costs nothing."""
        self._has_come(request)
        self.runner.usage["requests"] -= 1

    def record(self, position, outcome):
        """Count an outcome, and keep it where it is an answer."""
        request, usage = self.requests[position], self.runner.usage
        self._has_come(request)
        self.outcomes[request] = outcome
        if isinstance(outcome, Completion):
            self._count_tokens(outcome)
            self.runner.keep(self.keys[request], outcome)
        else:
            usage["failed"] += 1
            self.runner.errors.append(outcome)
        self.progress.step(usage)

    def _count_tokens(self, completion):
        self._n_answers += 1
        self._answer_tokens += completion.completion_tokens
        self.runner.usage["prompt_tokens"] += completion.prompt_tokens
        self.runner.usage["completion_tokens"] += completion.completion_tokens
        add_money(self.runner.usage, self.client.prices, completion)


def _checked(outcomes, requests, client):
    """Refuse what a backend must not return, in words for whoever writes one."""
    kinds = (Completion, CompletionError, type(None))
    outcomes = list(outcomes) if isinstance(outcomes, list | tuple) else [outcomes]
    is_right = len(outcomes) == len(requests) and all(
        isinstance(outcome, kinds) and isinstance(getattr(outcome, "text", ""), str)
        for outcome in outcomes
    )
    if not is_right:
        raise LLMError(
            f"{type(client).__name__}.complete() has to return a list with one Completion of a "
            f"str, or CompletionError, for each of its {len(requests)} requests."
        )
    return outcomes


def off_format():
    """Error for an answer that stayed in the wrong form; it does not quote the answer."""
    return CompletionError("The answers were not in the form that was asked for.")


@contextlib.contextmanager
def running(usage, *, cache, **limits):
    """Open a run and close its cache at the end.

    Parameters
    ----------
    usage : dict
        Counted up in place.

    cache : "auto", path-like or None
        Where answers are kept.

    **limits
        For :class:`Runner`.

    Yields
    ------
    runner : Runner
    """
    opened = None if cache is None else AnswerCache(cache)
    try:
        yield Runner(usage, cache=opened, **limits)
    finally:
        if opened is not None:
            opened.close()


def _batches(requests, size):
    size = size or max(1, len(requests))
    return [requests[start : start + size] for start in range(0, len(requests), size)]
