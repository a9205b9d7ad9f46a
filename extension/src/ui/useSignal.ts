/** Lumino's signals and the server's answers, for React. */
import type { ISignal } from '@lumino/signaling';
import { useEffect, useReducer, useState } from 'react';

/** Draw the component anew whenever a signal is emitted. */
export function useSignal<T, U>(signal: ISignal<T, U>): void {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    signal.connect(redraw);
    return () => {
      signal.disconnect(redraw);
    };
  }, [signal]);
}

export interface IAnswer<T> {
  value: T | null;
  error: string | null;
}

/**
 * What was asked, once it is answered. While a new question waits, the last answer stays.
 *
 * @param question - tells questions apart; null asks nothing.
 */
export function useAnswer<T>(question: string | null, ask: () => Promise<T>): IAnswer<T> {
  const [answer, setAnswer] = useState<IAnswer<T>>({ value: null, error: null });
  useEffect(() => {
    let current = true;
    if (question === null) {
      setAnswer({ value: null, error: null });
      return;
    }
    ask().then(
      value => current && setAnswer({ value, error: null }),
      (error: Error) => current && setAnswer({ value: null, error: error.message })
    );
    return () => {
      current = false;
    };
    // the question stands for everything that `ask` closes over
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [question]);
  return answer;
}
