import { Type } from '@sinclair/typebox'
import t from 'tap'
import type { RouteDeclaration } from '../../lib/server/route-declarations.ts'
import type { EventMap } from '../../lib/contract/event-types.ts'
import { Components } from '../../lib/openapi/components.ts'
import { describeEvents, eventSchemaOf, type EventForm } from '../../lib/openapi/event-schema.ts'
import { withTexts } from '../../lib/schema/texts.ts'
import { problemEvent } from '../../lib/contract/problem.ts'
import { readerOf, type Json } from '../setup/document.ts'

const declaration: RouteDeclaration = {
  shared: () => ({ Word: { $id: 'Word', type: 'string', description: 'A word' } }),
  errorEvent: undefined,
  systemEvent: undefined,
  formats: ['event-stream']
}

const events = {
  message: Type.Integer(),
  note: Type.String({ description: 'The text of the note' }),
  word: Type.Ref('Word'),
  other: Type.Ref('Missing')
}

function item (
  map: EventMap,
  overrides: Partial<RouteDeclaration> = {},
  form?: EventForm
): { item: Json, fits: (event: object) => boolean } {
  const document = { openapi: '3.2.0', components: { schemas: {} } }
  const item = eventSchemaOf(map, { ...declaration, ...overrides }, Components.of(document), form) as Json
  const reader = readerOf(document as unknown as Json, item)
  return { item, fits: event => reader(event) }
}

t.test('each event is a branch: JSON is the content of a string, text is the string itself', async t => {
  const { oneOf } = item(events).item as unknown as { oneOf: unknown[] }
  const json = (schema: object) => ({ type: 'string', contentMediaType: 'application/json', contentSchema: schema })
  const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
  t.same(oneOf, [
    {
      title: 'message',
      type: 'object',
      required: ['data'],
      properties: { event: { const: 'message' }, data: json({ type: 'integer' }) }
    },
    {
      title: 'note',
      description: 'The text of the note',
      type: 'object',
      required: ['event', 'data'],
      properties: { event: { const: 'note' }, data: { type: 'string', description: 'The text of the note' } }
    },
    {
      title: 'word',
      description: 'A word',
      type: 'object',
      required: ['event', 'data'],
      properties: { event: { const: 'word' }, data: ref('Word') }
    },
    {
      title: 'other',
      type: 'object',
      required: ['event', 'data'],
      properties: { event: { const: 'other' }, data: json({}) }
    },
    ref('sse.reset'),
    ref('sse.gap'),
    ref('sse.position'),
    ref('sse.error')
  ])
})

t.test('an event is checked by its name, its data and its fields', async t => {
  const { fits } = item(events)
  for (const event of [{ data: '1' }, { event: 'message', data: '1' }, { data: '1', id: '', retry: 0 }, {
    event: 'note',
    data: '1',
    id: 'a'
  }]) t.ok(fits(event), JSON.stringify(event))
  const bad = [{}, { data: 1 }, { data: '1.5' }, { data: 'one' }, { event: 'note' }, { event: 'nothing', data: '' }, {
    data: '1',
    id: 1
  }, { data: '1', retry: -1 }, { data: '1', retry: 0.5 }]
  for (const event of bad) t.notOk(fits(event), JSON.stringify(event))
  t.notOk(item({ note: Type.String() }).fits({ data: 'text' }), 'an event without a name is a message')
})

t.test('R3, R5: the reset, gap and position events of a channel', async t => {
  const { fits } = item(events)
  const as = (event: string, data: object) => ({ event, data: JSON.stringify(data), id: 'x-1' })
  for (const reason of ['malformed', 'unknown', 'evicted', 'ahead']) {
    t.ok(fits(as('sse.reset', { reason, oldest: 1, newest: 0 })))
  }
  t.ok(fits(as('sse.reset', { reason: 'ahead', oldest: 1, newest: 2, channel: 'a' })))
  t.ok(fits(as('sse.gap', { dropped: 5, channel: 'a' })))
  t.ok(fits({ event: 'sse.position', id: 'x', data: '' }))
  t.notOk(fits({ event: 'sse.position', id: 'x', data: 'y' }))
  t.notOk(fits(as('sse.reset', { reason: 'else', oldest: 1, newest: 0 })))
  t.notOk(fits(as('sse.gap', {})))
})

t.test('E2: the event after an error', async t => {
  const { fits } = item(events)
  const errors = [new Error('secret'), Object.assign(new Error('No such thing'), { statusCode: 404 }),
    Object.assign(new Error('odd'), { statusCode: 799 })]
  for (const error of errors) {
    const { event, data } = problemEvent(error, 'req-1')
    t.ok(fits({ event, data: JSON.stringify(data) }))
    t.ok(fits({ event, data: JSON.stringify(problemEvent(error).data) }), 'the error event of a channel fits, too')
  }
  t.notOk(fits({ event: 'error', data: '{}' }))
})

t.test('E2: a map may declare the error event; with errorEvent: null there is none', async t => {
  const own = item({ error: Type.Object({ code: Type.String() }) })
  t.ok(own.fits({ event: 'error', data: '{"code":"A"}' }))
  t.notOk(own.fits({ event: 'error', data: '{"type":"about:blank","title":"Not Found","status":404}' }))
  t.notOk(
    item(events, { errorEvent: null }).fits({
      event: 'error',
      data: '{"type":"about:blank","title":"Not Found","status":404}'
    })
  )
})

t.test('E2: an errorEvent function may send any event except the described names', async t => {
  const errorEvent = () => null
  const { fits } = item(events, { errorEvent })
  t.ok(fits({ event: 'failed', data: 'so' }))
  t.ok(fits({ event: 'error', data: 'so' }))
  for (const event of [{ data: 'so' }, { event: 'message', data: 'so' }, { event: 'sse.gap', data: 'so' }, {
    event: 'failed'
  }]) t.notOk(fits(event))
  t.ok(item({ note: Type.String() }, { errorEvent }).fits({ data: 'so' }),
    'message is allowed if the map does not declare it')
})

t.test('a systemEvent function may send any event except the described names; null sends no system event', async t => {
  const { fits } = item(events, { systemEvent: event => event })
  for (const [event, expected] of [['lost', true], ['message', false], ['error', false]] as const) {
    t.equal(fits({ event, data: 'so' }), expected, event)
  }
  t.ok(fits({ event: 'sse.gap', data: '{"dropped":1}' }))
  t.notOk(item(events, { systemEvent: null }).fits({ event: 'sse.gap', data: '{"dropped":1}' }))
})

t.test('an event with texts is one of them, or JSON', async t => {
  const map = { message: withTexts(Type.Object({ n: Type.Integer() }), '[DONE]', '') }
  const { fits } = item(map)
  for (const data of ['[DONE]', '', '{"n":1}']) t.ok(fits({ data }), data)
  t.notOk(fits({ data: '{"n":"x"}' }))
  t.equal(describeEvents(map, declaration), 'Server-Sent Events:\n\n- `message` (JSON or `[DONE]` or ``)')
})

t.test('describeEvents lists name, format and description of each event', async t => {
  t.equal(describeEvents(events, declaration),
    'Server-Sent Events:\n\n- `message` (JSON)\n- `note` (text): The text of the note\n- `word` (text): A word\n- `other` (JSON)')
})

t.test('the objects of the JSON formats have the data itself', async t => {
  const map = { message: Type.Integer(), note: Type.String(), chunk: withTexts(Type.Object({ n: Type.Integer() }), '[DONE]') }
  const { fits, item: schema } = item(map, { errorEvent: () => null }, 'object')
  for (const event of [{ data: 1 }, { event: 'note', id: '1', data: 'text' }, { event: 'chunk', data: { n: 1 } },
    { event: 'chunk', data: '[DONE]' }, { event: 'other', data: { any: 1 } },
    { event: 'sse.position', id: 'e-1', data: '' }, { event: 'sse.gap', data: { dropped: 1 } },
    { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 2 } }]) t.ok(fits(event), JSON.stringify(event))
  for (const event of [{ data: '1' }, { event: 'note', data: 1 }, { event: 'chunk', data: '{"n":1}' }, { retry: 1 },
    { event: 'sse.gap', data: '{"dropped":1}' }, { event: 'sse.position', data: 1 }]) {
    t.notOk(fits(event), JSON.stringify(event))
  }
  t.match(JSON.stringify(schema), /sse\.gap\.object/)
  t.ok(item(map, {}, 'object').fits({ event: 'error', data: { type: 'about:blank', title: 'x', status: 500 } }))
})
