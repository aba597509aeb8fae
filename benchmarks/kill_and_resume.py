"""Measure what killing a batch with SIGKILL costs.

    python -m benchmarks.kill_and_resume --requests 10000 --kills 3

Runs a file of requests of lognormal lengths undisturbed; then again, killing the whole
process group at random moments and resuming each time. Compares the answers, and counts
the results that were finished and lost. The command's own display, read through a
pseudo-terminal, shows what was finished (it is redrawn every quarter of a second); the
checkpoints contain what was kept. Requests in flight are not counted: at most twice
`max_num_seqs`, 256 requests of the demo model.
"""

import argparse
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("batchchat"))


def write_requests(path: Path, requests: int) -> None:
    """Write requests with answers of 8 to 256 tokens, half with seeds of their own."""
    source = random.Random(11)
    with path.open("w", encoding="utf-8") as file:
        for index in range(requests):
            tokens = min(256, max(8, round(source.lognormvariate(3.3, 0.7))))
            body = {
                "messages": [{"role": "user", "content": f"Tell me about {index}"}],
                "max_tokens": tokens,
                "ignore_eos": True,
            }
            if index % 2:
                body["seed"] = index
            line = {
                "custom_id": f"q-{index}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
            file.write(json.dumps(line) + "\n")


class Run:
    """A running command, and the progress on its display."""

    def __init__(self, process: "subprocess.Popen[str]", screen: int) -> None:
        """Read the display of `process` until it ends."""
        self.process = process
        self.done = 0
        self._screen = screen
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def kill(self) -> int:
        """Kill the group; return the number of finished requests on the display."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        return self.done

    def _read(self) -> None:
        with suppress(OSError):  # a terminal raises this when its other end is closed
            while text := os.read(self._screen, 65_536).decode("utf-8", "replace"):
                for found in re.findall(r"([\d,]+) / [\d,]+ requests", text):
                    self.done = int(found.replace(",", ""))
        os.close(self._screen)


class Place:
    """A separate storage, and the commands that use it."""

    def __init__(self, folder: Path) -> None:
        """Keep everything in `folder`."""
        self.storage = folder / "storage"
        self._environment = os.environ | {
            "XDG_DATA_HOME": str(folder),
            "BATCHCHAT_STORAGE": str(self.storage),
            "BATCHCHAT_MODEL_CACHE": str(folder.parent / "models"),
        }

    def start(self, *arguments: str) -> "Run":
        """Start the command as the leader of its own process group."""
        screen, stderr = pty.openpty()
        process = subprocess.Popen(
            [COMMAND, *arguments],
            env=self._environment | {"COLUMNS": "200", "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        os.close(stderr)
        return Run(process, screen)

    def results(self) -> int:
        """Return how many results are checkpointed."""
        return sum(len(lines) for lines in self.checkpoints())

    def checkpoints(self) -> list[list[int]]:
        """Return the lines of the input that each checkpoint has results for."""
        files = self.storage.glob("projects/*/batches/*/shards/*/*/*.jsonl")
        return [
            [json.loads(line)[0] for line in file.read_bytes().splitlines()[1:]]
            for file in sorted(files)
        ]


def answers(path: Path) -> list[tuple[str, str]]:
    """Return the custom_ids and the texts of an output file."""
    with path.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [
        (
            line["custom_id"],
            line["response"]["body"]["choices"][0]["message"]["content"],
        )
        for line in lines
    ]


def run_killed(
    place: Place, file: Path, output: Path, requests: int, kills: int
) -> None:
    """Run with kills and return what each of them cost."""
    source = random.Random()
    options = ("--model", "demo", "--seed", "1", "--output", str(output))
    run = place.start("submit", str(file), *options)
    assert run.process.stdout
    batch_id = run.process.stdout.readline().strip()
    for mark in sorted(source.sample(range(requests // 20, requests * 9 // 10), kills)):
        while place.results() < mark and run.process.poll() is None:
            time.sleep(source.random() / 10)
        time.sleep(2 * source.random())
        done, kept = run.kill(), place.results()
        print(f"killed: {done:,} finished, {kept:,} kept, {max(0, done - kept):,} lost")
        run = place.start("resume", batch_id)
    print(f"ended with exit status {run.process.wait()}")


def main() -> None:
    """Run undisturbed, run with kills, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "requests.jsonl"
        write_requests(file, options.requests)
        calm, killed = Place(folder / "calm"), Place(folder / "killed")
        outputs = [folder / "calm.jsonl", folder / "killed.jsonl"]
        began = time.monotonic()
        choice = ("--model", "demo", "--seed", "1", "--output", str(outputs[0]))
        calm.start("submit", str(file), *choice).process.wait()
        print(f"undisturbed: {time.monotonic() - began:.1f} s")
        run_killed(killed, file, outputs[1], options.requests, options.kills)
        print(f"with {options.kills} kills: {time.monotonic() - began:.1f} s in all")
        report(killed, [answers(output) for output in outputs], options.requests)


def report(killed: Place, runs: "list[list[tuple[str, str]]]", requests: int) -> None:
    """Print differing and duplicate results."""
    calm, disturbed = runs
    ids = [custom_id for custom_id, _ in disturbed]
    lines = [line for checkpoint in killed.checkpoints() for line in checkpoint]
    differ = [a for a, b in zip(calm, disturbed, strict=True) if a != b]
    found = {
        "requests": requests,
        "answers": len(disturbed),
        "each_custom_id_once": len(set(ids)) == len(ids) == requests,
        "order_of_the_input": ids == [f"q-{index}" for index in range(requests)],
        "texts_that_differ": len(differ),
        "results_checkpointed_twice": len(lines) - len(set(lines)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
