import { createRequire } from 'node:module'
import { EventSource } from 'eventsource'
import { Reader, type Open } from './reader.ts'

interface Shown { type: string, data?: unknown, lastEventId?: string }

/** The common part of packages with the interface of EventSource. */
interface Source {
  readonly readyState: number
  addEventListener: (type: string, listener: (event: Shown) => void) => void
  close: () => void
}

const CLOSED = 2

const opening = (start: (url: string) => Source): Open => async (t, url, names) => {
  const reader = new Reader()
  const source = start(url)
  t.teardown(() => source.close())
  for (const name of new Set(['message', 'error', ...names])) {
    source.addEventListener(name, ({ type, data, lastEventId = '' }) => {
      // A broken connection is dispatched under the same name, and has no data.
      if (typeof data === 'string') reader.show({ event: type, data, id: lastEventId })
    })
  }
  const ended = (): void => { if (source.readyState === CLOSED) reader.stop() }
  for (const name of ['error', 'closed']) source.addEventListener(name, ended)
  return reader
}

/** The package `eventsource`, on the fetch of Node. */
export const openEventSource = opening(url => new EventSource(url) as unknown as Source)

/** The package `launchdarkly-eventsource`, on node:http. It has no types. */
const launchDarkly = createRequire(import.meta.url)('launchdarkly-eventsource') as {
  EventSource: new(url: string) => Source
}
export const openLaunchDarkly = opening(url => new launchDarkly.EventSource(url))
