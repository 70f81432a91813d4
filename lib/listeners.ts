import { getMaxListeners, setMaxListeners, type EventEmitter } from 'node:events'

// Node warns of a leak from the eleventh listener on. What many streams share has one for each of them, for as long as it is open.

/** A controller whose signal any number may listen to. */
export function sharedController (): AbortController {
  const controller = new AbortController()
  limit(controller.signal, () => 0)
  return controller
}

/** Listens to a signal that others may share. Gives what ends that, once. */
export function listenTo (signal: AbortSignal, callback: () => void): () => void {
  makeRoom(signal, 1)
  signal.addEventListener('abort', callback, { once: true })
  return () => {
    makeRoom(signal, -1)
    signal.removeEventListener('abort', callback)
  }
}

/** So many more listeners, or fewer again, are no leak: what else listens there is counted as before. */
export function makeRoom (target: EventTarget | EventEmitter, more: number): void {
  limit(target, current => current === 0 ? 0 : current + more)
}

function limit (target: EventTarget | EventEmitter, to: (current: number) => number): void {
  try {
    setMaxListeners(to(getMaxListeners(target)), target)
  } catch {
    // It is none of Node's: a test has put the classes of a browser in their place, which do not count. Or there is no limit, which
    // Node cannot tell of an EventTarget.
  }
}
