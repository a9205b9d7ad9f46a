import { expect, it } from 'vitest';
import type { IPreview, IPreviewCell, Verdict } from '../src/contract';
import { diffLines } from '../src/model/diff';
import { briefDuration, differing, duration, size, within } from '../src/model/format';
import { summary } from '../src/model/preview';

it('says durations as people do', () => {
  const said = [0, 0.0421, 0.9996, 2.345, 12.4, 59.6, 61, 3600, 3900, 7199].map(duration);
  expect(said).toEqual([
    '0 s',
    '42 ms',
    '1.0 s',
    '2.3 s',
    '12 s',
    '1 min',
    '1 min 1 s',
    '1 h',
    '1 h 5 min',
    '2 h'
  ]);
  expect([0.3, 42, 600, 7200].map(briefDuration)).toEqual(['0.3s', '42s', '10m', '2h']);
});

it('says sizes and paths', () => {
  expect([0, 999, 1500, 12_345_678].map(size)).toEqual(['0 B', '999 B', '1.5 kB', '12 MB']);
  expect(within('/a/b/c.csv', '/a/b')).toBe('b/c.csv'.slice(2));
  expect(within('/a/bc', '/a/b')).toBe('/a/bc');
});

it('says what differs', () => {
  const said = [[], ['source'], ['outputs'], ['source', 'outputs'], ['missing']].map(differing);
  expect(said).toEqual([
    'the same',
    'source differs',
    'outputs differ',
    'source and outputs differ',
    'in one of them only'
  ]);
});

it('sums up a preview', () => {
  const cell = (verdict: Verdict, seconds: number | null): IPreviewCell => ({
    id: '',
    verdict,
    reason: '',
    seconds
  });
  const preview: IPreview = {
    cells: [cell('run', 3), cell('run', null), cell('replay', 0), cell('unknown', 1)],
    seconds: 4
  };
  expect(summary(preview)).toBe(
    '2 cells run, 1 may run, 1 replays; about 4.0 s, and 1 cell that never ran here.'
  );
});

it('reads a unified diff, and removed lines that look like its header', () => {
  const lines = diffLines('--- a\n+++ b\n@@ -1,3 +1,2 @@\n same\n--- x\n+y\n');
  expect(lines).toEqual([
    { kind: 'place', text: '@@ -1,3 +1,2 @@' },
    { kind: 'same', text: 'same' },
    { kind: 'removed', text: '-- x' },
    { kind: 'added', text: 'y' }
  ]);
});
