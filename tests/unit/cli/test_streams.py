"""What the commands print to stdout."""

import json

from batchchat.cli.terminal import streams

BREAKS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def test_printed_json_is_one_line_for_every_reader(capsys):
    value = {"metadata": BREAKS}
    streams.print_json(value)
    streams.print_encoded(json.dumps(value, ensure_ascii=False).encode())
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [value, value]
