/** The open notebooks: each with its line to the kernel, its edits, and what of them is selected. */
import type { Cell } from '@jupyterlab/cells';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { type ISignal, Signal } from '@lumino/signaling';
import { Edits } from './edits';
import { KernelLink } from './kernel';

export interface INotebook {
  panel: NotebookPanel;
  link: KernelLink;
  edits: Edits;
}

export class Notebooks {
  constructor(private readonly tracker: INotebookTracker) {
    tracker.currentChanged.connect(() => this._changed.emit());
    tracker.activeCellChanged.connect(() => this._changed.emit());
  }

  /** Take in the notebooks that are open, and each that will be. */
  begin(): void {
    this.tracker.widgetAdded.connect((_, panel) => this.add(panel));
    this.tracker.forEach(panel => this.add(panel));
  }

  /** Told when another notebook or cell is selected, or anything is new about the current notebook. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Told once for each notebook that is opened. */
  get added(): ISignal<this, INotebook> {
    return this._added;
  }

  get current(): INotebook | null {
    const panel = this.tracker.currentWidget;
    return panel ? (this.known.get(panel) ?? null) : null;
  }

  /** The selected code cell of the current notebook. */
  get cell(): Cell | null {
    const cell = this.tracker.activeCell;
    return cell?.model.type === 'code' ? cell : null;
  }

  private add(panel: NotebookPanel): void {
    if (this.known.has(panel)) {
      return;
    }
    const notebook = { panel, link: new KernelLink(panel), edits: new Edits(panel) };
    this.known.set(panel, notebook);
    const tell = () => {
      if (panel === this.tracker.currentWidget) {
        this._changed.emit();
      }
    };
    notebook.link.forgotten.connect(() => notebook.edits.clear());
    notebook.link.changed.connect(tell);
    notebook.edits.changed.connect(tell);
    panel.context.saveState.connect(tell);
    panel.context.pathChanged.connect(tell);
    this._added.emit(notebook);
    tell();
  }

  private readonly known = new WeakMap<NotebookPanel, INotebook>();
  private readonly _changed = new Signal<this, void>(this);
  private readonly _added = new Signal<this, INotebook>(this);
}
