import { setTimeout as pause } from 'node:timers/promises'
import { build } from 'esbuild'
import type { Engine, Owner as EngineOwner, Page } from '../engines/engine.ts'
import { Reader, type Message, type Open, type Owner } from './reader.ts'

/** The events of the client in a page, until the test reads them. Null is a block without data. */
interface Shown { messages: Array<Message | null>, stopped: boolean }

declare global {
  interface Window { shown: Shown }
}

/** The used part of fetch-event-source. Its own types name a global of the bundle. */
interface Bundle {
  fetchEventSource: (url: string, options: { onmessage: (message: Message) => void }) => Promise<void>
}

/** The EventSource of an engine. */
export const openNative = (owner: EngineOwner, engine: Engine): Open => async (t, url, names) => {
  const [reader, page] = await visit(t, owner, engine, url)
  await page.evaluate((url, names) => {
    const { shown } = window
    const source = new EventSource(url)
    for (const name of new Set(['message', 'error', 'sse.position', ...names])) {
      source.addEventListener(name, event => {
        // A broken connection is dispatched under the same name, and is no message.
        if (event instanceof MessageEvent) {
          shown.messages.push({ event: event.type, data: event.data, id: event.lastEventId })
        }
      })
    }
    source.addEventListener('error', () => { if (source.readyState === EventSource.CLOSED) shown.stopped = true })
  }, url, names)
  return reader
}

/** The package `@microsoft/fetch-event-source` in a page: it needs a document and a window. */
export async function fetchEventSourceIn (owner: EngineOwner, engine: Engine): Promise<Open> {
  const stdin = {
    contents: 'export { fetchEventSource } from "@microsoft/fetch-event-source"',
    resolveDir: import.meta.dirname
  }
  const { outputFiles } = await build({ stdin, bundle: true, write: false, format: 'iife', globalName: 'bundle' })
  const bundle = outputFiles[0]!.text
  return async (t, url) => {
    const [reader, page] = await visit(t, owner, engine, url)
    await page.evaluate((url, bundle) => {
      const script = document.createElement('script')
      script.textContent = bundle
      document.head.append(script)
      const { shown } = window
      const { fetchEventSource } = (window as unknown as { bundle: Bundle }).bundle
      const stop = (): void => { shown.stopped = true }
      fetchEventSource(url, {
        onmessage: ({ event, data, id }) => {
          // It calls back at every blank line. A block without data looks like an unnamed event without text.
          shown.messages.push(
            event === '' && data === '' ? null : { event: event === '' ? 'message' : event, data, id }
          )
        }
      }).then(stop, stop)
    }, url, bundle)
    return reader
  }
}

/** An empty page of the same origin, and its events. */
async function visit (t: Owner, owner: EngineOwner, engine: Engine, url: string): Promise<[Reader, Page]> {
  const reader = new Reader()
  reader.position = ''
  const page = await engine.open({ teardown: fn => t.teardown(fn), fail: message => owner.fail(message) },
    new URL('/', url).href)
  await page.evaluate(() => {
    window.shown = { messages: [], stopped: false }
  })
  const over = new AbortController()
  const read = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const { messages, stopped } = await page.evaluate(() => ({
        messages: window.shown.messages.splice(0),
        stopped: window.shown.stopped
      })
      )
      for (const message of messages) {
        if (message === null) reader.blank()
        else if (message.event === 'sse.position') reader.move(message.id)
        else reader.show(message)
      }
      if (stopped && !reader.stopped) reader.stop()
      await pause(20)
    }
  }
  const reading = read()
  // Code that waits for the reader gets the error of the page.
  reading.catch(() => {})
  t.teardown(() => {
    over.abort()
    return reading.catch(() => {})
  })
  return [reader, page]
}
