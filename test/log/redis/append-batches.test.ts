import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { AppendBatches, type AppendCommand, type AppendSource } from '../../../lib/log/redis/append-batches.ts'
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

/** A channel with one batch, which no caller waits for any more if it is not wanted. */
class Source implements AppendSource {
  isWanted = true
  /** The lines and the errors. */
  readonly answers: string[] = []
  readonly #name: string
  readonly #size: { records?: number, size?: number, keys?: number }

  constructor (name: string, size: { records?: number, size?: number, keys?: number } = {}) {
    this.#name = name
    this.#size = size
  }

  addTo (command: AppendCommand): boolean {
    if (!this.isWanted) return false
    const { records = 1, size = 1, keys = 0 } = this.#size
    command.keys.push(this.#name, `${this.#name}:events`)
    for (let n = 0; n < keys; n++) command.keyed.push(`${this.#name}:${n}:events`)
    command.args.push(`args of ${this.#name}`)
    command.records += records
    command.size += size
    return true
  }

  answered (line: string): void { this.answers.push(line) }
  failed (error: unknown): void { this.answers.push(String(error)) }
}

/** Adds sources with these names. */
function add (store: Store, names: string, size?: ConstructorParameters<typeof Source>[1]): Source[] {
  const sources = Array.from(names, name => new Source(name, size))
  for (const source of sources) store.batches.add(source)
  return sources
}

const answersOf = (sources: Source[]): string[] => sources.flatMap(({ answers }) => answers)

t.test('appends of one step go in one command, and each gets its line', async t => {
  const store = new Store()
  const sources = add(store, 'abc')
  t.strictSame(store.sent, [], 'not within the call')
  await turn()
  t.strictSame(store.channels, ['abc'])
  const [{ keys, args }] = store.sent as [Sent]
  t.match(keys[0], /^p:\w+:0$/)
  t.match(args, [1, 'PUBLISH', '@0', 's', /^\w+$/, 3, 'args of a', 'args of b', 'args of c'])
  store.sent[0]!.answer(['1', '-ENDED the channel has ended', '3'])
  await turn()
  t.strictSame(answersOf(sources), ['1', 'ReplyError: ENDED the channel has ended', '3'])
})

t.test('the keys of appends by key come after those of all channels', async t => {
  const store = new Store()
  add(store, 'ab', { keys: 1 })
  await turn()
  t.strictSame(store.sent[0]!.keys.slice(1), ['a', 'a:events', 'b', 'b:events', 'a:0:events', 'b:0:events'])
})

t.test('each sender has a receipt and one command at a time; other appends wait and go together', async t => {
  const store = new Store()
  const sources: Source[] = []
  for (const name of 'abcde') {
    sources.push(...add(store, name))
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
  await turn()
  t.strictSame(answersOf(sources), ['1', '2', '3', '4', '5'])
})

t.test('a command has a limited number of records and characters', async t => {
  for (const [part, count] of [[{ records: 128 }, 2], [{ size: 64 * 1024 }, 2], [{ records: 500 }, 1]] as const) {
    const store = new Store(1)
    add(store, 'abc', part)
    await turn()
    t.equal(store.channels[0]?.length, count)
  }
})

t.test('a rejected command rejects its appends, and the next one is sent', async t => {
  const store = new Store(1)
  const sources = add(store, 'ab')
  await turn()
  const next = add(store, 'c')
  store.sent[0]!.fail(new Error('full'))
  await turn()
  t.strictSame(answersOf(sources), ['Error: full', 'Error: full'])
  store.sent[1]!.answer([])
  await turn()
  t.strictSame(answersOf(next), [''], 'an answer without its line is no answer')
})

t.test('a channel that throws gets its own error, and the others of the command get their answers', async t => {
  const store = new Store(1)
  const sources = add(store, 'abc')
  const error = new Error('broken')
  sources[1]!.answered = () => { throw error }
  await turn()
  store.sent[0]!.answer(['1', '2', '3'])
  await turn()
  t.strictSame(answersOf(sources), ['1', 'Error: broken', '3'])
  add(store, 'd')
  await turn()
  t.equal(store.sent.length, 2, 'the sender is free again')
})

t.test('without a connection nothing is taken: an append that is no longer wanted by then is not sent', async t => {
  const store = new Store()
  store.goOffline()
  const [late, kept] = add(store, 'lk') as [Source, Source]
  await turn()
  t.strictSame(store.sent, [])
  late.isWanted = false
  store.offline!.open()
  await turn()
  t.strictSame(store.channels, ['k'])
  t.equal(store.sent[0]!.isWanted(), true)
  kept.isWanted = false
  t.equal(store.sent[0]!.isWanted(), false)
  store.sent[0]!.answer(['1'])
  await turn()
  t.strictSame([late.answers, kept.answers], [[], ['1']])
  store.goOffline()
  const [alone] = add(store, 'a') as [Source]
  alone.isWanted = false
  store.offline!.open()
  await turn()
  t.strictSame(alone.answers, [])
  t.equal(store.sent.length, 1)
  add(store, 'b')
  await turn()
  t.strictSame(store.channels, ['k', 'b'], 'the sender is free again')
})

t.test('L11: a command is sent in the context of no publisher', async t => {
  const store = new Store()
  store.storage.run('ann', () => add(store, 'a'))
  await turn()
  t.strictSame([...store.seen], [undefined])
})
