import { createRequire } from 'node:module'
import fc from 'fast-check'
import t from 'tap'
import { accepts, acceptsGzip, preferredType } from '../../lib/stream/accept.ts'

// The implementation of Express and of @fastify/accepts.
const Negotiator = createRequire(import.meta.url)('negotiator') as new (request: {
  headers: { accept: string | undefined }
}) => { mediaTypes: (offered: string[]) => string[] }

const TYPES = ['text/event-stream', 'application/x-ndjson', 'application/jsonl', 'application/json']
const prefer = (accept: string | undefined, types = TYPES): string | undefined =>
  preferredType(accept, types.map(mediaType => ({ mediaType })))?.mediaType

t.test('the weight decides, then the order of the offer', async t => {
  const rows: Array<[string | undefined, string]> = [
    [undefined, 'text/event-stream'],
    ['*/*', 'text/event-stream'],
    ['text/event-stream, */*', 'text/event-stream'],
    ['application/x-ndjson', 'application/x-ndjson'],
    ['application/jsonl', 'application/jsonl'],
    ['APPLICATION/JSON', 'application/json'],
    ['application/*', 'application/x-ndjson'],
    ['application/json;q=0.2, application/x-ndjson;q=0.7', 'application/x-ndjson'],
    ['application/json; q=0.7 , application/x-ndjson ; q=0.7', 'application/x-ndjson'],
    ['*/*;q=0.1, application/json', 'application/json'],
    ['application/*;q=0.9, application/json;q=0.1, text/*;q=0.5', 'application/x-ndjson'],
    ['*/*, text/event-stream;q=0', 'application/x-ndjson'],
    ['text/html, application/xhtml+xml, */*;q=0.8', 'text/event-stream'],
    ['application/json;charset=utf-8', 'application/json'],
    ['application/json;charset="UTF-8";q=0.1, */*;q=0.5', 'text/event-stream'],
    ['application/json;q=0.1, application/json;charset=utf-8', 'application/json'],
    ['application/json;q=0.123456', 'application/json'],
    ['application/json;Q=1;ext="a,b;\\"q=0"', 'application/json'],
    [', ,application/json,,', 'application/json'],
    ['application/json;', 'application/json'],
    ['application/json;;q=1;', 'application/json']
  ]
  for (const [accept, type] of rows) t.equal(prefer(accept), type, accept ?? 'no header')
})

t.test('a client that accepts no format gets none', async t => {
  for (const accept of ['text/html', 'text/event-stream;q=0', '*/*;q=0', 'application/json;version=2', 'image/*',
    '*/*;level=1', 'application/json;charset=latin1', 'text/event-stream;q=0.000, application/json;q=0.']) {
    t.equal(prefer(accept), undefined, accept)
  }
})

t.test('a malformed header counts as none', async t => {
  for (const accept of ['', ' ', ',', 'json', 'application', '*', '*/json', 'application/json;q=2', 'application/json;q=x',
    'application/json;q=-1', 'application/json;q="1"', 'application/json q=1', 'application/json;charset', 'a/b/c',
    'application/json; q = 1', 'application/json;q=1.1', '\u0000', 'application/json;a="', 'ä/ö',
    'text/html, image/gif, *; q=.2, */*; q=.2']) t.equal(prefer(accept), 'text/event-stream', JSON.stringify(accept))
})

t.test('any header has an answer, in linear time', async t => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom('a', '/', '*', ';', 'q', '=', ',', '"', '\\', ' ', '0', '.', 'application/json'))
      .map(parts => parts.join(''))), accept => {
    const type = prefer(accept)
    return type === undefined || TYPES.includes(type)
  }))
  const long = 'application/json;a="\\'.repeat(50_000) + ','.repeat(50_000) + ';'.repeat(50_000) + ' '.repeat(50_000)
  // A parser that reads a part again and again takes minutes for each of them, and the test its time limit.
  for (const accept of [long, ' '.repeat(100_000), `a/b${' ;'.repeat(50_000)}x`, `a/b;c="${'\\"'.repeat(50_000)}`]) {
    t.equal(prefer(accept), 'text/event-stream')
  }
})

/** The weight that the standard gives to a type: of the most specific range, the highest. */
function weightOf (ranges: Array<[range: string, weight: number]>, type: string): number {
  for (const range of [type, `${type.split('/')[0]}/*`, '*/*']) {
    const weights = ranges.filter(([other]) => other === range).map(([, weight]) => weight)
    if (weights.length > 0) return Math.max(...weights)
  }
  return 0
}

t.test('well-formed headers are read as the package `negotiator` reads them', async t => {
  const range = fc.constantFrom(...TYPES, 'application/*', 'text/*', '*/*', 'text/html', 'image/*')
  const element = fc.tuple(range, fc.constantFrom(0, 0.1, 0.25, 0.5, 0.999, 1))
  fc.assert(fc.property(fc.array(element, { minLength: 1, maxLength: 8 }), fc.shuffledSubarray(TYPES, { minLength: 1 }),
    fc.constantFrom(', ', ',', ' ,\t'), fc.boolean(), (ranges, offered, separator, upper) => {
      const header = ranges.map(([range, weight]) =>
        `${upper ? range.toUpperCase() : range}${weight === 1 ? '' : ` ; q=${weight}`}`).join(separator)
      const found = prefer(header, offered)
      const accepted = new Negotiator({ headers: { accept: header } }).mediaTypes(offered)
      // Of equal weights, that package follows the order of the header. The standard has no order.
      const weights = offered.map(type => weightOf(ranges, type))
      const best = Math.max(...weights)
      t.equal(found, best === 0 ? undefined : offered[weights.indexOf(best)], header)
      t.strictSame(accepted.toSorted(), offered.filter((_type, index) => weights[index]! > 0).toSorted(), header)
      if (found !== undefined) t.equal(weightOf(ranges, accepted[0]!), best, header)
    }))
})

t.test('a header accepts a type with a weight above 0; a malformed or empty one accepts none', async t => {
  for (const header of ['application/json', '*/*', 'text/html, APPLICATION/* ; q=0.1', 'application/json;charset=utf-8']) {
    t.ok(accepts(header, 'application/json'), header)
  }
  for (const header of ['', 'application/json;q=0, */*', 'application/jsonx', 'application/json, x', 'text/*']) {
    t.notOk(accepts(header, 'application/json'), header)
  }
})

t.test('a client that names gzip, or any coding, with a weight above 0 gets gzip, unless it prefers none', async t => {
  for (const header of ['gzip', 'GZIP', 'x-gzip', 'gzip, deflate, br', 'br;q=1.0, gzip;q=0.8, *;q=0.1', '*', '*;q=0.001',
    'identity;q=0, gzip', 'gzip ; Q=0.5', ' ,gzip,', 'identity;q=0.5, gzip;q=0.5', '*;q=0, gzip', 'identity;q=0, *',
    'gzip;q=1.000']) t.equal(acceptsGzip(header), true, header)
  for (const header of [undefined, '', ' ', 'br', 'deflate', 'identity', 'gzip;q=0', 'gzip;q=0.000, *', '*;q=0',
    'identity, gzip;q=0.9', 'gzipped', 'gzip;level=9', 'gzip;q=2', 'gzip;q=-1', 'gzip;q=', 'gzip;', 'gzip br', 'gzip/x',
    'gzip;q=0.5;q=1', '"gzip"', 'gzip, =']) t.equal(acceptsGzip(header), false, String(header))
})
