import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import ts from 'typescript'

// The messages of the compiler: where they point, and their first line.

t.setTimeout(300_000)

const FOLDER = '.tap/types/messages'

const PRELUDE = `import { Type as Sinclair } from '@sinclair/typebox'
import Fastify from 'fastify'
import Type from 'typebox'
import * as z from 'zod'
import sse, { EventQueue, typed, type EventOf } from '../../../lib/index.ts'
const app = Fastify()
app.register(sse)
const SCHEMA = {
  sinclair: Sinclair.Object({ percent: Sinclair.Number() }),
  typebox: Type.Object({ percent: Type.Number() }),
  zod: z.object({ percent: z.number() }),
  json: { type: 'object', properties: { percent: { type: 'number' } }, required: ['percent'] }
} as const
`
const KINDS = ['sinclair', 'typebox', 'zod', 'json'] as const

/** A program, and its only message: the word at which it points, and parts of its first line. */
interface Case { title: string, code: string, at: string, message: string[] }

const PROGRESS = 'NamedEvent<"progress", { percent: number; }>'
const DATA = '{ percent: number; }'
const NO_FIELD = ['Object literal may only specify known properties', "'percnt' does not exist in type", DATA]
const NO_NUMBER = ["Type 'string' is not assignable to type 'number'."]

/** Events, and the messages about them. */
const WRONG = [
  ['a wrong name', "event: 'progres', data: { percent: 1 }", 'event',
    ["Type '\"progres\"' is not assignable to type", '"done"', "Did you mean '\"progress\"'?"]],
  ['a wrong type', "event: 'progress', data: { percent: '1' }", 'percent', NO_NUMBER],
  ['a wrong field', "event: 'progress', data: { percnt: 1 }", 'percnt', NO_FIELD]
] as const

const wrongEvents = (place: string, write: (event: string) => string): Case[] =>
  WRONG.map(([what, event, at, message]) => ({
    title: `${what}, ${place}`, code: write(`{ ${event} }`), at, message: [...message]
  }))
const inRoute = (source: string): string =>
  `app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(${source}))`
const inGenerator = (event: string): string =>
  `export async function * work (): AsyncGenerator<EventOf<typeof events>> { yield ${event} }`

const ofKind = (kind: string): Case[] => [
  ...wrongEvents('in a list', event => inRoute(`[${event}]`)),
  ...wrongEvents('in a generator with its type', inGenerator),
  ...wrongEvents('in a queue', event => `new EventQueue<typeof events>().push(${event})`),
  ...wrongEvents('in a channel', event => `app.sse.channel('jobs', { events }).publish(${event})`),
  { title: 'missing data, in a list', code: inRoute("[{ event: 'progress' }]"), at: '{', message: [PROGRESS] },
  {
    title: 'missing data, in a generator with its type',
    code: inGenerator("{ event: 'progress' }"),
    at: '{',
    message: [PROGRESS]
  },
  {
    title: 'missing data, in a channel',
    code: "app.sse.channel('jobs', { events }).publish({ event: 'progress' })",
    at: '{',
    message: [`{ event: "progress"; data: ${DATA}; }`]
  },
  // The compiler infers the type of such a generator first: the message has the actual events and the expected ones.
  {
    title: 'a wrong name, in a generator without its type',
    code: inRoute("async function * () { yield { event: 'progres', data: { percent: 1 } } }"),
    at: 'async',
    message: ['"progres"', "to parameter of type 'SseSource<", PROGRESS]
  },
  {
    title: 'a wrong name of a typed event',
    code: 'event.progres({ percent: 1 })',
    at: 'progres',
    message: ["Property 'progres' does not exist", "Did you mean 'progress'?"]
  },
  { title: 'a wrong type of a typed event', code: "event.progress({ percent: '1' })", at: 'percent', message: NO_NUMBER },
  { title: 'a wrong field of a typed event', code: 'event.progress({ percnt: 1 })', at: 'percnt', message: NO_FIELD },
  {
    title: 'missing data of a typed event',
    code: 'event.progress()',
    at: 'progress',
    message: ['Expected 1-2 arguments, but got 0.']
  }
].map(test => ({
  ...test,
  title: `${kind}: ${test.title}`,
  code: `const events = { progress: SCHEMA.${kind}, done: Sinclair.String() }\nconst event = typed(events)\n${test.code}`
}))

const noSchema = (type: string): string[] => [`Type '${type}' is not assignable to type 'EventSchema'.`]
const MAPS: Case[] = [
  {
    title: 'a map of a route with a text',
    code: "app.get('/', { schema: { sse: { progress: 'text' } } }, () => {})",
    at: 'progress',
    message: noSchema('string')
  },
  {
    title: 'a map of a channel with a text',
    code: "app.sse.channel('jobs', { events: { progress: 'text' } })",
    at: 'progress',
    message: noSchema('string')
  },
  {
    title: 'a map of typed events with a number',
    code: 'typed({ progress: 5 })',
    at: 'progress',
    message: noSchema('number')
  },
  {
    title: 'a map of typed events with a function',
    code: 'typed({ progress: () => Type.String() })',
    at: '(',
    message: ["Type '() => ", "' is not assignable to type 'EventSchema'."]
  }
]

const cases = [...KINDS.flatMap(ofKind), ...MAPS]
rmSync(FOLDER, { recursive: true, force: true })
mkdirSync(FOLDER, { recursive: true })
const files = cases.map(({ code }, index) => {
  const file = resolve(join(FOLDER, `${index}.ts`))
  writeFileSync(file, `${PRELUDE}${code}\nexport { EventQueue, typed, Type, z, type EventOf }\n`)
  return file
})
const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile('tsconfig.json', ts.sys.readFile).config, ts.sys, '.')
const program = ts.createProgram(files, options)

for (const [index, { title, code, at, message }] of cases.entries()) {
  t.test(title, async t => {
    const source = program.getSourceFile(files[index]!)!
    const diagnostics = program.getSemanticDiagnostics(source)
    const texts = diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n').split('\n')[0]!)
    t.equal(diagnostics.length, 1, texts.join('\n'))
    t.equal(source.text.slice(diagnostics[0]?.start).match(/^(?:\w+|.)/)?.[0], at, code)
    t.strictSame(message.filter(part => texts[0]?.includes(part) !== true), [], texts.join('\n'))
  })
}
