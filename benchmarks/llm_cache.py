"""Seconds that 100,000 lookups in the answer cache take, beside reading its whole file.

Run with the package installed:

    python benchmarks/llm_cache.py
"""

import os
import tempfile
import time
from pathlib import Path

from sklearn_hypsae.llm import AnswerCache, Completion

N_ANSWERS, REPEATS = 100_000, 5


def seconds(function, *args):
    """Wall-clock and processor time of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    function(*args)
    return time.perf_counter() - wall, time.process_time() - processor


def main():
    """Print one line a repeat."""
    keys = [os.urandom(32) for _ in range(N_ANSWERS)]
    with tempfile.TemporaryDirectory() as folder, AnswerCache(Path(folder) / "cache") as cache:
        cache._connection.execute("BEGIN")
        for key in keys:
            cache.put(key, Completion("yes", 100, 1))
        cache._connection.execute("COMMIT")
        print(f"{N_ANSWERS:,} answers  wall  processor  reading the file")
        for repeat in range(REPEATS):
            wall, processor = seconds(cache.get, keys)
            _, reading = seconds(cache._connection.execute("SELECT * FROM answers").fetchall)
            print(f"repeat {repeat + 1}         {wall:5.2f}      {processor:5.2f}  {reading:16.2f}")


if __name__ == "__main__":
    main()
