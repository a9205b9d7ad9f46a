import { expect, it } from 'vitest';
import type { IBranch, IExecution } from '../src/contract';
import { rowsInView, treeRows } from '../src/model/tree';

const execution = (
  id: string,
  parent: string | null,
  when: number,
  changes: Partial<IExecution> = {}
) =>
  ({
    id,
    parent,
    when,
    command: 'study.ipynb',
    name: '',
    tags: [],
    verdict: null,
    ...changes
  }) as IExecution;
const branch = (id: string, parent: string | null, when: number) =>
  ({ id, parent, when, notebook: 'branch.ipynb', source: 'study.ipynb', cell: 'c' }) as IBranch;

const shown = (rows: ReturnType<typeof treeRows>) =>
  rows.map(row => `${' '.repeat(row.depth)}${row.id}`);

it('shows children below their parents, newest first', () => {
  const executions = [execution('e1', null, 1), execution('e2', 'b1', 3), execution('e3', null, 4)];
  const branches = [branch('b1', 'e1', 2), branch('b2', 'e1', 5)];
  expect(shown(treeRows({ executions, branches }))).toEqual(['e3', 'e1', ' b2', ' b1', '  e2']);
});

it('hides what is below a closed row, and nothing else', () => {
  const executions = [execution('e1', null, 1), execution('e2', 'e1', 2), execution('e3', 'e2', 3)];
  expect(shown(treeRows({ executions, branches: [] }, new Set(['e1'])))).toEqual(['e1']);
});

it('makes a root of what lost its parent, and breaks cycles', () => {
  const executions = [execution('e5', 'e1', 1), execution('e6', 'e7', 2), execution('e7', 'e6', 3)];
  expect(shown(treeRows({ executions, branches: [] }))).toEqual(['e5', 'e6', ' e7']);
});

it('filters by every word', () => {
  const executions = [
    execution('e1', null, 1, { tags: ['paper'], verdict: 'diverged' }),
    execution('e2', 'e1', 2, { name: 'Baseline' })
  ];
  expect(shown(treeRows({ executions, branches: [] }, new Set(), 'paper DIVERGED'))).toEqual([
    'e1'
  ]);
  expect(shown(treeRows({ executions, branches: [] }, new Set(), 'base'))).toEqual(['e2']);
});

it('is quick with ten thousand executions', () => {
  const executions = Array.from({ length: 10_000 }, (_, i) =>
    execution(`e${i}`, i ? `e${i >> 1}` : null, i)
  );
  expect(treeRows({ executions, branches: [] })).toHaveLength(10_000);
});

it('draws the rows in view', () => {
  expect(rowsInView(1000, 40, 4000, 400)).toEqual({ first: 92, end: 118 });
  expect(rowsInView(3, 40, 0, 400)).toEqual({ first: 0, end: 3 });
  expect(rowsInView(0, 40, 0, 400)).toEqual({ first: 0, end: 0 });
});
