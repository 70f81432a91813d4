import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { clearInterval, now, setInterval } from '../clock.ts'
import { FST_SSE_OPTION, describe } from '../errors.ts'
import { onAbort, sharedController } from '../listeners.ts'
import type { SseSource } from '../source/source.ts'
import type { StreamOptions } from '../stream/options.ts'
import type { EventOf } from '../contract/event-types.ts'
import { CODE, isInitialize, isRequest, mcpEvents, type JsonRpcMessage, type McpEvents } from './mcp-messages.ts'
import { resolveMcp, type McpOptions } from './mcp-options.ts'
import {
  checkHeaders, checkVersion, infoOf, isSessionId, messagesIn, onError, rejection, unknownSession
} from './mcp-request.ts'
import { McpSession, type McpTransport } from './mcp-session.ts'

/** An endpoint of MCP. */
export interface McpEndpoint {
  /** The sessions of this process, by their ids. */
  readonly sessions: ReadonlyMap<string, McpTransport>
}

type McpSource = SseSource<EventOf<McpEvents>>
type McpReply = FastifyReply<{ Sse: McpEvents }>

/**
 * Declares the endpoint of the transport "streamable HTTP": POST, GET and DELETE on one path, in the scope of `app`, whose
 * hooks authenticate the requests. Each session has a server of its own. Its streams are channels, so that a client
 * resumes each of them by an event id alone. Throws FST_SSE_OPTION.
 */
export function mcp (app: FastifyInstance, input: McpOptions): McpEndpoint {
  const options = resolveMcp(input)
  const { path, name, history, sessionTimeout, maxSessions, retry } = options
  const sessions = new Map<string, McpSession>()
  /** The open connections, by the names of their channels. */
  const connections = new Map<string, AbortController>()
  // Each event is a message. An error ends the connection alone: the client resumes. A response to its request follows.
  const streamOptions = { systemEvent: null, errorEvent: null, retry } satisfies StreamOptions
  const family = app.sse.channelFamily(name, { events: mcpEvents, history, start: 'earliest', errorEvent: null })

  const host = {
    channel: family.of,
    disconnect: (channel: string) => connections.get(channel)?.abort(),
    onClosed: ({ sessionId }: McpSession) => { sessions.delete(sessionId) }
  }

  async function create (request: FastifyRequest, initialize: JsonRpcMessage): Promise<McpSession> {
    if (sessions.size >= maxSessions) throw rejection(503, 'The server has reached its limit of sessions')
    const id = options.sessionId(request)
    if (!isSessionId(id) || sessions.has(id)) {
      throw new FST_SSE_OPTION('sessionId', 'a function that returns a new id of visible ASCII characters without a slash',
        describe(id))
    }
    const session = new McpSession(id, initialize, host)
    sessions.set(id, session)
    try {
      await options.connect(session, request)
    } catch (error) {
      void session.close()
      throw error
    }
    return session
  }

  /** Returns the id of the session of a request, which may be unknown to this node. */
  async function sessionIdOf (request: FastifyRequest): Promise<string> {
    const id = request.headers['mcp-session-id']
    if (id === undefined) throw rejection(400, 'Bad Request: Mcp-Session-Id header is required')
    if (!isSessionId(id) || await options.authorize?.(request, id) === false) throw unknownSession()
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
      await reply.sse((() => source(connection.signal)) as McpSource, streamOptions)
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
    if (!session.canAnswer(messages)) {
      throw rejection(400, 'Invalid Request: The id of a request is in use', CODE.invalidRequest)
    }
    const id = `${session.sessionId}/${randomUUID()}`
    await serve(reply, family.nameOf(id), session, async signal => {
      const channel = await session.answer(id, messages, info)
      return channel.subscribe({ signal })
    })
  }

  async function get (request: FastifyRequest, reply: McpReply): Promise<void> {
    const id = await sessionIdOf(request)
    const session = sessions.get(id)
    checkVersion(request, session?.version)
    if (session !== undefined) session.usedAt = now()
    reply.header('mcp-session-id', id)
    const { lastEventId = '' } = request
    if (lastEventId !== '') {
      const stream = await streamOf(id, lastEventId)
      if (session === undefined && (stream === undefined || (await family.of(id).position()).ended)) throw unknownSession()
      if (stream === undefined) throw rejection(400, 'Bad Request: The event id belongs to no stream of the session')
      await serve(reply, family.nameOf(stream), session, signal => family.of(stream).subscribe({ signal }))
    } else {
      if (session === undefined) throw unknownSession()
      const channel = session.messages.name
      if (connections.has(channel)) throw rejection(409, 'Conflict: Only one SSE stream is allowed per session')
      await serve(reply, channel, session, signal => session.listen(signal))
    }
  }

  /** Returns the stream of a session with this event id. A position is no permission: it may be of another session. */
  async function streamOf (sessionId: string, eventId: string): Promise<string | undefined> {
    const [channel = '', ...others] = await app.sse.locate(eventId)
    if (others.length > 0) return undefined
    const prefix = family.nameOf('')
    if (channel !== family.nameOf(sessionId) && !channel.startsWith(family.nameOf(`${sessionId}/`))) return undefined
    return channel.slice(prefix.length)
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
    await (await sessionOf(request)).close()
    return await reply.code(200).send()
  })
  app.route({
    ...route,
    schema: {},
    method: ['PUT', 'PATCH', 'HEAD'],
    url: path,
    handler: async (_request, reply) => {
      reply.header('allow', 'GET, POST, DELETE')
      throw rejection(405, 'Method not allowed.')
    }
  })

  const endIdle = (): void => {
    for (const session of sessions.values()) {
      if (session.streams === 0 && now() - session.usedAt >= sessionTimeout) void session.close()
    }
  }
  const timer = setInterval(endIdle, Math.min(sessionTimeout / 4, 30_000)).unref()
  onAbort(app.sse.shutdownSignal, () => {
    clearInterval(timer)
    for (const session of sessions.values()) void session.close()
  })
  return { sessions }
}
