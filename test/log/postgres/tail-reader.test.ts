import t from 'tap'
import { NOTHING_KNOWN, type ChannelArguments } from '../../../lib/log/postgres/channel-state.ts'
import { TailReader } from '../../../lib/log/postgres/tail-reader.ts'

const isWanted = (): boolean => true
const channel = (name: string): ChannelArguments =>
  ({ name, known: NOTHING_KNOWN, limits: { events: 1, bytes: 1, age: null } })

/** A database that answers on command of the test. */
class Store {
  readonly calls: Array<{ names: string[], afters: number[], limit: number }> = []
  answer = (): void => {}
  fails = false
  readonly reader = new TailReader({
    call: async (_name, values) => {
      const [names, afters, limit] = [values[0], values[7], values[8]] as [string[], number[], number]
      this.calls.push({ names, afters, limit })
      await new Promise<void>(resolve => { this.answer = resolve })
      if (this.fails) throw new Error('refused')
      return names.map((name, n) =>
        [String(n + 1), null, name, '1', String(afters[n]), '1', 'f', '1', null, null, null, null, null])
    }
  })
}

t.test('reads that arrive together, or meanwhile, are one statement each, without a name twice', async t => {
  const store = new Store()
  const reads = [store.reader.read(channel('a'), 1, isWanted), store.reader.read(channel('b'), 2, isWanted), store.reader.read(channel('a'), 3, isWanted)]
  await new Promise(setImmediate)
  const more = store.reader.read(channel('c'), 4, isWanted)
  t.strictSame(store.calls, [{ names: ['a', 'b'], afters: [1, 2], limit: 500 }])
  store.answer()
  t.match(await Promise.all(reads.slice(0, 2)), [{ epoch: 'a', newest: 1 }, { epoch: 'b', newest: 2 }])
  await new Promise(setImmediate)
  t.strictSame(store.calls[1], { names: ['a', 'c'], afters: [3, 4], limit: 500 })
  store.answer()
  t.match(await Promise.all([reads[2], more]), [{ epoch: 'a', newest: 3 }, { epoch: 'c', newest: 4 }])
})

t.test('a statement has at most 200 channels, with fewer entries of each', async t => {
  const store = new Store()
  const reads = Array.from({ length: 250 }, (_, n) => store.reader.read(channel(`${n}`), 0, isWanted))
  await new Promise(setImmediate)
  store.answer()
  await reads[0]
  await new Promise(setImmediate)
  store.answer()
  await Promise.all(reads)
  t.strictSame(store.calls.map(({ names, limit }) => [names.length, limit]), [[200, 20], [50, 80]])
})

t.test('a state has no entries, and a statement is repeated while a caller waits', async t => {
  const afters: unknown[] = []
  const wanted: boolean[] = []
  let waits = true
  const reader = new TailReader({
    call: async (_name, values, wants) => {
      afters.push(values[7])
      wanted.push(wants())
      waits = false
      wanted.push(wants())
      throw new Error('refused')
    }
  })
  await t.rejects(reader.state(channel('a'), () => waits), { message: 'refused' })
  t.strictSame([afters, wanted], [[[Number.MAX_SAFE_INTEGER]], [true, false]])
})

t.test('a rejection rejects the reads of its statement, and later ones are sent', async t => {
  const store = new Store()
  store.fails = true
  const reads = [store.reader.read(channel('a'), 0, isWanted), store.reader.read(channel('b'), 0, isWanted)]
  await new Promise(setImmediate)
  store.answer()
  for (const read of reads) await t.rejects(read, { message: 'refused' })
  store.fails = false
  const later = store.reader.read(channel('a'), 5, isWanted)
  await new Promise(setImmediate)
  store.answer()
  t.match(await later, { newest: 5 })
})
