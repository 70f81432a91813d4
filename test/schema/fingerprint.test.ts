import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { FAILURE, FREE, fingerprintSchema } from '../../lib/schema/fingerprint.ts'
import type { SchemaNode } from '../../lib/schema/json-schema.ts'

const of = (schema: unknown, shared = {}): string => fingerprintSchema(schema as SchemaNode, shared)

t.test('C5: a fingerprint is short and does not depend on the process', async t => {
  t.match(of(Type.String()), /^[\w-]{12}$/)
  t.equal(of({ type: 'object', properties: { name: { type: 'string' } } }), 'K3GW2FO6x86o')
  t.strictSame([FREE, FAILURE], ['free', 'failure'])
})

t.test('C5: the order of keys does not count, nor does a key with the value undefined', async t => {
  t.equal(of({ type: 'object', properties: { a: { type: 'string' }, b: {} } }),
    of({ properties: { b: {}, a: { type: 'string', title: undefined } }, type: 'object' }))
  t.not(of({ type: ['string', 'null'] }), of({ type: ['null', 'string'] }), 'the order of a list counts')
})

t.test('C5: schemas that check or serialize differently have different fingerprints', async t => {
  const all = [
    Type.String(),
    Type.Number(),
    Type.Unsafe({ type: 'string' }),
    Type.String({ format: 'date' }),
    Type.String({ format: 'date-time' }),
    Type.String({ maxLength: 1 }),
    Type.Literal('1'),
    Type.Literal(1),
    Type.Null(),
    Type.Object({ a: Type.String() }),
    Type.Object({ a: Type.Optional(Type.String()) }),
    Type.Object({ a: Type.String(), b: Type.String() }),
    Type.Array(Type.Object({ a: Type.String() })),
    Type.RegExp(/a/),
    Type.RegExp(/b/),
    { const: /a/ },
    { const: /b/ },
    { const: { a: [1] } },
    { const: { a: ['1'] } },
    { const: true },
    { const: 'true' }
  ].map(schema => of(schema))
  t.equal(new Set(all).size, all.length)
})

t.test('C5: shared schemas count if they are referred to, at any depth', async t => {
  const car = (name: object): object => ({ $id: 'car', properties: { name, owner: { $ref: 'owner#' } } })
  const shared = (name: object, owner: object, other: object = {}): object => ({
    car: car(name),
    owner: { $id: 'owner', properties: { owner, car: { $ref: 'car#/properties/name' } } },
    other
  })
  const [schema, text, number] = [{ $ref: 'car' }, { type: 'string' }, { type: 'number' }]
  const one = of(schema, shared(text, text))
  t.equal(of(schema, shared(text, text, number)), one)
  t.not(of(schema, shared(number, text)), one)
  t.not(of(schema, shared(text, number)), one)
  t.not(of(schema), one)
  t.equal(of(text, shared(text, text)), of(text))
})

t.test('C5: the numbers that TypeBox gives to recursive types do not count', async t => {
  const tree = (leaf = Type.String()): unknown => Type.Recursive(This => Type.Object({ leaf, nodes: Type.Array(This) }))
  t.equal(of(tree()), of(tree()))
  t.not(of(tree()), of(tree(Type.String({ maxLength: 1 }))))
  t.equal(of({ a: tree(), b: tree() }), of({ a: tree(), b: tree() }))
  t.not(of({ $ref: 'A' }), of({ $ref: 'B' }))
  t.not(of({ $ref: 'T1' }, { T1: { type: 'string' } }), of({ $ref: 'T1' }, { T1: { type: 'number' } }),
    'a shared schema may have the name of such a number')
})

t.test('C5: the names of definitions do not count, and their contents do', async t => {
  const list = (name: string, contents: object, key = 'definitions'): object => ({
    type: 'object',
    properties: { first: { $ref: `#/${key}/${name}` } },
    [key]: { [name.replace('~1', '/')]: contents }
  })
  t.equal(of(list('a1', { type: 'string' })), of(list('a2', { type: 'string' })))
  t.equal(of(list('a1', { type: 'string' })), of(list('a~11', { type: 'string' })))
  t.not(of(list('a1', { type: 'string' })), of(list('a1', { type: 'integer' })))
  t.equal(of(list('a1', { $ref: '#/definitions/a1' })), of(list('a2', { $ref: '#/definitions/a2' })))
  t.not(of({ ...list('a1', {}), definitions: { a1: {}, b: { $id: 'B', type: 'string' } } }), of(list('a1', {})),
    'a definition that only its id names')
  t.not(of({ $ref: 'A', $defs: { A: { type: 'string' } } }), of({ $ref: 'A', $defs: { A: { type: 'integer' } } }))
  t.not(of({ $ref: '#/definitions/a/items', definitions: { a: {} } }), of({ $ref: '#/definitions/a', definitions: { a: {} } }))
})

// Prints the fingerprints of the schemas of each vendor. `before`: makes another schema of each vendor first.
const PROGRAM = `
import { Type } from '@sinclair/typebox'
import Type1 from 'typebox'
import * as v from 'valibot'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { scope, type } from 'arktype'
import { z } from 'zod'
import { loadTypeBoxes } from './lib/schema/packages.ts'
import { schemaCompiler } from './lib/schema/schema.ts'

const Zod = z.object({ v: z.int(), get kids () { return z.array(Zod) } })
const Valibot = v.object({ v: v.number(), kids: v.array(v.lazy(() => Valibot)) })
const make = () => [
  Type.Recursive(This => Type.Object({ v: Type.Integer(), kids: Type.Array(This) })),
  Type1.Module({ Tree: Type1.Object({ v: Type1.Integer(), kids: Type1.Array(Type1.Ref('Tree')) }) }).Tree,
  z.object({ a: Zod, b: Zod, c: z.union([z.string(), z.null()]) }),
  toStandardJsonSchema(Valibot),
  scope({ Tree: { v: 'number.integer', kids: 'Tree[]', 'word?': '"a" | "b" | 1' } }).export().Tree,
  type({ a: 'string | number | null', 'b?': { c: 'boolean' } })
]
if (process.argv.includes('before')) {
  make()
  type({ other: 'number', word: '1 | "b" | "a"', c: 'null | string | number' })
  scope({ Other: { kids: 'Other[]' } }).export()
}
await loadTypeBoxes()
console.log(JSON.stringify(make().map(schema => schemaCompiler({})(schema).fingerprint)))
`

t.test('C5: the fingerprints of each vendor do not depend on what else a process has made', async t => {
  const run = (...args: string[]): string =>
    execFileSync(process.execPath, ['--import', './test/setup/typescript.js', '--input-type=module', '-e', PROGRAM, '--', ...args], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      encoding: 'utf8'
    })
  const first = run()
  t.equal((JSON.parse(first) as string[]).length, 6)
  t.equal(run('before'), first)
})
