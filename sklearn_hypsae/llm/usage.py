"""What a run has used so far, and its progress bar."""

import time

from tqdm.auto import tqdm

COUNTERS = (
    "requests",
    "cached",
    "retried",
    "failed",
    "prompt_tokens",
    "completion_tokens",
    "seconds",
)


def no_usage():
    """Give counters that stand at zero."""
    return {**dict.fromkeys(COUNTERS, 0), "seconds": 0.0, "money": None}


def add_money(usage, prices, completion):
    """Count what a completion cost, where the prices per million tokens are known."""
    if prices is not None:
        per_prompt, per_completion = prices
        cost = completion.prompt_tokens * per_prompt + completion.completion_tokens * per_completion
        usage["money"] = (usage["money"] or 0.0) + cost / 1e6


class Progress:
    """A progress bar over the requests of one batch that also shows failures and tokens.

    Parameters
    ----------
    total : int
        Number of requests.

    description : str
        What is being done.

    show : bool
        Whether to show anything.
    """

    def __init__(self, total, description, show):
        self._bar = tqdm(
            total=total, desc=description, unit="request", disable=not (show and total)
        )
        self._shown = 0.0

    def step(self, usage, n=1):
        """Advance, and show the counters at most a few times a second."""
        now = time.monotonic()
        if not self._bar.disable and now - self._shown > 0.2:
            self._shown = now
            self._show(usage)
        self._bar.update(n)

    def close(self, usage):
        """Leave the bar as it stands, with the last counts."""
        if not self._bar.disable:
            self._show(usage)
        self._bar.close()

    def _show(self, usage):
        tokens = usage["prompt_tokens"] + usage["completion_tokens"]
        self._bar.set_postfix(
            failed=usage["failed"], retried=usage["retried"], tokens=tokens, refresh=False
        )
