import fc from 'fast-check'
import t from 'tap'
import { compileContract, freeContract } from '../../lib/contract/contract.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { JSON_ELEMENTS, JSON_LINES } from '../../lib/wire/json-lines.ts'

const frame = (event: unknown): string => freeContract.frame(event, JSON_LINES)

t.test('W2: the line of an event has its name, its id, its delay and its data', async t => {
  const rows: Array<[unknown, string]> = [
    [{ data: 'text' }, '{"data":"text"}\n'],
    [{ event: 'message', data: 1 }, '{"data":1}\n'],
    [{ event: 'tick', id: 7, retry: 9, data: { n: 1 } }, '{"event":"tick","id":"7","retry":9,"data":{"n":1}}\n'],
    [{ comment: 'left out', id: 'a', data: null }, '{"id":"a","data":null}\n'],
    [{ event: 'sse.reset', id: 'e-1', data: { reason: 'unknown', oldest: 1, newest: 2 } },
      '{"event":"sse.reset","id":"e-1","data":{"reason":"unknown","oldest":1,"newest":2}}\n']
  ]
  for (const [event, line] of rows) t.equal(frame(event), line)
})

t.test('W4: falsy data and ids are kept', async t => {
  for (const data of [0, '', false, null, -0]) t.equal(frame({ id: 0, data }), `{"id":"0","data":${JSON.stringify(data)}}\n`)
  t.equal(frame({ id: '', data: 1 }), '{"id":"","data":1}\n')
})

t.test('W5: the contract tells JSON from text, not the text', async t => {
  const schema = { type: 'string' }
  const contract = compileContract({ text: schema, value: {} }, 'here', schemaCompiler({}))
  t.equal(contract.frame({ event: 'text', data: '{"a":1}' }, JSON_LINES), '{"event":"text","data":"{\\"a\\":1}"}\n')
  t.equal(contract.frame({ event: 'value', data: { a: 1 } }, JSON_LINES), '{"event":"value","data":{"a":1}}\n')
  t.equal(JSON_LINES.entry({ event: 'e', data: '1', json: false }, 'e-1'), '{"event":"e","id":"e-1","data":"1"}\n')
  t.equal(JSON_LINES.entry({ event: 'message', data: '1', json: true }, 'e-1'), '{"id":"e-1","data":1}\n')
})

t.test('a position has a line without data, a delay is an object of its own, a comment is an empty line', async t => {
  t.equal(frame({ id: 'e-1' }), '{"event":"sse.position","id":"e-1","data":""}\n')
  t.equal(frame({ id: 'e-1', retry: 5 }), '{"event":"sse.position","id":"e-1","retry":5,"data":""}\n')
  t.equal(frame({ retry: 5 }), '{"retry":5}\n')
  t.equal(frame({ comment: 'alive' }), '\n')
  t.equal(JSON_LINES.heartbeat, '\n')
})

t.test('the elements of an array have no delay: its client does not reconnect', async t => {
  t.equal(freeContract.frame({ retry: 5, data: 1 }, JSON_ELEMENTS), '{"data":1}\n')
  t.equal(JSON_ELEMENTS.control({ retry: 5 }), '')
  t.equal(JSON_ELEMENTS.control({ id: 'a', retry: 5 }), '{"event":"sse.position","id":"a","data":""}\n')
})

t.test('W3: every event is one line for every reader of lines, and its data is exact', async t => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json().map(text => JSON.parse(text) as unknown)),
    fc.string({ unit: 'grapheme' }).filter(name => !/[\r\n\0]|^sse\./.test(name)), (data, event) => {
      const line = frame({ event, data })
      // eslint-disable-next-line no-control-regex
      if (!line.endsWith('\n') || /[\n\r\u0085\u2028\u2029\v\f\x1c-\x1e]/.test(line.slice(0, -1))) return false
      const parsed = JSON.parse(line) as { event?: string, data: unknown }
      return (parsed.event ?? 'message') === (event || 'message') &&
        JSON.stringify(parsed.data) === JSON.stringify(data)
    }))
  // White space of stored JSON, and line separators in its strings.
  const stored = '{\r\n  "a": "\u2028\u0085"\n}'
  const line = JSON_LINES.entry({ event: 'message', data: stored, json: true }, 'e-1')
  t.equal(line, '{"id":"e-1","data":{    "a": "\\u2028\\u0085" }}\n')
  t.strictSame((JSON.parse(line) as { data: unknown }).data, JSON.parse(stored))
})

t.test('C2: an event that is invalid in one format is invalid in all', async t => {
  const bad: unknown[] = [{}, { event: 'a\nb', data: 1 }, { data: undefined }, { id: '\0', data: 1 }, { id: ' ', data: 1 },
    { retry: -1, data: 1 }, { comment: 1, data: 1 }, { comment: 1 }, { id: NaN }, { retry: 0.5 }, { data: 1n },
    { event: 'sse.own', data: 1 }]
  for (const event of bad) {
    const codes = [undefined, JSON_LINES, JSON_ELEMENTS].map(format => {
      try {
        return freeContract.frame(event, format)
      } catch (error) {
        return (error as { code: string }).code
      }
    })
    t.match(codes[0], /^FST_SSE_/)
    t.strictSame(codes, Array(3).fill(codes[0]))
  }
})
