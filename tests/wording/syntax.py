"""Python source as the collector of templates sees it: definitions, assignments, arguments. Pure."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Step = str | int  # into a table: an index, a key, or one of these
ANY, KEY = "any element or value", "any key"
Steps = tuple[Step, ...]


@dataclass(eq=False)
class Module:
    """One source file: what its names stand for."""

    name: str
    file: str
    tree: ast.Module
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    bindings: "dict[str, list[Binding]]" = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: its module, its class, the functions around it, outermost first."""

    module: Module
    class_: ast.ClassDef | None = None
    functions: tuple[Function, ...] = ()


@dataclass(frozen=True)
class Symbol:
    """A function or class. scope: around a function, its class included."""

    node: Definition
    scope: Scope


@dataclass(frozen=True)
class Parameter:
    """A value that callers give: to a function's parameter, or to a class without a constructor of its own as a field."""

    owner: Definition
    name: str
    steps: Steps


Binding = tuple[ast.expr, Steps]
Ground = tuple[ast.expr | Parameter | Symbol, Scope]


def bind(target: ast.expr, value: ast.expr, steps: Steps = ()) -> Iterator[tuple[ast.expr, Binding]]:
    """What an assignment gives to each name and attribute of its target."""
    if isinstance(target, ast.Tuple | ast.List):
        for n, each in enumerate(target.elts):
            if not isinstance(each, ast.Starred):
                yield from bind(each, value, (*steps, n))
    elif isinstance(target, ast.Name | ast.Attribute):
        yield target, (value, steps)


def assignments(nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.expr, Binding]]:
    """Every (target, value) among the nodes: assignments, loops, ``list.append`` and ``dict[key] = value``."""
    for node in nodes:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Subscript):
                        yield from bind(target.value, ast.List(elts=[value]))
                    else:
                        yield from bind(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                yield from bind(target, value)
            case ast.AugAssign(target=target, value=value):
                yield from bind(target, value)
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                yield from bind(target, value, (ANY,))
            case ast.Call(func=ast.Attribute(value=target, attr="append"), args=[value]):
                yield from bind(target, ast.List(elts=[value]))


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function or module without those of the definitions inside it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, Definition):
            yield from own_nodes(child)


def parameters(node: Definition) -> list[str]:
    """Names in the order of positional arguments; a class's are its annotated fields."""
    keyword_only = 0 if isinstance(node, ast.ClassDef) else len(node.args.kwonlyargs)
    names = list(all_parameters(node))
    return names[: len(names) - keyword_only]


def all_parameters(node: Definition) -> dict[str, ast.expr | None]:
    """Every parameter with its annotation, positional ones first, the collecting ones left out."""
    if isinstance(node, ast.ClassDef):
        return {s.target.id: s.annotation for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}
    return {a.arg: a.annotation for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}


def walk(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.AST, Scope]]:
    """Every node below, with where it stands."""
    for child in ast.iter_child_nodes(node):
        yield child, scope
        yield from walk(child, inside(child, scope))


def inside(node: ast.AST, scope: Scope) -> Scope:
    """Where the nodes directly below a node stand."""
    if isinstance(node, ast.ClassDef):
        return Scope(scope.module, node, ())
    if isinstance(node, Function):
        return Scope(scope.module, scope.class_, (*scope.functions, node))
    return scope


def is_bound(node: Definition) -> bool:
    """Whether a function is called with its first parameter given already."""
    return not isinstance(node, ast.ClassDef) and parameters(node)[:1] in (["self"], ["cls"])


def arguments(call: ast.Call, callee: Definition, name: str) -> Iterator[tuple[ast.expr, Steps]]:
    """The argument for a parameter, with the step into it where it is handed over in a ``*list``."""
    names = parameters(callee)[1 if is_bound(callee) else 0 :]
    yield from ((k.value, ()) for k in call.keywords if k.arg == name)
    for n, argument in enumerate(call.args):
        if isinstance(argument, ast.Starred):
            if name in names[n:]:
                yield argument.value, (names.index(name) - n,)
            return
        if names[n : n + 1] == [name]:
            yield argument, ()


def given_values(call: ast.Call, callee: Definition) -> frozenset[str] | None:
    """Names of the values that a call fills in: its keywords and the callee's own names, or the keys of its ``values``."""
    if not isinstance(callee, ast.ClassDef) and callee.args.kwarg is not None:
        names = [k.arg for k in call.keywords]
        return None if None in names else frozenset([*all_parameters(callee), *(n for n in names if n)])
    for argument, _ in arguments(call, callee, "values"):
        if isinstance(argument, ast.Dict) and all(isinstance(k, ast.Constant) for k in argument.keys):
            return frozenset(str(k.value) for k in argument.keys if isinstance(k, ast.Constant))
    return None


def defaults(owner: Definition, name: str) -> list[ast.expr]:
    """What a parameter or field is where nothing is given."""
    if isinstance(owner, ast.ClassDef):
        return [s.value for s in owner.body if isinstance(s, ast.AnnAssign) and ast.unparse(s.target) == name and s.value]
    positional = [*owner.args.posonlyargs, *owner.args.args]
    pairs = [*zip(positional[::-1], owner.args.defaults[::-1], strict=False)]
    keyword = [(a, d) for a, d in zip(owner.args.kwonlyargs, owner.args.kw_defaults, strict=True) if d is not None]
    return [default for argument, default in (*pairs, *keyword) if argument.arg == name]
