import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { Database } from '../../../lib/log/postgres/database.ts'
import type { PostgresPool, PostgresQuery } from '../../../lib/log/postgres/client.ts'

const refused = (code: string): Error => Object.assign(new Error(code), { code, severity: 'ERROR' })

/** A pool that answers a statement with the next of these values; the layout exists. */
const poolOf = (
  ...answers: Array<Error | Promise<never> | string>
): PostgresPool & { queries: string[], ending: boolean } => {
  const queries: string[] = []
  return {
    queries,
    ending: false,
    query: async ({ text }: PostgresQuery) => {
      if (text.includes('layout')) return { rows: [['1', 'secret']] }
      queries.push(text)
      const answer = await answers.shift()
      if (answer instanceof Error) throw answer
      return { rows: [[answer]] }
    },
    connect: callback => callback(new Error('no connection is needed'), undefined)
  }
}

t.test('a call names its function and places its values', async t => {
  const pool = poolOf('a')
  t.strictSame(await new Database(pool, 'own').call('read', [1, 2], () => true), [['a']])
  t.strictSame(pool.queries, ['SELECT * FROM "own".read($1,$2)'])
})

t.test('lost connections, conflicts and missing answers are repeated', async t => {
  const pool = poolOf(new Error('cut'), refused('40P01'), new Promise<never>(() => {}), refused('57P01'), 'a')
  t.strictSame(await new Database(pool, 'sse', 50).run('SELECT 1', [], () => true), [['a']])
  t.equal(pool.queries.length, 5)
})

t.test('a refusal, an ended pool and a call that is not wanted reject', async t => {
  const rejects = async (
    pool: PostgresPool,
    error: { code: string } | { message: string },
    isWanted = () => true
  ): Promise<void> => {
    await t.rejects(new Database(pool, 'sse').run('SELECT 1', [], isWanted), error)
  }
  await rejects(poolOf(refused('42501')), { code: '42501' })
  const ended = poolOf(new Error('ended'))
  ended.ending = true
  await rejects(ended, { message: 'ended' })
  await rejects(poolOf(), { message: 'the caller no longer waits for the answer' }, () => false)
})

t.test('calls wait for their turn, but for urgent ones, and are not made when they are no longer wanted', async t => {
  const answers: Array<() => void> = []
  const pool = {
    ...poolOf(),
    options: { max: 2 },
    query: async ({ text }: PostgresQuery) => {
      if (text.includes('layout')) return { rows: [['1', 'secret']] }
      await new Promise<void>(resolve => { answers.push(resolve) })
      return { rows: [[text]] }
    }
  }
  const database = new Database(pool, 'sse')
  let isWanted = true
  const first = database.run('first', [], () => true)
  const second = database.run('second', [], () => isWanted)
  const third = database.run('third', [], () => true)
  const urgent = database.run('urgent', [], () => true, true)
  await setImmediate()
  t.equal(answers.length, 2)
  isWanted = false
  answers[0]!()
  t.strictSame(await first, [['first']])
  await t.rejects(second, { message: 'the caller no longer waits for the answer' })
  await setImmediate()
  for (const answer of answers) answer()
  t.strictSame(await Promise.all([third, urgent]), [[['third']], [['urgent']]])
})

t.test('tables that are missing again and again reject', async t => {
  const pool = poolOf(...Array.from({ length: 9 }, () => refused('42P01')))
  await t.rejects(new Database(pool, 'sse').run('SELECT 1', [], () => true), { code: '42P01' })
  t.equal(pool.queries.length, 4)
})
