import type { Channel } from '../channel/channel.ts'
import { now } from '../clock.ts'
import type { EventOf, PublishEventOf } from '../contract/event-types.ts'
import { FST_SSE_NOT_FOUND } from '../errors.ts'
import { onAbort } from '../listeners.ts'
import type { Runs } from '../runs/runs.ts'
import { EventQueue } from '../source/event-queue.ts'
import type { Subscription } from '../channel/subscription.ts'
import {
  CODE, cancelledBy, failure, isRequest, PRIMING, readsPriming, rejection, type JsonRpcId, type JsonRpcMessage,
  type McpEvents
} from './mcp-messages.ts'

/** The context of a message from the client. A `MessageExtraInfo` of the official SDK. */
export interface McpMessageInfo {
  requestInfo?: { headers: Record<string, string | string[] | undefined>, url?: URL | undefined } | undefined
  authInfo?: McpAuthInfo | undefined
  /** Ends the connection, not the stream, of the request: the client reconnects after `retry`, and resumes. */
  closeSSEStream?: (() => void) | undefined
  /** Ends the connection of the stream of server messages. */
  closeStandaloneSSEStream?: (() => void) | undefined
}

/** The identity of a client. An `AuthInfo` of the official SDK. */
export interface McpAuthInfo {
  token: string
  clientId: string
  scopes: string[]
  expiresAt?: number
  resource?: URL
  extra?: Record<string, unknown>
}

/** The transport of one session. A `Transport` of the official SDK: `server.connect(transport)`. */
export interface McpTransport {
  readonly sessionId: string
  onmessage?: ((message: JsonRpcMessage, info?: McpMessageInfo) => void) | undefined
  onclose?: (() => void) | undefined
  onerror?: ((error: Error) => void) | undefined
  start (): Promise<void>
  /**
   * Sends a message to the client: a response and a message with `relatedRequestId` on the stream of the request, any
   * other message on the stream of server messages. Rejects with FST_SSE_NOT_FOUND if the request is answered, was
   * cancelled or belongs to no client, and with the errors of `channel.publish`.
   */
  send (message: JsonRpcMessage, options?: { relatedRequestId?: JsonRpcId | undefined }): Promise<void>
  /** Ends the session: its requests fail, its streams end, and its id is unknown from now on. */
  close (): Promise<void>
}

/** The part of the endpoint that a session uses. */
export interface McpSessionHost {
  runs: Runs<McpEvents>
  /** Ends the connection of a stream. */
  disconnect: (channel: string) => void
  /** Called once, when the session ends. */
  onClosed: (session: McpSession) => void
  /** Logs an error of the server that no caller receives. */
  onError: (error: unknown) => void
}

/** The stream of one POST, until all of its requests are answered. */
interface Answer {
  readonly channel: Channel<McpEvents>
  readonly waiting: Set<JsonRpcId>
  /** The source of the run: its end is that of the stream. */
  readonly holder: Holder
}

type Holder = EventQueue<McpEvents, PublishEventOf<McpEvents>>

/** One session: the transport of its server, and the channels of its streams. */
export class McpSession implements McpTransport {
  readonly sessionId: string
  onmessage: McpTransport['onmessage']
  onclose: McpTransport['onclose']
  onerror: McpTransport['onerror']
  /** The stream of messages that belong to no request. */
  readonly messages: Channel<McpEvents>
  /** Whether the client reads an event without data. */
  readonly primed: boolean
  /** The version of the protocol that the server has chosen. */
  version: string | undefined
  /** The number of open connections. */
  streams = 0
  /** The time of the last request, or of the end of the last connection. */
  usedAt = now()
  readonly #host: McpSessionHost
  /** The requests without a response; undefined until the stream of a request is in the log. */
  readonly #requests = new Map<JsonRpcId, Answer | undefined>()
  #heard = false
  #isClosed = false
  #closed = Promise.resolve()

  private constructor (
    channel: Channel<McpEvents>,
    sessionId: string,
    initialize: JsonRpcMessage,
    host: McpSessionHost
  ) {
    this.sessionId = sessionId
    this.messages = channel
    this.#host = host
    this.primed = readsPriming(initialize)
  }

  /** Starts a session; undefined if the id is not new over all nodes. */
  static async start (
    sessionId: string,
    initialize: JsonRpcMessage,
    host: McpSessionHost
  ): Promise<McpSession | undefined> {
    const holder: Holder = new EventQueue()
    const { run, started } = await host.runs.start(sessionId, holder)
    if (!started) return undefined
    const session = new McpSession(run.channel, sessionId, initialize, host)
    // Another node has ended the session, or this node has lost it.
    onAbort(holder.signal, () => session.close())
    return session
  }

  async start (): Promise<void> {}

  /** Whether each request has an id of its own. */
  canAnswer (messages: readonly JsonRpcMessage[]): boolean {
    const ids = messages.filter(isRequest).map(({ id }) => id)
    return new Set(ids).size === ids.length && !ids.some(id => this.#requests.has(id))
  }

  /** Passes messages without a request to the server. */
  receive (messages: readonly JsonRpcMessage[], info: McpMessageInfo): void {
    for (const message of messages) {
      const cancelled = cancelledBy(message)
      this.onmessage?.(message, info)
      // The server does not respond to a request that its client has cancelled.
      if (cancelled !== undefined) this.#settle(cancelled)
    }
  }

  /**
   * Passes messages to the server. Returns the stream of the responses to the requests among them. Rejects with 400 if
   * the id of a request is in use.
   */
  async answer (
    stream: string,
    messages: readonly JsonRpcMessage[],
    info: McpMessageInfo
  ): Promise<Channel<McpEvents>> {
    if (!this.canAnswer(messages)) {
      throw rejection(400, 'Invalid Request: The id of a request is in use', CODE.invalidRequest)
    }
    const ids = messages.filter(isRequest).map(({ id }) => id)
    // Another POST may use the same id before the log has answered.
    for (const id of ids) this.#requests.set(id, undefined)
    const holder: Holder = new EventQueue()
    let channel: Channel<McpEvents>
    try {
      channel = (await this.#host.runs.start(stream, holder)).run.channel
      if (this.primed) await channel.publish(PRIMING)
    } catch (error) {
      for (const id of ids) this.#requests.delete(id)
      holder.end()
      throw error
    }
    const answer: Answer = { channel, waiting: new Set(ids), holder }
    for (const id of ids) this.#requests.set(id, answer)
    if (this.#isClosed) await this.#failAll()
    else this.#dispatch(messages, info, answer)
    return channel
  }

  #dispatch (messages: readonly JsonRpcMessage[], info: McpMessageInfo, { channel, waiting }: Answer): void {
    try {
      this.receive(messages, this.primed ? { ...info, ...this.#disconnectors(channel) } : info)
    } catch (error) {
      for (const id of waiting) this.#settle(id)
      throw error
    }
  }

  /** A client without a position could not resume. */
  #disconnectors ({ name }: Channel<McpEvents>): Pick<McpMessageInfo, 'closeSSEStream' | 'closeStandaloneSSEStream'> {
    return {
      closeSSEStream: () => this.#host.disconnect(name),
      closeStandaloneSSEStream: () => this.#host.disconnect(this.messages.name)
    }
  }

  /** Returns the stream of server messages. The first one has all messages since the start of the session. */
  async listen (signal: AbortSignal): Promise<Subscription<EventOf<McpEvents>, unknown>> {
    const { id: after } = await this.messages.position()
    if (this.primed) await this.messages.publish(PRIMING)
    const isFirst = !this.#heard
    this.#heard = true
    return this.messages.subscribe(isFirst ? { signal } : { signal, after })
  }

  async send (
    message: JsonRpcMessage,
    { relatedRequestId }: { relatedRequestId?: JsonRpcId | undefined } = {}
  ): Promise<void> {
    const isResponse = message.method === undefined
    const id = isResponse ? message.id : relatedRequestId
    if (!isResponse && id === undefined) {
      await this.messages.publish({ data: message })
      return
    }
    const answer = id === undefined ? undefined : this.#requests.get(id)
    if (answer === undefined) throw new FST_SSE_NOT_FOUND(`open request with the id ${JSON.stringify(id)}`)
    if (!isResponse) {
      await answer.channel.publish({ data: message })
      return
    }
    this.version ??= (message.result as { protocolVersion?: string } | undefined)?.protocolVersion
    try {
      await answer.channel.publish({ data: message })
    } catch (error) {
      // A result that JSON cannot express: the client would wait for it.
      const { code } = error as { code?: unknown }
      if (code === 'FST_SSE_SERIALIZE') await this.#fail(id!, answer, CODE.internal, 'The result cannot be serialized')
      throw error
    } finally {
      this.#settle(id!)
    }
  }

  close (): Promise<void> {
    // The server may call it again while it is told.
    if (!this.#isClosed) {
      this.#isClosed = true
      this.#closed = this.#close()
    }
    return this.#closed
  }

  async #close (): Promise<void> {
    this.#host.onClosed(this)
    const failed = this.#failAll()
    try {
      this.onclose?.()
    } catch (error) {
      this.#host.onError(error)
    }
    await failed
    // Fails only if the log or the server has stopped: then the session is broken.
    await this.#host.runs.stop(this.sessionId).catch(() => {})
  }

  /** Fails all requests that wait for a response: it will not come. */
  async #failAll (): Promise<void> {
    await Promise.all([...this.#requests].map(async ([id, answer]) => {
      if (answer === undefined) return
      await this.#fail(id, answer, CODE.connectionClosed, 'The session was closed')
      this.#settle(id)
    }))
  }

  async #fail (id: JsonRpcId, { channel }: Answer, code: number, text: string): Promise<void> {
    try {
      await channel.publish({ data: failure(id, code, text) })
    } catch {
      // The log has lost the stream, or does not answer. It has logged that.
    }
  }

  /** Removes a request; its stream ends with the last one. */
  #settle (id: JsonRpcId): void {
    const answer = this.#requests.get(id)
    if (answer === undefined) return
    this.#requests.delete(id)
    answer.waiting.delete(id)
    if (answer.waiting.size === 0) answer.holder.end()
  }
}
