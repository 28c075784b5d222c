"""How close 2,000 annotations come to the ideal of a server that takes 50 ms, 30 at a time.

Run with the package installed; ``--peer-python`` names a Python that has hypothesaes 2.0.1 (in
an environment of its own), which then annotates the same texts through the same server in the
same run. The server is a process of its own, new for each run; the faults are the same mix.

    python benchmarks/llm_throughput.py --peer-python /path/to/peer/bin/python
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

N_TEXTS, WORKERS, LATENCY = 2000, 30, 0.05
IDEAL = N_TEXTS / WORKERS * LATENCY
FAULTY = dict.fromkeys(
    ["429", "500", "503", "drop", "half", "invalid", "empty", "off-format"], 0.025
)
SERVER = Path(__file__).parents[1] / "tests" / "llm_server.py"

OURS = """
import json, os, sys, time
import numpy as np
from sklearn_hypsae.llm import OpenAIChat
from sklearn_hypsae.llm.annotation import annotate
from sklearn_hypsae.llm.runner import running
from sklearn_hypsae.llm.usage import no_usage
texts = json.load(sys.stdin)
chat = OpenAIChat("gpt-5-mini", os.environ["OPENAI_BASE_URL"], max_concurrency=30)
with running(no_usage(), cache=sys.argv[1]) as runner:
    started = time.perf_counter()
    (found,) = annotate(runner, chat, [(texts, ["mentions a dog"])], description="Annotating")
    seconds = time.perf_counter() - started
answers = [None if np.isnan(a) else int(a) for a in found[:, 0]]
print(json.dumps({"seconds": seconds, "answers": answers}))
"""
PEER = """
import contextlib, io, json, sys, time
texts = json.load(sys.stdin)
with contextlib.redirect_stdout(io.StringIO()):
    from hypothesaes.annotate import annotate
    tasks = [(text, "mentions a dog") for text in texts]
    started = time.perf_counter()
    found = annotate(tasks, model="gpt-5-mini", n_workers=30, cache_path=sys.argv[1] + ".json")
    seconds = time.perf_counter() - started
answers = [found.get("mentions a dog", {}).get(text) for text in texts]
print(json.dumps({"seconds": seconds, "answers": answers}))
"""


def measure(python, script, port, faults):
    """Seconds and answers of one run against a fresh server."""
    texts = [f"text {i} about a {'dog' if i % 2 else 'cat'}" for i in range(N_TEXTS)]
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_KEY_SAE": "x",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(SERVER), "--port", str(port), "--latency", str(LATENCY)]
    command += ["--model", "gpt-5-mini", "--faults", json.dumps(faults)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        server.stdout.readline()
        with tempfile.TemporaryDirectory() as folder:
            ran = subprocess.run(
                [python, "-c", script, str(Path(folder) / "cache")],
                input=json.dumps(texts),
                capture_output=True,
                text=True,
                env=environment,
            )
    finally:
        server.kill()
        server.wait()
    if ran.returncode:
        return None, ran.stderr.strip().splitlines()[-1]
    result = json.loads(ran.stdout.strip().splitlines()[-1])
    right = sum(answer == i % 2 for i, answer in enumerate(result["answers"]))
    return result["seconds"], f"{right} of {N_TEXTS} right"


def main():
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--port", type=int, default=18437)
    arguments = parser.parse_args()
    clients = {"sklearn-hypsae": (sys.executable, OURS)}
    if arguments.peer_python:
        clients["hypothesaes"] = (arguments.peer_python, PEER)
    print(
        f"ideal {IDEAL:.2f} s: {N_TEXTS} requests, {WORKERS} at a time, {LATENCY * 1000:g} ms each"
    )
    for faults, kind in (({}, "no faults"), (FAULTY, "20% faults")):
        for repeat in range(arguments.repeats):
            for name, (python, script) in clients.items():
                seconds, said = measure(python, script, arguments.port + repeat, faults)
                share = (
                    f"{seconds:6.2f} s, {IDEAL / seconds:4.0%} of ideal" if seconds else "failed"
                )
                load = os.getloadavg()[0]
                print(f"{kind:10s}  {name:15s}  {share}, {said} (load {load:.1f})", flush=True)
                time.sleep(0.5)


if __name__ == "__main__":
    main()
