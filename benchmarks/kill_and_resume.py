"""What does it cost to be killed? A batch killed with -9 again and again.

    python benchmarks/kill_and_resume.py --requests 10000 --kills 3

Runs a file of requests of lognormal lengths undisturbed; then again, with the whole
process group killed at random moments and `resume`d each time. Compares the
answers, and counts the requests that were generated more than once.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
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


class Place:
    """A storage of its own, and the commands that use it."""

    def __init__(self, folder: Path) -> None:
        """Keep everything in `folder`."""
        self.storage = folder / "storage"
        self._environment = os.environ | {
            "XDG_DATA_HOME": str(folder),
            "BATCHCHAT_STORAGE": str(self.storage),
            "BATCHCHAT_MODELS": str(folder.parent / "models"),
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the command as the leader of its own process group."""
        return subprocess.Popen(
            [COMMAND, *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

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
) -> int:
    """Run with kills; return how many requests were lost with them."""
    source = random.Random()
    options = ("--model", "demo", "--seed", "1", "--output", str(output))
    process = place.start("submit", str(file), *options)
    assert process.stdout
    batch_id = process.stdout.readline().strip()
    lost = 0
    marks = sorted(source.sample(range(requests // 20, requests * 19 // 20), kills))
    for mark in marks:
        while place.results() < mark and process.poll() is None:
            time.sleep(source.random() / 10)
        time.sleep(2 * source.random())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"killed with {place.results():,} of {requests:,} results checkpointed")
        process = place.start("resume", batch_id)
    status = process.wait()
    print(f"ended with exit status {status}")
    return lost


def main() -> None:
    """Run undisturbed, run killed, compare."""
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
        calm.start("submit", str(file), *choice).wait()
        print(f"undisturbed: {time.monotonic() - began:.1f} s")
        run_killed(killed, file, outputs[1], options.requests, options.kills)
        print(f"with {options.kills} kills: {time.monotonic() - began:.1f} s in all")
        report(killed, [answers(output) for output in outputs], options.requests)


def report(killed: Place, runs: "list[list[tuple[str, str]]]", requests: int) -> None:
    """Print what differs, and what is there twice."""
    calm, disturbed = runs
    lines = [line for checkpoint in killed.checkpoints() for line in checkpoint]
    ids = [custom_id for custom_id, _ in disturbed]
    print(
        json.dumps(
            {
                "requests": requests,
                "answers": len(disturbed),
                "each_custom_id_once": len(set(ids)) == len(ids) == requests,
                "order_of_the_input": ids == [f"q-{i}" for i in range(requests)],
                "texts_that_differ": sum(
                    a != b for a, b in zip(calm, disturbed, strict=True)
                ),
                "results_checkpointed_twice": len(lines) - len(set(lines)),
            }
        )
    )


if __name__ == "__main__":
    main()
