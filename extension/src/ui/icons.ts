/** Every state has a shape of its own, so that none is told by its colour alone. */
import { LabIcon } from '@jupyterlab/ui-components';
import type { BadgeKind } from '../model/badge';

const svg = (inner: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">${inner}</svg>`;
const stroke =
  'fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"';

/** Drawings for the badges, in the colour of the text around them. */
export const SHAPES: Record<BadgeKind, string> = {
  // an arrow that goes round
  replayed: svg(`<path ${stroke} d="M3 8a5 5 0 1 0 1.7-3.8M4.6 1.4v3h3"/>`),
  // a triangle, as on the button that runs
  executed: svg('<path fill="currentColor" d="M4.5 2.6v10.8L13 8z"/>'),
  // a circle struck through
  unrecorded: svg(
    `<path ${stroke} d="M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM4.2 4.2l7.6 7.6"/>`
  ),
  // a diamond with a mark of exclamation
  stale: svg(`<path ${stroke} d="M8 1.5 14.5 8 8 14.5 1.5 8zM8 5v3.4M8 10.8v.1"/>`),
  // a wave
  volatile: svg(`<path ${stroke} d="M1.5 9c1.8-5 3.5-5 5 0s3.4 5 5 0 1.8-3.5 3-3.5"/>`),
  // two triangles
  recomputed: svg('<path fill="currentColor" d="M2 3.500v9L8 8zM8.5 3.500v9l6-4.500z"/>')
};

const big = (inner: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g class="jp-icon3" fill="none" stroke="#616161" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">${inner}</g></svg>`;

export const provenanceIcon = new LabIcon({
  name: 'provcrt:provenance',
  svgstr: big(
    '<circle cx="5" cy="5" r="2.5"/><circle cx="19" cy="5" r="2.5"/><circle cx="12" cy="19" r="2.5"/><path d="M6.5 7.2 11 16.500M17.5 7.2 13 16.5"/>'
  )
});

export const experimentsIcon = new LabIcon({
  name: 'provcrt:experiments',
  svgstr: big(
    '<circle cx="6" cy="5" r="2.5"/><circle cx="6" cy="19" r="2.5"/><circle cx="18" cy="9" r="2.5"/><path d="M6 7.500v9M18 11.500c0 4-6 3-11 5.5"/>'
  )
});
