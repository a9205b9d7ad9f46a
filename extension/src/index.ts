/**
 * PROV-CRT in JupyterLab.
 *
 * `kernel.ts` and `server.ts` talk to the two sides, `contract.ts` has their words, `model/` decides what they mean and knows
 * no page, `ui/` draws it, `commands.ts` acts. This file puts them together.
 */
import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, showErrorMessage } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { Signal } from '@lumino/signaling';
import { addCommands, IDS } from './commands';
import { Jobs } from './jobs';
import { Notebooks } from './notebooks';
import { ProvcrtServer } from './server';
import { comparisonTab } from './ui/compare';
import { ExperimentsPanel } from './ui/experiments';
import { Gutter, type IGutterOptions } from './ui/gutter';
import { ProvenancePanel } from './ui/provenance';
import { StatusItem } from './ui/status';

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'provcrt-jupyterlab:plugin',
  description: 'Shows what was replayed and why; branches from any cell; the provenance graph.',
  autoStart: true,
  requires: [INotebookTracker, IRenderMimeRegistry],
  optional: [ICommandPalette, ISettingRegistry, IStatusBar, ILayoutRestorer, IDefaultFileBrowser],
  activate
};

function activate(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  rendermime: IRenderMimeRegistry,
  palette: ICommandPalette | null,
  settings: ISettingRegistry | null,
  statusBar: IStatusBar | null,
  restorer: ILayoutRestorer | null,
  browser: IDefaultFileBrowser | null
): void {
  const notebooks = new Notebooks(tracker);
  const server = new ProvcrtServer(app.serviceManager.serverSettings);
  const jobs = new Jobs(app.serviceManager.events);
  const openFile = (path: string) => void app.commands.execute('docmanager:open', { path });

  const provenance = new ProvenancePanel({ notebooks, server, openFile });
  const moved = new Signal<object, void>({});
  notebooks.changed.connect(() => moved.emit());
  browser?.model.pathChanged.connect(() => moved.emit());
  const experiments = new ExperimentsPanel({
    server,
    jobs,
    path: () => folder(notebooks.current?.panel.context.path) ?? browser?.model.path ?? '',
    moved,
    openNotebook: openFile,
    compare: (path, a, b) => {
      server.compare(path, a, b).then(
        found => app.shell.add(comparisonTab(found, rendermime), 'main'),
        (error: Error) => void showErrorMessage(`Compare ${a} and ${b}`, error.message)
      );
    }
  });
  app.shell.add(experiments, 'left', { rank: 600 });
  app.shell.add(provenance, 'right', { rank: 600 });
  restorer?.add(experiments, experiments.id);
  restorer?.add(provenance, provenance.id);

  const show = (what: 'cell' | 'graph' | 'experiments') => {
    if (what !== 'experiments') {
      provenance.turnTo(what);
    }
    const { id } = what === 'experiments' ? experiments : provenance;
    app.shell.activateById(id);
  };
  addCommands({
    commands: app.commands,
    palette,
    notebooks,
    server,
    jobs,
    openNotebook: openFile,
    show,
    refreshExperiments: () => experiments.refresh()
  });

  const options: IGutterOptions = { badges: true, lines: true };
  const gutters = new Set<Gutter>();
  notebooks.added.connect((_, notebook) => {
    const gutter = new Gutter(notebook, { ...options }, cell => {
      notebook.panel.content.activeCellIndex = notebook.panel.content.widgets.indexOf(cell);
      show('cell');
    });
    gutters.add(gutter);
    notebook.panel.disposed.connect(() => gutters.delete(gutter));
  });
  notebooks.begin();

  const status = new StatusItem(notebooks, () => void app.commands.execute(IDS.showCell));
  let statusWanted = true;
  statusBar?.registerStatusItem('provcrt:status', {
    item: status,
    align: 'left',
    rank: 20,
    isActive: () => statusWanted && status.shown,
    activeStateChanged: status.model.stateChanged
  });

  void settings?.load(plugin.id).then(
    found => {
      const apply = () => {
        options.badges = found.get('badges').composite as boolean;
        options.lines = found.get('lines').composite as boolean;
        statusWanted = found.get('statusBar').composite as boolean;
        gutters.forEach(gutter => gutter.set({ ...options }));
        status.model.stateChanged.emit();
      };
      found.changed.connect(apply);
      apply();
    },
    error => console.warn('PROV-CRT: its settings cannot be read', error)
  );
}

function folder(path: string | undefined): string | null {
  return path === undefined ? null : path.split('/').slice(0, -1).join('/');
}

export default plugin;
