"""A mistyped setting is a warning on stderr, and changes nothing else."""

import pytest

WARNING = (
    "warning: `BATCHCHAT_STORGE` is not a setting and is ignored;"
    " did you mean `BATCHCHAT_STORAGE`?\n"
)


@pytest.mark.parametrize(
    "command",
    [
        ["list", "--json"],
        ["models", "--json"],
        ["status", "latest", "--json"],
        ["list"],
    ],
    ids=" ".join,
)
def test_a_mistyped_setting_is_one_warning(place, command):
    plain = place.run(*command)
    warned = place.run(*command, settings={"storge": "x"})
    assert (warned.code, warned.out) == (plain.code, plain.out)
    assert warned.err == WARNING + plain.err


def test_a_mistyped_key_of_the_configuration_is_one_warning(place):
    file = place.file("batchchat.toml", b"shard_request = 5\n[model.x]\n")
    done = place.run("list", "--json", settings={"config": file})
    assert done.code == 0
    assert done.err.count("warning: ") == 2
    assert "did you mean `shard_requests`?" in done.err
    assert "did you mean `models`?" in done.err


def test_help_does_not_look_at_the_settings(place):
    done = place.run("list", "--help", settings={"storge": "x"})
    assert done.err == ""


def test_a_server_logs_the_warning_once(place):
    settings = {"storge": "x", "broker": "redis://127.0.0.1:1"}
    server = place.start("serve", "--port", "0", settings=settings)
    server.until_it_says("listening on")
    assert server.err.read_text().count("BATCHCHAT_STORGE") == 1
