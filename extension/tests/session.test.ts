import { expect, it } from 'vitest';
import type { ICellReport } from '../src/contract';
import { fold, nextChanged, NO_SESSION, recomputedFor } from '../src/model/session';

const cell = (execution_count: number, recomputed: number[] = []) =>
  ({ execution_count, recomputed }) as ICellReport;

it('folds the kernel’s messages', () => {
  let state = fold(NO_SESSION, { type: 'cells', cells: { a: cell(1), b: cell(2) } });
  state = fold(state, { type: 'cells', cells: { b: cell(3) } });
  expect(state.cells).toEqual({ a: cell(1), b: cell(3) });
  state = fold(state, { type: 'stale', cells: { a: 'x changed' } });
  state = fold(state, { type: 'stale', cells: {} });
  expect(state.stale).toEqual({});
  expect(fold(state, { type: 'error', request: null, message: 'no' })).toBe(state);
});

it('knows which cells ran again for others', () => {
  const state = {
    ...NO_SESSION,
    cells: { a: cell(1), b: cell(2), c: cell(3, [1]), d: cell(4, [1, 2]) }
  };
  expect(recomputedFor(state)).toEqual(
    new Map([
      ['a', [3, 4]],
      ['b', [4]]
    ])
  );
});

it('runs changed cells in the notebook’s order, each once', () => {
  const state = { ...NO_SESSION, stale: { c: 'x changed', a: 'y changed' } };
  const order = ['a', 'b', 'c'];
  const edited = new Set(['b']);
  expect(nextChanged(order, state, edited, new Set())).toBe('a');
  expect(nextChanged(order, state, edited, new Set(['a']))).toBe('b');
  expect(nextChanged(order, state, edited, new Set(['a', 'b']))).toBe('c');
  expect(nextChanged(order, state, edited, new Set(['a', 'b', 'c']))).toBeUndefined();
});
