"""Other processes in tests, and what only some platforms can do with them."""

import contextlib
import subprocess
import sys
import time

import pytest


def not_on_windows(reason):
    """Mark a test that asks for what Windows does not have."""
    return pytest.mark.skipif(sys.platform == "win32", reason=f"Windows {reason}")


NEEDS_CTRL_C = not_on_windows("cannot send SIGINT to one other process")
NEEDS_MODES = not_on_windows("has no permissions for owner, group and others")
NEEDS_LINKS = not_on_windows("lets only some users make symbolic links")


@contextlib.contextmanager
def running_script(script, *arguments, **options):
    """Run a script in another process, which does not outlive the test, even one that fails."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def waiting_scripts(script, arguments, **options):
    """Start one process for each tuple of arguments and let all go on at the same moment.

    The script says that it is ready, by a line, when all its imports are done, and then waits
    for a line: how long imports take is another matter on every machine.
    """
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options}
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(running_script(script, *each, **options)) for each in arguments
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        yield processes


def wait_until(holds, process=None, *, seconds=120):
    """Wait for a condition, but not for a process that has ended, nor for ever."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        assert process is None or process.poll() is None, "the process ended before it was so"
        time.sleep(0.01)
