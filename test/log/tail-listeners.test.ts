import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import type { LogBatch } from '../../lib/log/log.ts'
import { TailListeners } from '../../lib/log/tail-listeners.ts'

const BATCH: LogBatch = { epoch: 'a', newest: 0, ended: false, entries: [] }

t.test('a listener that is added twice receives each batch twice, until each removal', t => {
  const calls: string[] = []
  const listeners = new TailListeners(() => calls.push('start'), () => calls.push('stop'))
  const listener = (batch: LogBatch): void => { calls.push(batch.epoch) }
  const [first, second] = [listeners.add(listener), listeners.add(listener)]
  t.equal(listeners.size, 2)
  listeners.deliver(BATCH)
  first()
  first()
  listeners.deliver(BATCH)
  second()
  t.strictSame(calls, ['start', 'start', 'a', 'a', 'a', 'stop'])
  listeners.deliver(BATCH)
  second()
  t.equal(calls.length, 6)
  t.end()
})

t.test('clear() removes all, and a later removal stops nothing', t => {
  const calls: string[] = []
  const listeners = new TailListeners(() => {}, () => calls.push('stop'))
  const remove = listeners.add(() => calls.push('batch'))
  listeners.clear()
  listeners.deliver(BATCH)
  remove()
  t.strictSame(calls, ['stop'])
  t.equal(listeners.size, 0)
  t.end()
})

t.test('L11: the tail starts in the context of no caller', t => {
  const storage = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  const listeners = new TailListeners(() => seen.push(storage.getStore()), () => {})
  storage.run('ann', () => listeners.add(() => {}))
  t.strictSame(seen, [undefined])
  t.end()
})
