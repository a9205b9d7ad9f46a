/** The status bar: what the current notebook's session replayed and executed, and whether it records. */
import { VDomModel, VDomRenderer } from '@jupyterlab/ui-components';
import React from 'react';
import { duration } from '../model/format';
import type { Notebooks } from '../notebooks';

class StatusModel extends VDomModel {
  constructor(readonly notebooks: Notebooks) {
    super();
    notebooks.changed.connect(() => this.stateChanged.emit());
  }
}

export class StatusItem extends VDomRenderer<StatusModel> {
  constructor(
    notebooks: Notebooks,
    private readonly onClick: () => void
  ) {
    super(new StatusModel(notebooks));
    this.addClass('provcrt-Status');
  }

  /** Whether the current notebook has a session of ours. */
  get shown(): boolean {
    return !!this.model.notebooks.current?.link.state.info;
  }

  render(): JSX.Element | null {
    const info = this.model.notebooks.current?.link.state.info;
    if (!info) {
      return null;
    }
    const saved = info.saved_seconds > 0 ? ` · ${duration(info.saved_seconds)} saved` : '';
    const recording = info.recording ? 'recording' : 'not recording';
    const title = [
      `PROV-CRT: ${info.replayed} cells replayed, ${info.executed} executed in this session`,
      `tracing by ${info.mechanism}${info.strict ? ', strict' : ''}`,
      info.why ? `${recording}: ${info.why}` : recording
    ].join('\n');
    return (
      <button
        type="button"
        className="provcrt-Status-button"
        title={title}
        aria-label={title.split('\n').join('; ')}
        onClick={this.onClick}
      >
        <span
          className={info.recording ? 'provcrt-Dot' : 'provcrt-Dot provcrt-mod-off'}
          aria-hidden="true"
        >
          {info.recording ? '●' : '○'}
        </span>
        {` ${info.replayed} replayed · ${info.executed} executed${saved} · ${info.mechanism}`}
        {info.recording ? '' : ' · not recording'}
      </button>
    );
  }
}
