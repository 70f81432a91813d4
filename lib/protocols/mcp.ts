import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from 'fastify'
import type { ChannelErrorContext } from '../channel/settings.ts'
import { clearInterval, now, setInterval } from '../clock.ts'
import { FST_SSE_OPTION, describe } from '../errors.ts'
import { onAbort, sharedController } from '../listeners.ts'
import { logSafely } from '../log-safely.ts'
import type { Run } from '../runs/run.ts'
import type { Runs } from '../runs/runs.ts'
import type { SseSource } from '../source/source.ts'
import type { StreamOptions } from '../stream/options.ts'
import type { EventOf } from '../contract/event-types.ts'
import {
  CODE, PRIMING, failure, isInitialize, isPrimed, isRequest, mcpEvents, rejection, requestIn, suffixOf,
  type JsonRpcMessage, type McpEvents
} from './mcp-messages.ts'
import { resolveMcp, type McpOptions } from './mcp-options.ts'
import {
  checkHeaders, checkVersion, infoOf, isSessionId, messagesIn, onError, unknownSession
} from './mcp-request.ts'
import { McpSession, type McpTransport } from './mcp-session.ts'

export {
  mcpEventStores, type McpEventStore, type McpEventStores, type McpEventStoresOptions
} from './mcp-event-store.ts'
export type { JsonRpcId, JsonRpcMessage } from './mcp-messages.ts'
export type { McpOptions } from './mcp-options.ts'
export type { McpAuthInfo, McpMessageInfo, McpTransport } from './mcp-session.ts'

/** An endpoint of MCP. */
export interface McpEndpoint {
  /** The sessions of this process, by their ids. */
  readonly sessions: ReadonlyMap<string, McpTransport>
}

const NEW_ID = "a function that returns a new id: a secret of visible ASCII characters without '/'"

type McpSource = SseSource<EventOf<McpEvents>>
type McpReply = FastifyReply<{ Sse: McpEvents }>

/** Returns the response to a request whose node has stopped. */
function brokenEvent (_error: Error, { channel }: ChannelErrorContext): { data: JsonRpcMessage } | null {
  const id = requestIn(channel)
  return id === undefined ? null : { data: failure(id, CODE.connectionClosed, 'The node of the session has stopped') }
}

/**
 * Declares the endpoint of the transport "streamable HTTP": POST, GET and DELETE on one path, in the scope of `app`,
 * whose hooks authenticate the requests. Each session has a server of its own. Its streams are runs, so that a client
 * resumes each of them by an event id alone. Throws FST_SSE_OPTION.
 */
export function mcp (app: FastifyInstance, input: McpOptions): McpEndpoint {
  const options = resolveMcp(input)
  const { path, name, history, leaseDuration, sessionTimeout, maxSessions, retry } = options
  const sessions = new Map<string, McpSession>()
  let starting = 0
  /** The open connections, by the names of their channels. */
  const connections = new Map<string, AbortController>()
  // Each event is a message. An error ends the connection alone: the client resumes. A response to its request follows.
  const streamOptions = { systemEvent: null, errorEvent: null, retry } satisfies StreamOptions
  const runs: Runs<McpEvents> = app.sse.runs(name, {
    events: mcpEvents,
    history,
    leaseDuration,
    errorEvent: brokenEvent
  })
  const prefix = `${name}:`
  const nameOf = (id: string): string => prefix + id

  const host = {
    runs,
    disconnect: (channel: string) => connections.get(channel)?.abort(),
    onClosed: ({ sessionId }: McpSession) => { sessions.delete(sessionId) },
    onError: (err: unknown) => logSafely(app.log, 'error', { err }, 'mcp server failed')
  }

  /** Starts a session, and connects a server to it. */
  async function create (request: FastifyRequest, initialize: JsonRpcMessage): Promise<McpSession> {
    if (sessions.has(String(request.headers['mcp-session-id']))) {
      throw rejection(400, 'Invalid Request: Server already initialized', CODE.invalidRequest)
    }
    if (sessions.size + starting >= maxSessions) throw rejection(503, 'The server has reached its limit of sessions')
    starting++
    try {
      const id = options.sessionId(request)
      const session = isSessionId(id) ? await McpSession.start(id, initialize, host) : undefined
      if (session === undefined) throw new FST_SSE_OPTION('sessionId', NEW_ID, describe(id))
      sessions.set(id, session)
      try {
        await options.connect(session, request)
      } catch (error) {
        await session.close()
        throw error
      }
      return session
    } finally {
      starting--
    }
  }

  const isPermitted = async (request: FastifyRequest, id: string): Promise<boolean> =>
    options.authorize === undefined || await options.authorize(request, id) === true

  /** Returns the id of the session of a request, which may be unknown to this node. */
  async function sessionIdOf (request: FastifyRequest): Promise<string> {
    const id = request.headers['mcp-session-id']
    if (id === undefined) throw rejection(400, 'Bad Request: Mcp-Session-Id header is required')
    if (!isSessionId(id) || !await isPermitted(request, id)) throw unknownSession()
    return id
  }

  async function sessionOf (request: FastifyRequest): Promise<McpSession> {
    const session = sessions.get(await sessionIdOf(request))
    if (session === undefined) throw unknownSession()
    checkVersion(request, session.version)
    session.usedAt = now()
    return session
  }

  /** Serves a channel on a new connection, in place of an open one. */
  async function serve (
    reply: McpReply,
    channel: string,
    session: McpSession | undefined,
    source: (signal: AbortSignal) => McpSource | Promise<McpSource>
  ): Promise<void> {
    const connection = sharedController()
    connections.get(channel)?.abort()
    connections.set(channel, connection)
    if (session !== undefined) session.streams++
    try {
      // Until its first event is stored, an error is an ordinary response.
      const flushHeadersAfter = session?.primed === true ? 1_000 : 50
      await reply.sse((() => source(connection.signal)) as McpSource, { ...streamOptions, flushHeadersAfter })
    } finally {
      if (connections.get(channel) === connection) connections.delete(channel)
      if (session !== undefined) {
        session.streams--
        session.usedAt = now()
      }
    }
  }

  async function post (request: FastifyRequest, reply: McpReply): Promise<unknown> {
    const messages = messagesIn(request.body)
    const session = messages.some(isInitialize) ? await create(request, messages[0]!) : await sessionOf(request)
    const info = infoOf(request, options)
    reply.header('mcp-session-id', session.sessionId)
    if (!messages.some(isRequest)) {
      session.receive(messages, info)
      return await reply.code(202).send()
    }
    const id = `${session.sessionId}/${randomUUID()}${suffixOf(messages)}`
    await serve(reply, nameOf(id), session, async signal => {
      const channel = await session.answer(id, messages, info)
      return channel.subscribe({ signal })
    })
  }

  async function get (request: FastifyRequest, reply: McpReply): Promise<void> {
    const id = await sessionIdOf(request)
    const session = sessions.get(id)
    const { lastEventId = '' } = request
    // Another node may have the session: its streams are in the event log. A broken one has lost its node.
    const state = session === undefined && lastEventId !== '' ? (await runs.get(id))?.state : 'running'
    const stream = lastEventId === '' ? undefined : await streamOf(id, lastEventId)
    if (state !== 'running' && !(state === 'broken' && stream !== undefined && stream.id !== id)) throw unknownSession()
    checkVersion(request, session?.version)
    if (session !== undefined) session.usedAt = now()
    reply.header('mcp-session-id', id)
    if (lastEventId !== '') {
      if (stream === undefined) throw rejection(400, 'Bad Request: The event id belongs to no stream of the session')
      const primed = session?.primed ?? isPrimed(request.headers['mcp-protocol-version'])
      return await serve(reply, nameOf(stream.id), session, async signal => {
        // The client of the SDK forgets its position if it is cut again before an event. The stream may end meanwhile.
        if (primed && stream.state === 'running') await Promise.allSettled([stream.channel.publish(PRIMING)])
        return stream.channel.subscribe({ signal })
      })
    }
    if (session === undefined) throw unknownSession()
    const { messages: { name } } = session
    if (connections.has(name)) throw rejection(409, 'Conflict: Only one SSE stream is allowed per session')
    await serve(reply, name, session, signal => session.listen(signal))
  }

  /** Returns the stream of a session with this event id. A position is no permission: it may be of another session. */
  async function streamOf (sessionId: string, eventId: string): Promise<Run<McpEvents> | undefined> {
    const [channel = '', ...others] = await app.sse.locate(eventId)
    if (others.length > 0 || !`${channel}/`.startsWith(nameOf(`${sessionId}/`))) return undefined
    return await runs.get(channel.slice(prefix.length))
  }

  const route = {
    schema: { sse: mcpEvents },
    exposeHeadRoute: false,
    errorHandler: onError,
    onRequest: async (request: FastifyRequest) => checkHeaders(request, options)
  }
  app.post<{ Sse: McpEvents }>(path, route, post)
  app.get<{ Sse: McpEvents }>(path, route, get)
  app.delete(path, { ...route, schema: {} }, async (request, reply) => {
    const id = await sessionIdOf(request)
    const session = sessions.get(id)
    if (session === undefined && !await runs.stop(id)) throw unknownSession()
    await session?.close()
    return await reply.code(200).send()
  })
  app.route({
    ...route,
    schema: { hide: true } as FastifySchema,
    method: ['PUT', 'PATCH', 'HEAD'],
    url: path,
    handler: async (_request, reply) => {
      reply.header('allow', 'GET, POST, DELETE')
      throw rejection(405, 'Method not allowed.')
    }
  })

  const endIdle = (): void => {
    for (const session of sessions.values()) {
      if (session.streams === 0 && now() - session.usedAt >= sessionTimeout) session.close()
    }
  }
  const timer = setInterval(endIdle, Math.min(sessionTimeout / 4, 30_000)).unref()
  onAbort(app.sse.shutdownSignal, () => {
    clearInterval(timer)
    for (const session of sessions.values()) session.close()
  })
  return { sessions }
}
