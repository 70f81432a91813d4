import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import t from 'tap'
import mcp from '../../example/mcp/server.ts'
import { listen } from '../setup/listen.ts'
import { Relay } from '../setup/relay.ts'

t.setTimeout(300_000)

const run = (url: string): ReturnType<typeof client> => client(process.execPath, ['--import', 'tsx', 'example/mcp/client.ts', url])
const client = promisify(execFile)

t.test('the client prints the progress and the result of the tool, also if its connection is cut', async t => {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse)
  await app.register(mcp, { interval: 200 })
  const port = await listen(t, app)
  const relay = await Relay.start(t, () => [port])
  const held = relay.holdAfter('Cup 2 of 5')
  held.then(() => relay.cut()).catch(error => t.error(error))
  const { stdout } = await run(`http://127.0.0.1:${relay.port}/mcp`)
  await held
  t.equal(stdout, ['Cup 1 of 5', 'Cup 2 of 5', 'Cup 3 of 5', 'Cup 4 of 5', 'Cup 5 of 5', '5 cups of tea', ''].join('\n'))
})

t.test('a client without a server prints an error and fails', async t => {
  await t.rejects(run('http://127.0.0.1:1/mcp'), { code: 1, stderr: /^http:\/\/127\.0\.0\.1:1\/mcp: .+\n$/ })
})
