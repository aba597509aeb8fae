"""Templates that would take all of the time or the memory of a process.

Run as a script, it renders each of them with limited memory, and prints the outcomes.
"""

import json
import resource
import sys

from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.prompts import time_limit
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.limited_template import RenderLimits
from batchchat.jobs.requests.schema import Message

MEMORY = 1024**3
LIMITS = RenderLimits(
    cpu_seconds=0.1, min_cpu_seconds=0.1, value_bytes=4_000_000, total_bytes=64_000_000
)

_LOOP = "{% for i in range(99999) %}"
_TWICE = "{% for i in range(60) %}"
_NAMESPACE = "{% set ns = namespace(s='xx', l=[1, 2], d={}, t=(1, 2)) %}"

SLOW = {
    "nested loops": f"{_LOOP}{_LOOP}{_LOOP}{{% endfor %}}{{% endfor %}}{{% endfor %}}",
    "nested loops in a macro": "{% macro f() %}"
    + _LOOP * 3
    + "{% endfor %}" * 3
    + "{% endmacro %}{{ f() }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}"
    "{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(200) }}",
    "a recursive loop": "{% for x in [1, 2] recursive %}{% if loop.depth < 200 %}"
    "{{ loop([1, 2]) }}{% endif %}{% endfor %}",
    "a filter over a nested loop": f"{_LOOP}{{{{ range(99999) | sum }}}}{{% endfor %}}",
    "a chain of filters": f"{_LOOP}"
    "{{ range(99999) | map('string') | select('eq', 'x') | list }}{% endfor %}",
    "output in nested loops": f"{_LOOP}{_LOOP}x{{% endfor %}}{{% endfor %}}",
    "a block in a loop": "{% block b %}{% for i in range(99999) %}"
    + _LOOP
    + "{% endfor %}{% endfor %}{% endblock %}",
    "small values that are kept": _NAMESPACE
    + _LOOP * 2
    + "{% set ns.l = [ns.l, loop.index ~ 'x'] %}"
    + "{% endfor %}" * 2,
    "a condition": f"{_LOOP}{_LOOP}{{% if i == 'x' %}}y{{% endif %}}"
    "{% endfor %}{% endfor %}",
}
LARGE = {
    "text times number": "{{ 'x' * 10**9 }}",
    "number times text": "{{ 1000000000 * 'x' }}",
    "list times number": "{{ ([1] * 10**9) | length }}",
    "list of texts times number": "{{ [messages[0].content] * 10**8 }}",
    "width in a format": "{{ '%0999999999d' % 1 }}",
    "width among the values": "{{ '%*d' % (999999999, 1) }}",
    "precision in a format": "{{ '%.999999999f' % 1.0 }}",
    "repeated placeholder": "{{ ('%(a)s' * 9999) % {'a': 'x' * 9999} }}",
    "format filter": "{{ '%999999999s' | format(1) }}",
    "format method": "{{ '{:>999999999}'.format(1) }}",
    "format method with a nested width": "{{ '{:>{}}'.format(1, 999999999) }}",
    "format method with a width in a text": "{{ '{:{}}'.format(1, '999999999') }}",
    "format_map method": "{{ '{a:>999999999}'.format_map({'a': 1}) }}",
    "format by attribute": "{{ ('{:>999999999}' | attr('format'))(1) }}",
    "format as a test": "{{ '%999999999d' is odd }}",
    "format as a divisor": "{{ '%999999999d' is divisibleby(3) }}",
    "format of marked text": "{{ ('%999999999d' | safe) % 1 }}",
    "ljust": "{{ 'x'.ljust(10**9) }}",
    "rjust": "{{ 'x'.rjust(10**9, 'y') }}",
    "center method": "{{ 'x'.center(10**9) }}",
    "zfill": "{{ 'x'.zfill(10**9) }}",
    "expandtabs": r"{{ '\t\t'.expandtabs(10**9) }}",
    "translate": "{{ ('a' * 99999).translate({97: 'x' * 99999}) }}",
    "replace method": "{{ ('a' * 99999).replace('a', 'x' * 99999) }}",
    "replace nothing": "{{ ('a' * 99999).replace('', 'x' * 99999) }}",
    "join method": "{{ ('x' * 99999).join(['a'] * 99999) }}",
    "join of a generator": "{{ ('x' * 99999).join(range(99999) | map('string')) }}",
    "methods of marked text": "{{ ('x' | safe).ljust(10**9) }}",
    "bytes": "{{ 'x'.encode().ljust(10**9) }}",
    "bytes of a number": "{{ (1).to_bytes(10**9, 'big') }}",
    "center filter": "{{ 'x' | center(10**9) }}",
    "indent filter": r"{{ 'x\nx' | indent(10**9) }}",
    "indent by a text": r"{{ ('x\n' * 99999) | indent('y' * 99999) }}",
    "replace filter": "{{ ('a' * 99999) | replace('a', 'x' * 99999) }}",
    "join filter": "{{ (['a'] * 99999) | join('x' * 99999) }}",
    "join filter of a generator": "{{ range(99999) | map('string') "
    "| join('x' * 99999) }}",
    "filter block": "{% filter center(10**9) %}x{% endfilter %}",
    "set block with a filter": "{% set s | center(10**9) %}x{% endset %}",
    "mapped filter": "{{ ['x'] | map('center', 10**9) | list }}",
    "batch": "{{ [1] | batch(10**9, 'x') | list }}",
    "slice": "{{ [1] | slice(10**9) | list }}",
    "sum of lists": _NAMESPACE
    + _TWICE
    + "{% set ns.l = [ns.l, ns.l] | sum(start=[]) %}{% endfor %}",
    "tojson indent": "{{ [[1]] | tojson(indent=10**9) }}",
    "tojson indent text": "{{ [[1]] | tojson(indent='x' * 999999) }}",
    "tojson separators": "{{ ([1] * 99999) | tojson(separators=('x' * 99999, 'y')) }}",
    "lipsum": "{{ lipsum(10**9) }}",
    "wordwrap": "{{ ('x ' * 99999) | wordwrap(1, true, 'x' * 99999) }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "repeated power": "{% set ns = namespace(n=9) %}"
    + _TWICE
    + "{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "division of large numbers": "{{ ('f' * 999999) | int(base=16) "
    "// (('f' * 499999) | int(base=16)) }}",
    "rounding": "{{ 1 | round(10**9, 'floor') }}",
    "doubling with ~": _NAMESPACE + _TWICE + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "doubling with +": _NAMESPACE + _TWICE + "{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "doubling with *": _NAMESPACE + _TWICE + "{% set ns.s = ns.s * 2 %}{% endfor %}",
    "doubling with %": _NAMESPACE
    + _TWICE
    + "{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% endfor %}",
    "doubling with format": _NAMESPACE
    + _TWICE
    + "{% set ns.s = '{0}{0}'.format(ns.s) %}{% endfor %}",
    "doubling with join": _NAMESPACE
    + _TWICE
    + "{% set ns.s = [ns.s, ns.s] | join %}{% endfor %}",
    "doubling with replace": _NAMESPACE
    + _TWICE
    + "{% set ns.s = ns.s | replace('x', 'xx') %}{% endfor %}",
    "doubling without a loop": "{% set s = 'x' * 9999 %}"
    + "{% set s = s ~ s %}" * 60
    + "{{ s }}",
    "doubling lists": _NAMESPACE + _TWICE + "{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "doubling tuples": _NAMESPACE + _TWICE + "{% set ns.t = ns.t + ns.t %}{% endfor %}",
    "doubling with a set block": _NAMESPACE
    + _TWICE
    + "{% set s %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = s %}{% endfor %}",
    "doubling with a macro": "{% macro two(s) %}{{ s }}{{ s }}{% endmacro %}"
    + _NAMESPACE
    + _TWICE
    + "{% set ns.s = two(ns.s) %}{% endfor %}",
    "doubling with a caller": "{% macro two() %}{{ caller() }}{{ caller() }}"
    "{% endmacro %}" + "{% call two() %}" * 18 + "x" * 999 + "{% endcall %}" * 18,
    "doubling with a block": "{% block b %}" + "x" * 9999 + "{% endblock %}"
    "{% for i in range(99999) %}{{ self.b() }}{% endfor %}",
    "nested lists as text": _NAMESPACE
    + _TWICE
    + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
    "nested lists with ~": _NAMESPACE
    + _TWICE
    + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ 'x' ~ ns.l }}",
    "nested lists with %": _NAMESPACE
    + _TWICE
    + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ '%s' % [ns.l] }}",
    "nested lists as JSON": _NAMESPACE
    + _TWICE
    + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}",
    "nested lists, trimmed": _NAMESPACE
    + _TWICE
    + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | trim }}",
    "nested lists, compared": _NAMESPACE
    + "{% set other = namespace(l=[1, 2]) %}"
    + _TWICE
    + "{% set ns.l = [ns.l, ns.l] %}{% set other.l = [other.l, other.l] %}"
    "{% endfor %}{{ ns.l == other.l }}",
    "nested lists, tested": _NAMESPACE
    + "{% set other = namespace(l=[1, 2]) %}"
    + _TWICE
    + "{% set ns.l = [ns.l, ns.l] %}{% set other.l = [other.l, other.l] %}"
    "{% endfor %}{{ ns.l is eq(other.l) }}",
    "nested tuples, hashed": _NAMESPACE
    + _TWICE
    + "{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} }}",
    "nested tuples, looked up": _NAMESPACE
    + _TWICE
    + "{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ ns.d[ns.t] }}",
    "nested dicts": _NAMESPACE
    + _TWICE
    + "{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% endfor %}{{ ns.d.items() }}",
    "nested namespaces": _NAMESPACE
    + _TWICE
    + "{% set ns.l = namespace(a=ns.l, b=ns.l) %}{% endfor %}{{ ns.l }}",
    "an error about nested lists": _NAMESPACE
    + _TWICE
    + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ raise_exception(ns.l) }}",
    "many large texts that are kept": "{% set ns = namespace(l=[]) %}"
    + _LOOP
    + "{% set ns.l = [ns.l, 'x' * 999999 ~ i] %}{% endfor %}",
    "many copies that are kept": "{% set ns = namespace(l=[], s='x' * 999999) %}"
    + _LOOP
    + "{% set ns.l = [ns.l, ns.s.upper()] %}{% endfor %}",
    "many slices that are kept": "{% set ns = namespace(l=[], s='x' * 999999) %}"
    + _LOOP
    + "{% set ns.l = [ns.l, ns.s[1:]] %}{% endfor %}",
    "many lists that are kept": "{% set ns = namespace(l=[]) %}"
    + _LOOP
    + "{% set ns.l = [ns.l, range(99999) | list] %}{% endfor %}",
    "split": "{% set ns = namespace(l=[], s='xy ' * 999999) %}"
    "{% for i in range(999) %}{% set ns.l = [ns.l, ns.s.split()] %}{% endfor %}",
    "strip of many characters": "{% set s = 'b' * 999999 ~ 'a' %}"
    "{{ ('a' * 999999).strip(s) }}",
    "trim of many characters": "{% set s = 'b' * 999999 ~ 'a' %}"
    "{{ ('a' * 999999) | trim(chars=s) }}",
    "search from the end": "{% set s = 'ab' ~ 'a' * 999999 %}"
    "{{ ('a' * 1999999).rfind(s) }}",
    "split from the end": "{% set s = 'ab' ~ 'a' * 999999 %}"
    "{{ ('a' * 1999999).rsplit(s) }}",
    "large prompt": "{% set s = 'x' * 999999 %}" + _LOOP + "{{ s }}{% endfor %}",
}
TEMPLATES = SLOW | LARGE


def outcome(source: str) -> str:
    """Return the error that a template gives, empty if there is none."""
    template = ChatTemplate(source, {}, "the chat template `x`", LIMITS)
    try:
        template.render([Message(role="user", content="Hello")])
    except BatchchatError as error:
        return error.message
    return ""


if __name__ == "__main__":
    time_limit._POLL_SECONDS = 0.02
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name, source in TEMPLATES.items():
        sys.stdout.write(json.dumps([name, outcome(source)]) + "\n")
        sys.stdout.flush()
