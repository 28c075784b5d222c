"""Answers kept on disk under hashes of what was asked."""

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import time
from pathlib import Path

from .._cache_folder import cache_folder
from .._warning import warn
from .base import Completion

FILE_NAME = "answers.sqlite"
KEYS_PER_QUERY = 500
BUSY_SECONDS = 60
OPEN_ATTEMPTS = 20
# Turning WAL on does not wait for others that do the same right now, and a file that is being
# set aside by another process fails in its own ways.
PASSING = ("locked", "disk I/O error", "unable to open")
_COLUMNS = "key, text, prompt_tokens, completion_tokens, probabilities"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY,
    text TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    probabilities TEXT
) WITHOUT ROWID
"""


def request_keys(identity, requests):
    """Hash what decides an answer: the model's identity and the whole request.

    Parameters
    ----------
    identity : dict
        From :meth:`ChatModel.identity`.

    requests : list of Request

    Returns
    -------
    keys : list of bytes
        SHA-256 digests; nothing of the texts can be read from them.
    """
    model = hashlib.sha256(json.dumps(identity, sort_keys=True, default=repr).encode())
    keys, begun = [], {}
    for prompt, *how in requests:
        how = tuple(how)
        if how not in begun:
            begun[how] = model.copy()
            begun[how].update("\0{}\0{}\0{}\0".format(*how).encode())
        key = begun[how].copy()
        key.update(prompt.encode("utf-8", "surrogatepass"))
        keys.append(key.digest())
    return keys


class AnswerCache:
    """Answers of language models in one SQLite file.

    Several threads and processes may use one file at a time. What is stored is the hash of a
    question and the model's answer, never the question, in which the texts are.

    Parameters
    ----------
    path : path-like or "auto", default="auto"
        The file; "auto" is ``answers.sqlite`` in the user's cache folder.

    Examples
    --------
    >>> from sklearn_hypsae.llm import AnswerCache
    >>> with AnswerCache() as cache:
    ...     info = cache.info()
    >>> sorted(info)
    ['answers', 'bytes', 'path']
    """

    def __init__(self, path="auto"):
        self.path = cache_folder() / FILE_NAME if path == "auto" else Path(path).expanduser()
        self._lock = threading.Lock()
        self._connection = self._open()

    def get(self, keys):
        """Look answers up.

        Parameters
        ----------
        keys : list of bytes

        Returns
        -------
        found : dict of bytes to Completion
        """
        found = {}
        keys = sorted(keys)  # in the order of the file, each of whose pages is then read once
        with self._lock:
            for start in range(0, len(keys), KEYS_PER_QUERY):
                some = keys[start : start + KEYS_PER_QUERY]
                marks = ",".join("?" * len(some))
                query = f"SELECT {_COLUMNS} FROM answers WHERE key IN ({marks})"
                for key, *row in self._connection.execute(query, some):
                    # A damaged row is no answer, and no reason to lose the others.
                    with contextlib.suppress(ValueError, AttributeError, TypeError):
                        found[key] = _completion(*row)
        return found

    def put(self, key, completion):
        """Keep one answer; it is on disk when this returns, whatever happens to the process."""
        text, n_prompt, n_completion, probabilities = completion
        probabilities = json.dumps(probabilities) if probabilities else None
        with self._lock:
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                (key, text, n_prompt, n_completion, probabilities),
            )

    def info(self):
        """Say where the cache is and how large.

        Returns
        -------
        info : dict
            ``path``, ``answers`` (how many) and ``bytes`` on disk.
        """
        with self._lock:
            (n_answers,) = self._connection.execute("SELECT count(*) FROM answers").fetchone()
        files = [Path(f"{self.path}{suffix}") for suffix in ("", "-wal", "-shm")]
        size = sum(file.stat().st_size for file in files if file.exists())
        return {"path": str(self.path), "answers": n_answers, "bytes": size}

    def clear(self):
        """Delete all answers and give the space back."""
        with self._lock:
            self._connection.execute("DELETE FROM answers")
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self):
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self):
        """Use the cache in a with statement."""
        return self

    def __exit__(self, *exception):
        """Close the file at the end of it."""
        self.close()

    def _open(self):
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A new file is its owner's alone; whoever shares one has opened it to others.
        with contextlib.suppress(OSError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL, 0o600))
        for attempt in range(OPEN_ATTEMPTS):
            opened = _file_id(self.path)
            try:
                return self._connect()
            except sqlite3.DatabaseError as error:
                failed = isinstance(error, sqlite3.OperationalError)
                if (
                    failed
                    and not any(words in str(error) for words in PASSING)
                    or (attempt == OPEN_ATTEMPTS - 1)
                ):
                    reason = f"The answer cache {self.path} cannot be opened: {error}."
                    raise OSError(reason) from error
                if failed:
                    time.sleep(0.05)
                else:
                    self._set_aside(error, opened)

    def _connect(self):
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # As bytes: text that is damaged must not end a query.
        connection.text_factory = bytes
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != b"ok":
                raise sqlite3.DatabaseError(verdict.decode(errors="replace"))
            connection.execute(_SCHEMA)
            connection.execute(f"SELECT {_COLUMNS} FROM answers LIMIT 1").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, error, damaged):
        """Rename a damaged file and its companions, so that nothing is lost for good."""
        aside = f"{self.path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        with _alone(f"{self.path}.lock"):
            if damaged is not None and _file_id(self.path) != damaged:
                # Another process has set it aside, and begun a new one, a moment ago.
                return
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
        warn(
            f"The answer cache {self.path} is damaged ({error}): it was set aside as {aside}, "
            "and a new one was begun.",
        )


def _completion(text, n_prompt, n_completion, probabilities):
    probabilities = json.loads(probabilities) if probabilities else None
    return Completion(text.decode(), n_prompt, n_completion, probabilities)


def _file_id(path):
    """What tells a file from another that later has its name; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def _alone(path):
    """Keep other processes out while they, too, go through here."""
    holder = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        holder.close()
