"""What commands store is private; results that the user asks for follow the umask."""

import stat

LINES = b"".join(
    b'{"messages": [{"role": "user", "content": "secret %d"}]}\n' % number
    for number in range(3)
)
UMASK = ("sh", "-c", 'umask 022 && exec "$@"', "sh")


def test_a_run_leaves_only_its_results_to_other_users(place):
    file = place.file("in.jsonl", LINES)
    done = place.run(
        *("submit", file, "--model", "demo", "--output", "out/results.jsonl"),
        through=UMASK,
        settings={"simulated_tokens_per_second": 10_000},
    )
    assert done.code == 0, done.err
    keys = place.run("keys", "create", through=UMASK)
    assert keys.code == 0, keys.err
    private = (place.storage, place.folder / "data")
    found = [(path, path.stat()) for top in private for path in (top, *top.rglob("*"))]
    assert len(found) > 10
    for path, status in found:
        mode = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
        assert stat.S_IMODE(status.st_mode) == mode, path
    results = place.folder / "out/results.jsonl"
    assert stat.S_IMODE(results.stat().st_mode) == 0o644
    assert stat.S_IMODE(results.parent.stat().st_mode) == 0o755
