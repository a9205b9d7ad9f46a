/** Durations, sizes and times as people read them. */

/** A duration: "40 ms", "2.3 s", "3 min 20 s", "1 h 5 min". */
export function duration(seconds: number): string {
  if (seconds < 0.0005) {
    return '0 s';
  }
  if (seconds < 0.9995) {
    return `${Math.round(seconds * 1000)} ms`;
  }
  if (seconds < 9.95) {
    return `${seconds.toFixed(1)} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${whole} s`;
  }
  if (whole < 3600) {
    return whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole / 60} min`;
  }
  const minutes = Math.round(seconds / 60);
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

/** A duration of a tenth of a second or more in at most four characters, for the gutter. */
export function briefDuration(seconds: number): string {
  if (seconds < 9.95) {
    return `${seconds.toFixed(1)}s`;
  }
  if (seconds < 99.5) {
    return `${Math.round(seconds)}s`;
  }
  return seconds < 5970 ? `${Math.round(seconds / 60)}m` : `${Math.round(seconds / 3600)}h`;
}

/** A size in bytes: "12 kB". */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A moment, in the reader's own time zone. */
export function moment(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, {
    dateStyle: 'medium',
    timeStyle: 'short'
  });
}

/** "1 cell", "3 cells". */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** The last part of a path. */
export function basename(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1) || path;
}

/** A path as seen from a folder, if it lies in there. */
export function within(path: string, folder: string): string {
  const prefix = folder.endsWith('/') ? folder : `${folder}/`;
  return path.startsWith(prefix) ? path.slice(prefix.length) : path;
}

/** What of a cell differs between two executions. */
export function differing(parts: readonly string[]): string {
  if (parts.includes('missing')) {
    return 'in one of them only';
  }
  if (parts.length === 0) {
    return 'the same';
  }
  return `${parts.join(' and ')} ${parts.length === 1 && !parts[0].endsWith('s') ? 'differs' : 'differ'}`;
}
