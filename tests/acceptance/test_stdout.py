"""What becomes of a command whose data nobody takes."""


def into(target):
    """Return what runs a command with its stdout in a shell's `target`."""
    return ("bash", "-o", "pipefail", "-c", f'"$@" {target}', "bash")


def test_a_reader_that_has_seen_enough_is_no_failure(place):
    done = place.run("models", through=into("| :"))
    assert (done.code, done.out, done.err) == (0, b"", "")


def test_a_full_disk_behind_stdout_is_told_so(place):
    done = place.run("models", through=into("> /dev/full"))
    assert done.code == 2
    assert done.err.startswith("error: can't write to stdout: No space left on device")


def test_bytes_meet_a_full_disk_as_text_does(place):
    place.file("in.jsonl", b"{}\n")
    done = place.run("validate", "in.jsonl", "--json", through=into("> /dev/full"))
    assert done.code == 2
    assert done.err.startswith("error: can't write to stdout: No space left on device")
