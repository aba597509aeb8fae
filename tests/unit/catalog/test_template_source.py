"""A catalog's `chat_template` is a name, a path or a template; nothing else."""

import pytest

from batchchat.jobs.catalog.template_source import built_in_templates, template_text
from batchchat.jobs.errors import ConfigError


def test_built_in_templates_are_found_by_name():
    names = ("demo", "llama-2", "llama-3", "mistral-v0.2", "wizardlm-2")
    assert built_in_templates() == names
    assert "[INST]" in template_text("llama-2")


def test_a_path_is_read_and_a_template_is_returned_unchanged(tmp_path):
    (tmp_path / "mine.jinja").write_text("of mine")
    assert template_text(str(tmp_path / "mine.jinja")) == "of mine"
    for text in ("{{ messages[0].content }}", "{# a\n#}b.jinja"):
        assert template_text(text) == text


@pytest.mark.parametrize(
    "source",
    ["llama2", "", "x" * 5_000, "none.jinja", "~no-such-user/a.jinja", "\0.jinja"],
)
def test_other_texts_are_a_config_error(source):
    with pytest.raises(ConfigError, match="chat_template"):
        template_text(source)


def test_a_file_that_is_not_utf_8_is_a_config_error(tmp_path):
    (tmp_path / "bad.jinja").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"bad\.jinja"):
        template_text(str(tmp_path / "bad.jinja"))
