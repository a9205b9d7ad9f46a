/** One notebook's line to its kernel: the comm `provcrt`, opened anew whenever the kernel is. */
import type { NotebookPanel } from '@jupyterlab/notebook';
import { CommsOverSubshells, type Kernel } from '@jupyterlab/services';
import type { JSONObject } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { IPreview, KernelMessage as Told, PageMessage } from './contract';
import { fold, type ISessionState, NO_SESSION } from './model/session';

const TARGET = 'provcrt';

export class KernelLink implements IDisposable {
  constructor(readonly panel: NotebookPanel) {
    const { sessionContext } = panel;
    sessionContext.kernelChanged.connect(this.reconnect, this);
    sessionContext.statusChanged.connect(this.onStatus, this);
    panel.content.modelChanged.connect(this.watchOrder, this);
    panel.disposed.connect(this.dispose, this);
    this.watchOrder();
    this.onStatus();
  }

  /** Told whenever `state` or `why` changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Told when the kernel is another one or was restarted. */
  get forgotten(): ISignal<this, void> {
    return this._forgotten;
  }

  get state(): ISessionState {
    return this._state;
  }

  /** Why there is no session to speak of; null if there is one. */
  get why(): string | null {
    if (this.live) {
      return null;
    }
    return this.panel.sessionContext.session?.kernel
      ? 'this notebook’s kernel is not PROV-CRT Python'
      : 'this notebook has no kernel';
  }

  /** Whether the notebook's kernel is ours and answers. */
  get live(): boolean {
    return this.comm !== null && !this.comm.isDisposed;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  /** Let the next run of these cells ignore records; settled when the kernel knows. */
  async afresh(cells: string[]): Promise<void> {
    await this.send({ type: 'afresh', cells })?.done;
  }

  record(on: boolean): void {
    void this.send({ type: 'recording', on });
  }

  /** What running all cells would do. Answered when the kernel is idle. */
  preview(): Promise<IPreview> {
    const request = ++this.requests;
    const cells = this.panel.content.widgets
      .map(widget => widget.model)
      .filter(model => model.type === 'code')
      .map(model => ({
        id: model.id,
        source: model.sharedModel.getSource(),
        tags: (model.getMetadata('tags') as string[] | undefined) ?? []
      }));
    return new Promise((resolve, reject) => {
      this.waiting.set(request, { resolve, reject });
      void this.send({ type: 'preview', request, cells });
    });
  }

  dispose(): void {
    if (this._disposed) {
      return;
    }
    this._disposed = true;
    this.hangUp();
    Signal.clearData(this);
  }

  private onStatus(): void {
    const kernel = this.panel.sessionContext.session?.kernel ?? null;
    if (kernel !== this.kernel) {
      this.reconnect();
    } else if (kernel && (kernel.status === 'restarting' || kernel.status === 'autorestarting')) {
      this.forget();
    } else if (kernel && !this.live && !this.connecting && !this.refused) {
      if (kernel.status === 'idle' || kernel.status === 'busy') {
        void this.connect(kernel);
      }
    }
  }

  private reconnect(): void {
    this.hangUp();
    this.kernel = this.panel.sessionContext.session?.kernel ?? null;
    this.forget();
    if (this.kernel) {
      this.onStatus();
    }
  }

  /** A restarted kernel knows nothing: neither its cells nor this comm. */
  private forget(): void {
    this.comm = null;
    this.connecting = null;
    this.refused = false;
    this._state = NO_SESSION;
    this.fail('the kernel was restarted');
    this._forgotten.emit();
    this._changed.emit();
  }

  private async connect(kernel: Kernel.IKernelConnection): Promise<void> {
    this.connecting = kernel;
    try {
      const info = await kernel.info;
      if (this._disposed || kernel !== this.connecting || kernel.isDisposed) {
        return;
      }
      if (info.implementation !== TARGET) {
        this.refused = true;
        return;
      }
      const comm = kernel.createComm(TARGET);
      // in a subshell's thread the kernel would answer beside a cell, which the cell's record would have to doubt;
      // and an execution could overtake a message
      (comm as { commsOverSubshells?: CommsOverSubshells }).commsOverSubshells =
        CommsOverSubshells.Disabled;
      comm.onMsg = message => this.receive(message.content.data as unknown as Told);
      comm.onClose = () => {
        // a kernel that does not know the target closes it at once
        if (this.comm === comm) {
          this.comm = null;
          this.refused = true;
          this.fail('the kernel closed the line');
          this._changed.emit();
        }
      };
      this.comm = comm;
      comm.open({});
      this.sendOrder();
    } catch (error) {
      console.warn('PROV-CRT: no line to the kernel', error);
    } finally {
      if (this.connecting === kernel) {
        this.connecting = null;
      }
      if (!this._disposed) {
        this._changed.emit();
      }
    }
  }

  private receive(message: Told): void {
    if (message.type === 'preview') {
      this.waiting.get(message.request)?.resolve(message);
      this.waiting.delete(message.request);
    } else if (message.type === 'error') {
      const waiting = message.request === null ? undefined : this.waiting.get(message.request);
      if (waiting && message.request !== null) {
        this.waiting.delete(message.request);
        waiting.reject(new Error(message.message));
      } else {
        console.warn(`PROV-CRT: ${message.message}`);
      }
    }
    const state = fold(this._state, message);
    if (state !== this._state) {
      this._state = state;
      this._changed.emit();
    }
  }

  private send(message: PageMessage): Kernel.IShellFuture | null {
    if (this.comm && !this.comm.isDisposed) {
      return this.comm.send(message as unknown as JSONObject);
    }
    this.fail(this.why ?? 'the kernel is not there');
    return null;
  }

  private watchOrder(): void {
    this.panel.content.model?.cells.changed.connect(this.sendOrder, this);
  }

  private sendOrder(): void {
    if (this.live) {
      const cells = Array.from(this.panel.content.model?.cells ?? []);
      const order = cells.filter(model => model.type === 'code').map(model => model.id);
      void this.send({ type: 'order', cells: order });
    }
  }

  private hangUp(): void {
    if (this.comm && !this.comm.isDisposed && this.kernel && !this.kernel.isDisposed) {
      const comm = this.comm;
      this.comm = null;
      try {
        comm.close();
      } catch {
        // the kernel is gone, and the comm with it
      }
    }
    this.fail('the notebook is closed');
  }

  private fail(why: string): void {
    for (const { reject } of this.waiting.values()) {
      reject(new Error(why));
    }
    this.waiting.clear();
  }

  private kernel: Kernel.IKernelConnection | null = null;
  private comm: Kernel.IComm | null = null;
  /** The kernel whose info is awaited. */
  private connecting: Kernel.IKernelConnection | null = null;
  private refused = false;
  private requests = 0;
  private readonly waiting = new Map<
    number,
    { resolve: (preview: IPreview) => void; reject: (error: Error) => void }
  >();
  private _state: ISessionState = NO_SESSION;
  private _disposed = false;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _forgotten = new Signal<this, void>(this);
}
