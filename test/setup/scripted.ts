import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { within } from './within.ts'

/** A request, and its response. */
export interface Asked {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: string
  response: ServerResponse
  /** Settles when the response is closed: true if it was sent completely. */
  over: Promise<boolean>
}

export type Answer = (asked: Asked) => unknown

/** A server with scripted answers: one for each request. The last one is repeated. */
export class Scripted {
  readonly asked: Asked[] = []
  readonly #server = createServer((request, response) => { this.#serve(request, response) })
  readonly #script: Answer[]
  readonly #told = new EventEmitter()

  private constructor (script: Answer[]) {
    this.#script = script
  }

  static async start (t: { teardown: (fn: () => unknown) => unknown }, ...script: Answer[]): Promise<Scripted> {
    const scripted = new Scripted(script)
    scripted.#server.listen(0, '127.0.0.1')
    await once(scripted.#server, 'listening')
    t.teardown(() => scripted.stop())
    return scripted
  }

  get url (): string { return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/` }

  /** Resolves to the request with this number, counted from 1. */
  async request (number: number): Promise<Asked> {
    const wait = async (): Promise<void> => { while (this.asked.length < number) await once(this.#told, 'asked') }
    await within(`request ${number}`, wait())
    return this.asked[number - 1]!
  }

  async stop (): Promise<void> {
    this.#server.closeAllConnections()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #serve (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const over = new Promise<boolean>(resolve => response.once('close', () => resolve(response.writableFinished)))
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const asked: Asked = { method: request.method!, url: request.url!, headers: request.headers, body, response, over }
    this.asked.push(asked)
    const answer = this.#script[Math.min(this.asked.length, this.#script.length) - 1]!
    answer(asked)
    this.#told.emit('asked')
  }
}

const TYPE = { 'content-type': 'text/event-stream' }

/** Answers with a stream that stays open. */
export const streams =
  (text: string | Uint8Array = '', headers: Record<string, string> = {}): Answer => ({ response }) => {
    response.writeHead(200, { ...TYPE, ...headers })
    response.flushHeaders()
    if (text.length > 0) response.write(text)
  }

/** Answers with a stream that ends. */
export const ends = (text: string | Uint8Array = '', headers: Record<string, string> = {}): Answer => ({ response }) =>
  response.writeHead(200, { ...TYPE, ...headers }).end(text)

/** Answers with a stream that is cut once the text is written. */
export const cuts = (text: string): Answer => ({ response }) => {
  response.writeHead(200, TYPE).write(text, () => response.socket!.end())
}

/** Answers without a stream. */
export const answers =
  (status: number, headers: Record<string, string> = {}, body?: string): Answer => ({ response }) =>
    response.writeHead(status, headers).end(body)
