"""Compiles templates so that the environment sees every value that they create."""

from typing import Never

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, operators


class LimitedCodeGenerator(CodeGenerator):
    """Jinja's code generator, with calls that `_Environment` limits.

    It computes nothing while it compiles, and writes the pieces of an output as they
    are: `Environment.concat` turns them into texts.
    """

    def _output_child_to_const(
        self, node: nodes.Expr, frame: Frame, finalize: object
    ) -> str:
        if not isinstance(node, nodes.TemplateData | nodes.Const):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)  # type: ignore[arg-type]

    def _output_child_pre(self, *_: object) -> None:
        self.write("(")

    def _output_child_post(self, *_: object) -> None:
        self.write(")")

    def visit_Add(self, node: nodes.BinExpr, frame: Frame) -> None:  # noqa: N802
        """Write one call for `a + b + c`."""
        operands: list[nodes.Expr] = [node]
        while isinstance(operands[0], nodes.Add):
            operands[:1] = [operands[0].left, operands[0].right]
        self.write("environment.add(")
        self._write_all(operands, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        """Write a call for `a ~ b`."""
        self.write("concat([")
        self._write_all(node.nodes, frame)
        self.write("])")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        """Measure values before they are compared, unless one is a constant."""
        values = [node.expr, *(operand.expr for operand in node.ops)]
        has_constant = len(node.ops) == 1 and any(map(_is_constant, values))
        write = self.visit if has_constant else self._write_measured
        self.write("(")
        write(node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            write(operand.expr, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        """Measure the keys before they are hashed."""
        self.write("{")
        for item in node.items:
            self._write_measured(item.key, frame)
            self.write(": ")
            self.visit(item.value, frame)
            self.write(", ")
        self.write("}")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        """Count slices."""
        if isinstance(node.arg, nodes.Slice):
            self.write("environment.charged(")
            super().visit_Getitem(node, frame)
            self.write(")")
        else:
            super().visit_Getitem(node, frame)

    def visit_ScopedEvalContextModifier(self, node: nodes.Node, _: Frame) -> Never:  # noqa: N802
        """Reject `{% autoescape %}`, which has no use in a prompt."""
        self.fail("`autoescape` is not supported", node.lineno)

    def _write_all(self, values: list[nodes.Expr], frame: Frame) -> None:
        for value in values:
            self.visit(value, frame)
            self.write(", ")

    def _write_measured(self, value: nodes.Expr, frame: Frame) -> None:
        if _is_constant(value):
            self.visit(value, frame)
        else:
            self.write("environment.comparable(")
            self.visit(value, frame)
            self.write(")")


def _is_constant(value: nodes.Expr) -> bool:
    return isinstance(value, nodes.Const)
