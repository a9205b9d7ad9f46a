"""What is set to what it was already, and cells that run again for the state that they left alone."""

from __future__ import annotations

from .case import case, inserts, same, sets

case(
    "a seed set twice",
    8,
    """
# %% seed
import random
import numpy as np
random.seed(0); np.random.seed(0)
# %% draw
x = random.random(), np.random.rand()
x
""",
    same,
    "x",
    order="seed seed draw",
    skip="draw",
    telling=True,
)

case(
    "a seed in a function called twice",
    8,
    """
# %% define
import random
def start(n=0):
    random.seed(n)
# %% seed
start()
# %% draw
x = random.random()
""",
    same,
    "x",
    order="define seed seed draw",
    skip="define draw",
)

case(
    "a seed in a local module called twice",
    8,
    """
# %% seed
import starts
starts.start(0)
# %% draw
import random
x = random.random()
""",
    same,
    "x",
    order="seed seed draw",
    files={"starts.py": "import random\ndef start(n):\n    random.seed(n)\n"},
)

case(
    "an environment variable set to what it was",
    4,
    """
# %% set
import os
os.environ['CASE_K'] = '1'
# %% read
x = os.environ['CASE_K']
""",
    same,
    "x",
    order="set set read",
    skip="read",
    telling=True,
)

case(
    "a file written again for the state beside it",
    12,
    """
# %% first
with open('out.txt', 'w') as f:
    f.write('1')
g = (i for i in range(3))
# %% second
with open('out.txt', 'w') as f:
    f.write('2')
# %% use
print(next(g))
# %% read
print(open('out.txt').read())
""",
    sets(use="print(next(g), open('out.txt').read())"),
    "open('out.txt').read()",
    rerun="use",
    skip="first second",
    telling=True,
)

case(
    "a file read again that a later cell replaced",
    12,
    """
# %% write
with open('n.txt', 'w') as f:
    f.write('5')
# %% read
k = int(open('n.txt').read())
g = (k for _ in range(3))
# %% replace
with open('n.txt', 'w') as f:
    f.write('7')
# %% use
print(next(g))
""",
    sets(use="print(next(g) + 1)"),
    "open('n.txt').read(); k",
    rerun="use",
    skip="write read replace",
    telling=True,
)

case(
    "a log appended to again",
    12,
    """
# %% one
with open('log.txt', 'a') as f:
    f.write('one ')
g = (i for i in range(3))
# %% two
with open('log.txt', 'a') as f:
    f.write('two ')
# %% use
print(next(g))
""",
    sets(use="print(next(g), open('log.txt').read())"),
    "open('log.txt').read()",
    rerun="use",
    left=True,
)

case(
    "an environment variable that a later cell changed",
    4,
    """
# %% set
import os
os.environ['CASE_K'] = '1'
# %% read
k = os.environ['CASE_K']
g = (k for _ in range(3))
# %% change
os.environ['CASE_K'] = '2'
# %% use
print(next(g))
""",
    sets(use="print(next(g), os.environ['CASE_K'])"),
    "k; os.environ['CASE_K']",
    rerun="use",
    skip="set read change",
)

case(
    "a hash that comes from an address",
    16,
    """
# %% make
class Key:
    pass
k = Key()
# %% hash
h = hash(k)
seen = {h: 'found'}
# %% content
c = hash('text') == hash('te' + 'xt')
# %% use
print(seen.get(hash(k)))
""",
    sets(use="print(seen.get(hash(k)), 'again')"),
    "seen.get(hash(k)); c",
    rerun="use",
    skip="make",
    telling=True,
)

case(
    "a function that asks for an identity",
    16,
    """
# %% define
def key(o):
    return id(o)
o = [1]
# %% note
names = {key(o): 'o'}
# %% use
print(names.get(id(o)))
""",
    sets(use="print(names.get(id(o)), 'again')"),
    "names.get(id(o))",
    rerun="use",
)

case(
    "random numbers never seeded, after the front end asked who is there",
    8,
    """
# %% draw
import random
x = random.random()
# %% use
y = x + random.random()
""",
    same,
    true="y != x",
    skip="draw",
)

case(
    "what a cell that runs again shows is not shown twice",
    14,
    """
# %% make
import subprocess, sys
print('made'); subprocess.run(['echo', 'by a child']); print('wrong', file=sys.stderr)
g = (i for i in range(3))
g
# %% use
print(next(g))
""",
    sets(use="print(next(g) + 10)"),
    "next(g)",
    rerun="use",
    skip="make",
    telling=True,
)

case(
    "what a cell that could not be recorded made is changed by cells that could",
    11,
    """
# %% make
space = {}
exec('def f(v): return v + 1', space)
box = [space['f']]
# %% mark
import time
box.append(int(time.time() * 0))
# %% grow
box.append(2)
print(len(box))
# %% use
print(box[0](len(box)))
""",
    sets(use="print(box[0](len(box)) * 2)"),
    "box[1:]; box[0](1)",
    rerun="mark grow use",
    telling=True,
)

case(
    "a cell that raises stands lower than it did",
    20,
    """
# %% a
x = 0
# %% b
print('before')
1 / x
# %% c
def f(v): return v / x
# %% d
f(2)
# %% e
print(x, 'In[3]')
""",
    inserts("a", "new", "y = 2"),
    "x; y",
    rerun="new d",
    skip="a b c e",
    telling=True,
)
