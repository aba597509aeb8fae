"""A bar chart as SVG, without a plotting library."""

from collections.abc import Mapping, Sequence
from html import escape

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""The palette of Okabe and Ito, which most color-blind people can distinguish."""

_WIDTH = 760
_LEFT = 130
_RIGHT = 70
_BAR = 16
_GAP = 14
_HEAD = 44
_LEGEND = 20
_STEPS = 5

Series = Mapping[str, Mapping[str, float | None]]


def bar_chart(title: str, series: Series, *, top: float, form: str) -> str:
    """Return a chart with a group of bars per category and a bar per model.

    `series` has values from 0 to `top` by model and category, written in the format
    `form`. A value of None is written as "none".
    """
    models = list(series)
    groups = list(dict.fromkeys(name for values in series.values() for name in values))
    start = _HEAD + _LEGEND * len(models) + _GAP
    tall = len(models) * _BAR + _GAP
    end = start + tall * len(groups)
    size = f'viewBox="0 0 {_WIDTH} {end + 30}" width="{_WIDTH}"'
    font = 'font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="28" font-size="16">{escape(title)}</text>',
        *_legend(models),
        *_axis(top, form, start, end),
    ]
    for at, group in enumerate(groups):
        values = [series[model].get(group) for model in models]
        parts += _group(group, values, start + at * tall, top=top, form=form)
    return "\n".join([*parts, "</svg>", ""])


def _legend(models: Sequence[str]) -> list[str]:
    lines = []
    for at, model in enumerate(models):
        y = _HEAD + at * _LEGEND
        colour = _colour(at)
        lines.append(f'<rect x="16" y="{y}" width="12" height="12" fill="{colour}"/>')
        lines.append(f'<text x="34" y="{y + 11}">{escape(model)}</text>')
    return lines


def _axis(top: float, form: str, start: int, end: int) -> list[str]:
    lines = []
    for step in range(_STEPS + 1):
        x = _x(top * step / _STEPS, top)
        label = format(top * step / _STEPS, form)
        lines += [
            f'<line x1="{x}" y1="{start}" x2="{x}" y2="{end}" stroke="#dddddd"/>',
            f'<text x="{x}" y="{end + 18}" text-anchor="middle">{label}</text>',
        ]
    return lines


def _group(
    name: str, values: Sequence[float | None], y: int, *, top: float, form: str
) -> list[str]:
    middle = y + len(values) * _BAR // 2 + 5
    label = f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end">'
    lines = [f"{label}{escape(name)}</text>"]
    for at, value in enumerate(values):
        there, text = y + at * _BAR, "none" if value is None else format(value, form)
        x = _x(min(max(value or 0.0, 0.0), top), top)
        size = f'width="{x - _LEFT:.1f}" height="{_BAR - 2}"'
        lines += [
            f'<rect x="{_LEFT}" y="{there}" {size} fill="{_colour(at)}"/>',
            f'<text x="{x + 6:.1f}" y="{there + 12}" font-size="12">{text}</text>',
        ]
    return lines


def _x(value: float, top: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / top


def _colour(at: int) -> str:
    return _COLOURS[at % len(_COLOURS)]
