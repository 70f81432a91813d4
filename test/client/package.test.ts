import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { env, pack, Project } from '../setup/project.ts'
import { ends, Scripted } from '../setup/scripted.ts'

// Both packages as npm packs them, in projects that have nothing else. `npm run build` has compiled them.
const run = promisify(execFile)
t.setTimeout(240_000)

const manifest = (path: string) =>
  JSON.parse(readFileSync(path, 'utf8')) as {
    version: string
    engines: object
    license: string
    peerDependencies: Record<string, string>
    peerDependenciesMeta: object
    dependencies?: object
  }

t.test('both packages have one version, the same Node and the same checks; the client has no dependency', async t => {
  const [server, client] = [manifest('package.json'), manifest('lib/client/package.json')]
  t.equal(client.version, server.version)
  t.strictSame(client.engines, server.engines)
  t.equal(client.license, server.license)
  t.strictSame(Object.keys(client.peerDependencies), ['@cfworker/json-schema', '@sinclair/typebox', 'react',
    'typebox'])
  for (const [name, range] of Object.entries(client.peerDependencies)) t.equal(server.peerDependencies[name], range)
  t.strictSame(Object.keys(client.peerDependenciesMeta), Object.keys(client.peerDependencies), 'all are optional')
  t.equal(client.dependencies, undefined)
})

t.test('the client package installs alone: its types compile, a program connects, and its command answers', async t => {
  const project = new Project(t)
  const tarball = await pack(t, 'dist-client')
  await run('npm', ['install', tarball, '--ignore-scripts', '--offline', '--no-audit', '--no-fund'], {
    env,
    cwd: project.folder
  })
  t.strictSame(readdirSync(join(project.folder, 'node_modules')).filter(name => !name.startsWith('.')), [
    'fastify-typed-sse-client'
  ], 'without TypeBox, React and Fastify')

  const server = await Scripted.start(t, ends('event: tick\ndata: {"n":7}\n\nid: sse.end\n\n'))
  const output = await project.run('program.ts', `
    import { connect, StreamError } from 'fastify-typed-sse-client'
    import type { StreamSnapshot } from 'fastify-typed-sse-client/react'
    import { validate } from 'fastify-typed-sse-client/validate/standard'
    declare const process: { argv: string[] }
    interface Events extends Record<string, { params: unknown[], static: unknown }> { tick: { params: [], static: { n: number } } }
    const stream = connect<Events>(process.argv[2]!, { events: { tick: 'json' } })
    for await (const event of stream) if (event.event === 'tick') console.log((event.data as { n: number }).n)
    const { reason, error } = await stream.closed
    const snapshot: StreamSnapshot<number> = { state: 7, status: stream.state, error }
    if (snapshot.status !== 'closed') throw new Error(snapshot.status)
    console.log(reason, error instanceof StreamError, validate({ type: 'string' }, 5))
  `, { types: [], args: [server.url] })
  t.equal(output, '7\ncomplete false undefined\n')

  const help = await run(join(project.folder, 'node_modules/.bin/fastify-typed-sse-client'), ['--help'], { env })
  t.match(help, { stdout: /^Usage: fastify-typed-sse-client /, stderr: '' })
})

t.test('the server package offers the same client, and its check of events', async t => {
  const project = await Project.create(t, await pack(t, '.'),
    ['@sinclair/typebox', 'typebox', '@cfworker/json-schema'])
  const installed = join(project.folder, 'node_modules/fastify-typed-sse')
  const output = await project.run('program.ts', `
    import { Type } from '@sinclair/typebox'
    import Fastify from 'fastify'
    import sse from 'fastify-typed-sse'
    import { connect } from 'fastify-typed-sse/client'
    import { validate } from 'fastify-typed-sse/client/validate'
    import { validate as validateJsonSchema } from 'fastify-typed-sse/client/validate/json-schema'
    import { validate as validateStandard } from 'fastify-typed-sse/client/validate/standard'
    import { validate as validateTypebox } from 'fastify-typed-sse/client/validate/typebox'
    const events = { tick: Type.Object({ n: Type.Integer() }) }
    const app = Fastify()
    await app.register(sse)
    app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse([{ event: 'tick', data: { n: 7 } }], { finite: true }))
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    for await (const event of connect(url, { events, validate })) if (event.event === 'tick') console.log(event.data.n)
    await app.close()
    for (const check of [validate, validateJsonSchema, validateStandard, validateTypebox]) console.log(check(events.tick, {}))
  `)
  t.equal(output, `7
Expected required property at '/n'
Instance does not have required property "n" at '/'
undefined
undefined
`)
  const client = (name: string): string[] => readdirSync(name).filter(file => file.endsWith('.js')).sort()
  t.strictSame(client(join(installed, 'dist/client')), client('dist-client/client'))
  t.strictSame(readdirSync(join(installed, 'dist')).filter(name => name.startsWith('cli')), ['client', 'client.d.ts',
    'client.d.ts.map', 'client.js'], 'the command line is in the client package')
})
