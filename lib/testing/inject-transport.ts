import { once } from 'node:events'
import { Readable } from 'node:stream'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { setImmediate } from '../clock.ts'

/** The part of a Fastify instance that injects requests, for any server and type provider. */
export interface InjectApp {
  readonly server: object
  inject (options: InjectOptions): Promise<LightMyRequestResponse>
}

/** The options of `inject` that `fetch` does not have. */
export type InjectTransportOptions = Pick<InjectOptions, 'query' | 'cookies' | 'authority' | 'remoteAddress' | 'server'>

/** A response without its body. */
export type InjectedResponse = Pick<LightMyRequestResponse, 'statusCode' | 'statusMessage' | 'headers' | 'cookies'>

type StreamedResponse = Pick<LightMyRequestResponse, 'statusCode' | 'statusMessage' | 'headers' | 'stream'>

// The error that Node emits when a client disconnects.
const connectionReset = (): Error => Object.assign(new Error('aborted'), { code: 'ECONNRESET' })

/**
 * Connects a client to an app without a port: a `fetch` that injects requests. The client can stop reading, and the
 * server notices when it disconnects.
 */
export class InjectTransport {
  /** The last response. */
  head: InjectedResponse | undefined
  /** The text that the client has read. */
  text = ''
  /** Resolves when the client begins to read a stream. */
  readonly opened: Promise<void>
  readonly #app: InjectApp
  readonly #options: InjectTransportOptions
  #open!: () => void
  #closed: Promise<unknown> = Promise.resolve()
  #read: Promise<unknown> = Promise.resolve()
  #stalled: Promise<void> | undefined

  constructor (app: InjectApp, { query, cookies, authority, remoteAddress, server }: InjectTransportOptions) {
    this.opened = new Promise(resolve => { this.#open = resolve })
    this.#app = app
    this.#options = { query, cookies, authority, remoteAddress, server } as InjectTransportOptions
  }

  get isStalled (): boolean { return this.#stalled !== undefined }

  /** Resolves when the client has read the last response to its end, or aborted it. */
  get read (): Promise<unknown> { return this.#read }

  /** Resolves when the server has noticed the end of the last response and has run its synchronous callbacks. */
  async gone (): Promise<void> {
    await this.#closed
    await new Promise(resolve => { setImmediate(resolve) })
  }

  /** Stops reading. Returns a function that resumes it. */
  stall (): () => void {
    let resume!: () => void
    const stalled = this.#stalled = new Promise<void>(resolve => { resume = resolve })
    return () => {
      if (this.#stalled === stalled) this.#stalled = undefined
      resume()
    }
  }

  readonly fetch = async (url: string | URL, init: RequestInit = {}): Promise<Response> => {
    const { signal, ...rest } = init
    // Converts any body to bytes, and sets its type.
    const request = new Request('http://localhost', { duplex: 'half', ...rest } as RequestInit)
    const body = Buffer.from(await request.arrayBuffer())
    if (body.length > 0) request.headers.set('content-length', String(body.length))
    signal?.throwIfAborted()

    // An injected request listens to a signal only until its body is read, but always to an error of its payload.
    const payload = new Readable({ autoDestroy: false }).on('error', () => {})
    if (body.length > 0) payload.push(body)
    payload.push(null)
    let finish!: () => void
    this.#read = new Promise<void>(resolve => { finish = resolve })
    const abort = (): void => {
      payload.destroy(connectionReset())
      finish()
    }
    signal?.addEventListener('abort', abort)
    const pending = this.#app.inject({
      ...this.#options,
      url: String(url),
      method: request.method,
      headers: Object.fromEntries(request.headers),
      payload,
      payloadAsStream: true
    })
    this.#closed = pending.then(({ raw: { res } }) => res.destroyed ? [] : once(res, 'close')).catch(finish).finally(
      () => signal?.removeEventListener('abort', abort)
    )
    const response = await pending
    this.head = response
    const bodiless = [204, 205, 304].includes(response.statusCode)
    if (bodiless) finish()
    return new Response(bodiless ? null : this.#bodyOf(response, abort, finish), {
      status: response.statusCode,
      statusText: response.statusMessage,
      headers: toHeaders(response.headers)
    })
  }

  #bodyOf (response: StreamedResponse, abort: () => void, finish: () => void): ReadableStream<Uint8Array> {
    const chunks = response.stream()[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>
    return new ReadableStream({
      pull: async controller => {
        if (response.statusCode === 200) this.#open()
        await this.#flow()
        const { value } = await chunks.next().catch((error: unknown) => {
          finish()
          throw error
        })
        // The client may have stopped reading during the wait.
        await this.#flow()
        if (value === undefined) {
          controller.close()
          finish()
        } else {
          this.text += value.toString()
          controller.enqueue(value)
        }
      },
      cancel: abort
    }, { highWaterMark: 0 })
  }

  async #flow (): Promise<void> {
    while (this.#stalled !== undefined) await this.#stalled
  }
}

/** Converts headers of Node to headers of `fetch`. */
export function toHeaders (input: InjectOptions['headers'] = {}): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(input)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== undefined) headers.append(name, String(item))
    }
  }
  return headers
}

/**
 * Returns a `fetch` that sends requests to an app without a port: for `connect(url, { fetch: injectFetch(app) })`, and
 * any other client with an option `fetch`.
 */
export function injectFetch (
  app: InjectApp,
  options: InjectTransportOptions = {}
): (url: string | URL, init?: RequestInit) => Promise<Response> {
  return (url, init) => new InjectTransport(app, options).fetch(url, init)
}
