/** A unified diff as lines that can be coloured. */

export interface IDiffLine {
  kind: 'added' | 'removed' | 'same' | 'place';
  text: string;
}

/** The lines of a unified diff, without the two that name the files. */
export function diffLines(unified: string): IDiffLine[] {
  const lines = unified.replace(/\n$/, '').split('\n');
  return lines
    .filter((line, index) => line !== '' || index < lines.length - 1)
    .filter(line => !/^(---|\+\+\+) ?/.test(line) || !isHeader(line, lines))
    .map(line => {
      switch (line[0]) {
        case '+':
          return { kind: 'added', text: line.slice(1) };
        case '-':
          return { kind: 'removed', text: line.slice(1) };
        case '@':
          return { kind: 'place', text: line };
        default:
          return { kind: 'same', text: line.slice(1) };
      }
    });
}

/** Headers stand before the first place; a removed line that begins with "--" stands after it. */
function isHeader(line: string, lines: readonly string[]): boolean {
  const place = lines.findIndex(other => other.startsWith('@@'));
  return place < 0 || lines.indexOf(line) < place;
}
