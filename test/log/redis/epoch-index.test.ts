import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { Commands } from '../../../lib/log/redis/commands.ts'
import { EpochIndex, EpochRegistration } from '../../../lib/log/redis/epoch-index.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { RedisServer } from '../../setup/redis.ts'
import { within } from '../../setup/within.ts'

const always = (): boolean => true

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const redis = server.client(t)
  const index = new EpochIndex(new Commands(redis), 'sse:')

  t.test('a registered epoch is found, and lives longer than its log', async t => {
    await within('the registration', index.of('näme: 1', 60_000, always).keep('abc')!)
    t.equal(await index.locate('abc', always), 'näme: 1')
    const left = await redis.pttl('sse:epoch:abc')
    t.ok(left > 650_000 && left <= 660_000, String(left))
    await index.of('forever', Infinity, always).keep('def')
    t.equal(await redis.pttl('sse:epoch:def'), -1)
    t.equal(await index.locate('unknown', always), undefined)
  })

  t.test('epochs of one step are registered by one command, but in a cluster', async t => {
    const calls = async (): Promise<number> =>
      Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))![1])
    const numbers = Array.from({ length: 300 }, (_, n) => n)
    for (const [isCluster, count] of [[false, 2], [true, 300]] as const) {
      const own = new EpochIndex(new Commands(redis), `${isCluster}:`, isCluster)
      const before = await calls()
      await Promise.all(numbers.map(n => own.of(`name ${n}`, 60_000, always).keep(String(n))))
      t.equal(await calls(), before + count)
      t.equal(await own.locate('299', always), 'name 299')
    }
  })

  t.test('a registration that Redis rejects affects no call', async t => {
    await redis.acl('SETUSER', 'reader', 'on', '>secret', '~*', '+@all', '-set')
    const own = new EpochIndex(new Commands(server.client(t, { username: 'reader', password: 'secret' })), 'sse:')
    await own.of('name', 60_000, always).keep('refused')
    t.equal(await own.locate('refused', always), undefined)
  })

  t.test('R10: a key with other data is no name', async t => {
    await redis.lpush('sse:epoch:list', 'x')
    t.equal(await index.locate('list', always), undefined)
  })

  t.test('an error of Redis rejects with a code', async t => {
    await t.rejects(index.locate('abc', () => false), { code: 'FST_SSE_LOG_UNAVAILABLE' })
  })
})

/** A registration with a clock of its own. */
function make (t: { intercept: typeof import('tap').default.intercept }, answers: Array<Promise<void>> = []) {
  let time = 0
  t.intercept(performance, 'now', { value: () => time })
  const registered: string[] = []
  const registration = new EpochRegistration(async epoch => {
    registered.push(epoch)
    await answers.shift()
  })
  return { registration, registered, pass: (by: number) => { time += by } }
}

t.test('an epoch is registered once, and again after ten minutes and for another epoch', async t => {
  const { registration, registered, pass } = make(t)
  await registration.keep('a')
  pass(599_999)
  t.equal(registration.keep('a'), undefined)
  pass(1)
  await registration.keep('a')
  await registration.keep('b')
  t.equal(registration.keep('b'), undefined)
  t.strictSame(registered, ['a', 'a', 'b'])
})

t.test('all callers wait for the registration under way', async t => {
  let register: () => void = () => {}
  const { registration, registered } = make(t, [new Promise(resolve => { register = resolve })])
  const waits = [registration.keep('a'), registration.keep('a')]
  t.equal(waits[0], waits[1])
  const other = registration.keep('b')
  t.not(other, waits[0])
  register()
  await Promise.all([...waits, other])
  t.equal(registration.keep('b'), undefined)
  t.strictSame(registered, ['a', 'b'])
})

t.test('a failed registration affects no call, and is repeated after 15 seconds', async t => {
  const { registration, registered, pass } = make(t, [Promise.reject(new Error('full'))])
  await registration.keep('a')
  pass(14_999)
  t.equal(registration.keep('a'), undefined)
  pass(1)
  await registration.keep('a')
  t.strictSame(registered, ['a', 'a'])
})

t.test('L11: a registration belongs to no caller', async t => {
  const storage = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  const registration = new EpochRegistration(async () => { seen.push(storage.getStore()) })
  await storage.run('ann', () => registration.keep('a'))
  t.strictSame(seen, [undefined])
})
