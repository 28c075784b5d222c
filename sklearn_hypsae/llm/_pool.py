"""Many requests at once: how many, when to try again, and when to give up.

Nothing here knows what is asked or how it is sent.
"""

import asyncio
import contextlib
import heapq
import logging
import signal
import threading

from .base import CompletionError, LLMError, Refused

FIRST_DELAY = 0.05
# Rates are limited by the minute: eight of these delays last about one.
FIRST_DELAY_WHEN_BUSY = 0.25
LONGEST_DELAY = 30.0
LONGEST_PROBE_DELAY = 2.0
FAILURES_THAT_MEAN_DOWN = 8
# As many refused in a row, and it may not be the prompts.
REFUSALS_THAT_MEAN_ALL = 8
CONTROL_PROMPT = "Say yes."
REDUCTIONS_IN_VAIN = 2
# Patience with a server that never answered anything: not there, or there and failing.
UNREACHED_SECONDS = 4.0
UNANSWERED_SECONDS = 60.0
DRAIN_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Retry(Exception):
    """A request failed in a way that may pass.

    Parameters
    ----------
    kind : {"busy", "server", "unreachable", "answer", "request"}
        Refused for now; failed on the server or on the way; no server there; answered in the
        wrong form; to be sent in another form.

    detail : str
        What happened, in words.

    after : float, default=None
        Seconds the server asks to wait.

    wasted : Completion, default=None
        The refused answer.
    """

    def __init__(self, kind, detail, after=None, wasted=None):
        super().__init__(detail)
        self.kind, self.detail, self.after, self.wasted = kind, detail, after, wasted


class Throttle:
    """Decide how many requests may be under way, from how many are refused as too many.

    The limit shrinks by the share that is refused and grows again by a tenth. Refusals that
    do not become fewer with fewer requests are not our doing: the limit then goes back, and
    that share is tolerated from there on.

    Parameters
    ----------
    most : int
        The largest limit, and the first.
    """

    tolerated = 0.1

    def __init__(self, most):
        self.most = most
        self.limit = float(most)
        self.tolerance = self.tolerated
        self._n_answered = self._n_refused = self._n_stale = 0
        self._before = None
        self._n_in_vain = 0

    def observe(self, refused):
        """Take note of one answer of the server."""
        if self._n_stale > 0:
            self._n_stale -= 1
            return
        self._n_answered += 1
        self._n_refused += refused
        if self._n_answered >= max(20, self.limit):
            self._adjust(self._n_refused / self._n_answered)
            self._n_answered = self._n_refused = 0

    def _adjust(self, share):
        if share <= self.tolerance:
            self._before = None
            self.limit = min(float(self.most), self.limit + max(1.0, 0.1 * self.limit))
            self.tolerance = max(self.tolerated, 0.98 * self.tolerance)
            return
        if self._before is None or share <= 0.7 * self._before[1]:
            self._before, self._n_in_vain = (self.limit, share), 0
        else:
            self._n_in_vain += 1
        if self._n_in_vain >= REDUCTIONS_IN_VAIN:
            self.limit = self._before[0]
            self.tolerance = 1.5 * share
            self._before = None
        else:
            # Requests under way were sent under the old limit and tell nothing of the new one.
            self._n_stale = int(self.limit)
            self.limit = max(1.0, self.limit * (1 - share))


class Pool:
    """Send all of a list of requests, each until it is answered or given up.

    A request waits for its next attempt without holding a place. When nothing at all gets
    through any more, one request at a time probes whether the server is back, rather one that
    has not failed yet, and these attempts are not held against it.

    Parameters
    ----------
    send : callable
        ``async (request) -> Completion``; raises :class:`Retry`, CompletionError or LLMError.

    requests : list of Request

    monitor : Monitor

    max_concurrency : int
        Largest number of requests under way.

    max_retries : int
        Attempts after the first.

    max_outage : float
        Seconds to wait for a server that has gone away.

    rng : random.Random
        Spreads the waiting times.

    is_known : bool, default=False
        Whether the server answered not long before, and is worth waiting for if it is away.
    """

    def __init__(
        self,
        send,
        requests,
        monitor,
        *,
        max_concurrency,
        max_retries,
        max_outage,
        rng,
        is_known=False,
    ):
        self.send, self.requests, self.monitor = send, requests, monitor
        self.max_retries, self.max_outage, self.rng = max_retries, max_outage, rng
        self.throttle = Throttle(max_concurrency)
        self.outcomes = [None] * len(requests)
        self._fresh = iter(range(len(requests)))
        self._has_fresh = True
        self._delayed = []
        self._attempts = [0] * len(requests)
        self._tasks = set()
        self._fatal = self._control = None
        self._stopped = False
        self.is_known, self.n_answers = is_known, 0
        self._is_paused = False
        self._failures_in_row = self._refusals_in_row = 0
        self._down_since = None
        self._next_probe = 0.0
        self._n_accepted = self._n_off_format = 0
        self._usual_seconds = 0.1

    async def run(self):
        """Work until every request has an outcome or nothing more may be sent.

        Returns
        -------
        outcomes : list of Completion, CompletionError or None
        """
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._wake = asyncio.Event()
        try:
            while True:
                self._wake.clear()
                self._start_what_may_start()
                if self._fatal is not None:
                    await self.stop()
                    raise self._fatal
                if not self._tasks and (self._stopped or not self._delayed):
                    return self.outcomes
                await self._wait()
        finally:
            for task in self._tasks:
                task.cancel()

    async def stop(self):
        """Send nothing more; give what is under way a moment to arrive."""
        self._stopped = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=DRAIN_SECONDS)
        for task in self._tasks:
            task.cancel()
        self._wake.set()

    async def _wait(self):
        """Wait until a request ends or the next one is due."""
        timer = None
        if not self._stopped and not self._is_paused and len(self._tasks) < self._places():
            if self._down_since is not None:
                timer = self._loop.call_at(self._next_probe, self._wake.set)
            elif self._delayed:
                timer = self._loop.call_at(self._delayed[0][0], self._wake.set)
        await self._wake.wait()
        if timer is not None:
            timer.cancel()

    def _places(self):
        return 1 if self._down_since is not None else max(1, int(self.throttle.limit))

    def _start_what_may_start(self):
        while len(self._tasks) < self._places():
            position = self._take()
            if position is None:
                return
            task = self._loop.create_task(self._work_from(position))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _work_from(self, position):
        """Attempt one request after another for as long as there is a place for it.

        The next one is sent in the very step that read the last answer. Sent by way of the
        main loop, it would wait until all the answers that had come in by then were read.
        """
        while position is not None:
            await self._attempt(position)
            position = self._take() if len(self._tasks) <= self._places() else None

    def _take(self):
        """Choose a request to send now; None where nothing may be sent or is due."""
        now = self._loop.time()
        if self._stopped or self._fatal is not None:
            return None
        if self._down_since is not None and now < self._next_probe:
            return None
        position = self._next_position(now)
        if position is None:
            return None
        permitted = self.monitor.permit(self.requests[position])
        if permitted:
            return position
        heapq.heappush(self._delayed, (0.0, position))
        self._is_paused = permitted is None
        self._stopped = not self._is_paused
        return None

    def _next_position(self, now):
        """Requests whose waiting is over come before those not tried yet.

        Where nothing gets through it is the other way round: what has failed may fail by itself.
        """
        is_down = self._down_since is not None
        if self._delayed and self._delayed[0][0] <= now and not is_down:
            return heapq.heappop(self._delayed)[1]
        position = next(self._fresh, None)
        if position is None and self._delayed and is_down:
            return heapq.heappop(self._delayed)[1]
        self._has_fresh = position is not None
        return position

    def _ended(self, task):
        self._tasks.discard(task)
        self._is_paused = False
        if not task.cancelled() and task.exception() is not None:
            self._fatal = task.exception()
        self._wake.set()

    async def _attempt(self, position):
        request = self.requests[position]
        started = self._loop.time()
        try:
            completion = await self.send(request)
            if not self.monitor.accept(request, completion.text):
                detail = "The answers were not in the form asked for"
                if not completion.text:
                    detail = "The answers were empty, or cut off before their end (max_tokens)"
                raise Retry("answer", detail, None, completion)
        except Retry as failure:
            if failure.kind == "request":
                self.monitor.withdrawn(request)
            else:
                self.monitor.retried(request, failure.wasted)
            self._note_failure(failure)
            self._try_again(position, failure)
            if failure.kind == "busy":
                # Refusals come fast: without this pause one free place would collect them
                # by the dozen, and their share would say nothing about the capacity.
                await asyncio.sleep(self._usual_seconds - (self._loop.time() - started))
        except CompletionError as error:
            self._note_answer()
            self._settle(position, error)
        except Refused as refusal:
            self._refusals_in_row += 1
            is_doubtful = self._refusals_in_row >= REFUSALS_THAT_MEAN_ALL
            if (is_doubtful or not self._n_accepted) and not await self._control_passes(request):
                raise
            self._note_answer()
            self._settle(position, CompletionError(refusal.of_this_one))
        else:
            self._n_accepted += 1
            self._refusals_in_row = 0
            self._usual_seconds += 0.1 * (self._loop.time() - started - self._usual_seconds)
            self._note_answer()
            self._settle(position, completion)

    async def _control_passes(self, request):
        """Whether a request of the same form with a harmless prompt is answered."""
        if self._control is None:
            self._control = self._loop.create_task(self._send_control(request))
        return await asyncio.shield(self._control)

    async def _send_control(self, request):
        control = request._replace(prompt=CONTROL_PROMPT)
        try:
            try:
                await self.send(control)
            except Retry as failure:
                if failure.kind != "request":
                    raise
                await self.send(control)
        except (LLMError, CompletionError, Retry):
            return False
        finally:
            self._control = None
        self._refusals_in_row = 0
        return True

    def _settle(self, position, outcome):
        self.outcomes[position] = outcome
        self.monitor.record(position, outcome)

    def _note_answer(self):
        self.n_answers += 1
        self._failures_in_row = 0
        self._down_since = None
        self.throttle.observe(False)

    def _note_failure(self, failure):
        if failure.kind in ("answer", "request"):
            self._n_off_format += failure.kind == "answer"
            self._note_answer()
            return
        now = self._loop.time()
        self._failures_in_row += 1
        if self._down_since is None:
            self.throttle.observe(failure.kind == "busy")
            if self._failures_in_row >= FAILURES_THAT_MEAN_DOWN:
                self._down_since = now
                self._n_probes = 0
                logger.warning(
                    "%s, %d times in a row: trying one request at a time for up to %g s",
                    failure.detail,
                    self._failures_in_row,
                    self.max_outage,
                )
        if self._down_since is not None:
            self._n_probes += 1
            pause = min(LONGEST_PROBE_DELAY, 4 * FIRST_DELAY * 2**self._n_probes)
            self._next_probe = now + max(pause, min(failure.after or 0.0, self.max_outage))
        patience = UNREACHED_SECONDS if failure.kind == "unreachable" else UNANSWERED_SECONDS
        patience = self.max_outage if self.is_known else min(patience, self.max_outage)
        if not self.n_answers and now - self._started > patience:
            self._fatal = LLMError(f"{failure.detail}, and nothing was answered before")

    def _try_again(self, position, failure):
        now = self._loop.time()
        if failure.kind == "request":
            heapq.heappush(self._delayed, (now, position))
            return
        if self._down_since is not None:
            patience = self.max_outage
            if failure.kind == "server" and not self._has_fresh:
                # Others were answered, and what is left fails whenever it is tried.
                patience = min(UNANSWERED_SECONDS, patience)
            if now - self._down_since > patience:
                self._give_up(position, f"{failure.detail}, for {patience:g} s")
                return
        else:
            self._attempts[position] += 1
        if self._attempts[position] > self._most_retries(failure):
            attempts = self._attempts[position]
            self._settle(position, CompletionError(f"{failure.detail}, {attempts} times"))
            return
        first = FIRST_DELAY_WHEN_BUSY if failure.kind == "busy" else FIRST_DELAY
        delay = min(LONGEST_DELAY, first * 2 ** max(0, self._attempts[position] - 1))
        delay *= self.rng.uniform(0.5, 1.0)
        if failure.kind == "answer":
            delay = 0.0
        asked = min(failure.after or 0.0, self.max_outage)
        heapq.heappush(self._delayed, (now + max(delay, asked), position))

    def _give_up(self, position, detail):
        """Count all that is left as failed, once there is no hope for any of it."""
        left = [position, *(delayed for _, delayed in self._delayed), *self._fresh]
        self._delayed.clear()
        for position in left:
            self._settle(position, CompletionError(detail))

    def _most_retries(self, failure):
        """Answers in the wrong form are paid for: do not insist where they are the rule."""
        as_a_rule = self._n_off_format > max(20, self._n_accepted)
        return (
            min(1, self.max_retries) if failure.kind == "answer" and as_a_rule else self.max_retries
        )


def run_in_thread(make_pool):
    """Run a pool on an event loop of its own, also where one is running already.

    Parameters
    ----------
    make_pool : async context manager
        Gives the pool.

    Returns
    -------
    outcomes : list

    Raises
    ------
    KeyboardInterrupt
        After what was under way had a moment to arrive.
    """
    state = {"stop": False}
    # Not Thread.join: interrupted by Ctrl-C, CPython 3.11 takes the thread for ended.
    ended = threading.Event()

    async def work():
        async with make_pool() as pool:
            state["pool"], state["loop"] = pool, asyncio.get_running_loop()
            return None if state["stop"] else await pool.run()

    def target():
        try:
            state["outcomes"] = asyncio.run(work())
        except BaseException as error:
            state["error"] = error
        finally:
            ended.set()

    with _interruptible():
        try:
            threading.Thread(target=target, name="llm-requests", daemon=True).start()
            ended.wait()
        except BaseException:
            state["stop"] = True
            if "pool" in state and not ended.is_set():
                asyncio.run_coroutine_threadsafe(state["pool"].stop(), state["loop"])
                ended.wait(DRAIN_SECONDS + 0.5)
            raise
    if "error" in state:
        raise state["error"]
    return state["outcomes"]


@contextlib.contextmanager
def _interruptible():
    """Let Ctrl-C through where it would only cancel the task that waits here.

    ``asyncio.run`` answers it so, which comes to nothing while its loop is held up.
    """
    is_held_up = threading.current_thread() is threading.main_thread()
    if is_held_up:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            is_held_up = False
    before = signal.signal(signal.SIGINT, signal.default_int_handler) if is_held_up else None
    try:
        yield
    finally:
        if is_held_up:
            signal.signal(signal.SIGINT, before)
