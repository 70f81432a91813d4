import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { AppendBatches, type ChannelAppend } from '../../../lib/log/redis/append-batches.ts'
import type { Commands } from '../../../lib/log/redis/commands.ts'

interface Sent {
  keys: readonly string[]
  args: ReadonlyArray<string | number>
  isWanted: () => boolean
  answer: (lines: string[]) => void
  fail: (error: Error) => void
}

/** Commands that are answered by the test. */
class Store {
  readonly sent: Sent[] = []
  readonly seen = new Set<string | undefined>()
  readonly storage = new AsyncLocalStorage<string>()
  offline: { promise: Promise<void>, open: () => void } | undefined
  readonly batches: AppendBatches

  constructor (count = 2) {
    const commands = {
      ready: () => this.offline?.promise,
      run: (_script: unknown, keys: Sent['keys'], args: Sent['args'], isWanted: () => boolean) => {
        this.seen.add(this.storage.getStore())
        return new Promise<string[]>((resolve, reject) => {
          this.sent.push({ keys, args, isWanted, answer: resolve, fail: reject })
        })
      }
    }
    this.batches = new AppendBatches(commands as unknown as Commands,
      { key: 'p:', count, publish: 'PUBLISH', suffix: '@0', secret: 's' })
  }

  /** The names of the channels of each command. */
  get channels (): string[] { return this.sent.map(({ keys }) => keys.slice(1).filter(key => !key.endsWith(':events')).join('')) }

  goOffline (): void {
    let open = (): void => {}
    const promise = new Promise<void>(resolve => { open = resolve })
    this.offline = {
      promise,
      open: () => {
        this.offline = undefined
        open()
      }
    }
  }
}

const of = (
  name: string,
  { records = 1, size = 1, isWanted = () => true }: Partial<ChannelAppend> = {}
): ChannelAppend =>
  ({ keys: [name, `${name}:events`], args: [`args of ${name}`], records, size, isWanted })

t.test('appends of one step go in one command, and each gets its line', async t => {
  const store = new Store()
  const added = ['a', 'b', 'c'].map(name => store.batches.add(of(name)))
  t.strictSame(store.sent, [], 'not within the call')
  await turn()
  t.strictSame(store.channels, ['abc'])
  const [{ keys, args }] = store.sent as [Sent]
  t.match(keys[0], /^p:\w+:0$/)
  t.match(args, [1, 'PUBLISH', '@0', 's', /^\w+$/, 3, 'args of a', 'args of b', 'args of c'])
  store.sent[0]!.answer(['1', '-ENDED the channel has ended', '3'])
  t.equal(await added[0], '1')
  await t.rejects(added[1]!, { name: 'ReplyError', message: 'ENDED the channel has ended' })
  t.equal(await added[2], '3')
})

t.test('each sender has a receipt and one command at a time; other appends wait and go together', async t => {
  const store = new Store()
  const added: Array<Promise<string>> = []
  for (const name of 'abcde') {
    added.push(store.batches.add(of(name)))
    await turn()
  }
  t.strictSame(store.channels, ['a', 'b'])
  t.not(store.sent[0]!.keys[0], store.sent[1]!.keys[0])
  store.sent[1]!.answer(['2'])
  await turn()
  t.strictSame(store.channels, ['a', 'b', 'cde'])
  t.equal(store.sent[2]!.keys[0], store.sent[1]!.keys[0])
  t.strictSame(store.sent.map(({ args }) => args[0]), [1, 1, 2], 'the number of the command of that receipt')
  store.sent[0]!.answer(['1'])
  store.sent[2]!.answer(['3', '4', '5'])
  t.strictSame(await Promise.all(added), ['1', '2', '3', '4', '5'])
})

t.test('a command has a limited number of records and characters', async t => {
  for (const [part, count] of [[{ records: 128 }, 2], [{ size: 64 * 1024 }, 2], [{ records: 500 }, 1]] as const) {
    const store = new Store(1)
    for (const name of 'abc') store.batches.add(of(name, part)).catch(() => {})
    await turn()
    t.equal(store.channels[0]?.length, count)
  }
})

t.test('a rejected command rejects its appends, and the next one is sent', async t => {
  const store = new Store(1)
  const added = ['a', 'b'].map(name => store.batches.add(of(name)))
  await turn()
  const next = store.batches.add(of('c'))
  store.sent[0]!.fail(new Error('full'))
  for (const each of added) await t.rejects(each, { message: 'full' })
  await turn()
  store.sent[1]!.answer([])
  t.equal(await next, '', 'an answer without its line is no answer')
})

t.test('without a connection nothing is taken: an append that is no longer wanted by then is not sent', async t => {
  const store = new Store()
  store.goOffline()
  let wanted = true
  const [late, kept] = [store.batches.add(of('late', { isWanted: () => wanted })), store.batches.add(of('kept'))]
  await turn()
  t.strictSame(store.sent, [])
  wanted = false
  store.offline!.open()
  await t.rejects(late, { message: /no longer waits/ })
  await turn()
  t.strictSame(store.channels, ['kept'])
  t.equal(store.sent[0]!.isWanted(), true)
  store.sent[0]!.answer(['1'])
  t.equal(await kept, '1')
  store.goOffline()
  const alone = store.batches.add(of('alone', { isWanted: () => false }))
  store.offline!.open()
  await t.rejects(alone, { message: /no longer waits/ })
  t.equal(store.sent.length, 1)
})

t.test('L11: a command is sent in the context of no publisher', async t => {
  const store = new Store()
  store.storage.run('ann', () => { store.batches.add(of('a')).catch(() => {}) })
  await turn()
  t.strictSame([...store.seen], [undefined])
})
