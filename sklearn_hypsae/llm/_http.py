"""JSON over HTTP, many requests at a time.

Annotation is tens of thousands of short requests. General clients spend one to two
milliseconds of Python on each, which at 30 a time is more than the server's own 50
(``benchmarks/llm_throughput.py``); h11 on asyncio's streams, writing each request at once, takes
a fifth of that. Where a proxy stands between, httpx2 does the work.
"""

import asyncio
import contextlib
import functools
import ssl
import urllib.request
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from .._optional import import_optional
from .base import LLMError

READ_SIZE = 65536


class Unreachable(Exception):
    """No connection could be made."""


class BrokenOff(Exception):
    """A connection ended, or said nonsense, before the whole answer had come."""


class Answer(NamedTuple):
    """What a server answered: status, headers by lower-case name, and body."""

    status: int
    headers: dict
    body: bytes


class DirectHTTP:
    """Keep-alive connections to one server.

    Parameters
    ----------
    base_url : str
        Paths go on from here.

    headers : dict
        Sent with each request.
    """

    def __init__(self, base_url, headers):
        self.h11 = import_optional("h11", purpose="OpenAIChat", extra="openai")
        parts = urlsplit(base_url)
        self.host, self.path = parts.hostname, parts.path.rstrip("/")
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = _tls() if parts.scheme == "https" else None
        self.headers = {"Host": parts.netloc.rpartition("@")[2], "Accept": "application/json"}
        self.headers.update(headers)
        self._idle = []
        # Checking it takes a tenth of all the time, and few differ.
        self._head = functools.lru_cache(maxsize=1024)(self._make_head)

    def _make_head(self, method, target, fields):
        return self.h11.Request(method=method, target=target, headers=list(fields))

    async def request(self, method, path, body=b"", headers=None, params=None):
        """Send a request and wait for the whole answer.

        Parameters
        ----------
        method, path : str

        body : bytes, default=b""

        headers : dict, default=None
            Besides those of every request.

        params : dict, default=None
            Go into the query.

        Returns
        -------
        answer : Answer

        Raises
        ------
        Unreachable, BrokenOff
        LLMError
            If the server's certificate is not trusted.
        """
        reader, writer, protocol = await self._connection()
        try:
            writer.write(self._request_bytes(protocol, method, path, body, headers, params))
            answer = await self._read(reader, protocol)
        except (OSError, EOFError, self.h11.ProtocolError) as error:
            writer.transport.abort()
            raise BrokenOff(type(error).__name__) from None
        except BaseException:
            writer.transport.abort()
            raise
        self._keep(reader, writer, protocol)
        return answer

    def _request_bytes(self, protocol, method, path, body, headers, params):
        """Give the whole request as one piece, so that it goes out as one."""
        target = self.path + path + (f"?{urlencode(params)}" if params else "")
        fields = {**self.headers, **(headers or {}), "Content-Length": str(len(body))}
        return (
            protocol.send(self._head(method, target, tuple(fields.items())))
            + protocol.send(self.h11.Data(data=body))
            + protocol.send(self.h11.EndOfMessage())
        )

    async def _read(self, reader, protocol):
        head, body = None, []
        while True:
            event = protocol.next_event()
            if event is self.h11.NEED_DATA:
                protocol.receive_data(await reader.read(READ_SIZE))
            elif isinstance(event, self.h11.Response):
                head = event
            elif isinstance(event, self.h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, self.h11.EndOfMessage):
                headers = {name.decode(): value.decode("latin1") for name, value in head.headers}
                return Answer(head.status_code, headers, b"".join(body))
            elif isinstance(event, self.h11.ConnectionClosed):
                raise EOFError

    async def _connection(self):
        """Take an idle connection that the server has not closed, or make a new one."""
        while self._idle:
            reader, writer, protocol = self._idle.pop()
            if not (reader.at_eof() or writer.transport.is_closing()):
                return reader, writer, protocol
            writer.transport.abort()
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
        except ssl.SSLCertVerificationError as error:
            # An OSError too, but one that waiting does not mend.
            raise LLMError(
                f"The certificate of {self.host}:{self.port} is not trusted "
                f"({error.verify_message}): name a file with the certificate of its authority in "
                "the environment variable SSL_CERT_FILE"
            ) from None
        except OSError as error:
            raise Unreachable(type(error).__name__) from None
        return reader, writer, self.h11.Connection(our_role=self.h11.CLIENT)

    def _keep(self, reader, writer, protocol):
        if protocol.our_state is self.h11.DONE and protocol.their_state is self.h11.DONE:
            protocol.start_next_cycle()
            self._idle.append((reader, writer, protocol))
        else:
            writer.transport.abort()

    async def close(self):
        """Close the idle connections."""
        for _, writer, _ in self._idle:
            writer.transport.abort()
        self._idle.clear()


class ProxiedHTTP:
    """The same through the proxy that the environment names.

    Parameters
    ----------
    base_url : str

    headers : dict
    """

    def __init__(self, base_url, headers):
        self.httpx2 = import_optional("httpx2", purpose="OpenAIChat", extra="openai")
        self.base_url = base_url.rstrip("/")
        self.client = self.httpx2.AsyncClient(headers=headers, timeout=None)

    async def request(self, method, path, body=b"", headers=None, params=None):
        """Send a request and wait for the whole answer; see :meth:`DirectHTTP.request`."""
        try:
            response = await self.client.request(
                method, self.base_url + path, content=body, headers=headers, params=params
            )
        except (self.httpx2.ConnectError, self.httpx2.ProxyError) as error:
            raise Unreachable(type(error).__name__) from None
        except self.httpx2.HTTPError as error:
            raise BrokenOff(type(error).__name__) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, response.content)

    async def close(self):
        """Close the connections."""
        await self.client.aclose()


@contextlib.asynccontextmanager
async def connect(base_url, headers):
    """Give the HTTP side for one server.

    Parameters
    ----------
    base_url : str

    headers : dict
        Sent with each request.

    Yields
    ------
    http : DirectHTTP or ProxiedHTTP
    """
    http = (ProxiedHTTP if _has_proxy(base_url) else DirectHTTP)(base_url, headers)
    try:
        yield http
    finally:
        await http.close()


def _has_proxy(base_url):
    parts = urlsplit(base_url)
    proxies = urllib.request.getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    return bool(named) and not urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2])


def _tls():
    """TLS settings with the certificates httpx2 trusts."""
    return import_optional("httpx2", purpose="OpenAIChat", extra="openai").create_ssl_context()
