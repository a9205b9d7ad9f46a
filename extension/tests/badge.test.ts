import { describe, expect, it } from 'vitest';
import type { ICellReport } from '../src/contract';
import { badge, worthALine } from '../src/model/badge';

const report = (changes: Partial<ICellReport> = {}): ICellReport => ({
  status: 'executed',
  reason: 'first run',
  record: 'r1',
  seconds: 1.26,
  saved_seconds: 0,
  reads: [],
  writes: [],
  files_read: [],
  files_written: [],
  recomputed: [],
  volatile: [],
  not_recorded: [],
  remarks: [],
  execution_count: 1,
  ...changes
});

describe('badge', () => {
  it('says what a replay saved', () => {
    const found = badge(report({ status: 'replayed', saved_seconds: 75 }));
    expect(found).toMatchObject({ kind: 'replayed', marks: [], brief: '75s' });
    expect(found.line).toBe('replayed, 1 min 15 s saved');
  });

  it('says why a cell was executed, with paths as seen from the notebook', () => {
    const found = badge(report({ reason: '/home/u/data/train.csv changed' }), { cwd: '/home/u' });
    expect(found.line).toBe('executed in 1.3 s: data/train.csv changed');
  });

  it('says why a cell is not memoizable', () => {
    const found = badge(report({ not_recorded: ['it opened a widget'] }));
    expect(found.kind).toBe('unrecorded');
    expect(found.line).toContain('not memoizable: it opened a widget');
  });

  it('tells stale, volatile and recomputed beside what happened', () => {
    const found = badge(report({ volatile: ['the clock'] }), {
      stale: 'df changed',
      recomputedFor: [7]
    });
    expect(found.kind).toBe('executed');
    expect(found.marks).toEqual(['stale', 'volatile', 'recomputed']);
    expect(found.details).toContain('recomputed for [7]');
  });

  it('puts an edit of the source before what the kernel knows', () => {
    const found = badge(report(), { stale: 'df changed', edited: true });
    expect(found.details).toContain('stale: its source was edited');
    expect(found.details).not.toContain('stale: df changed');
  });

  it('cuts long lists', () => {
    const reads = Array.from({ length: 9 }, (_, index) => `v${index}`);
    expect(badge(report({ reads })).details).toContain('read v0, v1, v2, v3, v4, v5, and 3 more');
  });

  it('shows no line for a first run', () => {
    const first = report();
    expect(worthALine(badge(first), first)).toBe(false);
    const again = report({ reason: 'source changed' });
    expect(worthALine(badge(again), again)).toBe(true);
  });
});
