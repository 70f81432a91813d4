import { getMaxListeners, setMaxListeners, type EventEmitter } from 'node:events'

// Node warns of a leak from the eleventh listener on. A target that many streams share has a listener for each open
// stream.

/** A controller whose signal may have any number of listeners. */
export function sharedController (): AbortController {
  const controller = new AbortController()
  updateMaxListeners(controller.signal, () => 0)
  return controller
}

/** Listens once to a signal that others may share. Returns a function that removes the listener. */
export function listenTo (signal: AbortSignal, callback: () => void): () => void {
  addToMaxListeners(signal, 1)
  signal.addEventListener('abort', callback, { once: true })
  return () => {
    addToMaxListeners(signal, -1)
    signal.removeEventListener('abort', callback)
  }
}

/** Raises or lowers the limit of an emitter: these listeners are no leak, and Node counts others as before. */
export function addToMaxListeners (target: EventTarget | EventEmitter, more: number): void {
  updateMaxListeners(target, current => current === 0 ? 0 : current + more)
}

function updateMaxListeners (target: EventTarget | EventEmitter, to: (current: number) => number): void {
  try {
    setMaxListeners(to(getMaxListeners(target)), target)
  } catch {
    // Not Node's class: a test environment has replaced it with a browser's, which has no limit. Or the limit is
    // infinite, which Node cannot report for an EventTarget.
  }
}
