/** Which cells were edited since they ran: the kernel knows what it ran, the page knows what is written there now. */
import { type Cell, type ICellModel } from '@jupyterlab/cells';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

export class Edits implements IDisposable {
  constructor(private readonly panel: NotebookPanel) {
    NotebookActions.executionScheduled.connect(this.onScheduled, this);
    panel.disposed.connect(this.dispose, this);
  }

  /** Told when a cell became edited, or is as it ran again. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  /** Ids of the cells whose source is not the one that ran last. */
  get cells(): ReadonlySet<string> {
    return this.edited;
  }

  /** Forget what ran: the kernel was restarted. */
  clear(): void {
    this.ran.clear();
    this.edited.clear();
  }

  dispose(): void {
    this._disposed = true;
    Signal.clearData(this);
  }

  private onScheduled(_: unknown, args: { cell: Cell }): void {
    const model = args.cell.model;
    if (model.type !== 'code' || !this.panel.content.widgets.includes(args.cell)) {
      return;
    }
    if (!this.ran.has(model.id)) {
      model.contentChanged.connect(this.compare, this);
    }
    this.ran.set(model.id, model.sharedModel.getSource());
    this.compare(model);
  }

  private compare(model: ICellModel): void {
    const ran = this.ran.get(model.id);
    const edited = ran !== undefined && ran !== model.sharedModel.getSource();
    if (edited !== this.edited.has(model.id)) {
      if (edited) {
        this.edited.add(model.id);
      } else {
        this.edited.delete(model.id);
      }
      this._changed.emit();
    }
  }

  private readonly ran = new Map<string, string>();
  private readonly edited = new Set<string>();
  private _disposed = false;
  private readonly _changed = new Signal<this, void>(this);
}
