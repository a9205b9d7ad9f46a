/** The server's REST API, a function for each thing asked. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import type {
  IComparison,
  IExecution,
  IGraph,
  IJob,
  IPastRecord,
  IProject,
  IRecord,
  IRecordDiff
} from './contract';

/** The server said no; its message is a sentence. */
export class RefusedError extends Error {
  constructor(
    message: string,
    readonly status: number
  ) {
    super(message);
  }

  static async from(response: Response): Promise<RefusedError> {
    const body = (await response.json().catch(() => null)) as { message?: string } | null;
    const message =
      response.status === 404 && !body?.message
        ? 'The Jupyter server has no PROV-CRT extension: install provcrt-kernel where the server runs.'
        : (body?.message ?? `The server answered ${response.status} ${response.statusText}.`);
    return new RefusedError(message, response.status);
  }
}

type Query = Record<string, string>;

export class ProvcrtServer {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  record(record: string, path: string): Promise<IRecord> {
    return this.ask('GET', ['records', record], { path });
  }

  async history(record: string, path: string): Promise<IPastRecord[]> {
    const answer = await this.ask<{ records: IPastRecord[] }>(
      'GET',
      ['records', record, 'history'],
      {
        path
      }
    );
    return answer.records;
  }

  diff(before: string, after: string, path: string): Promise<IRecordDiff> {
    return this.ask('GET', ['records', before, 'diff', after], { path });
  }

  /** The graph of a notebook's cells, by the records that they ran or were replayed from. */
  graph(path: string, records: Record<string, string>): Promise<IGraph> {
    return this.ask('POST', ['graph'], {}, { path, records });
  }

  executions(path: string): Promise<IProject> {
    return this.ask('GET', ['executions'], { path });
  }

  change(
    id: string,
    path: string,
    change: { name?: string; tags?: string[] }
  ): Promise<IExecution> {
    return this.ask('PATCH', ['executions', id], { path }, change);
  }

  remove(id: string, path: string): Promise<{ freed: number }> {
    return this.ask('DELETE', ['executions', id], { path });
  }

  execute(notebook: string): Promise<IJob> {
    return this.ask('POST', ['executions'], { path: notebook }, { notebook });
  }

  repeat(id: string, path: string): Promise<IJob> {
    return this.ask('POST', ['executions', id, 'repeat'], { path }, {});
  }

  export(id: string, path: string, file: string): Promise<IJob> {
    return this.ask('POST', ['executions', id, 'export'], { path }, { file });
  }

  /** Lay an executed notebook beside its original; the path of the copy. */
  async open(id: string, path: string): Promise<string> {
    const answer = await this.ask<{ path: string }>(
      'POST',
      ['executions', id, 'open'],
      { path },
      {}
    );
    return answer.path;
  }

  compare(path: string, a: string, b: string): Promise<IComparison> {
    return this.ask('GET', ['compare'], { path, a, b });
  }

  branch(path: string, cell: string): Promise<{ path: string; branch: string }> {
    return this.ask('POST', ['branch'], {}, { path, cell });
  }

  private async ask<T>(method: string, parts: string[], query: Query, body?: object): Promise<T> {
    const parameters = new URLSearchParams(query).toString();
    const url = URLExt.join(
      this.settings.baseUrl,
      'provcrt/api',
      ...parts.map(part => encodeURIComponent(part))
    );
    const response = await ServerConnection.makeRequest(
      parameters ? `${url}?${parameters}` : url,
      { method, body: body && JSON.stringify(body) },
      this.settings
    );
    if (!response.ok) {
      throw await RefusedError.from(response);
    }
    return (await response.json()) as T;
  }
}
