"""How requests reach the server: connections kept open, TLS, and proxies."""

import shutil
import ssl
import subprocess

import numpy as np
import pytest
from llm_server import LLMServer, WordRule
from llm_tools import ask, truth, word_texts

from sklearn_hypsae.llm import LLMError, OpenAIChat

TEXTS = word_texts(20)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that nobody but the test knows, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", certificate, "-keyout", key]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def https_server(certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with LLMServer(WordRule({}), tls=tls) as server:
        yield server


def test_https_to_a_server_whose_certificate_is_trusted(https_server, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    found = ask(OpenAIChat("test-model", https_server.url), TEXTS)
    np.testing.assert_array_equal(found, truth(TEXTS))


def test_a_certificate_that_is_not_trusted_stops_at_once(https_server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    message = r"certificate of 127\.0\.0\.1:\d+ is not trusted .*SSL_CERT_FILE"
    with pytest.raises(LLMError, match=message) as raised:
        ask(OpenAIChat("test-model", https_server.url), TEXTS)
    assert https_server.n_requests == 0
    assert "sk-secret" not in str(raised.value)


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_requests_go_through_the_proxy_of_the_environment(variable, monkeypatch):
    with LLMServer(WordRule({})) as proxy:
        monkeypatch.setenv(variable, proxy.url.removesuffix("/v1"))
        found = ask(OpenAIChat("test-model", "http://models.invalid/v1"), TEXTS)
    np.testing.assert_array_equal(found, truth(TEXTS))
    assert proxy.n_requests == len(TEXTS)


def test_no_proxy_for_hosts_that_the_environment_leaves_out(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with LLMServer(WordRule({})) as server:
        found = ask(OpenAIChat("test-model", server.url), TEXTS)
    np.testing.assert_array_equal(found, truth(TEXTS))


def test_a_proxy_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(LLMError, match="No server answers at http://models.invalid/v1"):
        ask(OpenAIChat("test-model", "http://models.invalid/v1", max_outage=0.5), TEXTS)


def test_an_answered_request_hands_its_place_and_connection_to_the_next():
    """No more connections and no more at once than max_concurrency, and no place left empty."""
    texts = word_texts(200)

    class Counting(LLMServer):
        n_connections = 0

        async def _serve_connection(self, reader, writer):
            self.n_connections += 1
            await super()._serve_connection(reader, writer)

    with Counting(WordRule({}), latency=0.02) as server:
        found = ask(OpenAIChat("test-model", server.url, max_concurrency=5), texts)
    np.testing.assert_array_equal(found, truth(texts))
    assert server.most_at_once == server.n_connections == 5
