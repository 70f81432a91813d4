import t from 'tap'
import { DocumentPrograms } from '../setup/document-programs.ts'
import { listen } from '../setup/listen.ts'
import { connectClient, initialize, json, raw } from '../setup/mcp.ts'

t.setTimeout(300_000)

const document = new DocumentPrograms('lib/protocols/mcp.md')

document.run({
  'A server': [async (t, app) => {
    t.equal(await document.runClient('A server', await listen(t, app)), '1 of 3\n2 of 3\n3 of 3\nCounted to 3\n')
  }],
  Sessions: [async (t, app) => {
    const start = await app.inject({
      method: 'POST',
      url: '/mcp',
      headers: { ...json, authorization: 'Bearer alice' },
      payload: initialize()
    })
    const id = String(start.headers['mcp-session-id'])
    t.match(id, /^alice\../)
    const end = async (user: string): Promise<number> =>
      (await app.inject({ method: 'DELETE', url: '/mcp', headers: { authorization: `Bearer ${user}`, 'mcp-session-id': id } })).statusCode
    t.strictSame([await end('bob'), await end('alice'), await end('alice')], [404, 200, 404])
  }],
  'The transport of the SDK': [async (t, app) => {
    const port = await listen(t, app)
    const { client, transport } = await connectClient(t, port)
    await client.ping()
    const session = { ...json, 'mcp-session-id': transport.sessionId! }
    await transport.terminateSession()
    t.match(await raw(port, 'POST', session, '{"jsonrpc":"2.0","id":1,"method":"ping"}'), { status: 404 })
  }]
})
