"""What can be changed in a source, one place at a time, so that it says something else and is still Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
}
OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: (r"\|", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
OTHER_CALLEES = {"min": "max", "max": "min", "any": "all", "all": "any"}
FOR_READERS = ("__repr__", "__str__")
"""Methods whose answers only people read."""


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes `begin` to `end` of a file replaced by `new`."""

    path: str
    line: int
    begin: int
    end: int
    old: str
    new: str

    def applied(self, source: bytes) -> bytes:
        """The source of the file, changed."""
        return source[: self.begin] + self.new.encode() + source[self.end :]

    def words(self, source: bytes) -> tuple[str, str]:
        """The lines that it touches, before and after, without indentation and in one line each."""
        first = source.rfind(b"\n", 0, self.begin) + 1
        last = source.find(b"\n", self.end)
        last = len(source) if last < 0 else last
        before = source[first:last]
        after = source[first : self.begin] + self.new.encode() + source[self.end : last]
        return _in_one_line(before), _in_one_line(after)


def _in_one_line(text: bytes) -> str:
    return " ".join(text.decode().split())


def changes_of(path: Path, root: Path) -> list[Change]:
    """Everything that can be changed in a file, from its first line on."""
    source = path.read_bytes()
    changes = _Finder(str(path.relative_to(root)), source).found()
    return sorted(changes, key=lambda change: (change.begin, change.end, change.new))


class _Finder:
    """Looks at the nodes of a file's tree. Left out is what no test can see: annotations, decorators, assertions, texts
    and what only people read.
    """

    def __init__(self, path: str, source: bytes) -> None:
        self._path = path
        self._source = source
        self._lines = [0, *accumulate(map(len, source.splitlines(keepends=True)))]

    def found(self) -> Iterator[Change]:
        yield from self._of(ast.parse(self._source))

    def _of(self, node: ast.AST) -> Iterator[Change]:
        if isinstance(node, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in FOR_READERS:
            return
        yield from self._here(node)
        if isinstance(node, ast.Raise):
            return  # what stands in an error is its words
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "type_comment"):
                continue
            if isinstance(node, ast.Assign) and name == "value" and _is_alias(node):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._of(child)

    def _here(self, node: ast.AST) -> Iterator[Change]:
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
                for (left, right), operator in zip(pairwise(operands), node.ops, strict=True):
                    yield from self._between(left, right, *COMPARISONS[type(operator)])
            case ast.BoolOp():
                old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for left, right in pairwise(node.values):
                    yield from self._between(left, right, old, new)
            case ast.BinOp() if type(node.op) in OPERATORS:
                yield from self._between(node.left, node.right, *OPERATORS[type(node.op)])
            case ast.AugAssign() if type(node.op) in OPERATORS:
                old, new = OPERATORS[type(node.op)]
                yield from self._between(node.target, node.value, f"{old}=", f"{new}=")
            case ast.UnaryOp(op=ast.Not()):
                yield self._change(*self._span(node), f"({self._text(node.operand)})")
            case ast.If() | ast.IfExp() | ast.While():
                yield from self._negated(node.test)
            case ast.comprehension():
                for condition in node.ifs:
                    yield from self._negated(condition)
            case ast.Constant():
                yield from self._constant(node)
            case ast.Call():
                yield from self._call(node)
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                yield self._change(*self._span(value), "None")
            case ast.Continue() | ast.Break():
                yield self._change(*self._span(node), "break" if isinstance(node, ast.Continue) else "continue")
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Delete(targets=[ast.Attribute() | ast.Subscript(), *_]):
                yield self._change(*self._span(node), "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield self._change(*self._span(node), "pass")

    def _negated(self, condition: ast.expr) -> Iterator[Change]:
        # The opposite of a comparison, and of `not`, is among their own changes.
        match condition:
            case ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn() | ast.Is() | ast.IsNot()]):
                return
            case ast.UnaryOp(op=ast.Not()):
                return
            case _:
                yield self._change(*self._span(condition), f"not ({self._text(condition)})")

    def _constant(self, node: ast.Constant) -> Iterator[Change]:
        if isinstance(node.value, bool):
            yield self._change(*self._span(node), str(not node.value))
        elif isinstance(node.value, int | float):
            yield self._change(*self._span(node), f"{self._text(node)} + 1" if node.value > 1 else str(node.value + 1))

    def _call(self, node: ast.Call) -> Iterator[Change]:
        if isinstance(node.func, ast.Name) and node.func.id in OTHER_CALLEES:
            yield self._change(*self._span(node.func), OTHER_CALLEES[node.func.id])
        # A message or an event without one of its fields.
        if isinstance(node.func, ast.Attribute) and node.func.attr[0].isupper():
            before = self._span(node.func)[1]
            for keyword in node.keywords:
                begin, end = self._span(keyword)
                if keyword.arg is not None:
                    yield self._change(*self._with_a_comma(before, begin, end), "")
                before = end

    def _with_a_comma(self, before: int, begin: int, end: int) -> tuple[int, int]:
        """An argument with the comma before it or, where it is the first, the one behind it."""
        comma = self._source.rfind(b",", before, begin)
        if comma >= 0:
            return comma, end
        behind = re.compile(rb"\s*,\s*").match(self._source, end)
        return begin, behind.end() if behind else end

    def _between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> Iterator[Change]:
        begin, end = self._span(left)[1], self._span(right)[0]
        found = re.compile(old.encode()).search(self._source, begin, end)
        if found is not None:
            yield self._change(found.start(), found.end(), new)

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = self._lines[node.lineno - 1] + node.col_offset
        return begin, self._lines[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> str:
        begin, end = self._span(node)
        return self._source[begin:end].decode()

    def _change(self, begin: int, end: int, new: str) -> Change:
        line = self._source.count(b"\n", 0, begin) + 1
        return Change(self._path, line, begin, end, self._source[begin:end].decode(), new)


def _is_alias(node: ast.Assign) -> bool:
    """Whether it gives a type a name: `Ints = NDArray[np.int64]`."""
    return isinstance(node.value, ast.Subscript) and isinstance(node.targets[0], ast.Name) and node.col_offset == 0
