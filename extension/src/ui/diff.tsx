/** A unified diff, coloured, with a sign before each line. */
import React from 'react';
import { diffLines } from '../model/diff';

const SIGNS = { added: '+', removed: '−', same: ' ', place: '' };

export function Diff({ unified }: { unified: string }): JSX.Element {
  return (
    <pre className="provcrt-Diff">
      {diffLines(unified).map((line, index) => (
        <div key={index} className={`provcrt-Diff-${line.kind}`}>
          {SIGNS[line.kind]}
          {line.text}
        </div>
      ))}
    </pre>
  );
}
