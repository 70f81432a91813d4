import { END_ID } from '../wire/protocol.ts'
import { quietly } from './callback.ts'
import type { Fetch } from './request.ts'

/** Options of `withPolling`. */
export interface PollingOptions {
  /** The `fetch` that sends the requests. Default: the global one. */
  fetch?: Fetch
  /**
   * Milliseconds without a byte of the stream after which the path is taken for one that holds event streams back. The
   * server sends the first bytes at once. Default 5000.
   */
  after?: number
  /** Seconds that the server may wait for the next event. Default 15, which is below every `inactivityTimeout`. */
  wait?: number
}

// Milliseconds. An answer without an event has waited. If it has not, the next request is sent after this time.
const PAUSE = 1_000
const STREAM = /^(text\/event-stream|application\/(x-ndjson|jsonl)) *(;|$)/i
const JSON_TYPE = /^application\/json *(;|$)/i
const encoder = new TextEncoder()

type Bytes = ReadableStreamDefaultReader<Uint8Array>

/**
 * Returns a `fetch` for `connect` that falls back to long polling where a proxy holds event streams back until their
 * end. The route needs the format 'json'. Each answer continues after the last event of the one before: the events
 * arrive as one stream of JSON lines. After a failed poll the next request is an event stream again. A request other
 * than GET is sent once, as it is.
 */
export function withPolling ({ fetch = globalThis.fetch, after = 5_000, wait = 15 }: PollingOptions = {}): Fetch {
  let polls = false
  return async (url, init) => {
    if (!/^get$/i.test(init.method ?? 'GET')) return fetch(url, init)
    if (!polls) {
      const response = await requestStream(fetch, url, init, after)
      if (response !== undefined) return response
    }
    polls = true
    const answers = new Answers(fetch, url, init, { after, wait, failed: () => { polls = false } })
    return await answers.open()
  }
}

/** Requests a stream. Returns undefined if no byte of its body arrives in time. */
async function requestStream (
  fetch: Fetch,
  url: string | URL,
  init: RequestInit,
  after: number
): Promise<Response | undefined> {
  const controller = controllerOf(init)
  let timer: ReturnType<typeof setTimeout> | undefined
  // Not every fetch listens to the signal.
  const late = new Promise<undefined>(resolve => { timer = setTimeout(() => resolve(undefined), after) })
  const request = async (): Promise<Response> => {
    const response = await fetch(url, { ...init, signal: controller.signal })
    if (!isOk(response, STREAM)) return response
    const reader = response.body!.getReader()
    // The response may be late, too.
    if (controller.signal.aborted) cancel(reader)
    else controller.signal.addEventListener('abort', () => cancel(reader))
    const first = await reader.read()
    return new Response(bodyOf(replay(first, reader), () => cancel(reader)), response)
  }
  const pending = request()
  try {
    const response = await Promise.race([pending, late])
    if (response === undefined) controller.abort()
    return response
  } finally {
    clearTimeout(timer)
    quietly(() => pending)
  }
}

interface AnswerOptions { readonly after: number, readonly wait: number, readonly failed: () => void }

/** The answers of long polls, as one response. */
class Answers {
  readonly #fetch: Fetch
  readonly #url: string
  readonly #init: RequestInit
  readonly #options: AnswerOptions
  readonly #controller: AbortController
  /** The position as the value of a header. */
  #lastEventId: string | null
  /** The body of the last answer. */
  #reader: Bytes | undefined
  /** The time of the last request. */
  #start = 0

  constructor (fetch: Fetch, url: string | URL, init: RequestInit, options: AnswerOptions) {
    this.#fetch = fetch
    this.#url = withWait(String(url), options.wait)
    this.#init = init
    this.#options = options
    this.#controller = controllerOf(init)
    // One listener for all answers: each would keep its body until the end of the stream.
    this.#controller.signal.addEventListener('abort', () => cancel(this.#reader))
    this.#lastEventId = new Headers(init.headers).get('last-event-id')
  }

  /** Returns the first answer, if it is no array of events, or the response that joins all of them. */
  async open (): Promise<Response> {
    const first = await this.#request()
    if (!isOk(first, JSON_TYPE)) return first
    const body = bodyOf(this.#lines(first), () => this.#controller.abort())
    return new Response(body, { headers: { 'content-type': 'application/x-ndjson' } })
  }

  async #request (): Promise<Response> {
    // A page's own `fetch` has no other receiver than the page.
    const fetch = this.#fetch
    this.#start = Date.now()
    const headers = new Headers(this.#init.headers)
    headers.set('accept', 'application/json')
    if (this.#lastEventId !== null) headers.set('last-event-id', this.#lastEventId)
    return this.#inTime(fetch(this.#url, { ...this.#init, headers, signal: this.#controller.signal }))
  }

  /** Waits for the server as long as it may wait for an event. */
  #inTime<T> (step: Promise<T>): Promise<T> {
    const { after, wait, failed } = this.#options
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new TypeError('The poll was not answered in time')), wait * 1_000 + after)
    })
    return Promise.race([step, late]).catch((error: unknown) => {
      if (this.#init.signal?.aborted !== true) failed()
      this.#controller.abort()
      throw error
    }).finally(() => clearTimeout(timer))
  }

  /** Yields the lines of all answers, until one is no array: the client connects again and gets it as its answer. */
  async * #lines (first: Response): AsyncGenerator<Uint8Array> {
    for (let response = first; isOk(response, JSON_TYPE);) {
      const lastEventId = this.#lastEventId
      yield * this.#linesOf(response.body!.getReader())
      // Between two answers the client gets a heartbeat.
      yield encoder.encode('\n')
      if (this.#lastEventId === END_ID) break
      if (this.#lastEventId === lastEventId && Date.now() - this.#start < PAUSE) await this.#pause()
      response = await this.#request()
    }
    this.#controller.abort()
  }

  async * #linesOf (reader: Bytes): AsyncGenerator<Uint8Array> {
    this.#reader = reader
    const decoder = new TextDecoder()
    let rest = ''
    let complete = false
    for (;;) {
      const { done, value } = await this.#inTime(reader.read())
      if (done) break
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        if (line === ']' || line === '[]') complete = true
        else yield encoder.encode(`${this.#element(line)}\n`)
      }
    }
    if (complete) return
    this.#options.failed()
    throw new TypeError('The connection was lost within an array of events')
  }

  /** Returns the element of a line of the array, and keeps its id. */
  #element (line: string): string {
    const text = line.replace(/^[[,]/, '')
    if (text !== '') this.#lastEventId = idOf(text) ?? this.#lastEventId
    return text
  }

  async #pause (): Promise<void> {
    const { signal } = this.#controller
    await new Promise<void>(resolve => {
      const timer = setTimeout(end, PAUSE)
      function end (): void {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        resolve()
      }
      signal.addEventListener('abort', end)
    })
  }
}

/** Returns a controller that aborts with the signal of a request. */
function controllerOf ({ signal }: RequestInit): AbortController {
  const controller = new AbortController()
  if (signal?.aborted === true) controller.abort(signal.reason)
  signal?.addEventListener('abort', () => controller.abort(signal.reason))
  return controller
}

const isOk = ({ status, headers, body }: Response, type: RegExp): boolean =>
  status === 200 && body !== null && type.test(headers.get('content-type') ?? '')

const cancel = (reader: Bytes | undefined): Promise<void> => quietly(() => reader?.cancel())

async function * replay (first: ReadableStreamReadResult<Uint8Array>, reader: Bytes): AsyncGenerator<Uint8Array> {
  for (let step = first; !step.done; step = await reader.read()) yield step.value
}

function bodyOf (chunks: AsyncGenerator<Uint8Array>, onCancel: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull (controller) {
      const { done, value } = await chunks.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
    cancel: onCancel
  }, { highWaterMark: 0 })
}

function withWait (url: string, wait: number): string {
  // The target of a redirect may have it already.
  if (/[?&]wait=/.test(url)) return url
  const end = url.indexOf('#')
  const address = end < 0 ? url : url.slice(0, end)
  return `${address}${address.includes('?') ? '&' : '?'}wait=${wait}${url.slice(address.length)}`
}

/** Returns the id of an element as the value of a header: the bytes of its UTF-8, one per character. */
function idOf (element: string): string | undefined {
  try {
    const { id } = Object(JSON.parse(element)) as { id?: unknown }
    return typeof id === 'string' ? String.fromCharCode(...encoder.encode(id)) : undefined
  } catch {
    // The parser of the lines reports it.
    return undefined
  }
}
