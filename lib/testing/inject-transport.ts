import { once } from 'node:events'
import { Readable } from 'node:stream'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { setImmediate } from '../clock.ts'

/** What is needed of a Fastify instance, whatever its server and its type provider. */
export interface InjectApp {
  readonly server: object
  inject (options: InjectOptions): Promise<LightMyRequestResponse>
}

/** What of a request is `inject`'s own, and no option of `fetch`. */
export type InjectTransportOptions = Pick<InjectOptions, 'query' | 'cookies' | 'authority' | 'remoteAddress' | 'server'>

/** An answer without its body. */
export type ResponseHead = Pick<LightMyRequestResponse, 'statusCode' | 'statusMessage' | 'headers' | 'cookies'>

type Answer = Pick<LightMyRequestResponse, 'statusCode' | 'statusMessage' | 'headers' | 'stream'>

// As Node names it when a client is gone.
const halfClose = (): Error => Object.assign(new Error('aborted'), { code: 'ECONNRESET' })

/** The way from a client to an app without a port: a `fetch` that injects, a client that may stop reading, and a server that notices when it leaves. */
export class InjectTransport {
  /** The last answer. */
  head: ResponseHead | undefined
  /** All that the client has read. */
  text = ''
  /** Settles when the client begins to read a stream. */
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

  /** Settles when the last answer is read to its end, or given up. */
  get read (): Promise<unknown> { return this.#read }

  /** Settles when the server has seen the end of the last answer, and has done at once what is to be done then. */
  async gone (): Promise<void> {
    await this.#closed
    await new Promise(resolve => { setImmediate(resolve) })
  }

  /** The client takes no byte until what this answers with is called. */
  stall (): () => void {
    let goOn!: () => void
    const stalled = this.#stalled = new Promise<void>(resolve => { goOn = resolve })
    return () => {
      if (this.#stalled === stalled) this.#stalled = undefined
      goOn()
    }
  }

  readonly fetch = async (url: string | URL, init: RequestInit = {}): Promise<Response> => {
    const { signal, ...asked } = init
    // Makes bytes of any body, and names their type.
    const request = new Request('http://localhost', { duplex: 'half', ...asked } as RequestInit)
    const body = Buffer.from(await request.arrayBuffer())
    if (body.length > 0) request.headers.set('content-length', String(body.length))
    signal?.throwIfAborted()

    // An injected request hears of a signal only until its body is read; of an error of its payload it always hears.
    const payload = new Readable({ autoDestroy: false }).on('error', () => {})
    if (body.length > 0) payload.push(body)
    payload.push(null)
    let finish!: () => void
    this.#read = new Promise<void>(resolve => { finish = resolve })
    const leave = (): void => {
      payload.destroy(halfClose())
      finish()
    }
    signal?.addEventListener('abort', leave)
    const answered = this.#app.inject({
      ...this.#options, url: String(url), method: request.method, headers: Object.fromEntries(request.headers), payload, payloadAsStream: true
    })
    this.#closed = answered.then(({ raw: { res } }) => res.destroyed ? [] : once(res, 'close')).catch(finish).finally(() => signal?.removeEventListener('abort', leave))
    const answer = await answered
    this.head = answer
    const bodiless = [204, 205, 304].includes(answer.statusCode)
    if (bodiless) finish()
    return new Response(bodiless ? null : this.#bodyOf(answer, leave, finish), {
      status: answer.statusCode,
      statusText: answer.statusMessage,
      headers: headersOf(answer.headers)
    })
  }

  #bodyOf (answer: Answer, leave: () => void, finish: () => void): ReadableStream<Uint8Array> {
    const chunks = answer.stream()[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>
    return new ReadableStream({
      pull: async controller => {
        if (answer.statusCode === 200) this.#open()
        await this.#flow()
        const { value } = await chunks.next().catch((error: unknown) => {
          finish()
          throw error
        })
        // It may have been waiting when the client stopped.
        await this.#flow()
        if (value === undefined) {
          controller.close()
          finish()
        } else {
          this.text += value.toString()
          controller.enqueue(value)
        }
      },
      cancel: leave
    }, { highWaterMark: 0 })
  }

  async #flow (): Promise<void> {
    while (this.#stalled !== undefined) await this.#stalled
  }
}

/** The headers that Node holds as those of `fetch`. */
export function headersOf (given: InjectOptions['headers'] = {}): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(given)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined) headers.append(name, String(one))
    }
  }
  return headers
}

/** A `fetch` that asks an app without a port: for `connect(url, { fetch: injectFetch(app) })`, and any other client that takes a fetch. */
export function injectFetch (app: InjectApp, options: InjectTransportOptions = {}): (url: string | URL, init?: RequestInit) => Promise<Response> {
  return (url, init) => new InjectTransport(app, options).fetch(url, init)
}
