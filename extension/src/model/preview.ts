/** What a preview says, in words. */
import type { IPreview, Verdict } from '../contract';
import { duration, plural } from './format';

export const VERDICTS: Record<Verdict, string> = {
  replay: 'replays',
  run: 'runs',
  recompute: 'runs again silently',
  unknown: 'perhaps runs'
};

/** One sentence: "2 cells run, 5 replay; about 3.1 s." */
export function summary(preview: IPreview): string {
  const count = (verdict: Verdict) => preview.cells.filter(cell => cell.verdict === verdict).length;
  const run = count('run');
  const parts = [run === 1 ? '1 cell runs' : `${plural(run, 'cell')} run`];
  if (count('recompute')) {
    parts.push(`${count('recompute')} run${count('recompute') === 1 ? 's' : ''} again silently`);
  }
  if (count('unknown')) {
    parts.push(`${count('unknown')} may run`);
  }
  parts.push(`${count('replay')} replay${count('replay') === 1 ? 's' : ''}`);
  const untold = preview.cells.filter(cell => cell.seconds === null).length;
  const unknown = untold ? `, and ${plural(untold, 'cell')} that never ran here` : '';
  return `${parts.join(', ')}; about ${duration(preview.seconds)}${unknown}.`;
}
