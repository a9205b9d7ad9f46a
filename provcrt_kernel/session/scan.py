"""What a cell's syntax tree mentions, in whatever order: modules, attributes, effects, magics, ways to reach any name."""

from __future__ import annotations

import ast
import re
import string

from provcrt_kernel.session.names import code_names

#: Calling one of these without arguments, or at all, can read any name of the namespace.
_WILDCARD_CALLS = {"globals", "locals", "eval", "exec", "vars", "dir", "compile"}
#: Those that give all names, IPython's own among them; code in a text is taken to ask for variables.
_LISTING = {"globals", "locals", "vars", "dir"}
_ONLY_WITHOUT_ARGUMENTS = {"vars", "dir"}
#: Attributes that lead to the caller's frame or to the namespace as an object.
_WILDCARD_ATTRIBUTES = frozenset(
    "_getframe currentframe f_globals f_locals f_back user_ns user_global_ns __subclasses__ get_objects get_referrers".split()
)
#: What `get_ipython()` may be asked without the whole namespace being read.
_SHELL_METHODS = {"run_line_magic", "run_cell_magic", "system", "getoutput", "set_next_input"}

#: Magics whose argument (line, or line and body) is Python code run in the namespace.
CODE_MAGICS = {"time", "timeit", "prun", "capture", "memit", "mprun", "lprun"}
#: Magics that read no name but those expanded in their line.
_PLAIN_MAGICS = frozenset(
    "matplotlib precision config load_ext reload_ext unload_ext autoreload cd pwd env set_env writefile file html "
    "HTML javascript js latex markdown svg SVG bash sh script perl ruby pip conda mamba uv ls ll mkdir rmdir cat cp "
    "mv rm man more less head tail system sx ! colors xmode pprint alias unalias dhist pushd popd dirs bookmark "
    "lsmagic magic quickref provcrt provcrt_run run pylab_off automagic pdb logstart logstop".split()
)
_MAGIC_RUNNERS = {"run_line_magic", "run_cell_magic"}


def chain_of(node: ast.AST) -> str | None:
    """`a.b.c` for an attribute look-up that starts at a name, ``getattr`` with a name in quotes included, else None."""
    parts: list[str] = []
    while True:
        match node:
            case ast.Attribute(value=value, attr=name):
                pass
            case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Constant(value=str(name)), *_]):
                pass
            case _:
                break
        parts.append(name)
        node = value
    if isinstance(node, ast.Name):
        return ".".join([node.id, *reversed(parts)])
    return None


def _root_chain(node: ast.AST) -> str | None:
    """The chain that an assignment's target starts with: ``plt.rcParams["x"]`` gives ``plt.rcParams``, ``f(x).y`` gives ``f``."""
    while True:
        if chain := chain_of(node):
            return chain
        match node:
            case ast.Subscript(value=inner) | ast.Attribute(value=inner) | ast.Call(func=inner):
                node = inner
            case _:
                return None


def _literal(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def expanded_names(text: str) -> frozenset[str] | None:
    """Names that IPython expands in a magic's or shell command's line (``{expression}``, ``$name``); None: cannot tell."""
    names: set[str] = set(re.findall(r"\$([A-Za-z_]\w*)", text))
    if "{" in text:
        try:
            fields = [f for _, f, _, _ in string.Formatter().parse(text) if f]
        except ValueError:
            return frozenset(names)  # IPython leaves a line alone that does not parse as a format string
        for expression in fields:
            try:
                names |= code_names(compile(expression, "<field>", "eval")).loads
            except (SyntaxError, ValueError):
                continue
    return frozenset(names)


class Scan(ast.NodeVisitor):
    """Everything about a cell that does not depend on the order of its statements."""

    def __init__(self) -> None:
        self.imports: list[str] = []
        self.stars: list[str] = []
        self.chains: set[str] = set()
        self.attributes: set[str] = set()
        self.assigned: set[str] = set()
        self.effects: set[str] = set()
        self.magics: set[str] = set()
        self.expanded: set[str] = set()
        self.code: list[str] = []
        self.wildcard: str | None = None
        self.lists = False

    def visit_Import(self, node: ast.Import) -> None:
        self.imports += [alias.name for alias in node.names]
        if any(alias.name == "__main__" for alias in node.names):
            self._names("imports __main__")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module and not node.level:
            self.imports.append(node.module)
            if any(alias.name == "*" for alias in node.names):
                self.stars.append(node.module)
            if node.module == "__main__":
                self._names("imports __main__")
            self.attributes.update(alias.name for alias in node.names)
            self.chains.update(f"{node.module}.{alias.name}" for alias in node.names)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.attributes.add(node.attr)
        if node.attr in _WILDCARD_ATTRIBUTES:
            self._names(f"uses .{node.attr}")
        chain = chain_of(node)
        if chain:
            self.chains.add(chain)
            if chain == "inspect.stack":
                self.wildcard = "uses inspect.stack"
        if isinstance(node.ctx, ast.Store | ast.Del) and (target := _root_chain(node)):
            self.assigned.add(target)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Store | ast.Del):
            chain = _root_chain(node)
            if chain:
                self.assigned.add(chain)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        # ``__name__ == "__main__"`` is asked by scripts
        self.generic_visit(node.left if chain_of(node.left) == "__name__" else node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and "__main__" in node.value:
            self._names("names __main__")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and (chain := chain_of(node.value.func)):
            self.effects.add(chain)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.attributes.add(node.id)

    def visit_Call(self, node: ast.Call) -> None:
        if not node.args and not node.keywords and (chain := chain_of(node.func)):
            self.attributes.add(f"{chain.rpartition('.')[2]}()")
        match node.func:
            case ast.Name(id=name) if name in _WILDCARD_CALLS:
                if name not in _ONLY_WITHOUT_ARGUMENTS or not (node.args or node.keywords):
                    self.wildcard = f"calls {name}()"
                    self.lists |= name in _LISTING
            case ast.Name(id="setattr" | "delattr") if node.args and (chain := chain_of(node.args[0])):
                self.assigned.add(chain)
            case ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module") if (
                node.args and (module := _literal(node.args[0])) and not module.startswith(".")
            ):
                self.imports.append(module)
            case ast.Name(id="getattr") if chain := chain_of(node):
                self.chains.add(chain)
                self.attributes.add(chain.rpartition(".")[2])
            case ast.Name(id="get_ipython"):
                self.wildcard = "uses get_ipython()"
            case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=method) if (
                method in _SHELL_METHODS
            ):
                self._shell_call(method, node)
                return
        self.generic_visit(node)

    def _names(self, how: str) -> None:
        """It gets at the whole namespace, whose names it may list."""
        self.wildcard, self.lists = how, True

    def _shell_call(self, method: str, node: ast.Call) -> None:
        arguments = [_literal(a) for a in node.args]
        if None in arguments or not arguments:
            self.wildcard = "a magic with computed arguments"
            return
        texts = [a for a in arguments if a is not None]
        if method not in _MAGIC_RUNNERS:
            self.magics.add("!")
            self._expand(texts[0])
            return
        name, line = texts[0], texts[1] if len(texts) > 1 else ""
        self.magics.add(name)
        self._expand(line)
        if name in CODE_MAGICS:
            self._code_magic(name, line, texts[2] if len(texts) > 2 else None)
        elif name == "run" and "-i" in line.split():
            self.wildcard = "%run -i"
        elif name in ("pinfo", "pinfo2", "psource", "pdoc", "pfile", "pycat"):
            self.expanded.update(re.findall(r"[A-Za-z_]\w*", line))
        elif name not in _PLAIN_MAGICS:
            self.wildcard = f"%{name}"

    def _code_magic(self, name: str, line: str, body: str | None) -> None:
        words = line
        if name == "capture":
            words = ""
            target = next((w for w in line.split() if not w.startswith("-")), None)
            self.code.append((body or "") + (f"\n{target} = None" if target else ""))
            return
        while match := re.match(r"\s*-\w+\s*(?:\d+\s+)?", words):
            words = words[match.end() :]
        self.code.append(words if body is None else f"{words}\n{body}")

    def _expand(self, text: str) -> None:
        self.expanded |= expanded_names(text) or frozenset()
