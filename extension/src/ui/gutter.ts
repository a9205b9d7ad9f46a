/**
 * Badges in the prompt gutter, and a line below the input where there is something to say.
 *
 * They are DOM beside the cell's own nodes: nothing is written to the notebook's model, so it never becomes dirty. A cell
 * of a windowed notebook is drawn when it is ready; a moved cell is a new widget with the old id, and is drawn anew.
 */
import { type Cell, CodeCell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import { badge, type IBadge, worthALine } from '../model/badge';
import { recomputedFor } from '../model/session';
import type { INotebook } from '../notebooks';
import { SHAPES } from './icons';

export interface IGutterOptions {
  badges: boolean;
  lines: boolean;
}

interface IDrawn {
  node: HTMLElement;
  line: HTMLElement | null;
  /** What is drawn, to leave alone what did not change. */
  text: string;
}

export class Gutter implements IDisposable {
  constructor(
    private readonly notebook: INotebook,
    private options: IGutterOptions,
    private readonly onClick: (cell: Cell) => void
  ) {
    notebook.link.changed.connect(this.later, this);
    notebook.edits.changed.connect(this.later, this);
    this.panel.content.modelChanged.connect(this.watchCells, this);
    this.panel.disposed.connect(this.dispose, this);
    this.watchCells();
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  set(options: IGutterOptions): void {
    this.options = options;
    this.later();
  }

  dispose(): void {
    this._disposed = true;
    Signal.clearData(this);
  }

  private get panel(): NotebookPanel {
    return this.notebook.panel;
  }

  private watchCells(): void {
    this.panel.content.model?.cells.changed.connect(this.later, this);
    this.later();
  }

  /** Draw once, however much changes until then. */
  private later(): void {
    if (!this.scheduled) {
      this.scheduled = true;
      requestAnimationFrame(() => {
        this.scheduled = false;
        if (!this._disposed && !this.panel.isDisposed) {
          this.draw();
        }
      });
    }
  }

  private draw(): void {
    const { state } = this.notebook.link;
    const edited = this.notebook.edits.cells;
    const again = recomputedFor(state);
    for (const cell of this.panel.content.widgets) {
      if (!(cell instanceof CodeCell)) {
        continue;
      }
      const id = cell.model.id;
      const report = this.options.badges ? state.cells[id] : undefined;
      if (report === undefined) {
        this.erase(cell);
        continue;
      }
      const found = badge(report, {
        stale: state.stale[id],
        edited: edited.has(id),
        recomputedFor: again.get(id),
        cwd: state.info?.cwd
      });
      const line = this.options.lines && worthALine(found, report);
      void this.show(cell, found, line);
    }
  }

  private async show(cell: CodeCell, found: IBadge, withLine: boolean): Promise<void> {
    const text = `${found.kind}\n${found.brief}\n${found.details.join('\n')}\n${withLine}`;
    this.wanted.set(cell, text);
    await cell.ready;
    if (cell.isDisposed || this.wanted.get(cell) !== text || this.drawn.get(cell)?.text === text) {
      return;
    }
    const area = cell.inputArea?.node;
    if (!area) {
      return;
    }
    const before = this.drawn.get(cell);
    const node = draw(found);
    node.addEventListener('click', () => this.onClick(cell));
    before?.line?.remove();
    if (before) {
      before.node.replaceWith(node);
    } else {
      area.prepend(node);
    }
    let line: HTMLElement | null = null;
    if (withLine) {
      line = document.createElement('div');
      line.className = `provcrt-Line provcrt-mod-${found.marks[0] ?? found.kind}`;
      line.textContent = lineText(found);
      // the badge says the same to screen readers
      line.setAttribute('aria-hidden', 'true');
      cell.node.querySelector('.jp-Cell-inputWrapper')?.after(line);
    }
    this.drawn.set(cell, { node, line, text });
  }

  private erase(cell: CodeCell): void {
    this.wanted.delete(cell);
    const drawn = this.drawn.get(cell);
    drawn?.node.remove();
    drawn?.line?.remove();
    this.drawn.delete(cell);
  }

  private readonly drawn = new WeakMap<CodeCell, IDrawn>();
  private readonly wanted = new WeakMap<CodeCell, string>();
  private scheduled = false;
  private _disposed = false;
}

function lineText(found: IBadge): string {
  const [line, ...more] = found.details;
  return found.marks.length ? `${more.slice(0, found.marks.length).join(' · ')} · ${line}` : line;
}

function draw(found: IBadge): HTMLElement {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = `provcrt-Badge provcrt-mod-${found.kind}`;
  node.dataset.provcrt = [found.kind, ...found.marks].join(' ');
  node.title = found.details.join('\n');
  node.setAttribute('aria-label', `PROV-CRT: ${found.details.join('; ')}`);
  // the arrow keys go from cell to cell; a stop at each badge would be in the way
  node.tabIndex = -1;
  const icons = document.createElement('span');
  icons.className = 'provcrt-Badge-icons';
  for (const kind of [found.kind, ...found.marks]) {
    const icon = document.createElement('span');
    icon.className = `provcrt-Badge-icon provcrt-mod-${kind}`;
    icon.innerHTML = SHAPES[kind];
    icons.append(icon);
  }
  const brief = document.createElement('span');
  brief.className = 'provcrt-Badge-brief';
  brief.textContent = found.brief;
  node.append(icons, brief);
  return node;
}
