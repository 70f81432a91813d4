import type { FastifyInstance, FastifyPluginAsync, FastifyRequest, FastifySchema } from 'fastify'
import type { Channel } from '../channel/channel.ts'
import { isPresence, presentIn } from '../channel/presence-events.ts'
import { isChannelName } from '../channel/settings.ts'
import { FST_SSE_NOT_FOUND, FST_SSE_OPTION, FST_SSE_NOT_REGISTERED, describe } from '../errors.ts'
import { validateOptions } from '../validate-options.ts'
import sse from '../server/plugin.ts'
import { Sampler } from './sampler.ts'
import { guard, isStillAuthorized, rejectCrossSite, type Authorize } from './guard.ts'
import { files } from './page.ts'
import { reports } from './report.ts'
import { tailEvents, ChannelTails } from './tails.ts'
import { Dashboard } from './dashboard.ts'

/** Options of `app.register(inspector, options)`, beside Fastify's own `prefix`. */
export interface InspectorOptions {
  /**
   * Decides which requests may view and end streams. Called for every request, and every five seconds for an open page.
   * Any result but `true` is answered with 403. It has no default.
   */
  authorize: Authorize
}

const EXPECTED = 'a function that returns true for requests that may use the inspector'
const RULES = { authorize: { expected: EXPECTED, fits: (value: unknown) => typeof value === 'function' } }
const DEFAULTS: { authorize: Authorize | undefined } = { authorize: undefined }

// The OpenAPI document of the app leaves out the routes of the inspector.
const hidden = { hide: true } as FastifySchema
const MAX_TEXT = 100
// The longest name of a channel, and the prefix of its presence.
const MAX_CHANNEL_NAME = 525

/**
 * A Fastify plugin that serves a page about the open streams and channels of the surrounding registration. Its own
 * streams belong to a separate registration: they are not counted, no limit applies to them, and during a shutdown they
 * stay open to show its progress.
 */
const inspector: FastifyPluginAsync<InspectorOptions> = async (app, input) => {
  const { prefix: _prefix, logLevel: _level, logSerializers: _serializers, ...options } = input as InspectorOptions
    & Record<string, unknown>
  const { authorize } = validateOptions(options, DEFAULTS, RULES)
  if (authorize === undefined) throw new FST_SSE_OPTION('authorize', EXPECTED, describe(authorize))
  if (!app.hasDecorator('sse')) throw new FST_SSE_NOT_REGISTERED()
  const inspected = app.sse
  await app.register(sse)
  const tails = new ChannelTails()
  const sampler = new Sampler(inspected, name => tails.count(name))
  const dashboard = new Dashboard(sampler, app.sse)
  app.addHook('onClose', async () => dashboard.stop())
  guard(app, authorize)
  const permission = {
    reauthorize: (request: FastifyRequest) => isStillAuthorized(request, authorize),
    reauthorizeInterval: 5_000
  }

  servePage(app)
  app.get('/events', { schema: { ...hidden, sse: reports } },
    (request, reply) => reply.sse(dashboard.view(queryText(request, 'filter', MAX_TEXT)), permission))
  app.get('/tail', { schema: { ...hidden, sse: tailEvents } }, (request, reply) => {
    const name = queryText(request, 'channel', MAX_CHANNEL_NAME)
    const found = (name: string): Channel | undefined => isChannelName(name) ? inspected.find(name) : undefined
    const channel = isPresence(name) ? found(presentIn(name))?.presence : found(name)
    if (channel === undefined) throw new FST_SSE_NOT_FOUND(`channel ${describe(name)}`)
    return reply.sse(context => tails.open(channel, context), permission)
  })
  app.post<{ Params: { id: string } }>('/streams/:id/end', { schema: hidden, bodyLimit: 4_096 }, async request => {
    rejectCrossSite(request)
    const { params: { id }, body } = request
    const stream = sampler.find(Number(id))
    if (stream === undefined) throw new FST_SSE_NOT_FOUND(`stream ${describe(id)}`)
    const reason: unknown = (body as { reason?: unknown } | null | undefined)?.reason
    const { route, key } = stream
    request.log.info({ route, key, reason }, 'sse stream ended by the inspector')
    stream.disconnect(typeof reason === 'string' && reason !== '' ? reason.slice(0, MAX_TEXT) : undefined)
    return { route, key }
  })
}

function servePage (app: FastifyInstance): void {
  app.get('/', { schema: hidden }, (request, reply) => {
    const [path = ''] = request.originalUrl.split('?')
    // The links of the page are relative, so that it works behind a proxy under another path. They need the slash.
    if (!path.endsWith('/')) return reply.redirect(`./${path.slice(path.lastIndexOf('/') + 1)}/`)
    return reply.header('cache-control', 'no-store').type('text/html; charset=utf-8').send(files['inspector.html'])
  })
  for (const [name, text] of Object.entries(files)) {
    if (name === 'inspector.html') continue
    const type = name.endsWith('.css') ? 'text/css' : 'text/javascript'
    app.get(`/${name}`, { schema: hidden }, (_request, reply) =>
      reply.header('cache-control', 'no-store').type(`${type}; charset=utf-8`).send(text))
  }
}

/** Returns a query parameter without control characters, or an empty text. */
function queryText ({ query }: FastifyRequest, name: string, maxLength: number): string {
  const value = (query as Record<string, unknown>)[name]
  return typeof value === 'string' ? value.slice(0, maxLength).replace(/[\p{Cc}\p{Cs}]/gu, '') : ''
}

export default inspector
