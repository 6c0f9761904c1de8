"""Every English template that the product can say, collected from its source without running it.

A template is whatever reaches ``wording.say`` or ``wording.translate``. The collector follows their arguments back: through
variables, tables and conditions, the parameters of the functions in between and the fields of classes. What it cannot follow is
reported as unfollowed, so that no template hides from the catalogue.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.wording.syntax import (
    ANY,
    KEY,
    Binding,
    Definition,
    Function,
    Ground,
    Module,
    Parameter,
    Scope,
    Steps,
    Symbol,
    all_parameters,
    arguments,
    assignments,
    defaults,
    given_values,
    own_nodes,
    walk,
)

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (("wording.text", "say", "template"), ("wording.text", "translate", "template"))
SAME = {"list", "tuple", "sorted", "reversed", "set", "frozenset"}  # what they give has the elements of what they take


@dataclass(frozen=True)
class Use:
    """One place that uses a template. given: the names of the values filled in there, None where it cannot be told."""

    template: str
    place: str
    given: frozenset[str] | None = None


class Source:
    """The packages' source, and the uses of templates in it."""

    def __init__(self, packages: Iterable[str], more: Iterable[tuple[str, str, str]] = (), root: Path = ROOT) -> None:
        """more: further (module, function or class, parameter) that take templates, which come back out of a file later."""
        self.uses: list[Use] = []
        self.unfollowed: dict[str, str] = {}  # file and expression → line
        self._modules: dict[str, Module] = {}
        for path in sorted(p for name in (*packages, "wording") for p in (root / name).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self._modules[name] = self._read(name, str(path.relative_to(root)), ast.parse(path.read_text(encoding="utf-8")))
        self._locals: dict[Function, dict[str, list[Binding]]] = {}
        self._typed: dict[ast.expr, list[Symbol]] = {}
        self._fields: dict[str, list[tuple[ast.expr, Binding, Scope]]] = defaultdict(list)
        calls = self._look_round()
        self._follow(calls, [(self._modules[m].definitions[name], parameter, ()) for m, name, parameter in (*SEEDS, *more)])

    def _look_round(self) -> dict[Definition, list[tuple[ast.Call, Scope]]]:
        """Every call by what it can run; assignments to attributes on the way."""
        nodes = [found for module in self._modules.values() for found in walk(module.tree, Scope(module))]
        for node, scope in nodes:
            for target, binding in assignments([node]):
                if isinstance(target, ast.Attribute):
                    self._fields[target.attr].append((target.value, binding, scope))
        calls: dict[Definition, list[tuple[ast.Call, Scope]]] = defaultdict(list)
        for node, scope in nodes:
            if isinstance(node, ast.Call):
                for callee in self._callees(node.func, scope):
                    for each in self._line(callee) if isinstance(callee.node, ast.ClassDef) else [callee]:
                        calls[each.node].append((node, scope))
        return calls

    def _follow(
        self, calls: dict[Definition, list[tuple[ast.Call, Scope]]], pending: list[tuple[Definition, str, Steps]]
    ) -> None:
        done = set()
        while pending:
            sink = owner, name, steps = pending.pop()
            if sink in done:
                continue
            done.add(sink)
            found: list[tuple[ast.expr, Scope, Steps, frozenset[str] | None]] = []
            found += [(default, Scope(self._modules["wording"]), steps, None) for default in defaults(owner, name)]
            for call, scope in calls[owner]:
                found += [(a, scope, into + steps, given_values(call, owner)) for a, into in arguments(call, owner, name)]
            for argument, scope, into, given in found:
                pending += self._use(argument, scope, into, given)

    @staticmethod
    def _read(name: str, file: str, tree: ast.Module) -> Module:
        module = Module(name, file, tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                module.imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        module.definitions = {s.name: s for s in tree.body if isinstance(s, Definition)}
        for target, binding in assignments(own_nodes(tree)):
            if isinstance(target, ast.Name):
                module.bindings.setdefault(target.id, []).append(binding)
        return module

    def _use(
        self, argument: ast.expr, scope: Scope, steps: Steps, given: frozenset[str] | None
    ) -> Iterator[tuple[Definition, str, Steps]]:
        """Notes the templates that an argument can be; gives the parameters that it can come from."""
        file = scope.module.file
        if (
            isinstance(argument, ast.Name)
            and scope.functions
            and len(self._bindings(scope.functions[-1]).get(argument.id, ())) > 1
        ):
            given = None  # each of its values may go with other ones
        for ground, _ in self._ground(argument, scope, steps, set()):
            if isinstance(ground, Parameter):
                yield ground.owner, ground.name, ground.steps
            elif isinstance(ground, ast.Constant):
                if isinstance(ground.value, str):
                    self.uses.append(Use(ground.value, f"{file}:{argument.lineno}", given))
            elif isinstance(ground, ast.expr) and not file.startswith("wording/"):
                self.unfollowed[f"{file}: {ast.unparse(ground)}"] = f"{file}:{argument.lineno}"

    # what a name or expression stands for

    def _symbol(self, module: Module, name: str) -> Symbol | Module | None:
        if name in module.definitions:
            return Symbol(module.definitions[name], Scope(module))
        if name in module.imports:
            origin, original = module.imports[name]
            if f"{origin}.{original}" in self._modules:
                return self._modules[f"{origin}.{original}"]
            if origin in self._modules:
                return self._symbol(self._modules[origin], original)
        return None

    def _bindings(self, function: Function) -> dict[str, list[Binding]]:
        if function not in self._locals:
            found: dict[str, list[Binding]] = defaultdict(list)
            for target, binding in assignments(own_nodes(function)):
                if isinstance(target, ast.Name):
                    found[target.id].append(binding)
            self._locals[function] = found
        return self._locals[function]

    def _name(self, name: str, scope: Scope, steps: Steps, seen: set[object]) -> Iterator[Ground]:
        for depth in range(len(scope.functions), 0, -1):
            function, here = scope.functions[depth - 1], Scope(scope.module, scope.class_, scope.functions[:depth])
            nested = [s for s in own_nodes(function) if isinstance(s, Definition) and s.name == name]
            bound = self._bindings(function).get(name, [])
            if name in all_parameters(function):
                yield Parameter(function, name, steps), here
            for definition in nested:
                yield Symbol(definition, here), here
            for value, first in bound:
                yield from self._ground(value, here, first + steps, seen)
            if bound or nested or name in all_parameters(function):
                return
        yield from self._global(scope.module, name, steps, seen)

    def _global(self, module: Module, name: str, steps: Steps, seen: set[object]) -> Iterator[Ground]:
        symbol = self._symbol(module, name)
        if isinstance(symbol, Symbol):
            yield symbol, symbol.scope
        elif name in module.bindings:
            for value, first in module.bindings[name]:
                yield from self._ground(value, Scope(module), first + steps, seen)
        elif module.imports.get(name, ("", ""))[0] in self._modules:
            origin, original = module.imports[name]
            yield from self._global(self._modules[origin], original, steps, seen)
        else:
            yield ast.Name(name), Scope(module)

    def _ground(self, node: ast.expr, scope: Scope, steps: Steps, seen: set[object]) -> Iterator[Ground]:
        """What an expression, or what the steps take from it, can be: constants, parameters, symbols, or what is not followed."""
        if (node, steps) in seen:
            return
        seen.add((node, steps))
        match node, steps:
            case ast.Name(id=name), _:
                yield from self._name(name, scope, steps, seen)
            case ast.IfExp(body=one, orelse=other), _:
                yield from self._ground(one, scope, steps, seen)
                yield from self._ground(other, scope, steps, seen)
            case ast.BoolOp(values=values), _:
                for value in values:
                    yield from self._ground(value, scope, steps, seen)
            case ast.NamedExpr(value=value), _:
                yield from self._ground(value, scope, steps, seen)
            case ast.Subscript(value=table, slice=index), _:
                step = index.value if isinstance(index, ast.Constant) and isinstance(index.value, int | str) else ANY
                yield from self._ground(table, scope, (step, *steps), seen)
            case ((ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements)), (step, *rest)):
                for n, element in enumerate(elements):
                    if isinstance(element, ast.Starred):
                        yield from self._ground(element.value, scope, (ANY, *rest), seen)
                    elif step in (ANY, n):
                        yield from self._ground(element, scope, tuple(rest), seen)
            case ast.Dict(keys=keys, values=values), (step, *rest):
                for key, value in zip(keys, values, strict=True):
                    known = key.value if isinstance(key, ast.Constant) else step
                    if step == KEY and key is not None:
                        yield from self._ground(key, scope, tuple(rest), seen)
                    elif step in (ANY, known):
                        yield from self._ground(value, scope, tuple(rest), seen)
            case ((ast.ListComp(elt=element) | ast.GeneratorExp(elt=element) | ast.SetComp(elt=element)), (_, *rest)):
                yield from self._ground(element, scope, tuple(rest), seen)
            case ast.BinOp(left=left, op=ast.Add(), right=right), (_, *_):
                yield from self._ground(left, scope, steps, seen)
                yield from self._ground(right, scope, steps, seen)
            case ast.Attribute(), _:
                yield from self._attribute(node, scope, steps, seen)
            case ast.Call(), _:
                yield from self._result(node, scope, steps, seen)
            case _:
                yield node, scope

    def _attribute(self, node: ast.Attribute, scope: Scope, steps: Steps, seen: set[object]) -> Iterator[Ground]:
        if isinstance(node.value, ast.Name):
            module = self._symbol(scope.module, node.value.id)
            if isinstance(module, Module):
                yield from self._global(module, node.attr, steps, seen)
                return
        classes = self._types(node.value, scope)
        found = [g for each in classes for g in self._field(each, node.attr, steps, seen)]
        yield from found or [(node, scope)]

    def _field(self, class_: Symbol, name: str, steps: Steps, seen: set[object]) -> Iterator[Ground]:
        assert isinstance(class_.node, ast.ClassDef)
        if self._member(class_, "__init__") is None:
            for each in self._line(class_):
                if name in all_parameters(each.node):
                    yield Parameter(class_.node, name, steps), class_.scope
        for (value, first), scope in self._assigned(class_, name):
            yield from self._ground(value, scope, first + steps, seen)

    def _assigned(self, class_: Symbol, name: str) -> Iterator[tuple[Binding, Scope]]:
        """What is assigned to a field of the class, of those it inherits from, and of those that inherit from it."""
        line = [each.node for each in self._line(class_)]
        for owner, binding, scope in self._fields[name]:
            typed = self._types(owner, scope)
            if any(t.node in line or class_.node in [each.node for each in self._line(t)] for t in typed):
                yield binding, scope

    def _result(self, call: ast.Call, scope: Scope, steps: Steps, seen: set[object]) -> Iterator[Ground]:
        match call:
            case ast.Call(func=ast.Attribute(value=table, attr="get" | "pop" | "setdefault"), args=[key, *default]):
                yield from self._ground(table, scope, (ANY, *steps), seen)
                for value in default:
                    if ast.dump(value) != ast.dump(key):  # else it is a name that the table does not know, no text
                        yield from self._ground(value, scope, steps, seen)
            case ast.Call(func=ast.Attribute(value=table, attr="values")):
                yield from self._ground(table, scope, steps, seen)
            case ast.Call(func=ast.Attribute(value=table, attr="items")) if steps[:2] in ((ANY, 0), (ANY, 1)):
                yield from self._ground(table, scope, (KEY if steps[1] == 0 else ANY, *steps[2:]), seen)
            case ast.Call(func=ast.Name(id=name), args=[table, *_]) if name in SAME:
                yield from self._ground(table, scope, steps, seen)
            case _:
                callees = [c for c in self._callees(call.func, scope) if isinstance(c.node, Function)]
                for callee in callees:
                    here = Scope(callee.scope.module, callee.scope.class_, (*callee.scope.functions, callee.node))  # type: ignore[arg-type]
                    for node in own_nodes(callee.node):
                        if isinstance(node, ast.Return) and node.value is not None:
                            yield from self._ground(node.value, here, steps, seen)
                if not callees:
                    yield call, scope

    # classes

    def _types(self, node: ast.expr, scope: Scope) -> list[Symbol]:
        """Classes that an expression can be an instance of, as far as names and annotations tell."""
        if node not in self._typed:
            self._typed[node] = []  # for an expression that is made of itself
            self._typed[node] = list(self._find_types(node, scope))
        return self._typed[node]

    def _find_types(self, node: ast.expr, scope: Scope) -> Iterator[Symbol]:
        match node:
            case ast.Name(id="self" | "cls") if scope.class_ is not None:
                yield Symbol(scope.class_, Scope(scope.module))
            case ast.Name(id=name):
                yield from self._variable_types(name, scope)
            case ast.Call(func=ast.Name(id="super")) if scope.class_ is not None:
                yield from self._bases(Symbol(scope.class_, Scope(scope.module)))
            case ast.Call(func=function):
                for callee in self._callees(function, scope, constructors=False):
                    if isinstance(callee.node, ast.ClassDef):
                        yield callee
                    elif callee.node.returns is not None:
                        yield from self._annotated(callee.node.returns, callee.scope.module)
            case ast.Attribute(value=owner, attr=attribute):
                for class_ in self._types(owner, scope):
                    for each in self._line(class_):
                        annotation = all_parameters(each.node).get(attribute)
                        if annotation is not None:
                            yield from self._annotated(annotation, each.scope.module)
                    for binding, here in self._assigned(class_, attribute):
                        yield from self._bound_types(binding, here)

    def _variable_types(self, name: str, scope: Scope) -> Iterator[Symbol]:
        for depth in range(len(scope.functions), 0, -1):
            function, here = scope.functions[depth - 1], Scope(scope.module, scope.class_, scope.functions[:depth])
            annotation = all_parameters(function).get(name)
            if annotation is not None:
                yield from self._annotated(annotation, scope.module)
            for binding in self._bindings(function).get(name, []):
                yield from self._bound_types(binding, here)
            for node in own_nodes(function):
                if isinstance(node, ast.ExceptHandler) and node.name == name and node.type is not None:
                    yield from self._annotated(node.type, scope.module)

    def _bound_types(self, binding: Binding, scope: Scope) -> Iterator[Symbol]:
        """Of what an assignment gives, one name of several on both sides included."""
        value, steps = binding
        if len(steps) == 1 and isinstance(value, ast.Tuple) and isinstance(steps[0], int) and steps[0] < len(value.elts):
            value, steps = value.elts[steps[0]], ()
        if not steps:
            yield from self._types(value, scope)

    def _annotated(self, annotation: ast.expr, module: Module) -> Iterator[Symbol]:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.parse(annotation.value, mode="eval").body
        for node in ast.walk(annotation):
            symbol = self._symbol(module, node.id) if isinstance(node, ast.Name) else None
            if isinstance(symbol, Symbol) and isinstance(symbol.node, ast.ClassDef):
                yield symbol

    def _bases(self, class_: Symbol) -> Iterator[Symbol]:
        assert isinstance(class_.node, ast.ClassDef)
        for base in class_.node.bases:
            symbol = self._symbol(class_.scope.module, base.id) if isinstance(base, ast.Name) else None
            if isinstance(symbol, Symbol):
                yield symbol

    def _line(self, class_: Symbol) -> list[Symbol]:
        """The class and those it inherits from."""
        return [class_, *(each for base in self._bases(class_) for each in self._line(base))]

    def _member(self, class_: Symbol, name: str) -> Symbol | None:
        """A method, the class's own or inherited."""
        for each in self._line(class_):
            for node in each.node.body:
                if isinstance(node, Function) and node.name == name:
                    return Symbol(node, Scope(each.scope.module, each.node))  # type: ignore[arg-type]
        return None

    def _callees(self, function: ast.expr, scope: Scope, *, constructors: bool = True) -> Iterator[Symbol]:
        """What a call can run. A class is its constructor, or itself where it has none of its own."""
        found: list[Symbol] = []
        if isinstance(function, ast.Name):
            found = [g for g, _ in self._name(function.id, scope, (), set()) if isinstance(g, Symbol)]
        elif isinstance(function, ast.Attribute):
            module = self._symbol(scope.module, function.value.id) if isinstance(function.value, ast.Name) else None
            if isinstance(module, Module):
                found = [g for g, _ in self._global(module, function.attr, (), set()) if isinstance(g, Symbol)]
            else:
                classes = (
                    [module]
                    if isinstance(module, Symbol) and isinstance(module.node, ast.ClassDef)
                    else self._types(function.value, scope)
                )
                found = [m for class_ in classes if (m := self._member(class_, function.attr))]
        for symbol in found:
            init = self._member(symbol, "__init__") if constructors and isinstance(symbol.node, ast.ClassDef) else None
            yield init or symbol
