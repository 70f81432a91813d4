import { EventEmitter } from 'node:events'
import t from 'tap'
import { connectionOf, rowsOf, type PostgresPool, type PostgresPoolClient, type PostgresQuery } from '../../../lib/log/postgres/client.ts'

t.test('a statement has no name, and its answer is text, also if the user parses types', async t => {
  const queries: PostgresQuery[] = []
  const rows = await rowsOf({
    query: async query => {
      queries.push(query)
      return { rows: [[query.types.getTypeParser()('7'), null]] }
    }
  }, 'SELECT $1', [7], 100)
  t.strictSame(rows, [['7', null]])
  const [{ types, ...query }] = queries as [PostgresQuery]
  t.ok(types)
  t.strictSame(query, { text: 'SELECT $1', values: [7], rowMode: 'array', query_timeout: 100 })
})

t.test('an error right after the connection ends no process', async t => {
  const query = async () => ({ rows: [] })
  const client = Object.assign(new EventEmitter(), { query, release: () => {} })
  const pool = (error?: Error): PostgresPool => ({
    query,
    connect: callback => {
      callback(error, error === undefined ? client as unknown as PostgresPoolClient : undefined)
      client.emit('error', new Error('terminated'))
    }
  })
  t.equal(await connectionOf(pool()), client)
  await t.rejects(connectionOf(pool(new Error('refused'))), { message: 'refused' })
})
