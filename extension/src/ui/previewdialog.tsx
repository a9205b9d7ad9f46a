/** The dialog that says what Run All would do, before it does. */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import React from 'react';
import type { IPreview } from '../contract';
import { duration } from '../model/format';
import { summary, VERDICTS } from '../model/preview';
import { SHAPES } from './icons';

const SHAPE = {
  replay: SHAPES.replayed,
  run: SHAPES.executed,
  recompute: SHAPES.recomputed,
  unknown: SHAPES.stale
};

/**
 * Show a preview; whether its reader wants to run all cells now.
 *
 * @param titles - of each cell its place and first line, by id.
 */
export async function showPreview(
  preview: IPreview,
  titles: ReadonlyMap<string, string>
): Promise<boolean> {
  const result = await showDialog({
    title: 'What would run?',
    body: (
      <div className="provcrt-Preview">
        <p>{summary(preview)}</p>
        <table className="provcrt-Table">
          <thead>
            <tr>
              <th scope="col">Cell</th>
              <th scope="col">What happens</th>
              <th scope="col">Why</th>
              <th scope="col">About</th>
            </tr>
          </thead>
          <tbody>
            {preview.cells.map(cell => (
              <tr key={cell.id} data-verdict={cell.verdict}>
                <td>
                  <code>{titles.get(cell.id) ?? cell.id}</code>
                </td>
                <td>
                  <span
                    className={`provcrt-Badge-icon provcrt-mod-${cell.verdict}`}
                    dangerouslySetInnerHTML={{ __html: SHAPE[cell.verdict] }}
                  />{' '}
                  {VERDICTS[cell.verdict]}
                </td>
                <td>{cell.reason}</td>
                <td>{cell.seconds === null ? '?' : duration(cell.seconds)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    ),
    buttons: [Dialog.cancelButton({ label: 'Close' }), Dialog.okButton({ label: 'Run All' })]
  });
  return result.button.accept;
}
