"""Embeddings on disk: one SQLite file per way of embedding, hashes in, vectors out.

SQLite rather than files of our own: a transaction is there as a whole or not at all however
the process ends, and several processes may read and write at once. Nothing in the file can
run code when it is read.
"""

import hashlib
import os
import re
import sqlite3
import time
import zlib

import numpy as np

from ._warning import warn

_MAGIC = b"SQLite format 3\0"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS vectors "
    "(key BLOB PRIMARY KEY, checksum INTEGER NOT NULL, vector BLOB NOT NULL)"
)
_KEYS_PER_QUERY = 500
_SECONDS_TO_WAIT_FOR_A_LOCK = 60
_CORRUPTION_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class EmbeddingCache:
    """The stored vectors of one model, prompt, normalisation and dtype.

    A damaged file is set aside under another name and a new one begun. Where the disk does not
    let us read or write at all, the cache warns once and acts as an empty one: a cache is never
    a reason to lose a run.

    Parameters
    ----------
    folder : Path
        Where the file lies; it has to exist.

    name : str
        Readable beginning of the file's name.

    identity : str
        All that the vectors depend on besides the text.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from sklearn_hypsae._embedding_cache import EmbeddingCache
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with EmbeddingCache(pathlib.Path(folder), "example", "model 1, float32") as cache:
    ...         _ = cache.store(["good food"], np.ones((1, 2), dtype=np.float32))
    ...         found, vectors = cache.lookup(["slow service", "good food"])
    >>> found, vectors
    (array([False,  True]), array([[1., 1.]], dtype=float32))
    """

    def __init__(self, folder, name, identity):
        self._identity = hashlib.blake2b(identity.encode(), digest_size=16).digest()
        slug = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[-60:]
        self.path = folder / f"{slug}-{self._identity.hex()}.sqlite"
        self._connection = None

    def __enter__(self):
        self._attempt(self._open)
        return self

    def __exit__(self, *exception):
        self._close()

    def lookup(self, texts):
        """Find the vectors of texts.

        Parameters
        ----------
        texts : sequence of str of length n

        Returns
        -------
        found : ndarray of shape (n,), dtype=bool
            Which texts have a vector.

        vectors : ndarray of shape (n_found, d), dtype=float32
            Their vectors, in the order of the texts; of shape (0, 0) where there is none.
        """
        keys = [self._key(text) for text in texts]
        blobs = self._attempt(self._select, keys) or {}
        found = np.fromiter((key in blobs for key in keys), dtype=bool, count=len(keys))
        if not found.any():
            return found, np.empty((0, 0), dtype=np.float32)
        joined = b"".join(blobs[key] for key in keys if key in blobs)
        # Little-endian on disk whatever the machine; copied, since bytes are read-only.
        vectors = np.frombuffer(joined, dtype="<f4").astype(np.float32)
        return found, vectors.reshape(found.sum(), -1)

    def store(self, texts, vectors):
        """Keep the vectors of texts, in one transaction.

        Where another process stored a text first, its vector stands and is returned: two runs
        that share a cache go on with the same numbers to the last bit.

        Parameters
        ----------
        texts : sequence of str of length n
            Distinct texts.

        vectors : ndarray of shape (n, d), dtype=float32

        Returns
        -------
        vectors : ndarray of shape (n, d), dtype=float32
            What is stored.
        """
        blobs = [row.tobytes() for row in np.ascontiguousarray(vectors, dtype="<f4")]
        rows = [
            (self._key(text), zlib.crc32(blob), blob)
            for text, blob in zip(texts, blobs, strict=True)
        ]
        n_inserted = self._attempt(self._insert, rows)
        if n_inserted is None or n_inserted == len(rows):
            return vectors
        found, stored = self.lookup(texts)
        if stored.shape[1] != vectors.shape[1]:
            return vectors
        vectors = vectors.copy()
        vectors[found] = stored
        return vectors

    def _key(self, text):
        # Lone surrogates occur in scraped texts and have no plain UTF-8.
        encoded = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(encoded, digest_size=16, key=self._identity).digest()

    def _open(self):
        # SQLite would throw away the write-ahead log beside a file it does not know.
        if self.path.is_file() and _first_bytes(self.path) not in (b"", _MAGIC):
            self._inode = os.stat(self.path).st_ino
            raise _DamagedError("it does not begin as an SQLite file does")
        connection = sqlite3.connect(
            self.path, timeout=_SECONDS_TO_WAIT_FOR_A_LOCK, isolation_level=None
        )
        self._connection = connection
        self._inode = os.stat(self.path).st_ino
        # Before the first table, or it has no effect. Vectors of 1 to 12 KB waste small pages.
        connection.execute("PRAGMA page_size=16384")
        connection.execute("PRAGMA journal_mode=WAL")
        # In WAL mode NORMAL loses at most the last transactions in a power cut, never the file.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_SCHEMA)

    def _close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _select(self, keys):
        blobs = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            part = keys[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, checksum, vector FROM vectors WHERE key IN ({marks})"
            for key, checksum, blob in self._connection.execute(query, part):
                if zlib.crc32(blob) != checksum:
                    raise _DamagedError("a stored vector does not match its checksum")
                blobs[key] = blob
        if len({len(blob) for blob in blobs.values()}) > 1:
            raise _DamagedError("stored vectors differ in length")
        return blobs

    def _insert(self, rows):
        before = self._connection.total_changes
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.rollback()
            raise
        return self._connection.total_changes - before

    def _attempt(self, operation, *arguments):
        """Run an operation on the file; None where the file does not let us."""
        if self._connection is None and operation != self._open:
            return None
        try:
            return operation(*arguments)
        except _DamagedError as error:
            self._set_aside(error)
        except sqlite3.Error as error:
            # The low byte is the primary code: SQLITE_CORRUPT_INDEX is a SQLITE_CORRUPT.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _CORRUPTION_CODES:
                self._set_aside(error)
            else:
                self._give_up(error)
        except OSError as error:
            self._give_up(error)
        return None

    def _set_aside(self, error):
        self._close()
        try:
            if os.stat(self.path).st_ino == self._inode:
                aside = self._move_aside()
                warn(
                    f"The embedding cache {self.path} is damaged ({error}): it was set aside as "
                    f"{aside.name} and a new one is begun, so the texts are embedded again.",
                )
            # Another inode: another process found the damage first and began a new file.
            self._open()
        except (OSError, sqlite3.Error) as second:
            self._give_up(second)

    def _move_aside(self):
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        # The write-ahead log goes first: left behind, it would be played into the new file.
        for suffix in ("-wal", "-shm", ""):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return aside

    def _give_up(self, error):
        self._close()
        warn(
            f"The embedding cache {self.path} cannot be used ({error}): embeddings of this call "
            "are not kept. Free the disk or point cache= to a folder that can be written.",
        )


def _first_bytes(path):
    with open(path, "rb") as file:
        return file.read(len(_MAGIC))


class _DamagedError(Exception):
    """What is stored is not what was once written."""
