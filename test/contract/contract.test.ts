import { runInNewContext } from 'node:vm'
import { Type, type TSchema } from '@sinclair/typebox'
import t from 'tap'
import { compileContract, freeContract, type Contract } from '../../lib/contract/contract.ts'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import type { SharedSchemas } from '../../lib/schema/text-schema.ts'

await loadTypeBoxes()

const contract = (map: unknown, shared: SharedSchemas = {}): Contract =>
  compileContract(map, 'GET /orders', schema => schemaCompiler(shared)(schema))

/** Returns the frame, or the code and the message of the error. */
function outcome (make: () => unknown): unknown {
  try {
    return make()
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`
  }
}

/** An event and its outcome. */
type Row = [event: unknown, expected: string]

const S = Type.String()
const I = Type.Integer()
const Order = Type.Object({ id: I, note: Type.Optional(S) })
const NOT_AN_EVENT =
  'FST_SSE_EVENT: Not an event: expected { data, event?, id?, retry? }, { comment }, { id } or { retry }, got '

t.test('W5: without a schema, strings are sent unchanged and other data as JSON', async t => {
  const rows: Row[] = [
    [{ data: 'text' }, 'data: text\n\n'],
    [{ data: '[DONE]' }, 'data: [DONE]\n\n'],
    [{ data: '{"a":1}' }, 'data: {"a":1}\n\n'],
    [{ data: 'two\nlines' }, 'data: two\ndata: lines\n\n'],
    [{ data: { text: 'two\nlines' } }, 'data: {"text":"two\\nlines"}\n\n'],
    [{ data: [1, 'a', null] }, 'data: [1,"a",null]\n\n'],
    [{ data: new Date(0) }, 'data: "1970-01-01T00:00:00.000Z"\n\n'],
    [{ event: 'tick', id: 'x', retry: 5, data: 'a' }, 'event: tick\nid: x\nretry: 5\ndata: a\n\n'],
    [{ event: 'anything goes', data: 1 }, 'event: anything goes\ndata: 1\n\n'],
    [{ comment: 'hello', data: 1 }, ': hello\n\ndata: 1\n\n']
  ]
  for (const [event, frame] of rows) t.equal(outcome(() => freeContract.frame(event)), frame)
})

t.test('W5: an event whose schema admits only strings is sent as plain text, any other event as JSON', async t => {
  const text: Array<[TSchema, string]> = [
    [S, 'two\nlines'],
    [S, ''],
    [Type.Literal('[DONE]'), '[DONE]'],
    [Type.Union([Type.Literal('yes'), Type.Literal('no')]), 'no'],
    [Type.TemplateLiteral([Type.Literal('item-'), Type.Number()]), 'item-5'],
    [Type.Enum({ A: 'a', B: 'b' }), 'b'],
    [Type.String({ format: 'uuid' }), '6ba7b810-9dad-11d1-80b4-00c04fd430c8'],
    [Type.Ref('Word'), 'word'],
    [Type.Module({ Word: S, Again: Type.Ref('Word') }).Import('Again'), 'word']
  ]
  const shared = { Word: { $id: 'Word', type: 'string' } }
  for (const [schema, data] of text) {
    t.equal(contract({ e: schema }, shared).frame({ event: 'e', data }), `event: e\n${
      data.split('\n').map(line => `data: ${line}\n`).join('')
    }\n`)
  }

  const json: Array<[TSchema, unknown, string]> = [
    [Type.Union([S, Type.Null()]), 'text', '"text"'],
    [Type.Union([S, Type.Null()]), null, 'null'],
    [Type.Unsafe({ type: 'string', nullable: true }), null, 'null'],
    [Type.Unsafe({ type: 'string', nullable: true }), 'text', '"text"'],
    [Type.Union([Type.Literal('a'), Type.Literal(1)]), 'a', '"a"'],
    [Type.Enum({ A: 'a', Zero: 0 }), 'a', '"a"'],
    [Type.Array(S), ['a'], '["a"]'],
    [Type.Object({ text: S }), { text: 'two\nlines' }, '{"text":"two\\nlines"}'],
    [Type.Unknown(), 'text', '"text"'],
    [Type.Recursive(This => Type.Object({ next: Type.Union([This, Type.Null()]) })), { next: { next: null } },
      '{"next":{"next":null}}']
  ]
  for (const [schema, data, line] of json) {
    t.equal(outcome(() => contract({ e: schema }).frame({ event: 'e', data })), `event: e\ndata: ${line}\n\n`)
  }
})

t.test('W4: falsy values are sent', async t => {
  const any = contract({
    message: Type.Unknown(),
    text: S,
    number: Type.Number(),
    flag: Type.Boolean(),
    nothing: Type.Null()
  })
  for (const { frame } of [freeContract, any]) {
    t.equal(frame({ data: 0 }), 'data: 0\n\n')
    t.equal(frame({ data: false }), 'data: false\n\n')
    t.equal(frame({ data: null }), 'data: null\n\n')
    t.equal(frame({ id: 0, retry: 0, data: 0 }), 'id: 0\nretry: 0\ndata: 0\n\n')
    t.equal(frame({ id: '', data: 0 }), 'id: \ndata: 0\n\n')
    t.equal(frame({ event: 'text', data: '' }), 'event: text\ndata: \n\n')
    t.equal(frame({ comment: '', data: 0 }), ':\n\ndata: 0\n\n')
    t.equal(frame({ comment: '' }), ':\n\n')
    t.equal(frame({ id: '' }), 'event: sse.position\nid: \ndata: \n\n')
    t.equal(frame({ id: 0 }), 'event: sse.position\nid: 0\ndata: \n\n')
    t.equal(frame({ retry: 0 }), 'retry: 0\n\n')
  }
  t.equal(any.frame({ event: 'number', data: 0 }), 'event: number\ndata: 0\n\n')
  t.equal(any.frame({ event: 'flag', data: false }), 'event: flag\ndata: false\n\n')
  t.equal(any.frame({ event: 'nothing', data: null }), 'event: nothing\ndata: null\n\n')
})

t.test('W4: data that is undefined is an error, with any schema', async t => {
  const { frame } = contract({
    message: S,
    any: Type.Any(),
    unknown: Type.Unknown(),
    unsafe: Type.Unsafe({}),
    not: Type.Not(S),
    optional: Type.Optional(S)
  })
  for (const event of ['message', 'any', 'unknown', 'unsafe', 'not', 'optional']) {
    const expected =
      `FST_SSE_DATA: Event '${event}' does not match its schema at '/': data is missing, so no client would dispatch the event`
    t.equal(outcome(() => frame({ event, data: undefined })), expected)
    t.equal(outcome(() => frame({ event })), expected, 'a name without data is no control event')
    t.equal(outcome(() => freeContract.frame({ event, data: undefined })), expected)
  }
  for (const contract of [{ frame }, freeContract]) {
    t.equal(outcome(() => contract.frame({ data: undefined })),
      "FST_SSE_DATA: Event 'message' does not match its schema at '/': data is missing, so no client would dispatch the event")
    t.equal(outcome(() => contract.frame({ id: 1, data: undefined })),
      "FST_SSE_DATA: Event 'message' does not match its schema at '/': data is missing, so no client would dispatch the event")
  }
})

t.test('W6: the event message has no event field, with a name or without', async t => {
  for (const { frame } of [freeContract, contract({ message: I })]) {
    for (const event of [undefined, '', 'message']) t.equal(frame({ event, data: 1 }), 'data: 1\n\n')
    t.equal(frame({ data: 1 }), 'data: 1\n\n')
  }
})

t.test('W8: a name that begins with sse. is reserved: only the system events of a channel are sent', async t => {
  for (const event of ['sse.position', 'sse.end', 'sse.', 'sse.reset.x']) {
    for (const parts of [{ event, data: '' }, { event, data: 1, id: 'x' }]) {
      t.equal(outcome(() => freeContract.frame(parts)),
        `FST_SSE_FIELD: The field 'event' of an event must be a name that does not begin with 'sse.', got "${event}" (string)`)
      t.match(outcome(() => contract({ order: Order }).frame(parts)), /^FST_SSE_UNKNOWN_EVENT: /)
    }
  }
  for (const event of ['sse.reset', 'sse.gap']) {
    t.equal(freeContract.frame({ event, data: {} }), `event: ${event}\ndata: {}\n\n`)
  }
  for (const event of ['sse', 'SSE.x', ' sse.x', 'x.sse.']) {
    t.equal(freeContract.frame({ event, data: 1 }), `event: ${event}\ndata: 1\n\n`)
  }
})

t.test('any contract sends control events', async t => {
  for (const { frame } of [freeContract, contract({ order: Order })]) {
    t.equal(frame({ comment: 'a\nb' }), ': a\n: b\n\n')
    t.equal(frame({ id: 'x' }), 'event: sse.position\nid: x\ndata: \n\n')
    t.equal(frame({ retry: 5 }), 'retry: 5\n\n')
    t.equal(frame({ id: 'x', retry: 5 }), 'event: sse.position\nid: x\nretry: 5\ndata: \n\n')
    t.equal(frame({ comment: undefined, event: undefined, id: 'x', retry: undefined }),
      'event: sse.position\nid: x\ndata: \n\n')
  }
})

t.test('C1: an undeclared property is never in the frame', async t => {
  const { frame } = contract({ order: Order, list: Type.Array(Order), deep: Type.Object({ o: Type.Record(S, Order) }) })
  t.equal(frame({ event: 'order', data: { note: 'x', secret: 1, id: 7 } }),
    'event: order\ndata: {"id":7,"note":"x"}\n\n')
  t.equal(frame({ event: 'list', data: [{ id: 7, secret: 1 }] }), 'event: list\ndata: [{"id":7}]\n\n')
  t.equal(frame({ event: 'deep', data: { o: { a: { id: 7, secret: 1 } }, secret: 1 } }),
    'event: deep\ndata: {"o":{"a":{"id":7}}}\n\n')
})

t.test('C1: no value is coerced, and a default replaces no required property', async t => {
  const { frame } = contract({
    order: Type.Object({ id: Type.Integer({ default: 7 }) }),
    text: S,
    at: Type.String({ format: 'date-time' })
  })
  const rows: Row[] = [
    [{ event: 'order', data: { id: '7' } },
      "FST_SSE_DATA: Event 'order' does not match its schema at '/id': Expected integer"],
    [{ event: 'order', data: {} },
      "FST_SSE_DATA: Event 'order' does not match its schema at '/id': Expected required property"],
    [{ event: 'order', data: '{"id":7}' },
      "FST_SSE_DATA: Event 'order' does not match its schema at '/': Expected object"],
    [{ event: 'text', data: 7 }, "FST_SSE_DATA: Event 'text' does not match its schema at '/': Expected string"],
    [{ event: 'text', data: null }, "FST_SSE_DATA: Event 'text' does not match its schema at '/': Expected string"],
    [{ event: 'at', data: new Date(0) }, "FST_SSE_DATA: Event 'at' does not match its schema at '/': Expected string"]
  ]
  for (const [event, expected] of rows) t.equal(outcome(() => frame(event)), expected)
})

t.test('C2: an invalid event throws an error that names event, place and expectation', async t => {
  const { frame } = contract({
    message: Type.Object({ 'a/b~c': Type.Array(Order) }),
    order: Type.Ref('Order'),
    unsafe: Type.Object({ kind: Type.Unsafe({ enum: ['a', 'b'] }) }),
    closed: Type.Object({}, { additionalProperties: false })
  }, { Order: { $id: 'Order', type: 'object', required: ['id'], properties: { id: { type: 'integer' } } } })
  const rows: Row[] = [
    [{ data: { 'a/b~c': [{ id: 1 }, { id: 1.5 }] } },
      "FST_SSE_DATA: Event 'message' does not match its schema at '/a~1b~0c/1/id': Expected integer"],
    [{ event: 'order', id: 5, retry: 5, comment: 'x', data: { id: 'x' } },
      "FST_SSE_DATA: Event 'order' does not match its schema at '/id': must be integer"],
    [{ event: 'order', data: {} },
      "FST_SSE_DATA: Event 'order' does not match its schema at '/': must have required property 'id'"],
    [{ event: 'unsafe', data: { kind: 'c' } },
      "FST_SSE_DATA: Event 'unsafe' does not match its schema at '/kind': must be equal to one of the allowed values"],
    [{ event: 'closed', data: { a: 1 } },
      "FST_SSE_DATA: Event 'closed' does not match its schema at '/a': Unexpected property"]
  ]
  for (const [event, expected] of rows) t.equal(outcome(() => frame(event)), expected)
})

t.test('C2: an event with an invalid field throws an error, even if its data is valid', async t => {
  for (const { frame } of [freeContract, contract({ message: I })]) {
    const rows: Row[] = [
      [{ id: 'a\nb', data: 1 },
        'FST_SSE_FIELD: The field \'id\' of an event must be a finite number or a string that a header can carry: at most 4096 bytes of UTF-8, no control character but a tab, no space or tab at an end, got "a\\nb" (string)'],
      [{ id: null, data: 1 },
        "FST_SSE_FIELD: The field 'id' of an event must be a finite number or a string that a header can carry: at most 4096 bytes of UTF-8, no control character but a tab, no space or tab at an end, got null"],
      [{ retry: -1, data: 1 },
        "FST_SSE_FIELD: The field 'retry' of an event must be a whole number of milliseconds, 0 or more, got -1 (number)"],
      [{ comment: 5, data: 1 }, "FST_SSE_FIELD: The field 'comment' of an event must be a string, got 5 (number)"],
      [{ event: 5, data: 1 }, "FST_SSE_FIELD: The field 'event' of an event must be a string, got 5 (number)"],
      [{ event: null, data: 1 }, "FST_SSE_FIELD: The field 'event' of an event must be a string, got null"],
      [{ comment: 'fits', id: 'a\nb' },
        'FST_SSE_FIELD: The field \'id\' of an event must be a finite number or a string that a header can carry: at most 4096 bytes of UTF-8, no control character but a tab, no space or tab at an end, got "a\\nb" (string)']
    ]
    for (const [event, expected] of rows) t.equal(outcome(() => frame(event)), expected)
  }
  t.equal(outcome(() => freeContract.frame({ event: 'a\rb', data: 1 })),
    'FST_SSE_FIELD: The field \'event\' of an event must be a string without CR, LF and NUL, got "a\\rb" (string)')
})

t.test('any other value than an event throws an error with a code', async t => {
  const rows: Row[] = [
    [undefined, 'undefined'],
    [null, 'null'],
    ['text', '"text" (string)'],
    [7, '7 (number)'],
    [true, 'true (boolean)'],
    [7n, '7 (bigint)'],
    [Symbol('s'), 'Symbol(s) (symbol)'],
    [[], 'an array'],
    [[{ data: 1 }], 'an array'],
    [() => ({ data: 1 }), 'a function'],
    [{}, 'an object (Object)'],
    [new Map([['data', 1]]), 'an object (Map)'],
    [Promise.resolve({ data: 1 }), 'an object (Promise)']
  ]
  for (const { frame } of [freeContract, contract({ message: Type.Unknown() })]) {
    for (const [event, shown] of rows) t.equal(outcome(() => frame(event)), NOT_AN_EVENT + shown)
  }
})

t.test('W9: the chunk of another library is no event: any other key is rejected, and the message names asData', async t => {
  class Chunk { id = 'chatcmpl-1'; object = 'chunk' }
  const chunks: Array<[chunk: object, key: string, kind?: string]> = [
    [{ id: 'chatcmpl-1', object: 'chunk', choices: [] }, 'object'],
    [{ type: 'text-delta', id: 't1', delta: 'Hi' }, 'type'],
    [{ evnt: 'x', id: 1, dta: 2 }, 'evnt'],
    [{ data: 1, lastEventId: 'x' }, 'lastEventId'],
    [{ comment: 'nice', author: 'Ann' }, 'author'],
    [{ retry: 5, retries: null }, 'retries'],
    [{ event: 'sse.gap', data: { dropped: 1 }, more: 1 }, 'more'],
    [{ id: 1, constructor: 1 }, 'constructor'],
    [{ id: 1, ['x'.repeat(50)]: 0 }, 'x'.repeat(40)],
    [JSON.parse('{"id":1,"__proto__":1}') as object, '__proto__'],
    [Object.assign(Object.create(null), { id: 1, object: 'chunk' }) as object, 'object', 'no prototype'],
    [Object.create({ id: 1, object: 'chunk' }) as object, 'object'],
    [new Chunk(), 'object', 'Chunk'],
    [new Proxy({ id: 1, object: 'chunk' }, {}), 'object']
  ]
  const typed = contract({ message: Type.Unknown() })
  for (const [chunk, key, kind = 'Object'] of chunks) {
    const expected =
      `${NOT_AN_EVENT}an object (${kind}) with the key "${key}": send it as { data: … }, or convert the whole source with asData(source)`
    for (const make of [freeContract.frame, freeContract.serialize, typed.frame, typed.serialize]) {
      t.equal(outcome(() => make(chunk)), expected)
    }
  }
})

t.test('W9: a key with the value undefined does not count, nor does a symbol', async t => {
  for (const { frame } of [freeContract, contract({ message: Type.Unknown() })]) {
    t.equal(frame({ id: 7, object: undefined }), 'event: sse.position\nid: 7\ndata: \n\n')
    t.equal(frame({ id: 7, [Symbol('mine')]: 1 }), 'event: sse.position\nid: 7\ndata: \n\n')
    t.equal(frame(Object.defineProperty({ id: 7 }, 'hidden', { value: 1 })), 'event: sse.position\nid: 7\ndata: \n\n')
  }
})

t.test('W9: a plain object of any realm can be a control frame, an instance of a class without data cannot', async t => {
  class Chunk { constructor (fields: object) { Object.assign(this, fields) } }
  class Tick {
    readonly #n = 7
    get id (): number { return this.#n }
    toJSON (): unknown { return { n: this.#n } }
  }
  const fields = [
    { id: 7 },
    { id: '' },
    { retry: 0 },
    { comment: '' },
    { id: 7, retry: 5, comment: 'c' },
    { id: 7, event: 'message' },
    { id: 7, event: undefined }
  ]
  const foreign: object[] = [
    ...fields.map(own => new Chunk(own)), new Tick(), Object.assign(new Error('late'), { id: 7 }),
    Object.assign(new Map(), { id: 7 }), Object.create({ id: 7 }) as object
  ]
  const plain: object[] = [
    { id: 7 }, Object.assign(Object.create(null), { id: 7 }) as object, runInNewContext('({ id: 7 })') as object,
    JSON.parse('{"id":7}') as object, new Proxy({ id: 7 }, {})
  ]
  const refusal = /^FST_SSE_EVENT: .* without data: send it as \{ data: … \}, or convert .* with asData\(/
  const typed = contract({ message: Type.Unknown() })
  for (const chunk of foreign) {
    for (const make of [freeContract.frame, freeContract.serialize, typed.frame, typed.serialize]) {
      t.match(outcome(() => make(chunk)), refusal)
    }
  }
  for (const { frame } of [freeContract, typed]) {
    for (const position of plain) t.equal(frame(position), 'event: sse.position\nid: 7\ndata: \n\n')
    t.equal(frame(new Chunk({ id: 7, data: 1 })), 'id: 7\ndata: 1\n\n')
  }
})

t.test('an event may be any object with the right properties', async t => {
  class Tick {
    event = 'tick'
    get data (): number { return 7 }
  }
  for (const { frame } of [freeContract, contract({ tick: I })]) {
    t.equal(frame(new Tick()), 'event: tick\ndata: 7\n\n')
    t.equal(frame(Object.assign(Object.create(null), { event: 'tick', data: 7 })), 'event: tick\ndata: 7\n\n')
  }
})

t.test('data without a JSON form throws an error that names the event and the place', async t => {
  const circle: { list: unknown[] } = { list: [] }
  circle.list.push({ 'a/b': circle })
  const twice = { same: 1 }
  const { frame } = contract({ any: Type.Unknown(), deep: Type.Object({ l: Type.Array(Type.Unknown()) }) })
  const rows: Array<[data: unknown, path: string, deeper: string]> = [
    [7n, '/', '/l/1'],
    [{ n: 7n }, '/n', '/l/1/n'],
    [{ a: [1, { 'x/y~z': 7n }] }, '/a/1/x~1y~0z', '/l/1/a/1/x~1y~0z'],
    [circle, '/list/0/a~1b', '/l/1/list/0/a~1b'],
    [{ toJSON () { throw new Error('mine') } }, '/', '/']
  ]
  for (const [data, path, deeper] of rows) {
    t.match(outcome(() => freeContract.frame({ event: 'any', data })),
      `FST_SSE_SERIALIZE: Event 'any' cannot be serialized at '${path}': `)
    t.match(outcome(() => frame({ event: 'any', data })),
      `FST_SSE_SERIALIZE: Event 'any' cannot be serialized at '${path}': `)
    t.match(outcome(() => frame({ event: 'deep', data: { l: [0, data] } })),
      `FST_SSE_SERIALIZE: Event 'deep' cannot be serialized at '${deeper}': `)
  }
  t.equal(freeContract.frame({ data: [twice, twice, { twice }] }),
    'data: [{"same":1},{"same":1},{"twice":{"same":1}}]\n\n', 'the same object twice is no circular reference')
})

t.test('bytes, maps, sets and promises are rejected, not serialized as numbers or {}', async t => {
  const { frame } = contract({
    any: Type.Unknown(),
    deep: Type.Object({ l: Type.Array(Type.Unknown()) }),
    not: Type.Not(S),
    either: Type.Union([Type.Object({ a: S }), Type.Any()]),
    none: Type.Object({})
  })
  const values: Array<[value: object, shown: string]> = [
    [Buffer.from([1, 2]), 'Buffer'],
    [new Uint8Array([1, 2]), 'Uint8Array'],
    [new ArrayBuffer(2), 'ArrayBuffer'],
    [new DataView(new ArrayBuffer(2)), 'DataView'],
    [new Map([['a', 1]]), 'Map'],
    [new Set(['a']), 'Set'],
    [Promise.resolve(1), 'Promise']
  ]
  for (const [value, name] of values) {
    const expected = (event: string, path: string): string =>
      `FST_SSE_SERIALIZE: Event '${event}' cannot be serialized at '${path}': JSON has no form for an object (${name})`
    t.equal(outcome(() => freeContract.frame({ data: value })), expected('message', '/'))
    t.equal(outcome(() => freeContract.frame({ event: 'any', data: { deep: [0, value] } })), expected('any', '/deep/1'))
    for (const event of ['any', 'either', 'not']) {
      t.equal(outcome(() => frame({ event, data: value })), expected(event, '/'))
    }
    t.equal(outcome(() => frame({ event: 'deep', data: { l: [{ value }] } })), expected('deep', '/l/0/value'))
    t.equal(outcome(() => frame({ event: 'none', data: { value } })), 'event: none\ndata: {}\n\n',
      'an undeclared property is not checked')
  }
})

t.test('events and their properties may have names that every object inherits', async t => {
  const names = ['constructor', 'toString', '__proto__', 'hasOwnProperty', 'valueOf']
  const map = JSON.parse(`{${names.map(name => `"${name}":0`).join()}}`) as object
  for (const name of names) Object.defineProperty(map, name, { value: Type.Object({ a: I }), enumerable: true })
  const { frame, declares } = contract(map)
  for (const event of names) {
    t.equal(frame({ event, data: { a: 1, b: 2 } }), `event: ${event}\ndata: {"a":1}\n\n`)
    t.notOk(contract({ e: I }).declares({ event, data: 1 }))
    t.ok(declares({ event, data: 1 }))
    t.match(outcome(() => contract({ e: I }).frame({ event, data: 1 })), /^FST_SSE_UNKNOWN_EVENT/)
  }
})

t.test('the error of the serializer is the cause of FST_SSE_SERIALIZE', async t => {
  const mine = new Error('mine')
  const thrown = (make: () => unknown): unknown => {
    try {
      return make()
    } catch (error) {
      return error
    }
  }
  t.match(thrown(() =>
    freeContract.frame({
      data: {
        toJSON () {
          throw mine
        }
      }
    })
  ), { code: 'FST_SSE_SERIALIZE', message: "Event 'message' cannot be serialized at '/': mine", cause: mine })

  t.match(thrown(() =>
    freeContract.frame({
      data: {
        toJSON () {
          // eslint-disable-next-line no-throw-literal
          throw 'mine'
        }
      }
    })
  ), { code: 'FST_SSE_SERIALIZE', message: "Event 'message' cannot be serialized at '/': mine", cause: 'mine' })
})

t.test('data without a JSON form throws FST_SSE_SERIALIZE or FST_SSE_DATA, with a schema or without', async t => {
  const { frame } = contract({ any: Type.Unknown(), order: Order })
  for (const [data, shown] of [[() => 1, 'a function'], [Symbol('s'), 'Symbol(s) (symbol)']] as Array<
    [unknown, string]
  >) {
    t.equal(outcome(() => freeContract.frame({ event: 'any', data })),
      `FST_SSE_SERIALIZE: Event 'any' cannot be serialized at '/': JSON has no form for ${shown}`)
    t.match(outcome(() => frame({ event: 'any', data })), /^FST_SSE_(DATA|SERIALIZE): Event 'any' .* at '\/': ./)
    t.match(outcome(() => frame({ event: 'order', data })),
      /^FST_SSE_DATA: Event 'order' does not match its schema at '\/': Expected object/)
  }
  t.equal(outcome(() => freeContract.frame({ data: { toJSON: () => undefined } })),
    "FST_SSE_SERIALIZE: Event 'message' cannot be serialized at '/': JSON has no form for an object (Object)")
})

t.test('C2: no frame has JSON that a client cannot parse', async t => {
  const { frame } = contract({
    any: Type.Unknown(),
    object: Type.Object({ x: Type.Any() }),
    list: Type.Array(Type.Unknown()),
    record: Type.Record(S, Type.Unknown())
  })
  const nothings = [undefined, () => 1, Symbol('s')]
  const events = nothings.flatMap(
    nothing => [{ event: 'any', data: nothing }, { event: 'any', data: [nothing] }, {
      event: 'object',
      data: { x: nothing }
    }, { event: 'list', data: [nothing] }, { event: 'record', data: { x: nothing } }]
  )
  for (const event of events) {
    const got = String(outcome(() => frame(event)))
    if (got.startsWith('FST_SSE_')) continue
    t.doesNotThrow(() => JSON.parse(got.replace(/^.*\ndata: /, '')), got)
  }
  t.match(outcome(() => frame({ event: 'object', data: { x: () => 1 } })), /^FST_SSE_/)
  t.match(outcome(() => frame({ event: 'list', data: [undefined] })), /^FST_SSE_/)
})

t.test('an undeclared event throws an error that names the declared events', async t => {
  const { frame } = contract({ tick: I, done: S })
  for (const event of ['tock', 'Tick', 'tick ', 'error', 'constructor', '__proto__', 'toString', 'sse.end']) {
    t.equal(outcome(() => frame({ event, data: 1 })),
      `FST_SSE_UNKNOWN_EVENT: Event '${event}' is not declared: add it to the event map, or send one of tick, done`)
  }
  t.equal(outcome(() => frame({ data: 1 })),
    "FST_SSE_UNKNOWN_EVENT: Event 'message' is not declared: add it to the event map, or send one of tick, done")
})

t.test('declares() returns whether the map declares an event', async t => {
  const { declares } = contract({ message: I, tick: I })
  t.ok(declares({ event: 'tick', data: 'whatever' }))
  t.ok(declares({ data: 1 }))
  t.ok(declares({ event: '', data: 1 }))
  t.notOk(declares({ event: 'error', data: 1 }))
  t.notOk(contract({ tick: I }).declares({ data: 1 }))
  t.ok(freeContract.declares({ event: 'error', data: 1 }))
})

t.test('C3: an invalid event map is rejected, with the place and the reason', async t => {
  const maps: Array<[unknown, string]> = [
    [null, 'got null'],
    [undefined, 'got undefined'],
    [true, 'got true (boolean)'],
    ['tick', 'got "tick" (string)'],
    [() => ({}), 'got a function'],
    [[S], 'got an array'],
    [{}, 'got no event'],
    [{ tick: null }, "the schema of event 'tick' is null"],
    [{ tick: undefined }, "the schema of event 'tick' is undefined"],
    [{ tick: 'string' }, "the schema of event 'tick' is \"string\" (string)"],
    [{ tick: true }, "the schema of event 'tick' is true (boolean)"],
    [{ tick: [S] }, "the schema of event 'tick' is an array"],
    [{ tick: () => S }, "the schema of event 'tick' is a function"],
    [{ fine: S, '': S }, 'the name "" (string) is reserved'],
    [{ 'sse.reset': S }, 'the name "sse.reset" (string) is reserved'],
    [{ 'sse.': S }, 'the name "sse." (string) is reserved']
  ]
  for (const [map, reason] of maps) {
    t.equal(outcome(() => contract(map)),
      `FST_SSE_MAP: GET /orders: the events must map names to schemas: ${reason}`)
  }
  for (const name of ['sse', 'sse-reset', 'SSE.reset', 'my.sse.reset', 'message', 'error']) {
    t.equal(outcome(() => typeof contract({ [name]: S }).frame), 'function', `${name} may be declared`)
  }
})

t.test('C3: an invalid schema is rejected, with the place, the event and the reason', async t => {
  const schemas: Array<[unknown, RegExp]> = [
    [Type.Date(), /schema is invalid/],
    [Type.Object({ a: Type.BigInt() }), /schema is invalid/],
    [Type.Undefined(), /schema is invalid/],
    [Type.String({ format: 'no-such-format' }), /unknown format "no-such-format"/],
    [Type.Ref('Missing'), /Missing/],
    [{ type: 'nonsense' }, /schema is invalid/],
    [{ type: 'object', properties: 5 }, /./]
  ]
  for (const [schema, reason] of schemas) {
    const got = String(outcome(() => contract({ fine: S, bad: schema })))
    t.match(got, /^FST_SSE_SCHEMA: GET \/orders: the schema of event 'bad' \((@sinclair\/typebox|JSON Schema)\) cannot be compiled: /)
    t.match(got, reason)
  }
  t.match(outcome(() => contract({ 'a\nb': S })), /^FST_SSE_(MAP|SCHEMA): GET \/orders: /,
    'an event name that cannot be sent')
  t.match(outcome(() => contract({ tick: S }, { Bad: { $id: 'Bad', type: 'nonsense' } })),
    /^FST_SSE_SCHEMA: GET \/orders: the schema of event 'tick' \(@sinclair\/typebox\) cannot be compiled: .*invalid/,
    'a shared schema that is none')
})

t.test('C3: the thrown value of a compiler is the cause of FST_SSE_SCHEMA, an Error or not', async t => {
  const mine = new Error('mine')
  for (const [thrown, message] of [[mine, 'mine'], ['text', 'text']]) {
    try {
      compileContract({ tick: S }, 'GET /orders', () => { throw thrown })
      t.fail('it should have thrown')
    } catch (error) {
      t.match(error, {
        code: 'FST_SSE_SCHEMA',
        message: `GET /orders: the schema of event 'tick' (@sinclair/typebox) cannot be compiled: ${String(message)}`,
        cause: thrown
      })
    }
  }
})

// For an event log

t.test('C4: an event for a log has its name, its serialized data and whether that is JSON, without undeclared properties', async t => {
  const typed = contract({ message: S, order: Order, deep: Type.Object({ o: Order }) })
  const rows: Array<[contract: Contract, event: unknown, serialized: unknown]> = [
    [typed, { data: 'two\nlines' }, { event: 'message', data: 'two\nlines', json: false }],
    [typed, { event: '', data: '' }, { event: 'message', data: '', json: false }],
    [typed, { event: 'order', data: { note: 'x', secret: 1, id: 7 } }, {
      event: 'order',
      data: '{"id":7,"note":"x"}',
      json: true
    }],
    [typed, { event: 'deep', data: { o: { id: 7, secret: 1 } } }, {
      event: 'deep',
      data: '{"o":{"id":7}}',
      json: true
    }],
    [typed, { event: 'order', data: { id: 7 }, id: undefined, retry: undefined, comment: undefined }, {
      event: 'order',
      data: '{"id":7}',
      json: true
    }],
    [freeContract, { data: 'text' }, { event: 'message', data: 'text', json: false }],
    [freeContract, { event: 'any', data: [0, null, 'a'] }, { event: 'any', data: '[0,null,"a"]', json: true }],
    [freeContract, { data: 0 }, { event: 'message', data: '0', json: true }],
    [freeContract, { data: null }, { event: 'message', data: 'null', json: true }]
  ]
  for (const [contract, event, serialized] of rows) {
    const { fingerprint, ...rest } = contract.serialize(event)
    t.strictSame(rest, serialized)
    t.match(fingerprint, contract === freeContract ? 'free' : /^[\w-]{12}$/)
    t.ok(contract.matches({ ...rest, fingerprint }))
    t.notOk(contract.matches(rest), 'an entry of an unknown schema')
    t.notOk(contract.matches({ ...rest, event: 'other\n', fingerprint }))
  }
})

t.test('C2: an event that is rejected for a frame is rejected for a log', async t => {
  const { serialize, frame } = contract({ order: Order, text: S })
  for (const event of [{ event: 'order', data: { id: 'x' } }, { event: 'order' }, { event: 'text', data: 7 }, {
    event: 'tock',
    data: 1
  }, { data: 1 }, { event: 5, data: 1 }]) {
    const refusal = outcome(() => serialize(event))
    t.match(refusal, /^FST_SSE_/)
    t.equal(refusal, outcome(() => frame(event)))
  }
  for (const event of [{ event: 'any' }, { data: undefined }, { event: 'a\nb', data: 1 }, {
    event: 'a\u0000b',
    data: 1
  }, { data: 7n }]) {
    const refusal = outcome(() => freeContract.serialize(event))
    t.match(refusal, /^FST_SSE_/)
    t.equal(refusal, outcome(() => freeContract.frame(event)))
  }
})

t.test('R1: an event for a log has no id, no retry, no comment and no reserved name', async t => {
  for (const { serialize } of [freeContract, contract({ message: Type.Unknown() })]) {
    const rows: Row[] = [
      [{ id: 'mine', data: 1 }, "FST_SSE_PUBLISH: The event cannot be published: an event of a channel has no 'id'"],
      [{ id: 0, data: 1 }, "FST_SSE_PUBLISH: The event cannot be published: an event of a channel has no 'id'"],
      [{ retry: 0, data: 1 }, "FST_SSE_PUBLISH: The event cannot be published: an event of a channel has no 'retry'"],
      [{ comment: '', data: 1 },
        "FST_SSE_PUBLISH: The event cannot be published: an event of a channel has no 'comment'"],
      [{ comment: 'alone' },
        'FST_SSE_PUBLISH: The event cannot be published: expected { data, event? }, got an object (Object)'],
      [{ id: 'alone' },
        'FST_SSE_PUBLISH: The event cannot be published: expected { data, event? }, got an object (Object)'],
      [{}, 'FST_SSE_PUBLISH: The event cannot be published: expected { data, event? }, got an object (Object)'],
      ['text', 'FST_SSE_PUBLISH: The event cannot be published: expected { data, event? }, got "text" (string)'],
      [null, 'FST_SSE_PUBLISH: The event cannot be published: expected { data, event? }, got null'],
      [[], 'FST_SSE_PUBLISH: The event cannot be published: expected { data, event? }, got an array'],
      [undefined, 'FST_SSE_PUBLISH: The event cannot be published: expected { data, event? }, got undefined'],
      [{ event: 'sse.reset', data: 1 },
        'FST_SSE_PUBLISH: The event cannot be published: the name "sse.reset" (string) is reserved'],
      [{ event: 'sse.', data: 1 },
        'FST_SSE_PUBLISH: The event cannot be published: the name "sse." (string) is reserved']
    ]
    for (const [event, expected] of rows) t.equal(outcome(() => serialize(event)), expected)
    for (const event of [Symbol('s'), Object.create(null), ['sse.gap'], { toString: () => 'sse.gap' }]) {
      t.match(outcome(() => serialize({ event, data: 1 })),
        "FST_SSE_FIELD: The field 'event' of an event must be a string, got ", 'a name that is no string')
    }
  }
})

t.test('C4: a contract covers a map if it declares all events of the map with the same schema objects', async t => {
  const map = { order: Order, text: S }
  const { declaresAll } = contract(map)
  const rows: Array<[map: Record<string, TSchema> | undefined, covered: boolean]> = [
    [map, true],
    [{ ...map }, true],
    [{ order: Order }, true],
    [{}, true],
    [{ order: Type.Object({ id: I, note: Type.Optional(S) }) }, false],
    [{ order: S }, false],
    [{ ...map, more: S }, false],
    [{ constructor: S }, false],
    [undefined, false]
  ]
  for (const [other, covered] of rows) t.equal(declaresAll(other), covered)
  for (const [other] of rows) {
    t.equal(freeContract.declaresAll(other), true, 'a route without a map accepts every channel')
  }
})

t.test('R3, R5: any contract sends sse.reset and sse.gap, with only their own fields', async t => {
  for (const { frame } of [freeContract, contract({ order: Order })]) {
    const rows: Row[] = [
      [{ event: 'sse.reset', data: { reason: 'evicted', oldest: 4, newest: 9 }, id: 'e-9' },
        'event: sse.reset\nid: e-9\ndata: {"reason":"evicted","oldest":4,"newest":9}\n\n'],
      [{ event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 0, channel: 'a\nb' } },
        'event: sse.reset\ndata: {"reason":"unknown","oldest":1,"newest":0,"channel":"a\\nb"}\n\n'],
      [{ event: 'sse.gap', data: { dropped: 3 }, id: 'e-9' }, 'event: sse.gap\nid: e-9\ndata: {"dropped":3}\n\n'],
      [{ event: 'sse.gap', data: { dropped: 0, channel: 'orders' } },
        'event: sse.gap\ndata: {"dropped":0,"channel":"orders"}\n\n']
    ]
    for (const [event, expected] of rows) t.equal(outcome(() => frame(event)), expected)
    t.match(outcome(() => frame({ event: 'sse.gap' })), /^FST_SSE_DATA: /)
    t.match(outcome(() => frame({ event: 'sse.gap', data: { dropped: 1 }, id: 'a\nb' })), /^FST_SSE_FIELD: /)
  }
  const { frame } = contract({ order: Order })
  t.equal(frame({ event: 'sse.gap', data: { dropped: 3, secret: 1, deep: { secret: 1 } } }),
    'event: sse.gap\ndata: {"dropped":3}\n\n')
  for (const event of ['sse.other', 'sse.', 'sse.reset2']) {
    t.match(outcome(() => frame({ event, data: { dropped: 1 } })), /^FST_SSE_UNKNOWN_EVENT: /)
  }
})

t.test('E1: data without a JSON form is rejected with a code at any depth of nesting', async t => {
  // The innermost value has no JSON form: newer engines serialize arrays of any depth.
  let deep: unknown = 7n
  for (let depth = 0; depth < 100_000; depth++) deep = [deep]
  t.match(outcome(() => freeContract.frame({ data: deep })), /^FST_SSE_SERIALIZE: .* at '\/': /)
  t.match(outcome(() => freeContract.serialize({ data: deep })), /^FST_SSE_SERIALIZE: .* at '\/': /)
})

t.test('C4: a contract that declares error covers only channels that declare the same error', async t => {
  const error = Type.Object({ code: Type.Integer() })
  const { declaresAll } = contract({ text: S, error })
  t.equal(declaresAll({ text: S, error }), true)
  t.equal(declaresAll({ text: S }), false)
  t.equal(declaresAll({ text: S, error: Type.Object({ code: Type.Integer() }) }), false)
})
