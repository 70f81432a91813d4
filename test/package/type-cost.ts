import { KINDS, packagesOf, type Kind } from '../setup/kind-programs.ts'
import { pack, Project } from '../setup/project.ts'

// Prints what typed routes cost the compiler: `npm run build`, then
// `node --import ./test/setup/typescript.js test/package/type-cost.ts [ROUTES]`. The program beside it has the same
// schemas and a plain handler for each route, without this package. Both import Fastify and the library of the schemas.

const routes = Number(process.argv[2] ?? 200)
const FIGURES = ['Types', 'Instantiations', 'Memory used', 'Check time', 'Total time']
const COMPILERS = { '6.0': 'typescript', '7.0': 'typescript-7' }
const MEASURED = ['type provider 5', 'type provider 6', '@sinclair/typebox 0.34', 'typebox 1.x', 'JSON Schema', 'Zod']

/** Returns the schema of an object that no other route has. */
const schemaOf = (name: string, n: number): string => {
  if (name === 'Zod') return `z.object({ n${n}: z.int(), name: z.string(), tags: z.array(z.string()) })`
  if (name !== 'JSON Schema') {
    return `Type.Object({ n${n}: Type.Integer(), name: Type.String(), tags: Type.Array(Type.String()) })`
  }
  return `{ type: 'object', properties: { n${n}: { type: 'integer' }, name: { type: 'string' }, tags: { type: 'array', ` +
    `items: { type: 'string' } } }, required: ['n${n}', 'name', 'tags'] } as const`
}

function program (name: string, { imports, note, provider = '' }: Kind, typed: boolean): string {
  const lines = [imports, "import Fastify from 'fastify'", typed ? "import sse from 'fastify-typed-sse'" : '',
    `const app = Fastify()${provider}`, typed ? 'app.register(sse)' : '']
  for (let n = 0; n < routes; n++) {
    const data = `{ n${n}: ${n}, name: 'x', tags: ['a'] }`
    lines.push(`const events${n} = { progress: ${schemaOf(name, n)}, done: ${schemaOf(name, n)}, note: ${note} }`)
    if (typed) {
      lines.push(
        `app.get('/${n}', { schema: { sse: events${n} } }, (_request, reply) => reply.sse(async function * () {`,
        `  yield { event: 'progress', data: ${data} }`,
        `  yield { event: 'done', data: ${data} }`,
        "  yield { event: 'note', data: 'text' }",
        '}))'
      )
    } else {
      const response = `{ 200: events${n}.progress, 201: events${n}.done, 202: events${n}.note }`
      lines.push(
        `app.get('/${n}', { schema: { response: ${response} } }, async (_request, reply) => {`,
        `  if (${n} > 100) return reply.code(201).send(${data})`,
        "  if (reply.sent) return reply.code(202).send('text')",
        `  return reply.code(200).send(${data})`,
        '})'
      )
    }
  }
  return lines.join('\n')
}

/** Measures one program in a process of its own. */
async function measure (project: Project, file: string, compiler: string): Promise<string[]> {
  const options = { skipLibCheck: true, noEmit: true, extendedDiagnostics: true }
  const output = (await project.compile([file], options, compiler)).join('\n')
  if (output.includes('error TS')) throw new Error(output)
  return FIGURES.map(name => new RegExp(`^${name}: *(\\S+)`, 'm').exec(output)?.[1] ?? '–')
}

// The project is removed when the process ends.
const removals: Array<() => void> = []
process.on('exit', () => removals.forEach(remove => remove()))
const owner = { teardown: (remove: () => void) => { removals.push(remove) } }
const packages = packagesOf(MEASURED.map(name => KINDS[name]!))
const project = await Project.create(owner, await pack(owner, '.'), packages)
console.log(`| TypeScript | ${routes} routes with | | ${FIGURES.join(' | ')} |`)
console.log(`|---|---|---|${'---|'.repeat(FIGURES.length)}`)
for (const [version, compiler] of Object.entries(COMPILERS)) {
  for (const name of MEASURED) {
    for (const typed of [false, true]) {
      const file = `${name.replace(/\W+/g, '-')}-${String(typed)}.ts`
      project.write(file, program(name, KINDS[name]!, typed))
      const figures = await measure(project, file, compiler)
      console.log(`| ${version} | ${name} | ${typed ? 'this package' : 'plain handlers'} | ${figures.join(' | ')} |`)
    }
  }
}
