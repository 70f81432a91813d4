import { getMaxListeners, setMaxListeners, type EventEmitter } from 'node:events'

// Node reports a leak from the eleventh listener on. A target that many streams share has a listener for each open
// stream.

/** Returns a controller whose signal may have any number of listeners. */
export function sharedController (): AbortController {
  const controller = new AbortController()
  limitListeners(controller.signal, 0)
  return controller
}

/** Calls the callback when a shared signal aborts. Returns a function that removes the listener. */
export function onAbort (signal: AbortSignal, callback: () => void): () => void {
  addToMaxListeners(signal, 1)
  signal.addEventListener('abort', callback, { once: true })
  return () => {
    addToMaxListeners(signal, -1)
    signal.removeEventListener('abort', callback)
  }
}

/** Adds to the listener limit of a target, so that Node still reports a leak of other listeners. 0, no limit, stays. */
export function addToMaxListeners (target: EventTarget | EventEmitter, count: number): void {
  limitListeners(target, current => current === 0 ? 0 : current + count)
}

function limitListeners (target: EventTarget | EventEmitter, limit: number | ((current: number) => number)): void {
  try {
    setMaxListeners(typeof limit === 'number' ? limit : limit(getMaxListeners(target)), target)
  } catch {
    // Either a test environment has replaced Node's class with a browser's, which has no limit. Or the limit is
    // infinite, which Node cannot report for an EventTarget.
  }
}
