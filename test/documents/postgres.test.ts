import { execFileSync } from 'node:child_process'
import type { FastifyInstance } from 'fastify'
import pg from 'pg'
import t from 'tap'
import { DocumentPrograms, open } from '../setup/document-programs.ts'
import { PostgresServer } from '../setup/postgres.ts'
import { absent, find, need, POSTGRES, PSYCOPG } from '../setup/programs.ts'

t.setTimeout(300_000)

const document = new DocumentPrograms('lib/log/postgres/README.md')
const layout = new DocumentPrograms('lib/log/postgres/layout.md')

if (find(POSTGRES) !== undefined) process.env.POSTGRES_URL = (await PostgresServer.start(t)).url

/** Runs a block of SQL. */
async function query (text: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: process.env.POSTGRES_URL })
  await client.connect()
  try {
    return await client.query(text)
  } finally {
    await client.end()
  }
}

document.run({
  'Many nodes': [async (t, app) => {
    const { app: other } = await document.loadAgain<{ app: FastifyInstance }>("'/news'")
    t.teardown(() => other.close())
    const clients = await Promise.all([open(t, app, '/news'), open(t, other, '/news')])
    for (const client of clients) await client.until('-0\ndata: \n\n')
    const { id } = (await other.inject({ method: 'POST', url: '/news', payload: { text: 'One' } })).json<{ id: string }>()
    for (const client of clients) {
      t.ok((await client.until('"One"}\n\n')).endsWith(`event: headline\nid: ${id}\ndata: {"text":"One"}\n\n`))
    }
    await query(`CREATE ROLE app; ${document.block('Many nodes', 'sql')}`)

    t.test('the program in Python publishes once to all nodes, and the query finds the event', {
      skip: absent(PSYCOPG)
    }, async t => {
      const run = (): unknown => execFileSync(need(PSYCOPG), ['-'], { input: layout.block('Publish', 'python') })
      run()
      run()
      for (const client of clients) {
        const text = await client.until('is done"}\n\n')
        t.equal(text.split('The report is done').length, 2)
        t.match(text, /event: headline\nid: \w+-2\ndata: \{"text":"The report is done"\}\n\n$/)
      }
      const { rows } = await query(layout.block('Read', 'sql'))
      t.strictSame(rows.map(({ event, data }) => [event, JSON.parse(data)]),
        [['headline', { text: 'One' }], ['headline', { text: 'The report is done' }]])
      t.equal(rows[0].id, id)
    })
  }],
  'In a transaction': [async (t, app) => {
    const client = await open(t, app, '/orders')
    await client.until('-0\ndata: \n\n')
    const order = async (item: string): Promise<number> =>
      (await app.inject({ method: 'POST', url: '/orders', payload: { item } })).statusCode
    t.strictSame([await order('tea'), await order('tea'), await order('milk')], [200, 500, 200])
    const text = await client.until('"milk"}\n\n')
    t.match(text, /event: ordered\nid: \w+-1\ndata: \{"id":1,"item":"tea"\}\n\nevent: ordered\nid: \w+-2\ndata: \{"id":3,"item":"milk"\}\n\n$/)
  }],
  'Behind PgBouncer': [async () => {}]
}, absent(POSTGRES))

t.test('the table lists every table of the layout', { skip: absent(POSTGRES) }, async t => {
  const { rows } = await query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'sse'")
  const text = layout.blocks.length > 0 ? (await import('node:fs')).readFileSync(layout.path, 'utf8') : ''
  for (const { table_name: name } of rows) t.match(text, `\`${name}\``)
})
