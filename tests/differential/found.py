"""Mismatches that random notebooks have found, made small: each was a mistake, and is right now.

Sessions begin with ``# ==``, cells with ``# %% name``; a cell without a source is as it was; ``# write path`` writes what follows
into a file.
"""

from __future__ import annotations

import re
import textwrap

from differential.compare import Scenario, Step
from differential.notebooks import FILES

_BLOCK = re.compile(r"^# (==|%%|write) ?(.*)\n", re.MULTILINE)


def life(text: str) -> Scenario:
    """The scenario that a text describes."""
    parts = _BLOCK.split(textwrap.dedent(text).lstrip("\n"))
    assert parts[0] == "", parts[0]
    sessions: list[list[Step]] = []
    cells: dict[str, str] = {}
    for kind, name, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if kind == "==":
            sessions.append([])
        elif kind == "write":
            sessions[-1].append(("write", name, body))
        else:
            cells[name] = body.rstrip("\n") or cells[name]
            sessions[-1].append(("run", name, cells[name]))
    return Scenario(tuple(map(tuple, sessions)), FILES)


_TEXTS = {
    "a module found before the session went elsewhere": """
        # == first
        # %% a
        import os
        import helper
        # %% b
        os.makedirs('sub', exist_ok=True); os.chdir('sub')
        # == again
        # %% a
        # %% b
        """,
    "a cell that runs again begins where the session began": """
        # == first
        # %% a
        import os
        # %% b
        from helper import scale, SEEN
        os.makedirs('sub', exist_ok=True); os.chdir('sub')
        # == again
        # %% a
        # %% b
        """,
    "a file made and removed in one cell": """
        # == first
        # %% a
        import os
        # %% b
        open('out.txt', 'a').write('2')
        os.remove('out.txt')
        # %% c
        !echo 1 >> out.txt
        # %% d
        os.remove('out.txt')
        # == again
        # %% a
        # %% b
        # %% c
        """,
    "a name that a cell binds, and loses again": """
        # == first
        # %% a
        def e(): pass
        try: missing
        except Exception as e: b = e
        # %% b
        e = [1]
        # %% c
        b = 2
        # %% a
        # %% b
        """,
    "a module's own list, with an iterator in it": """
        # == first
        # %% a
        import helper
        # %% b
        a = __import__('itertools').count(2)
        # %% c
        helper.SEEN.append(a)
        # %% d
        b = helper.SEEN
        b.reverse()
        # == again
        # %% a
        # %% b
        # %% c
        # %% d
        """,
    "a set whose order tells how it came to be": """
        # == first
        # %% a
        b = {3, 3, 3 + 8}
        # == again
        # %% a
        # %% b
        print(b)
        """,
    "what holds a module's own list": """
        # == first
        # %% a
        import helper
        # %% b
        b = helper.SEEN
        # %% c
        d = [b, b]
        # %% d
        b = 1
        # == again
        # %% a
        # %% b
        # %% c
        # %% d
        """,
    "a module's own list, appended to and let go of by one of its names": """
        # == first
        # %% a
        import helper
        # %% b
        from helper import SEEN as a
        d, b = a, a
        helper.SEEN.append(b)
        # %% c
        a = [2]
        # == again
        # %% a
        # %% b
        # %% c
        # %% d
        c = str(a)
        """,
    "a function that changes a module": """
        # == first
        # %% a
        import math
        def setup(): math.extra = 5
        # %% b
        setup()
        # %% c
        r = math.extra
        # == again
        # %% a
        # %% b
        # %% c
        r = math.extra + 1
        """,
    "a module changed through a list": """
        # == first
        # %% a
        import math
        mods = [math]
        # %% b
        mods[0].extra = 5
        # %% c
        r = math.extra
        # == again
        # %% a
        # %% b
        # %% c
        r = math.extra + 1
        """,
    "a function that sets what C keeps": """
        # == first
        # %% a
        import csv
        def setup(n): csv.field_size_limit(n)
        # %% b
        setup(77)
        # %% c
        r = csv.field_size_limit()
        # == again
        # %% a
        # %% b
        # %% c
        r = csv.field_size_limit() + 1
        """,
    "a subclass that a new cell makes": """
        # == first
        # %% a
        class A: pass
        # %% b
        class B(A): pass
        # %% c
        r = [k.__name__ for k in A.__subclasses__()]
        r
        # == again
        # %% a
        # %% b
        # %% z
        class C(A): pass
        # %% c
        """,
    "annotations of a replayed cell": """
        # == first
        # %% a
        x: int = 1
        # %% b
        r = dict(__annotations__)
        # == again
        # %% a
        # %% b
        r = list(__annotations__)
        """,
    "a finalizer that prints, of a value never loaded": """
        # == first
        # %% a
        class A:
            def __del__(self): print('bye')
        a = A()
        # %% b
        u = 1
        # %% c
        a = 2
        # == again
        # %% a
        # %% b
        # %% c
        a = 3
        """,
    "a weak reference to what is not loaded": """
        # == first
        # %% a
        import weakref
        class A: pass
        a = A(); w = weakref.ref(a)
        # %% b
        del a
        # %% c
        r = w() is None
        # == again
        # %% a
        # %% b
        # %% c
        r = [w() is None]
        """,
    "a patch that is started": """
        # == first
        # %% a
        from unittest import mock
        import numpy as np
        # %% b
        p = mock.patch('numpy.sum', lambda x: 'mock')
        _ = p.start()
        # %% c
        r = np.sum([1])
        # == again
        # %% a
        # %% b
        # %% c
        r = [np.sum([1])]
        """,
    "an exception kept with its traceback": """
        # == first
        # %% a
        try: 1/0
        except ZeroDivisionError as e: err = e
        # %% b
        u = 1
        # %% c
        r = err.__traceback__ is None
        # == again
        # %% a
        # %% b
        # %% c
        r = [err.__traceback__ is None]
        """,
    "a built-in of one's own": """
        # == first
        # %% a
        __builtins__.hi3 = 5
        # %% c
        r = hi3
        # == again
        # %% a
        # %% c
        r = hi3 + 1
        """,
    "standard output replaced by a variable": """
        # == first
        # %% a
        import sys, io
        old = sys.stdout
        sys.stdout = buf = io.StringIO()
        # %% b
        print('hidden')
        # %% c
        sys.stdout = old
        r = buf.getvalue()
        # == again
        # %% a
        # %% b
        # %% c
        sys.stdout = old
        r = [buf.getvalue()]
        """,
    "a generator never loaded that ends when it is let go of": """
        # == first
        # %% a
        def g():
            try: yield 1
            finally: print('end')
        i = g()
        x = next(i)
        # %% c
        i = 2
        # == again
        # %% a
        # %% c
        i = 3
        """,
    "a file that is closed by rebinding its name": """
        # == first
        # %% a
        f = open('w.txt', 'w'); n = f.write('ab')
        # %% b
        f = None
        # %% c
        t = open('w.txt').read()
        # == again
        # %% a
        # %% b
        f = 0
        # %% c
        """,
    "a buffer that logging writes to": """
        # == first
        # %% a
        import logging, io
        buf = io.StringIO()
        logging.getLogger('zz').addHandler(logging.StreamHandler(buf))
        # %% b
        logging.getLogger('zz').warning('hi')
        # %% c
        r = buf.getvalue()
        # == again
        # %% a
        # %% b
        # %% c
        r = [buf.getvalue()]
        """,
    "a file made in a folder that may be there": """
        # == first
        # %% a
        import os
        os.makedirs('out', exist_ok=True)
        n = open('out/log.txt', 'a').write('x')
        # %% b
        r = open('out/log.txt').read()
        r
        # == again
        # %% a
        # %% b
        """,
    "the same in a shell": """
        # == first
        # %% a
        !mkdir -p out && echo 1 >> out/log.txt
        # %% b
        r = open('out/log.txt').read()
        r
        # == again
        # %% a
        # %% b
        """,
    "a function added to numpy by another function": """
        # == first
        # %% a
        import numpy as np
        def patch(): np.mysum = lambda x: 'mine'
        patch()
        # %% c
        r = np.mysum([1])
        # == again
        # %% a
        # %% c
        r = [np.mysum([1])]
        """,
    "a module's setting, and the module imported anew": """
        # == first
        # %% i
        import helper, sys
        # %% c1
        vars(helper)['LIMIT'] = 3
        # %% c3
        sys.modules.pop('helper', None)
        import helper
        # == again
        # %% i
        # %% c1
        # %% c3
        # %% c4
        x = helper.LIMIT
        """,
    "what a module gave before it was imported anew": """
        # == first
        # %% i
        import helper as a, sys
        from helper import scale, SEEN
        # %% c1
        a.LIMIT = 3
        # %% c3
        sys.modules.pop('helper', None)
        import helper as c
        # == again
        # %% i
        # %% c1
        # %% c3
        # %% c4
        x = scale(1), a.LIMIT, c.LIMIT, c.scale is scale, SEEN is c.SEEN, SEEN is a.SEEN
        """,
    "functions of a module that is loaded again": """
        # == first
        # %% a
        from helper import *
        # %% b
        import helper as c, importlib; importlib.reload(c)
        # == again
        # %% a
        # %% b
        # %% c
        x = c.scale is scale, SEEN is c.SEEN
        """,
    "a name of the session's that a cell run for its values unbinds": """
        # == first
        # %% i
        import os, logging, sys
        # %% c1
        import helper as a
        # %% c2
        try: a.nothing
        except Exception as e: c = e
        os.replace('out.txt', 'moved.txt')
        # %% c3
        logging.disable(20)
        sys.setrecursionlimit(2003)
        e = !cat out.txt
        # %% c3
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c3
        # %% i
        # %% c1
        # %% c2
        # %% c3
        """,
    "a cell that changes a module, beside what cannot be stored": """
        # == first
        # %% i
        import helper, contextvars, locale
        # %% c1
        a = contextvars.ContextVar('v', default=1)
        b = helper.note(1)
        # %% c2
        raise KeyError(3)
        print(e, a)
        # %% c3
        print(b, end='')
        # %% i
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c3
        e = locale.setlocale(locale.LC_NUMERIC)
        print(b, e)
        # %% i
        """,
    "a generator of a cell that has changed a module": """
        # == first
        # %% i
        import helper
        # %% c1
        it = (n for n in [1, 2, 3]); b = helper.note(1)
        # %% c2
        x = next(it)
        # == again
        # %% i
        # %% c1
        # %% cX
        z = helper.LIMIT
        # %% c2
        # %% cY
        y = next(it), b, helper.SEEN
        """,
    "an error inside of a cell that does not raise, and its number": """
        # == first
        # %% c2
        %%capture a
        print(d)
        e = 3
        # %% c2
        # %% c2
        """,
    "a pinned cell that names sys.modules, after one that changes a module": """
        # == first
        # %% i
        import helper, sys, types, collections
        # %% c2
        b = helper.note(0)
        e = helper.SEEN
        # %% c4
        sys.modules['fake'] = types.SimpleNamespace(V=1, W=e)
        e = collections.namedtuple('P', 'x y')(e, 0)
        # %% c6
        import helper as e
        print(b)
        # == again
        # %% i
        # %% c2
        # %% c4
        # %% c6
        """,
    "a result that is an open file, under another name meanwhile": """
        # == first
        # %% c1
        a = open('data.txt')
        a
        # == again
        # %% c1
        # %% c2
        e = a
        # %% c3
        f = _
        """,
    "a function of a module, under another name before the module got another": """
        # == first
        # %% i
        import helper, textwrap
        # %% c1
        b = helper.scale
        e = {'dedent': textwrap.dedent}
        # %% c2
        helper.scale = lambda x: x - 0
        textwrap.dedent = lambda x: 'other'
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c3
        c = 1
        # %% c4
        print(b(1), helper.scale(1), e['dedent'](' x'), textwrap.dedent(' x'))
        """,
    "a pinned cell after one that is never recorded, whose value is bound anew": """
        # == first
        # %% i
        import helper, linecache
        # %% c1
        d = linecache.getline('fake', 1)
        # %% c2
        setattr(helper, 'LIMIT', 0)
        print(d)
        # %% c3
        d = 5
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c3
        # %% c4
        print(helper.LIMIT)
        """,
    "an enum's other names": """
        # == first
        # %% c1
        import enum
        class e(enum.Enum):
            A = 1
            B = 1
        class f(enum.Flag):
            R = 1
            W = 2
            RW = 3
            def all(self): return f.RW
        # == again
        # %% c1
        # %% c2
        print(e.B, e.__members__, f.RW, f.R.all(), list(f), f(3))
        """,
    "IPython's own names among those that a cell lists": """
        # == first
        # %% c1
        x = 1
        # %% c2
        def all_names(): return sorted(globals())
        # %% c3
        print(len(globals()), dir(), all_names())
        # == again
        # %% c1
        # %% c2
        # %% c3
        # == one more before
        # %% c1
        # %% c0
        pass
        # %% c2
        # %% c3
        # == one with a result
        # %% c1
        # %% c0
        'result'
        # %% c2
        # %% c3
        # == its result is not loaded yet
        # %% c1
        # %% c0
        # %% c2
        # %% c4
        [n for n in dir() if len(n) == 2]
        """,
    "the order of a class's attributes": """
        # == first
        # %% c1
        import abc, dataclasses
        class A:
            z = 1
            def m(self): return self.z
            def __eq__(self, other): return True
        A.later = 2
        class B(A, abc.ABC):
            'Text.'
            @abc.abstractmethod
            def n(self): pass
            a = 0
        class C(B):
            __slots__ = 'q', '__p'
            def n(self): return __class__
            @classmethod
            def made(cls): return cls()
            b: int = 3
        @dataclasses.dataclass
        class D:
            y: int
            x: list = dataclasses.field(default_factory=list)
            def m(self): pass
        # == again
        # %% c1
        # %% c2
        for c in A, B, C, D: print([*vars(c)], c.__doc__, c.__hash__, getattr(c, '__abstractmethods__', 0), c.__annotations__)
        print(C.made().n() is C, D(1), A() == 1)
        """,
    "a cell that clears a folder which later cells fill": """
        # == first
        # %% c1
        import os, shutil, sys
        shutil.rmtree('sub', ignore_errors=True)
        os.makedirs('sub', exist_ok=True)
        sys.marked = lambda: 1
        # %% c2
        open('sub/new.txt', 'w').write('3')
        # == again
        # %% c1
        # %% c2
        # %% c3
        print(sys.marked(), os.listdir('sub'))
        """,
    "names that a star binds, where another star has bound them": """
        # == first
        # %% c1
        from helper import *
        # %% c2
        from helper import *  # once more
        x = 1
        # == without the other
        # %% c2
        # %% c3
        print(LIMIT, scale(2), x)
        """,
    "a pickle that names a class and a function of the notebook": """
        # == first
        # %% c1
        import pickle
        class A:
            x = 1
        def b(): return 1
        # %% c2
        pickle.dump([A(), b], open('out.pkl', 'wb'))
        d = A()
        # == they are not loaded
        # %% c1
        # %% c2
        # %% c3
        a = pickle.load(open('out.pkl', 'rb'))
        print(a[0].x, a[1]())
        # %% c4
        print(len(pickle.dumps(d)))
        # == the class is edited
        # %% c1
        import pickle
        class A:
            x = 2
        def b(): return 1
        # %% c2
        # %% c3
        """,
    "a magic that sets one of a library's options, after another was set": """
        # == first
        # %% c1
        import numpy as np
        np.seterr(divide='raise')
        # == again
        # %% c1
        # %% c2
        %precision 3
        # %% c3
        print(np.geterr())
        np.pi
        """,
    "types in annotations that are texts": """
        # == first
        # %% c1
        import typing, dataclasses
        class Other: x = 1
        # %% c2
        @dataclasses.dataclass
        class Node:
            x: 'Other'
        def f(x: 'Other') -> typing.Optional['Node']: pass
        # == they are not loaded
        # %% c1
        # %% c2
        # %% c3
        print(typing.get_type_hints(Node), typing.get_type_hints(f))
        # == one is edited
        # %% c1
        import typing, dataclasses
        class Other: x = 2
        # %% c2
        # %% c3
        """,
    "libraries that look into __main__ by themselves": """
        # == first
        # %% c1
        import doctest, unittest, timeit, cProfile, sys, inspect, io, contextlib
        def f():
            \"""
            >>> f()
            1
            \"""
            return 1
        def g(): return 2
        class T(unittest.TestCase):
            def test(self): self.assertEqual(g(), 2)
        # == they are not loaded
        # %% c1
        # %% c2
        doctest.testmod()
        # %% c3
        with contextlib.redirect_stderr(io.StringIO()): print(len(unittest.main(argv=['x'], exit=False).result.failures))
        # %% c4
        print(timeit.timeit('g()', setup='from __main__ import g', number=1) > 0)
        # %% c5
        with contextlib.redirect_stdout(io.StringIO()): cProfile.run('g()')
        # %% c6
        del T
        # == what they test is edited
        # %% c1
        import doctest, unittest, timeit, cProfile, sys, inspect, io, contextlib
        def f():
            \"""
            >>> f()
            1
            \"""
            return 1
        def g(): return 3
        class T(unittest.TestCase):
            def test(self): self.assertEqual(g(), 2)
        # %% c2
        # %% c3
        # %% c4
        # %% c5
        # %% c6
        """,
    "looking at an object makes no attributes for it": """
        # == first
        # %% c1
        import functools, io, pickle
        a = functools.partial(max, 1)
        b = io.StringIO()
        try: 1 / 0
        except Exception as e: c = e
        # %% c2
        a = functools.partial(a, 2)
        print(a, pickle.dumps([b, c]))
        """,
    "what a module has been given is its own, and changes with the variable": """
        # == first
        # %% i
        import helper
        x = [1]
        # %% c1
        helper.SEEN.append(x)
        # %% c2
        x.append(5)
        # %% c3
        print(helper.SEEN)
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c3
        # %% c4
        print(x, helper.SEEN[0] is x)
        # == later
        # %% i
        # %% c1
        # %% c2
        helper.SEEN[0].append(6)
        # %% c3
        # %% c4
        """,
    "a function that a cell has put into a module, and another one got from there": """
        # == first
        # %% i
        import helper
        # %% c1
        helper.scale = lambda x: x - 2
        # %% c2
        b = helper.scale
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c3
        print(b is helper.scale)
        """,
    "a module holds what a name was, which is equal to what it is": """
        # == first
        # %% i
        import helper
        # %% c1
        f = {'k': 2}
        # %% c2
        helper.SEEN.append(f)
        # %% c1
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c1
        # %% c3
        print(f is helper.SEEN[0])
        """,
    "a pinned cell that needs what only changing a module gave, after that was done": """
        # == first
        # %% i
        import helper, collections
        # %% c1
        a = helper.SEEN
        a.append(a)
        # %% c2
        collections.extra = 1; a = 1; a // 0
        # == again
        # %% i
        # %% c1
        # %% c3
        print(helper.LIMIT)
        # %% c2
        # %% c4
        print(helper.SEEN)
        """,
    "a function from a module that is loaded anew afterwards": """
        # == first
        # %% i
        import helper, importlib, collections
        # %% c1
        from helper import *
        # %% c2
        import helper as b, importlib; importlib.reload(b)
        # %% c3
        collections.extra = scale(1)
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c4
        print(helper.LIMIT)
        # %% c3
        # %% c5
        print(scale is helper.scale, SEEN is helper.SEEN)
        """,
    "files that are open in variables, edited and removed after their cells were replayed": """
        # == first
        # %% i
        import csv
        # %% c1
        a = iter(open('data.txt'))
        b = csv.reader(open('table.csv'))
        # %% c2
        next(b)
        # == again
        # %% i
        # %% c1
        # %% c2
        # write data.txt
        7
        # %% c3
        import os
        os.replace('data.txt', 'table.csv')
        # %% c4
        print(list(a), list(b))
        """,
    "a folder that may be there, made and looked into": """
        # == first
        # %% a
        import os
        os.makedirs('sub', exist_ok=True)
        print(os.listdir('sub'))
        !mkdir -p other; ls other
        # %% b
        open('sub/more.txt', 'w').write('1')
        open('other/more.txt', 'w').write('1')
        # == again
        # %% a
        """,
    "names that a cell binds and unbinds, where an earlier one binds them": """
        # == first
        # %% a
        try: 1 / 0
        except Exception as e: b = str(e)
        # %% b
        c = 1; del c
        # == again
        # %% new
        e, c = 5, 6
        # %% a
        # %% b
        # == third
        # %% new
        # %% a
        # %% b
        # %% last
        with open('out.txt', 'w') as f: f.write('1')
        try: f.nothing
        except Exception as f: pass
        # == fourth
        # %% new
        f = 7
        # %% last
        with open('out.txt', 'w') as f: f.write('2')
        try: f.nothing
        except Exception as f: pass
        """,
    "NumPy's precision, after IPython's was another while a cell ran again": """
        # == first
        # %% i
        import numpy as np
        # %% c1
        a = (n for n in range(3))
        # %% c2
        %precision 2
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c3
        np.set_printoptions(precision=3)
        # %% c4
        print(next(a), np.array([1 / 3]))
        """,
    "results that cannot be stored, whose names are bound anew": """
        # == first
        # %% i
        import threading, helper
        # %% c1
        a, e = threading.local(), helper.SEEN
        # %% c2
        a
        # %% c3
        e
        # %% c4
        a = e = 1
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c3
        # %% c4
        # %% c5
        print(type(_3), _ is helper.SEEN, a, e)
        """,
    "a result that cannot be stored, and what is made of it under its name": """
        # == first
        # %% c1
        a = (n for n in range(5))
        # %% c2
        a
        # %% c3
        a = map(str, a)
        # == again
        # %% c1
        # %% c2
        # %% c3
        # %% c4
        next(_)
        # %% c5
        print(list(a))
        """,
    "a result that is there, of a variable that a replayed cell would change": """
        # == first
        # %% c1
        a = [3]
        # %% c2
        a
        # %% c3
        a.append(2)
        # == again
        # %% c1
        # %% c2
        # %% c2b
        print(_)
        # %% c3
        # %% c4
        print(_, _2, a)
        """,
    "a result that is moved on, and deleted": """
        # == first
        # %% c1
        a = (n for n in range(5))
        # %% c2
        a
        # %% c3
        print(next(a))
        # %% c4
        del a
        # == again
        # %% c1
        # %% c2
        # %% c3
        # %% c4
        # %% c5
        print(list(_))
        """,
    "what cannot be stored, of cells that look at files, which are others after the cells were replayed": """
        # == first
        # %% i
        import os, threading, numpy as np, helper
        # %% c1
        a, e = threading.local(), helper.SEEN
        print(open('data.txt').read())
        # %% c2
        b = np.frombuffer(bytearray(8), dtype='i2')
        print(sorted(os.listdir()))
        # %% c3
        a.x = 1
        # == again
        # %% i
        # %% c1
        # %% c2
        # %% c3
        # write data.txt
        7
        # write new.txt
        1
        # %% c4
        print(a.x, b, e is helper.SEEN)
        """,
    "a file that is open in two variables, one of which a cell names that raises before it binds it": """
        # == first
        # %% c1
        f = open('data.txt')
        b = f
        # %% c2
        f = missing
        # == again
        # %% c1
        # write data.txt
        7
        # %% c2
        # %% c3
        print(b is f, f.read())
        """,
    "functions by names in a module that a later cell sets, or loads anew": """
        # == first
        # %% a
        from helper import *
        # == again
        # %% i
        import helper
        # %% a
        # %% b
        helper.scale = lambda x: x - 1
        # %% c
        print(scale(3), scale is helper.scale)
        # == third
        # %% a
        # %% b
        import helper as f, importlib; importlib.reload(f)
        # %% c
        print(scale is f.scale, SEEN is f.SEEN)
        """,
    "a class and a function in one co-variable, which the class names as well": """
        # == first
        # %% a
        def c(x=3): return x
        # %% b
        class f:
            def slow(self): return [self.x, c]
        f.get = c
        # %% b
        # %% b
        # %% c
        print(f.get is c)
        """,
    "a class defined again with the same text, and what was made of the first": """
        # == first
        # %% class
        class P(list):
            class Inner: pass
            def get(self): return self.Inner()
        # %% make
        a = P(); b = [P, P]; c = a.get()
        # %% ask
        print(isinstance(a, P), b[0] is P, b[0] is type(a), isinstance(c, P.Inner))
        # %% class
        # %% ask again
        print(isinstance(a, P), b[0] is P, b[0] is type(a), isinstance(c, P.Inner), 2)
        # == again
        # %% class
        # %% make
        # %% class
        # %% ask again
        # %% more
        d = type(a)()
        # %% and more
        print(isinstance(d, P), type(d) is type(a), b[0] is type(d))
        # == third
        # %% class
        # %% make
        # %% ask
        # %% class
        # %% another
        print(isinstance(a, P), b[0] is P, b[0] is type(a), isinstance(c, P.Inner), 3)
        # %% make
        # %% ask
        # %% more
        # %% and more
        """,
    "what cannot be stored and is made of a class that was defined again": """
        # == first
        # %% class
        import threading
        class Net:
            def __init__(self): self.lock = threading.Lock()
        # %% make
        net = Net()
        # %% class
        # %% ask
        print(isinstance(net, Net))
        # == again
        # %% class
        # %% make
        # %% class
        # %% ask again
        print(isinstance(net, Net), 2)
        """,
    "autoreload of a module that a replayed cell has written again": """
        # == first
        # %% write
        %%writefile mymod.py
        X = 6
        def f(y): return X * y
        # %% autoreload
        %load_ext autoreload
        %autoreload 2
        # %% import
        import mymod
        from mymod import f
        # %% use
        print(f(2), mymod.X)
        # %% write again
        %%writefile mymod.py
        X = 7
        def f(y): return X * y + 1
        # %% use
        # == again
        # %% write
        # %% autoreload
        # %% import
        # %% use
        # %% write again
        # %% use
        # %% more
        print(f(4), mymod.X)
        """,
    "a class whose base does something when one is derived from it": """
        # == first
        # %% a
        import string
        class Form(string.Template):
            delimiter = '%'
            def filled(self, **values): return self.substitute(values)
        # %% b
        s = Form('%a and $b')
        # == again
        # %% a
        # %% b
        # %% c
        print(isinstance(s, Form), type(s) is Form, s.filled(a=1))
        """,
    "results that are there, of a variable that a replayed cell changes": """
        # == first
        # %% a
        a = [3]
        # %% b
        a
        # %% c
        a.append(2)
        # %% d
        a.append(5); a
        # %% ask
        print(_, __, Out)
        # == again
        # %% a
        # %% b
        # %% c
        # %% ask
        # %% d
        # %% ask
        # == third
        # %% a
        # %% another
        (a)
        a
        # %% c
        # %% d
        # %% new
        a = 5
        # %% ask
        """,
    "a class that a decorator puts in the place of another": """
        # == first
        # %% a
        import dataclasses
        @dataclasses.dataclass(frozen=True, slots=True)
        class P:
            x: int = 0
            def get(self, y=3): return dataclasses.replace(self, x=y)
        # %% b
        p = P()
        # == again
        # %% a
        # %% b
        # %% c
        print(P.__dataclass_fields__, isinstance(p, P))
        # %% a
        """,
    "a folder that a cell removes with all that is in it": """
        # == first
        # %% i
        import os, shutil
        # %% make
        os.makedirs('copy/deep', exist_ok=True); open('copy/a.txt', 'w').close(); open('copy/deep/b.txt', 'w').close()
        open('more.txt', 'w').close()
        # %% remove
        shutil.rmtree('copy'); os.remove('more.txt')
        # == again
        # %% i
        # %% make
        # %% remove
        # %% ask
        print(sorted(os.listdir()))
        """,
    "a cell that lists names runs again when there are more": """
        # == first
        # %% a
        f = %who_ls int
        f
        # %% b
        total = 1
        # %% c
        f += [2]
        # == again
        # %% a
        # %% b
        # %% c
        # %% ask
        print(f)
        """,
    "a class that is live, and an instance of it that only its cell can make": """
        # == first
        # %% a
        import threading
        class P:
            def __init__(self): self.lock = threading.Lock()
        class Q(P): pass
        p = P()
        # %% b
        x = p
        # == again
        # %% a
        # %% b
        # %% c
        print(type(p) is P, isinstance(p, P), issubclass(Q, P))
        # == third
        # %% a
        # %% look
        P
        # %% b
        # %% d
        print(type(p) is P, isinstance(p, P), issubclass(Q, P))
        # == fourth
        # %% a
        # %% another
        y = P()
        # %% b
        # %% e
        print(type(p) is P, type(y) is P, type(p) is type(y), x is p)
        """,
    "an object that says it is of another class": """
        # == first
        # %% a
        class Proxy:
            @property
            def __class__(self): print('asked'); return dict
        p = Proxy()
        class Holder: inner = Proxy()
        # %% b
        x = p; print(type(x).__name__)
        # %% end
        del p, x, Holder
        # == again
        # %% a
        # %% b
        # %% c
        print(type(p) is Proxy, isinstance(p, dict), type(Holder.inner) is Proxy)
        # %% end
        """,
    "names of a module that is changed before they are asked for": """
        # == first
        # %% i
        import helper
        # %% a
        from helper import *
        # == again
        # %% i
        # %% a
        # %% b
        vars(helper)['LIMIT'] = 1
        # %% c
        print(LIMIT, helper.LIMIT)
        """,
    "two classes of one text": """
        # == first
        # %% a
        def make():
            class L: pass
            return L
        # %% b
        K1 = make()
        # %% c
        K2 = make()
        # %% d
        k = K1()
        # == again
        # %% a
        # %% b
        # %% c
        # %% d
        # %% ask
        print(K1 is K2, type(k) is K1, type(k) is K2)
        """,
    "a class that a module holds is changed": """
        # == first
        # %% a
        import helper
        # %% b
        class A: pass
        # %% c
        helper.SEEN.append(A)
        # %% d
        A.size = 1
        # == again
        # %% a
        # %% b
        # %% c
        # %% d
        # %% ask
        print(helper.SEEN[0] is A, helper.SEEN[0].size)
        """,
    "a function that comes back with what is made of it, of a cell that ran": """
        # == first
        # %% a
        import subprocess
        f = subprocess.Popen(['cat'], stdin=-1, stdout=-1)
        def b(x=0): raise ValueError(x)
        # %% b
        g = [b]
        # %% c
        f.communicate(); del f
        # == again
        # %% a
        # %% b
        # %% d
        g[0](1)
        # %% c
        """,
    "what one pinned cell makes and another hands to a module": """
        # == first
        # %% i
        import warnings, linecache, helper
        # %% a
        with warnings.catch_warnings(record=True) as f: warnings.warn('w0')
        # %% b
        def d(): return eval('e')
        # %% c
        helper.SEEN.append(f)
        # == again
        # %% i
        # %% a
        # %% b
        # %% c
        # %% e
        print(helper.SEEN[0] is f, helper.scale(2))
        """,
    "an open file of which the text was edited, before a replayed cell that uses it": """
        # == first
        # %% c1
        c = open('data.txt')
        # %% c2
        c
        # == again
        # %% c1
        # write data.txt
        7
        # %% c2
        # %% c3
        print(c.read())
        """,
}

FOUND = {name: life(text) for name, text in _TEXTS.items()}
