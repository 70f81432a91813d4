import type { FastifyInstance, FastifyPluginAsync, FastifyRequest, FastifySchema } from 'fastify'
import { isChannelName } from '../channel/settings.ts'
import { FST_SSE_NOT_FOUND, FST_SSE_OPTION, FST_SSE_NOT_REGISTERED, describe } from '../errors.ts'
import { validateOptions } from '../validate-options.ts'
import sse from '../server/plugin.ts'
import { Sampler } from './sampler.ts'
import { guard, mayGoOn, refuseOthers, type Authorize } from './guard.ts'
import { files } from './page.ts'
import { reports } from './report.ts'
import { tailEvents, ChannelTails } from './tails.ts'
import { Dashboard } from './dashboard.ts'

/** Options of `app.register(inspector, options)`, beside Fastify's own `prefix`. */
export interface InspectorOptions {
  /**
   * Who may look, and end streams: asked for every request, and every five seconds while somebody looks. Whom it does not answer `true` gets 403.
   * It has no default.
   */
  authorize: Authorize
}

const EXPECTED = 'a function of the request that returns true for those who may look'
const RULES = { authorize: { expected: EXPECTED, fits: (value: unknown) => typeof value === 'function' } }
const NONE: { authorize: Authorize | undefined } = { authorize: undefined }

// Documents of the app are about the app.
const hidden = { hide: true } as FastifySchema
const LONGEST = 100

/**
 * A page that shows what is open in the registration around it. Its own streams are those of a registration of its own: they count nowhere, no
 * limit keeps them out, and when the app closes they show how, to the end.
 */
const inspector: FastifyPluginAsync<InspectorOptions> = async (app, given) => {
  const { prefix: _prefix, logLevel: _level, logSerializers: _serializers, ...own } = given as InspectorOptions & Record<string, unknown>
  const { authorize } = validateOptions(own, NONE, RULES)
  if (authorize === undefined) throw new FST_SSE_OPTION('authorize', EXPECTED, describe(authorize))
  if (!app.hasDecorator('sse')) throw new FST_SSE_NOT_REGISTERED()
  const watched = app.sse
  await app.register(sse)
  const tails = new ChannelTails()
  const census = new Sampler(watched, name => tails.of(name))
  const watch = new Dashboard(census, app.sse)
  app.addHook('onClose', async () => watch.stop())
  guard(app, authorize)
  const permission = { reauthorize: (request: FastifyRequest) => mayGoOn(request, authorize), reauthorizeInterval: 5_000 }

  servePage(app)
  app.get('/events', { schema: { ...hidden, sse: reports } }, (request, reply) => reply.sse(watch.view(wordOf(request, 'filter', LONGEST)), permission))
  app.get('/tail', { schema: { ...hidden, sse: tailEvents } }, (request, reply) => {
    const name = wordOf(request, 'channel', 512)
    const channel = isChannelName(name) ? watched.find(name) : undefined
    if (channel === undefined) throw new FST_SSE_NOT_FOUND(`channel ${describe(name)}`)
    return reply.sse(context => tails.follow(channel, context), permission)
  })
  app.post<{ Params: { id: string } }>('/streams/:id/end', { schema: hidden, bodyLimit: 4_096 }, async request => {
    refuseOthers(request)
    const { params: { id }, body } = request
    const stream = census.find(Number(id))
    if (stream === undefined) throw new FST_SSE_NOT_FOUND(`stream ${describe(id)}`)
    const why: unknown = (body as { why?: unknown } | null | undefined)?.why
    const { route, key } = stream
    request.log.info({ route, key, why }, 'sse stream ended in the inspector')
    stream.disconnect(typeof why === 'string' && why !== '' ? why.slice(0, LONGEST) : undefined)
    return { route, key }
  })
}

function servePage (app: FastifyInstance): void {
  app.get('/', { schema: hidden }, (request, reply) => {
    const [path = ''] = request.originalUrl.split('?')
    // Its links are relative, so that a proxy may have it under another path: they need the slash.
    if (!path.endsWith('/')) return reply.redirect(`./${path.slice(path.lastIndexOf('/') + 1)}/`)
    return reply.header('cache-control', 'no-store').type('text/html; charset=utf-8').send(files['inspector.html'])
  })
  for (const [name, text] of Object.entries(files)) {
    if (name === 'inspector.html') continue
    const type = name.endsWith('.css') ? 'text/css' : 'text/javascript'
    app.get(`/${name}`, { schema: hidden }, (_request, reply) => reply.header('cache-control', 'no-store').type(`${type}; charset=utf-8`).send(text))
  }
}

/** A text in the query, where there is one; a control character is none that anybody looks for. */
function wordOf ({ query }: FastifyRequest, name: string, longest: number): string {
  const value = (query as Record<string, unknown>)[name]
  return typeof value === 'string' ? value.slice(0, longest).replace(/[\p{Cc}\p{Cs}]/gu, '') : ''
}

export default inspector
