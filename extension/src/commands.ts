/** The commands: in the palette, in the context menu, by shortcut. One that cannot be carried out says why in its label. */
import { ICommandPalette, Notification, showErrorMessage } from '@jupyterlab/apputils';
import { type Cell } from '@jupyterlab/cells';
import { NotebookActions } from '@jupyterlab/notebook';
import type { CommandRegistry } from '@lumino/commands';
import type { Jobs } from './jobs';
import { nextChanged } from './model/session';
import type { INotebook, Notebooks } from './notebooks';
import type { ProvcrtServer } from './server';
import { showPreview } from './ui/previewdialog';

export const IDS = {
  branch: 'provcrt:branch',
  runAfresh: 'provcrt:run-afresh',
  runChanged: 'provcrt:run-changed',
  preview: 'provcrt:preview',
  recording: 'provcrt:toggle-recording',
  execute: 'provcrt:execute',
  showCell: 'provcrt:show-provenance',
  showGraph: 'provcrt:show-graph',
  showExperiments: 'provcrt:show-experiments'
};

export interface ICommandContext {
  commands: CommandRegistry;
  palette: ICommandPalette | null;
  notebooks: Notebooks;
  server: ProvcrtServer;
  jobs: Jobs;
  openNotebook: (contents: string) => void;
  show: (what: 'cell' | 'graph' | 'experiments') => void;
  refreshExperiments: () => void;
}

interface IAction {
  label: string;
  caption: string;
  /** Why it cannot be carried out now; null if it can. */
  why?: () => string | null;
  toggled?: () => boolean;
  run: () => Promise<unknown> | void;
}

export function addCommands(context: ICommandContext): void {
  const { commands, notebooks, palette } = context;
  for (const [id, action] of Object.entries(actions(context))) {
    const why = action.why ?? (() => null);
    commands.addCommand(id, {
      label: () => withReason(action.label, why()),
      caption: () => withReason(action.caption, why()),
      isEnabled: () => why() === null,
      isToggleable: action.toggled !== undefined,
      isToggled: action.toggled ?? (() => false),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: async () => {
        try {
          await action.run();
        } catch (error) {
          await showErrorMessage(action.label, (error as Error).message);
        }
      }
    });
    palette?.addItem({ command: id, category: 'PROV-CRT' });
  }
  notebooks.changed.connect(() =>
    Object.values(IDS).forEach(id => commands.notifyCommandChanged(id))
  );
}

function withReason(text: string, why: string | null): string {
  return why === null ? text : `${text} (${why})`;
}

function actions(context: ICommandContext): Record<string, IAction> {
  const { notebooks, server } = context;
  const session = () => {
    const { current } = notebooks;
    return current === null ? 'no notebook is open' : current.link.why;
  };
  const cell = () => session() ?? (notebooks.cell ? null : 'no code cell is selected');
  const idle = () => {
    const status = notebooks.current?.panel.sessionContext.session?.kernel?.status;
    return session() ?? (status === 'busy' ? 'the kernel is busy' : null);
  };
  const changed = () => {
    const { current } = notebooks;
    const reason = session();
    return (
      reason ?? (current && following(current, new Set()) ? null : 'no cell that ran has changed')
    );
  };
  return {
    [IDS.branch]: {
      label: 'Branch from This Cell',
      caption: 'Open a copy of the notebook whose cells up to this one replay at once',
      why: () => cell() ?? ran(notebooks),
      run: async () => {
        const { current, cell } = notebooks;
        if (current && cell) {
          await current.panel.context.save();
          const made = await server.branch(current.panel.context.path, cell.model.id);
          context.openNotebook(made.path);
          context.refreshExperiments();
          Notification.success(`Branch ${made.branch}: ${made.path}`, { autoClose: 5000 });
        }
      }
    },
    [IDS.runAfresh]: {
      label: 'Run Afresh',
      caption: 'Run the selected cells, whatever their records say',
      why: cell,
      run: async () => {
        const { current } = notebooks;
        if (current) {
          const { content } = current.panel;
          const cells = content.widgets.filter(
            widget => widget.model.type === 'code' && content.isSelectedOrActive(widget)
          );
          await current.link.afresh(cells.map(widget => widget.model.id));
          await runCells(current, cells);
        }
      }
    },
    [IDS.runChanged]: {
      label: 'Run What Changed',
      caption: 'Run the cells whose inputs or source changed since they ran, in order',
      why: changed,
      run: () => (notebooks.current ? runChanged(notebooks.current) : undefined)
    },
    [IDS.preview]: {
      label: 'Preview Run All…',
      caption: 'Say which cells would run, why, and about how long',
      why: idle,
      run: async () => {
        const { current } = notebooks;
        if (current && (await showPreview(await current.link.preview(), titles(current)))) {
          await context.commands.execute('notebook:run-all-cells');
        }
      }
    },
    [IDS.recording]: {
      label: 'Record and Replay Cells',
      caption: 'Off: cells run as in any other kernel, without records',
      why: session,
      toggled: () => notebooks.current?.link.state.info?.recording ?? false,
      run: () => {
        const link = notebooks.current?.link;
        link?.record(!link.state.info?.recording);
      }
    },
    [IDS.execute]: {
      label: 'Record an Execution of This Notebook',
      caption:
        'Run the saved notebook from its first cell and keep all it needed, so that it can be repeated',
      why: () => (notebooks.current ? null : 'no notebook is open'),
      run: async () => {
        const { current } = notebooks;
        if (current) {
          await current.panel.context.save();
          context.jobs.watch(await server.execute(current.panel.context.path));
        }
      }
    },
    [IDS.showCell]: {
      label: 'Show Provenance',
      caption: 'Open the panel with the files, variables and history of the selected cell',
      run: () => context.show('cell')
    },
    [IDS.showGraph]: {
      label: 'Show Provenance Graph',
      caption: 'Open the graph of the notebook’s cells, files and variables',
      run: () => context.show('graph')
    },
    [IDS.showExperiments]: {
      label: 'Show Experiments',
      caption: 'Open the tree of the project’s executions',
      run: () => context.show('experiments')
    }
  };
}

/** A branch needs the past of the cell: it must have run. */
function ran(notebooks: Notebooks): string | null {
  const report = notebooks.cell && notebooks.current?.link.state.cells[notebooks.cell.model.id];
  return report ? null : 'the cell has not run in this session';
}

function following(notebook: INotebook, done: ReadonlySet<string>): string | undefined {
  const order = notebook.panel.content.widgets.map(widget => widget.model.id);
  return nextChanged(order, notebook.link.state, notebook.edits.cells, done);
}

/** Run changed cells, one after the other: what is stale next is known only when the one before has run. */
async function runChanged(notebook: INotebook): Promise<void> {
  const done = new Set<string>();
  for (let id = following(notebook, done); id !== undefined; id = following(notebook, done)) {
    done.add(id);
    const cell = notebook.panel.content.widgets.find(widget => widget.model.id === id);
    const told = nextStale(notebook);
    if (!cell || !(await runCells(notebook, [cell]))) {
      break;
    }
    await told;
  }
}

/** The kernel's word on what is stale, which follows the reply. */
function nextStale({ link }: INotebook): Promise<void> {
  const before = link.state.stale;
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(patience);
      link.changed.disconnect(listen);
      resolve();
    };
    const listen = () => {
      if (link.state.stale !== before) {
        done();
      }
    };
    const patience = setTimeout(done, 5000);
    link.changed.connect(listen);
  });
}

function runCells({ panel }: INotebook, cells: Cell[]): Promise<boolean> {
  return NotebookActions.runCells(panel.content, cells, panel.sessionContext);
}

/** Of each cell its place and first line. */
function titles({ panel }: INotebook): Map<string, string> {
  return new Map(
    panel.content.widgets.map((widget, index) => {
      const first = widget.model.sharedModel.getSource().split('\n', 1)[0];
      return [
        widget.model.id,
        `${index + 1}: ${first.length > 40 ? `${first.slice(0, 39)}…` : first}`
      ];
    })
  );
}
