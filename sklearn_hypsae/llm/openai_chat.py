"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp."""

import contextlib
import difflib
import functools
import inspect
import json
import math
import os
import random
import re
import time
from numbers import Integral, Real

from .._openai_account import KEY_VARIABLES, NO_KEY, is_openai, read_key, refuse_url, server_url
from .._optional import import_optional
from ._hiding import read_variables, secret_in, shown
from ._http import connect
from ._openai_protocol import OPTIONS, ChatCompletions, plain_number
from ._pool import CONTROL_PROMPT, Pool, run_in_thread
from .base import ChatModel, Completion, Monitor, Request

#: Numbers that a client takes: what they are, the least that makes sense, and in words.
NUMBERS = {
    "max_concurrency": (Integral, 1, "a whole number, at least 1"),
    "timeout": (Real, 1e-3, "a number of seconds above 0"),
    "max_retries": (Integral, 0, "a whole number, at least 0"),
    "max_outage": (Real, 0, "a number of seconds, at least 0"),
}
# Whom OpenAI charges where a key belongs to several accounts.
ACCOUNT_VARIABLES = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
# When a server answered last, in this process: one that did a moment ago is worth waiting for.
_LAST_ANSWERED = {}
# Servers and models that cannot hold answers to a form, which one refusal is enough to learn.
_WITHOUT_FORM = set()
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class OpenAIChat(ChatModel):
    """Chat completions over HTTP, many at a time, from any OpenAI-compatible server.

    Requests that fail in a way that may pass (refused as too many, failed on the server, timed
    out, broken off, answered in the wrong form) are sent again after a growing time; the number
    under way adapts to what the server takes. What cannot pass (a wrong key, an unknown model,
    an option the server refuses) stops the run at once with the server's reason.

    Parameters
    ----------
    model : str
        The model, by the server's name for it.

    base_url : str, default=None
        Where the server is, such as ``"http://127.0.0.1:8000/v1"``. None: the environment
        variable ``OPENAI_BASE_URL``, else OpenAI.

    max_concurrency : int, default=30
        Most requests under way at a time.

    timeout : float, default=120.0
        Seconds until a request counts as failed.

    max_retries : int, default=8
        How often a failed request is sent again.

    max_outage : float, default=600.0
        Seconds to wait for a server that was there and has gone away, before what is left
        counts as failed.

    structured : bool, default=True
        Whether to have the server hold answers to the form asked for (a JSON schema, and on
        servers other than OpenAI's also vLLM's choice). A server that refuses this is asked
        without; either way answers are parsed.

    prices : (float, float), default=None
        Money per million prompt and completion tokens, for estimates and ``usage_``.

    **options
        Further options of chat completions, sent as they are: ``temperature``,
        ``reasoning_effort``, ``max_completion_tokens``, ``seed``, … What only the server
        knows goes into ``extra_body``, a dict. ``extra_headers`` may name environment
        variables, as in ``{"X-Api-Key": "$GATEWAY_KEY"}``.

    Notes
    -----
    The key is read from the environment when it is used, ``OPENAI_API_KEY`` before
    ``OPENAI_KEY_SAE``, and kept nowhere. Servers other than OpenAI's need none.

    Examples
    --------
    >>> from sklearn_hypsae.llm import OpenAIChat
    >>> OpenAIChat("gpt-5-mini", reasoning_effort="minimal")
    OpenAIChat('gpt-5-mini', reasoning_effort='minimal')
    >>> OpenAIChat("qwen3", base_url="http://127.0.0.1:8000/v1", max_concurrency=8)
    OpenAIChat('qwen3', base_url='http://127.0.0.1:8000/v1', max_concurrency=8)
    """

    batch_size = None

    def __init__(
        self,
        model,
        base_url=None,
        *,
        max_concurrency=30,
        timeout=120.0,
        max_retries=8,
        max_outage=600.0,
        structured=True,
        prices=None,
        **options,
    ):
        self.model = model
        self.base_url = base_url
        self.max_concurrency = max_concurrency
        self.timeout = timeout
        self.max_retries = max_retries
        self.max_outage = max_outage
        self.structured = structured
        self.prices = prices
        self.options = options

    def check(self):
        """Raise what is wrong with the parameters or the environment before anything is sent.

        Raises
        ------
        ImportError
            If the packages of the extra ``openai`` are missing.

        ValueError
            If an option is unknown, a parameter is out of range, or there is no key.
        """
        import_optional("h11", purpose="OpenAIChat", extra="openai")
        if not isinstance(self.model, str) or not self.model:
            raise ValueError("OpenAIChat needs the name of a model, a string that is not empty.")
        for name, (kind, least, words) in self._numbers().items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind) or not value >= least:
                raise ValueError(
                    f"{type(self).__name__} got {name}={value!r}: it has to be {words}."
                )
        self._check_prices()
        refuse_url(self._url(), "OpenAIChat")
        self._check_options()
        self._key()

    def complete(self, requests, monitor=None):
        """Answer each request; see :meth:`ChatModel.complete`.

        Parameters
        ----------
        requests : list of Request

        monitor : Monitor, default=None

        Returns
        -------
        outcomes : list of Completion, CompletionError or None

        Raises
        ------
        LLMError
            If the server refuses the key, the model or an option, or cannot be reached.
        """
        self.check()
        return self._work_off(requests, monitor or Monitor(), ChatCompletions.send)

    def reach(self):
        """Raise LLMError where the server is not there or does not know the model.

        It is asked for its models. A server that does not list this one may know it all the
        same, and is then sent one short prompt.
        """
        self.check()
        (listed,) = self._work_off([Request("")], Monitor(), ChatCompletions.list_models)
        if not isinstance(listed, Completion) or self.model not in listed.text.splitlines():
            self._work_off([Request(CONTROL_PROMPT)], Monitor(), ChatCompletions.send)

    def _work_off(self, requests, monitor, send):
        """Outcomes of requests, each sent by a method of ChatCompletions."""
        url = self._url()
        answered = _LAST_ANSWERED.get(url, -math.inf)
        form = url, self.model

        @contextlib.asynccontextmanager
        async def pool():
            async with connect(self._url(), self._headers()) as http:
                completions = ChatCompletions(
                    http,
                    model=self.model,
                    options=self.options,
                    timeout=self.timeout,
                    structured=self.structured and form not in _WITHOUT_FORM,
                    is_openai=self._is_openai(),
                    url=url,
                    secrets=self._secrets(),
                )
                pool = Pool(
                    functools.partial(send, completions),
                    requests,
                    monitor,
                    max_concurrency=self.max_concurrency,
                    max_retries=self.max_retries,
                    max_outage=self.max_outage,
                    rng=random.Random(0),
                    is_known=time.monotonic() - answered < self.max_outage,
                )
                try:
                    yield pool
                finally:
                    if pool.n_answers:
                        _LAST_ANSWERED[url] = time.monotonic()
                    if self.structured and not completions.structured:
                        _WITHOUT_FORM.add(form)

        return run_in_thread(pool) if requests else []

    def identity(self):
        """Backend, server, model and options; see :meth:`ChatModel.identity`.

        Returns
        -------
        identity : dict
            The same for a batch, whose answers are no others.
        """
        return {
            "backend": "OpenAIChat",
            "base_url": self._url(),
            "model": self.model,
            "options": self.options,
            "structured": self.structured,
        }

    def _headers(self):
        headers = {"Authorization": f"Bearer {self._key()}", "Content-Type": "application/json"}
        for header, variable in ACCOUNT_VARIABLES.items():
            if os.environ.get(variable) and self._is_openai():
                headers[header] = os.environ[variable]
        return {**headers, **read_variables(self.options.get("extra_headers"))}

    def _secrets(self):
        """What must not appear in any message."""
        named = self.options.get("extra_headers") or {}
        read = read_variables(named)
        secrets = [read[name] for name, value in named.items() if value.startswith("$")]
        return secrets if self._key() == NO_KEY else [*secrets, self._key()]

    def _url(self):
        return server_url(self.base_url)

    def _is_openai(self):
        return is_openai(self._url())

    def _key(self):
        return read_key(self._url(), "OpenAIChat")

    def _numbers(self):
        return NUMBERS

    def _check_prices(self):
        if self.prices is None:
            return
        prices = self.prices if isinstance(self.prices, tuple | list) else ()
        if len(prices) != 2 or not all(isinstance(p, Real) and p >= 0 for p in prices):
            raise ValueError(
                "OpenAIChat takes two prices, numbers for a million prompt and a million "
                f"completion tokens, got {self.prices!r}."
            )

    def _check_options(self):
        """Refuse names that chat completions do not have, and anything that looks like a key."""
        self._refuse_secrets()
        for name in set(self.options) - OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"OpenAIChat got the unknown option {name!r}: {meant}Options that only the "
                "server knows go into extra_body={...}."
            )
        for place in ("extra_headers", "extra_query", "extra_body"):
            extra = self.options.get(place) or {}
            if not isinstance(extra, dict) or not all(isinstance(name, str) for name in extra):
                raise ValueError(f"OpenAIChat takes a dict of names and values as {place}.")
        headers = self.options.get("extra_headers") or {}
        if not all(isinstance(value, str) for value in headers.values()):
            raise ValueError("OpenAIChat got extra_headers with values that are not strings.")
        if not all(HEADER_NAME.fullmatch(name) for name in headers):
            raise ValueError("OpenAIChat got extra_headers with names that no header can have.")
        read_variables(headers)
        for name, value in self.options.items():
            try:
                json.dumps(value, default=plain_number)
            except (TypeError, ValueError):
                raise ValueError(
                    f"OpenAIChat cannot send the option {name!r}: its value has to be made of "
                    "what JSON has, numbers, strings, lists and dicts."
                ) from None

    def _refuse_secrets(self):
        for name in set(self.options) - OPTIONS:
            if "key" in name.lower():
                raise ValueError(
                    f"OpenAIChat takes no key as a parameter: set the environment variable "
                    f"{KEY_VARIABLES[0]}, which is read when it is used."
                )
        keys = {os.environ.get(variable, "").strip() for variable in KEY_VARIABLES} - {"", NO_KEY}
        for place, value in self.options.items():
            name = secret_in(value, keys)
            if name is not None:
                raise ValueError(
                    f"OpenAIChat takes no secret in {place}, where {name or 'it'!r} would be "
                    "kept and pickled: set an environment variable and name it, as in "
                    'extra_headers={"X-Api-Key": "$MY_KEY"}.'
                )

    def __getstate__(self):
        """Give the parameters, unless a key is among them: what is pickled is passed on."""
        self._refuse_secrets()
        return self.__dict__

    def __repr__(self):
        """Show the model and what differs from the defaults, without what may be a secret."""
        parts = [repr(self.model)]
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if name not in ("self", "model", "options") and parameter.default != getattr(
                self, name
            ):
                parts.append(f"{name}={shown(name, getattr(self, name))!r}")
        parts += [f"{name}={shown(name, value)!r}" for name, value in self.options.items()]
        return f"{type(self).__name__}({', '.join(parts)})"
