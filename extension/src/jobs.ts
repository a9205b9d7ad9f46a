/** The server's jobs (executing, repeating, exporting), told by its events: nothing is polled. */
import { Notification } from '@jupyterlab/apputils';
import type { Event } from '@jupyterlab/services';
import { type ISignal, Signal } from '@lumino/signaling';
import { type IJob, JOB_EVENT } from './contract';

export class Jobs {
  constructor(events: Event.IManager) {
    events.stream.connect((_, event) => {
      if (event.schema_id === JOB_EVENT) {
        this.tell(event as unknown as IJob);
      }
    });
  }

  /** Told when a job ended. */
  get ended(): ISignal<this, IJob> {
    return this._ended;
  }

  /** Show a job that was begun until it ends. */
  watch(job: IJob): void {
    const early = this.early.get(job.job);
    this.early.delete(job.job);
    const text = `PROV-CRT ${WORDS[job.kind]}…`;
    this.shown.set(job.job, Notification.emit(text, 'in-progress', { autoClose: false }));
    this.tell(early ?? job);
  }

  private tell(job: IJob): void {
    const id = this.shown.get(job.job);
    if (id === undefined) {
      // an event may come before the answer to the request that began it
      this.early.set(job.job, job);
      return;
    }
    if (job.state === 'running') {
      if (job.message) {
        Notification.update({ id, message: `PROV-CRT ${WORDS[job.kind]}: ${job.message}` });
      }
      return;
    }
    this.shown.delete(job.job);
    const message = job.message || `PROV-CRT ${WORDS[job.kind]}: ${job.state}`;
    const type = job.state === 'done' ? 'success' : 'error';
    Notification.update({ id, message, type, autoClose: job.state === 'done' ? 6000 : false });
    this._ended.emit(job);
  }

  private readonly shown = new Map<string, string>();
  private readonly early = new Map<string, IJob>();
  private readonly _ended = new Signal<this, IJob>(this);
}

const WORDS = { exec: 'executes', repeat: 'repeats', export: 'exports' };
