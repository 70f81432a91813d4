import { setImmediate as turn } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { Commands, hasMoved, isFull, isTransient, isRefusal } from '../../../lib/log/redis/commands.ts'
import type { ScriptReply } from '../../../lib/log/redis/script-reply.ts'
import * as scripts from '../../../lib/log/redis/scripts.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { freePort, RedisServer } from '../../setup/redis.ts'
import { within } from '../../setup/within.ts'

const ARGS = ['fresh', '', 0, '', 10, 1_000, -1, '', 'secret']
const runState = (commands: Commands, isWanted = () => true): Promise<ScriptReply> =>
  commands.run(scripts.state, ['key', 'key:events'], ARGS, isWanted)

t.test('transient and permanent errors', async t => {
  const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' })
  for (const word of ['LOADING', 'READONLY', 'MASTERDOWN', 'CLUSTERDOWN', 'TRYAGAIN', 'BUSY', 'NOREPLICAS']) {
    t.ok(isTransient(reply(`${word} for now`)), word)
  }
  for (const word of ['ERR', 'OOM', 'NOPERM', 'NOAUTH', 'WRONGTYPE', 'ENDED', 'MOVED']) {
    t.notOk(isTransient(reply(`${word} for good`)), word)
  }
  t.ok(isTransient(new Error('Connection is closed.')))
  // The form of Redis 6.2 within a script.
  t.ok(
    isTransient(
      reply(
        "ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -READONLY You can't write against a read only replica."
      )
    )
  )
  t.ok(
    isFull(
      reply(
        "ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed when used memory > 'maxmemory'."
      )
    )
  )
  t.ok(isFull(reply("OOM command not allowed when used memory > 'maxmemory'.")))
  t.notOk(isFull(reply('ERR no OOM')))
  t.notOk(isFull(new Error('OOM ')))
  t.notOk(isRefusal(undefined))
  t.ok(hasMoved(reply('MOVED 1 127.0.0.1:1')))
  t.notOk(hasMoved(new Error('MOVED 1 127.0.0.1:1')))
})

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const make = (t: Test, options: object = {}): { client: Redis, commands: Commands } => {
    const client = server.client(t, options)
    return { client, commands: new Commands(client) }
  }

  t.test('a script that Redis does not know is sent to it', async t => {
    const { client, commands } = make(t)
    for (let n = 0; n < 2; n++) {
      await client.script('FLUSH')
      t.equal((await runState(commands)).newest, 0)
      t.equal((await runState(commands)).newest, 0)
    }
    const stats = await client.info('commandstats')
    t.match(stats, /cmdstat_eval:calls=2,/)
    t.match(stats, /cmdstat_evalsha:calls=4,/)
  })

  t.test('an error of Redis rejects', async t => {
    const { client, commands } = make(t)
    await client.set('taken', 'by another program')
    await t.rejects(commands.run(scripts.state, ['taken', 'taken:events'], ARGS, () => true), {
      name: 'ReplyError',
      message: 'FOREIGN the key is of another kind'
    })
  })

  t.test('an answer of another format is not requested again', async t => {
    const { commands } = make(t)
    const strange = scripts.script("return 'hello'", () => undefined)
    await t.rejects(within('the refusal', commands.run(strange, ['key'], [], () => true)), {
      message: /something else than a script/
    })
  })

  t.test('a lazy client connects on its first command, and one without a queue is awaited', async t => {
    for (const options of [{ lazyConnect: true }, { enableOfflineQueue: false }]) {
      const { commands } = make(t, options)
      t.equal((await within('the answer', runState(commands))).newest, 0)
    }
  })

  t.test('an unreachable Redis is awaited, with one listener for all callers', async t => {
    const port = await freePort()
    const client = server.client(t, { port, retryStrategy: () => 10, maxRetriesPerRequest: 0 })
    const commands = new Commands(client)
    const one = runState(commands)
    const listeners = client.listenerCount('ready')
    const answers = Promise.all([one, ...Array.from({ length: 50 }, () => runState(commands))])
    t.equal(client.listenerCount('ready'), listeners)
    client.options.port = server.port
    t.equal((await within('the answers', answers)).length, 51)
    t.equal(client.listenerCount('ready'), 0)
  })

  t.test('a command that is no longer wanted is not sent', async t => {
    const { client, commands } = make(t, { port: await freePort(), retryStrategy: () => 10 })
    let isWanted = true
    const answers = runState(commands, () => isWanted)
    await turn()
    isWanted = false
    client.options.port = server.port
    await t.rejects(within('the refusal', answers), { message: /no longer waits/ })
  })

  t.test('a closed client is not awaited', async t => {
    const { client, commands } = make(t)
    client.disconnect()
    await t.rejects(within('the refusal', runState(commands)), { message: 'Connection is closed.' })
    const away = make(t, { port: await freePort(), retryStrategy: () => 10 })
    const answers = runState(away.commands)
    await turn()
    away.client.disconnect()
    await t.rejects(within('the refusal', answers), { message: 'Connection is closed.' })
  })

  t.test('a server that is not the master yet is retried until it is', async t => {
    const replica = await RedisServer.start(t, '--replicaof', '127.0.0.1', String(await freePort()))
    const client = replica.client(t)
    const answers = runState(new Commands(client))
    const refused = async (): Promise<boolean> =>
      /cmdstat_eval:.*failed_calls=[1-9]/.test(await client.info('commandstats'))
    while (!await refused());
    await client.call('REPLICAOF', 'NO', 'ONE')
    t.equal((await within('the answer', answers)).newest, 0)
  })

  t.test('a lost answer is requested again', async t => {
    const { client, commands } = make(t, { retryStrategy: () => 10 })
    const answers = Array.from({ length: 20 }, async () => {
      for (let n = 0; n < 50; n++) await runState(commands)
    })
    const other = server.client(t)
    for (let n = 0; n < 10; n++) {
      await turn()
      await other.call('CLIENT', 'KILL', 'SKIPME', 'yes', 'TYPE', 'normal')
    }
    await within('all answers', Promise.all(answers))
    t.equal(client.status, 'ready')
  })
})
