import { build } from 'esbuild'
import { chromium, type Browser, type Page } from 'playwright-core'
import { FLAGS } from '../chromium.ts'
import { need, CHROMIUM } from '../programs.ts'
import { Reader, type Message, type Open, type Owner } from './reader.ts'

/** What a page calls to tell what its client shows. */
interface Window {
  show: (message: Message) => void
  blank: () => void
  stop: () => void
}

/** The part of fetch-event-source that is used; it brings its own types, which name a global of the bundle otherwise. */
interface Bundle {
  fetchEventSource: (url: string, options: { onmessage: (message: Message) => void }) => Promise<void>
}

/** One Chromium, and the two clients that need one. */
export class BrowserClients {
  readonly #browser: Browser
  readonly #bundle: string

  private constructor (browser: Browser, bundle: string) {
    this.#browser = browser
    this.#bundle = bundle
  }

  static async start (t: Owner): Promise<BrowserClients> {
    const stdin = { contents: 'export { fetchEventSource } from "@microsoft/fetch-event-source"', resolveDir: import.meta.dirname }
    const { outputFiles } = await build({ stdin, bundle: true, write: false, format: 'iife', globalName: 'bundle' })
    const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
    t.teardown(() => browser.close())
    return new BrowserClients(browser, outputFiles[0]!.text)
  }

  /** Chromium's own EventSource. */
  readonly openNative: Open = async (t, url, names) => {
    const [reader, page] = await this.#visit(t, url)
    await page.evaluate(([url, ...names]) => {
      const { show, stop } = window as unknown as Window
      const source = new EventSource(url!)
      for (const name of new Set(['message', 'error', ...names])) {
        source.addEventListener(name, event => {
          // A broken connection is told by the same name, and is no message.
          if (event instanceof MessageEvent) show({ event: event.type, data: event.data, id: event.lastEventId })
        })
      }
      source.addEventListener('error', () => { if (source.readyState === EventSource.CLOSED) stop() })
    }, [url, ...names])
    return reader
  }

  /** The package `@microsoft/fetch-event-source`, where it belongs: it asks for a document and a window. */
  readonly openFetchEventSource: Open = async (t, url) => {
    const [reader, page] = await this.#visit(t, url)
    await page.addScriptTag({ content: this.#bundle })
    await page.evaluate(url => {
      const { show, blank, stop } = window as unknown as Window
      const { fetchEventSource } = (window as unknown as { bundle: Bundle }).bundle
      fetchEventSource(url, {
        onmessage: ({ event, data, id }) => {
          // It calls for every blank line. A block without data looks like an unnamed event without text. It calls for every event, too: a
          // position by itself is for no one to see.
          if ((event === '' && data === '') || event === 'sse.position') blank()
          else show({ event: event === '' ? 'message' : event, data, id })
        }
      }).then(stop, stop)
    }, url)
    return reader
  }

  /** An empty page of the same origin. */
  async #visit (t: Owner, url: string): Promise<[Reader, Page]> {
    const reader = new Reader()
    const context = await this.#browser.newContext()
    t.teardown(() => context.close())
    const page = await context.newPage()
    const { origin } = new URL(url)
    await page.route(`${origin}/`, route => route.fulfill({ contentType: 'text/html', body: '<!doctype html><link rel="icon" href="data:,">' }))
    await page.goto(`${origin}/`)
    await page.unrouteAll()
    await page.exposeFunction('show', (message: Message) => reader.show(message))
    await page.exposeFunction('blank', () => reader.blank())
    await page.exposeFunction('stop', () => reader.stop())
    return [reader, page]
  }
}
