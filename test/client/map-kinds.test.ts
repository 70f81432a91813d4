import Fastify from 'fastify'
import t from 'tap'
import { connect } from '../../lib/client/connect.ts'
import { StreamError } from '../../lib/client/stream-error.ts'
import { validate as validateSinclair } from '../../lib/client/validate.ts'
import { validate as validateJsonSchema } from '../../lib/client/validate/json-schema.ts'
import { validate as validateStandard } from '../../lib/client/validate/standard.ts'
import { validate as validateTypebox } from '../../lib/client/validate/typebox.ts'
import type { Validate } from '../../lib/client/encoding.ts'
import type { EventMap, EventOf } from '../../lib/contract/event-types.ts'
import sse from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { MAPS, type KindMap } from '../setup/map-kinds.ts'
import { ends, Scripted } from '../setup/scripted.ts'

/** The entry points that check the maps of each kind. */
const CHECKS: Readonly<Record<string, Validate[]>> = {
  'TypeBox 0.34': [validateSinclair, validateJsonSchema],
  'TypeBox 1.x': [validateTypebox, validateJsonSchema],
  'JSON Schema': [validateJsonSchema],
  Zod: [validateStandard, validateSinclair, validateTypebox, validateJsonSchema],
  Valibot: [validateStandard, validateSinclair, validateTypebox, validateJsonSchema],
  ArkType: [validateStandard, validateSinclair, validateTypebox, validateJsonSchema],
  'Standard Schema with a JSON Schema': [validateStandard, validateSinclair, validateTypebox, validateJsonSchema]
}

async function all (url: string, events: EventMap, validate: Validate): Promise<Array<[event: string, data: unknown]>> {
  const seen: Array<[string, unknown]> = []
  for await (const { event, data } of connect(url, { events, validate })) seen.push([event, data])
  return seen
}

const FRAMES = `event: note\ndata: 5\n\nevent: level\ndata: low\n\n${
  ''}event: order\ndata: {"id":1,"lines":["a"],"more":true}\n\nid: sse.end\n\n`
const ORDER = 'event: order\ndata: {"id":1,"lines":["a",5]}\n\n'

t.test('W5: the client decodes events by a map of any kind, from any server', async t => {
  const server = await Scripted.start(t, ends(FRAMES))
  t.strictSame(Object.keys(CHECKS), Object.keys(MAPS))
  for (const [kind, map] of Object.entries(MAPS)) {
    for (const validate of CHECKS[kind]!) {
      t.strictSame(await all(server.url, map, validate),
        [['note', '5'], ['level', 'low'], ['order', { id: 1, lines: ['a'], more: true }]], kind)
    }
  }
})

t.test('C1, W5: a route of each kind over real sockets: checked, stripped, text or JSON', async t => {
  const app = Fastify()
  await app.register(sse)
  const faults: Error[] = []
  for (const [index, map] of Object.values(MAPS).entries()) {
    const events: Array<EventOf<KindMap>> = [
      { event: 'note', data: '5' },
      { event: 'level', data: 'low' },
      { event: 'order', data: { id: 1, lines: ['a'], secret: true } },
      { event: 'order', data: { id: 1, lines: [5] } },
      { event: 'level', data: 'none' },
      { event: 'note', data: 5 }
    ]
    const onInvalid = (error: Error): 'skip' => {
      faults.push(error)
      return 'skip'
    }
    app.get(`/${index}`, { schema: { sse: map } }, (_request, reply) =>
      reply.sse(events, { finite: true, onInvalid }))
  }
  const port = await listen(t, app)
  for (const [index, [kind, map]] of Object.entries(MAPS).entries()) {
    for (const validate of CHECKS[kind]!) {
      faults.length = 0
      t.strictSame(await all(`http://127.0.0.1:${port}/${index}`, map, validate),
        [['note', '5'], ['level', 'low'], ['order', { id: 1, lines: ['a'] }]], kind)
      t.match(faults.map(({ message }) => message), [/'order'.*\/lines\/0/, /'level'/, /'note'/], kind)
    }
  }
})

t.test('C1: a wrong value of any server is FST_SSE_INVALID_EVENT with its place', async t => {
  const [order, level] = [await Scripted.start(t, ends(ORDER)), await Scripted.start(t, ends('event: level\ndata: off\n\n'))]
  for (const [kind, map] of Object.entries(MAPS)) {
    for (const validate of CHECKS[kind]!) {
      await t.rejects(all(order.url, map, validate), {
        code: 'FST_SSE_INVALID_EVENT',
        message: /^Event 'order' does not match its schema: .* at '\/lines\/1'$/,
        data: { id: 1, lines: ['a', 5] }
      }, kind)
      await t.rejects(all(level.url, map, validate), {
        code: 'FST_SSE_INVALID_EVENT',
        message: /^Event 'level' does not match its schema: .* at '\/'$/
      }, kind)
    }
  }
})

t.test('C1: a map that mixes kinds: one entry point for all, or two of them', async t => {
  const mixed = Object.fromEntries(Object.entries(MAPS).map(([kind, { order }]) => [kind, order]))
  const both: Validate = (schema, data) => validateSinclair(schema, data) ?? validateTypebox(schema, data)
  for (const kind of Object.keys(mixed)) {
    const server = await Scripted.start(t, ends(`event: ${kind}\ndata: {"id":"x","lines":[]}\n\n`))
    await t.rejects(all(server.url, mixed, validateJsonSchema), { code: 'FST_SSE_INVALID_EVENT' }, kind)
    if (kind === 'JSON Schema') continue
    await t.rejects(all(server.url, mixed, both), { code: 'FST_SSE_INVALID_EVENT' }, kind)
  }
})

t.test('E1: an asynchronous check is a mistake of the program', async t => {
  const server = await Scripted.start(t, ends('event: note\ndata: "a"\n\n'))
  const note = { '~standard': { version: 1, vendor: 'own', validate: async () => await Promise.resolve({}), jsonSchema: { output: () => ({}) } } }
  const error = await all(server.url, { note }, validateStandard).catch((error: unknown) => error)
  t.type(error, StreamError)
  t.match(error, { code: 'FST_SSE_CALLBACK', message: /own checks asynchronously/ })
})
