import t from 'tap'
import { numberOf, parse, UsageError } from '../../lib/cli/arguments.ts'

const OPTIONS = {
  json: { text: '' },
  header: { value: 'text', short: 'H', multiple: true, text: '' },
  count: { value: 'n', text: '' },
  seconds: { value: 'n', default: '20', text: '' }
} as const

const faultOf = (act: () => unknown): string => {
  try {
    act()
    return 'none'
  } catch (error) {
    return `${(error as { code: string }).code}: ${(error as Error).message}`
  }
}

t.test('options have their values or their defaults', async t => {
  t.strictSame(parse(['url'], OPTIONS), {
    values: { json: false, header: [], count: undefined, seconds: '20' },
    positionals: ['url']
  })
  t.strictSame(parse(['--json', '-H', 'a: 1', 'url', '--header', 'b: 2', '--count=3', '--seconds', '5'], OPTIONS), {
    values: { json: true, header: ['a: 1', 'b: 2'], count: '3', seconds: '5' },
    positionals: ['url']
  })
})

t.test('an invalid argument is a usage error of one sentence', async t => {
  t.equal(faultOf(() => parse(['--nope'], OPTIONS)), "FST_SSE_USAGE: Unknown option '--nope'")
  t.equal(faultOf(() => parse(['--count'], OPTIONS)), "FST_SSE_USAGE: Option '--count <value>' argument missing")
  t.match(faultOf(() => parse(['--count', '--json'], OPTIONS)),
    /^FST_SSE_USAGE: Option '--count' argument is ambiguous$/)
  t.match(faultOf(() => parse(['--json=1'], OPTIONS)), /^FST_SSE_USAGE: Option '--json' does not take an argument$/)
})

t.test('a number is in its range', async t => {
  t.equal(numberOf('count', '3', { least: 1, whole: true }), 3)
  t.equal(numberOf('seconds', '0.5', { least: 0.1, whole: false }), 0.5)
  for (const text of ['', '0', '-1', '1.5', '1e3', 'x', '0x10', ' 1', 'Infinity', '99999999999']) {
    t.equal(faultOf(() => numberOf('count', text, { least: 1, whole: true })),
      `FST_SSE_USAGE: Option '--count' must be a whole number, 1 or more, not '${text}'`)
  }
  t.equal(faultOf(() => numberOf('seconds', '0', { least: 1, whole: false })),
    "FST_SSE_USAGE: Option '--seconds' must be a number, 1 or more, not '0'")
})

t.test('a usage error has a code and a name', async t => {
  const error = new UsageError('The URL is missing')
  t.ok(error instanceof Error)
  t.match(error, { name: 'UsageError', code: 'FST_SSE_USAGE', message: 'The URL is missing' })
})
