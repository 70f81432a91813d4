import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { FST_SSE_OPTION } from '../errors.ts'
import type { RunsOptions } from '../runs/runs.ts'
import { aFunction, delay, isOptions, validateOptions, type Rule } from '../validate-options.ts'
import type { McpAuthInfo, McpTransport } from './mcp-session.ts'

/** Options of `mcp(app, options)`. Times are milliseconds. */
export interface McpOptions {
  /** Connects a server to the transport of a new session: `server.connect(transport)`. */
  connect: (transport: McpTransport, request: FastifyRequest) => unknown
  /** The path of the endpoint. Default '/mcp'. */
  path?: string | undefined
  /** The first part of the names of the channels. Two endpoints of one app have different names. Default 'mcp'. */
  name?: string | undefined
  /** The limits of the history of each stream, as of a run. */
  history?: RunsOptions['history']
  /** The time after which the sessions and requests of a node that crashed are over, as of a run. Default 15000. */
  leaseDuration?: RunsOptions['leaseDuration']
  /** Returns the id of a new session: secret, unique, of visible ASCII characters without '/'. Default a UUID. */
  sessionId?: ((request: FastifyRequest) => string) | undefined
  /** Returns whether a request may use a session. If not, its response is that of an unknown session. */
  authorize?: ((request: FastifyRequest, sessionId: string) => boolean | Promise<boolean>) | undefined
  /** Returns the identity that the server gets with each message. */
  authInfo?: ((request: FastifyRequest) => McpAuthInfo | undefined) | undefined
  /** A session without an open stream ends after this time without a request. Default 1800000. */
  sessionTimeout?: number | undefined
  /** The number of sessions of this process; further ones are rejected with 503. Default 1000. */
  maxSessions?: number | undefined
  /** The reconnection delay of the clients. Default 1000. */
  retry?: number | undefined
  /** The values of `Host` that are served. Default: all. */
  allowedHosts?: readonly string[] | undefined
  /** The values of `Origin` that are served, beside requests without one; '*': all. Default: none. */
  allowedOrigins?: readonly string[] | undefined
}

/** Options with the defaults filled in. */
export type ResolvedMcpOptions = {
  [K in keyof McpOptions]-?: K extends 'history' | 'leaseDuration' | 'authorize' | 'authInfo' | 'allowedHosts' ? McpOptions[K]
    : NonNullable<McpOptions[K]>
}

const aString: Rule = { expected: 'a string', fits: value => typeof value === 'string' }
const strings: Rule = {
  expected: 'a list of strings',
  fits: value => Array.isArray(value) && value.every(aString.fits)
}
const count = (of: string): Rule => ({
  expected: `a whole number of ${of} from 1 to 2147483647`,
  fits: value => Number.isSafeInteger(value) && Number(value) >= 1 && Number(value) < 2 ** 31
})

const DEFAULTS: Omit<ResolvedMcpOptions, 'connect'> & { connect: McpOptions['connect'] | undefined } = {
  connect: undefined,
  path: '/mcp',
  name: 'mcp',
  history: undefined,
  leaseDuration: undefined,
  sessionId: () => randomUUID(),
  authorize: undefined,
  authInfo: undefined,
  sessionTimeout: 1_800_000,
  maxSessions: 1_000,
  retry: 1_000,
  allowedHosts: undefined,
  allowedOrigins: []
}
const RULES: Record<keyof McpOptions, Rule> = {
  connect: aFunction,
  path: { expected: "a path that begins with '/'", fits: value => typeof value === 'string' && value.startsWith('/') },
  name: aString,
  // The runs check them.
  history: { expected: 'an object', fits: isOptions },
  leaseDuration: delay,
  sessionId: aFunction,
  authorize: aFunction,
  authInfo: aFunction,
  sessionTimeout: count('milliseconds'),
  maxSessions: count('sessions'),
  retry: count('milliseconds'),
  allowedHosts: strings,
  allowedOrigins: strings
}

/** Returns the options with their defaults. Throws FST_SSE_OPTION. */
export function resolveMcp (options: McpOptions): ResolvedMcpOptions {
  const { connect, ...resolved } = validateOptions(options, DEFAULTS, RULES)
  if (connect === undefined) throw new FST_SSE_OPTION('connect', aFunction.expected, 'undefined')
  return { ...resolved, connect }
}
