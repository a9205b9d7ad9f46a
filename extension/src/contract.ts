/**
 * What the kernel and the server say, as types: messages of the comm `provcrt`, and bodies and answers of the REST API.
 *
 * Times are seconds since the epoch, durations seconds; `contents` is a path as Jupyter's contents API has it.
 */

/** What became of one cell; also the metadata `provcrt` of its execute_reply. */
export interface ICellReport {
  status: 'executed' | 'replayed';
  reason: string;
  record: string | null;
  seconds: number;
  saved_seconds: number;
  reads: string[];
  writes: string[];
  files_read: string[];
  files_written: string[];
  /** Execution counts of the cells that ran again so that this one could run. */
  recomputed: number[];
  volatile: string[];
  not_recorded: string[];
  remarks: string[];
  execution_count: number | null;
}

export interface ISessionInfo {
  mechanism: string;
  recording: boolean;
  why: string | null;
  strict: boolean;
  executed: number;
  replayed: number;
  saved_seconds: number;
  cwd: string;
}

export type Verdict = 'replay' | 'run' | 'recompute' | 'unknown';

export interface IPreviewCell {
  id: string;
  verdict: Verdict;
  reason: string;
  seconds: number | null;
}

export interface IPreview {
  cells: IPreviewCell[];
  seconds: number;
}

export type KernelMessage =
  | ({ type: 'session' } & ISessionInfo)
  | { type: 'cells'; cells: Record<string, ICellReport> }
  | { type: 'stale'; cells: Record<string, string> }
  | ({ type: 'preview'; request: number } & IPreview)
  | { type: 'error'; request: number | null; message: string };

export type PageMessage =
  | { type: 'preview'; request: number; cells: IPreviewRequest[] }
  | { type: 'order'; cells: string[] }
  | { type: 'afresh'; cells: string[] }
  | { type: 'recording'; on: boolean };

export interface IPreviewRequest {
  id: string;
  source: string;
  tags: string[];
}

export interface IFilePath {
  path: string;
  contents: string | null;
}

export interface IAccess {
  kind: string;
  name: string;
  path: IFilePath | null;
  cell: string | null;
  record: string | null;
}

export interface IRecord {
  record: string;
  cell: string;
  source: string;
  when: number;
  seconds: number;
  error: string | null;
  volatile: string[];
  pinned: string | null;
  reads: IAccess[];
  writes: IAccess[];
  packages: { name: string; version: string; manager: string }[];
  processes: { argv: string[] }[];
  endpoints: string[];
}

export interface IPastRecord {
  record: string;
  when: number;
  seconds: number;
  reason: string;
}

export interface IChange {
  kind: string;
  name: string;
  before: string | null;
  after: string | null;
}

export interface IRecordDiff {
  source: string;
  reads: IChange[];
  files: IChange[];
}

export interface IGraph {
  cells: { id: string; title: string; record: string | null; seconds: number | null }[];
  files: { id: string; name: string; path: IFilePath }[];
  /** `module`: bound by an import. */
  variables: { id: string; name: string; cell: string | null; module: boolean }[];
  edges: { from: string; to: string; kind: 'reads' | 'writes' }[];
}

export interface IExecution {
  id: string;
  parent: string | null;
  relation: string | null;
  changes: string[];
  when: number;
  seconds: number;
  command: string;
  status: 'ok' | 'failed';
  error: string | null;
  verdict: 'reproduced' | 'volatile' | 'diverged' | null;
  repetitions: number;
  name: string;
  tags: string[];
  notebook: string | null;
  size: number;
  cells: number;
}

/** A copy of a notebook that shares its past up to a cell. */
export interface IBranch {
  id: string;
  /** The execution or branch that it came from. */
  parent: string | null;
  notebook: string;
  source: string;
  cell: string;
  when: number;
}

export interface IProject {
  /** Paths of its notebooks are told from `root`, a contents path. */
  project: { root: string; name: string } | null;
  executions: IExecution[];
  branches: IBranch[];
}

export interface IJob {
  job: string;
  kind: 'exec' | 'repeat' | 'export';
  state: 'running' | 'done' | 'failed' | 'cancelled';
  execution: string | null;
  message: string;
}

export interface IComparedCell {
  source: string;
  outputs: unknown[];
  execution_count: number | null;
}

export interface IComparison {
  a: IExecution;
  b: IExecution;
  cells: {
    id: string;
    number: number | null;
    a: IComparedCell | null;
    b: IComparedCell | null;
    differs: string[];
  }[];
  parameters: { name: string; a: string | null; b: string | null }[];
  files: { path: string; role: string; a: string | null; b: string | null }[];
  environment: { name: string; a: string | null; b: string | null }[];
  changes: { part: string; name: string; before: string; after: string; diff: string }[];
}

/** Data of the server's event that tells a job's progress. */
export const JOB_EVENT = 'https://provcrt.github.io/schemas/job/v1';
