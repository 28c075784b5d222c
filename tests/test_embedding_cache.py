"""The embeddings on disk: concurrent writers, killed writers, damaged files."""

import contextlib
import os
import random
import sqlite3
import time
import warnings

import numpy as np
import pytest
from embedding_server import running_server
from processes import running_script, wait_until, waiting_scripts

from sklearn_hypsae._embedding_cache import EmbeddingCache
from sklearn_hypsae.embedding import EmbeddingTransformer

TEXTS = [f"text {i}" for i in range(300)]
VECTORS = np.random.RandomState(0).normal(size=(300, 24)).astype(np.float32)

WRITER = """
import sys, pathlib
import numpy as np
from sklearn_hypsae._embedding_cache import EmbeddingCache
folder, value, n = pathlib.Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
with EmbeddingCache(folder, "shared", "identity") as cache:
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(n):
        texts = [f"{i} {j}" for j in range(10)]
        mine = np.full((10, 100), value, dtype=np.float32)
        stored = cache.store(texts, mine)
        print(i, stored[0, 0], flush=True)
"""


def opened(folder):
    return EmbeddingCache(folder, "name", "identity")


@pytest.fixture
def filled(tmp_path):
    """Give a folder whose cache holds every text."""
    with opened(tmp_path) as cache:
        cache.store(TEXTS, VECTORS)
    return tmp_path


def test_what_was_stored_is_found_to_the_last_bit(filled):
    with opened(filled) as cache:
        found, vectors = cache.lookup(["unknown", *TEXTS[::-1], TEXTS[0]])
    assert found.tolist() == [False] + [True] * 301
    np.testing.assert_array_equal(vectors, np.vstack([VECTORS[::-1], VECTORS[:1]]))


def test_another_identity_finds_nothing(filled):
    with EmbeddingCache(filled, "name", "another") as cache:
        assert not cache.lookup(TEXTS)[0].any()


def test_any_string_can_be_a_key(tmp_path):
    texts = ["", " ", "a\0b", "a", "lone \ud800 surrogate", "é", "e\u0301", "x" * 100_000]
    with opened(tmp_path) as cache:
        cache.store(texts, VECTORS[: len(texts)])
        np.testing.assert_array_equal(cache.lookup(texts)[1], VECTORS[: len(texts)])


def test_first_vector_of_a_text_stands(filled):
    with opened(filled) as cache:
        texts = ["new", TEXTS[3]]
        stored = cache.store(texts, np.zeros((2, 24), dtype=np.float32))
    np.testing.assert_array_equal(stored, [np.zeros(24), VECTORS[3]])


def test_closed_cache_is_one_file(filled):
    (file,) = filled.iterdir()
    assert file.name.startswith("name-")
    assert file.suffix == ".sqlite"


def test_two_processes_share_a_cache(tmp_path):
    with waiting_scripts(WRITER, [(tmp_path, value, 100) for value in (1, 2)]) as writers:
        outputs = [writer.communicate(timeout=60)[0].splitlines() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    # Both went on with the same vector for every text, whoever wrote it.
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 100


def test_writer_killed_at_any_moment_leaves_what_it_had_stored(tmp_path):
    randomness = random.Random(0)
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with waiting_scripts(WRITER, [(folder, 1, 10**6)]) as (writer,):
            for _ in range(randomness.randrange(1, 60)):
                last = writer.stdout.readline()
            time.sleep(randomness.random() / 100)
            writer.kill()
        n_acknowledged = int(last.split()[0]) + 1
        texts = [f"{i} {j}" for i in range(n_acknowledged) for j in range(10)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with EmbeddingCache(folder, "shared", "identity") as cache:
                found, vectors = cache.lookup(texts)
                cache.store(["more"], np.ones((1, 100), dtype=np.float32))
        assert found.all()
        assert (vectors == 1).all()
        with contextlib.closing(sqlite3.connect(cache.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_run_killed_halfway_pays_for_nothing_twice(tmp_path):
    texts = [f"a review, number {i}" for i in range(400)]
    script = (
        "from sklearn_hypsae.embedding import EmbeddingTransformer\n"
        "texts = [f'a review, number {i}' for i in range(400)]\n"
        "embedder = EmbeddingTransformer('openai:m', batch_size=4, n_jobs=1, cache='cache')\n"
        "embedder.fit_transform(texts)"
    )
    with running_server() as (server, url), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", url)
        server.seconds = 0.03
        with running_script(script, cwd=tmp_path) as process:
            wait_until(lambda: len(server.texts) >= 100, process)
            process.kill()
        n_paid = len(server.texts)
        assert 100 <= n_paid < 400
        server.seconds = 0
        EmbeddingTransformer("openai:m", cache=tmp_path / "cache").fit_transform(texts)
        # The one or two requests under way when it was killed are all that is lost.
        assert len(server.texts) - 400 <= 3 * 4


def overwrite_header(content):
    return b"this is no database" + content[19:]


def cut_in_half(content):
    return content[: len(content) // 2]


def flip_a_bit_of_a_vector(content):
    position = content.index(VECTORS[7].tobytes()) + 11
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


def fill_with_zeros(content):
    return content[:100] + bytes(len(content) - 100)


@pytest.mark.parametrize(
    "damage", [overwrite_header, cut_in_half, flip_a_bit_of_a_vector, fill_with_zeros]
)
def test_damaged_file_is_set_aside_said_and_rebuilt(filled, damage):
    (file,) = filled.iterdir()
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    message = "is damaged .* set aside as .* a new one is begun"
    with pytest.warns(UserWarning, match=message), opened(filled) as cache:
        assert not cache.lookup(TEXTS)[0].any()
        cache.store(TEXTS, VECTORS)
    (aside,) = filled.glob("*.damaged-*")
    assert aside.read_bytes() == damaged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(filled) as cache:
            np.testing.assert_array_equal(cache.lookup(TEXTS)[1], VECTORS)


def test_write_ahead_log_of_a_damaged_file_is_set_aside_with_it(filled):
    (file,) = filled.iterdir()
    file.write_bytes(overwrite_header(file.read_bytes()))
    log = file.with_name(file.name + "-wal")
    log.write_bytes(b"left behind by a killed process")
    with pytest.warns(UserWarning, match="is damaged"), opened(filled) as cache:
        cache.store(TEXTS, VECTORS)
    (aside,) = filled.glob("*.damaged-*-wal")
    assert aside.read_bytes() == b"left behind by a killed process"


def test_file_that_another_process_replaced_meanwhile_is_not_set_aside(filled):
    with opened(filled) as cache:
        fresh = cache.path.with_name("fresh")
        with contextlib.closing(sqlite3.connect(fresh)):
            fresh.touch()
        os.replace(fresh, cache.path)
        cache._set_aside("damage that the other process dealt with")
        cache.store(TEXTS, VECTORS)
    assert not list(filled.glob("*.damaged-*"))


def test_cache_that_cannot_be_used_warns_once_and_acts_as_an_empty_one(tmp_path):
    cache = opened(tmp_path)
    cache.path.mkdir()
    with pytest.warns(UserWarning, match="cannot be used .* are not kept") as caught, cache:
        assert not cache.lookup(TEXTS)[0].any()
        np.testing.assert_array_equal(cache.store(TEXTS, VECTORS), VECTORS)
    assert len(caught) == 1
