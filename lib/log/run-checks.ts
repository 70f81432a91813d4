import assert from 'node:assert/strict'
import type { LogCheck } from './checks.ts'
import type { EventLogFactory, LogRecord, LogStatus, RunLog } from './log.ts'
import { RecordedTail } from './recorded-tail.ts'
import { asRunLog } from './required-methods.ts'

// The contract of a log that serves runs, one test per promise.

/** The fields of a status, also those that the log leaves out. */
const fieldsOf = (status: LogStatus): LogStatus => {
  const { epoch, newest, ended, outcome, owner, leased } = status
  return { epoch, newest, ended, outcome, owner, leased }
}

async function peekAt (log: RunLog): Promise<LogStatus> {
  const status = await log.peek()
  assert.ok(status !== undefined, 'there is a log')
  return fieldsOf(status)
}

const record = (data: string): LogRecord => ({ event: 'message', data, json: false })

export async function checkRunLog (check: LogCheck): Promise<void> {
  await check('a peek reports no log, or an empty one, before the first call', async log => {
    const found = await asRunLog(log).peek()
    if (found === undefined) return
    const { epoch, ...status } = fieldsOf(found)
    assert.deepEqual(status, { newest: 0, ended: false, outcome: undefined, owner: undefined, leased: false })
    assert.equal((await log.state()).epoch, epoch)
  })

  await check('a peek reports the position of the log', async log => {
    const { epoch } = await log.append(record('1'))
    const open = { epoch, outcome: undefined, owner: undefined, leased: false }
    assert.deepEqual(await peekAt(asRunLog(log)), { ...open, newest: 1, ended: false })
    await log.end()
    assert.deepEqual(await peekAt(asRunLog(log)), { ...open, newest: 1, ended: true })
  })

  await check('the end appends its record in the same step, and only the first end counts', async log => {
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await log.append(record('1'))
    await log.end({ ...record('last'), fingerprint: 'abc' }, 'complete')
    await log.end(record('late'), 'stopped')
    await tail.waitFor('the end', () => tail.batches.some(({ ended }) => ended))
    const last = { offset: 2, ...record('last'), fingerprint: 'abc' }
    const ends = tail.batches.filter(({ ended }) => ended)
    assert.deepEqual(ends.map(({ newest, entries }) => [newest, entries.at(-1)]), [[2, last]])
    assert.deepEqual((await log.read(1, 10)).entries.map(entry => ({ ...entry })), [last])
    const { newest, ended, outcome } = await peekAt(asRunLog(log))
    assert.deepEqual([newest, ended, outcome], [2, true, 'complete'])
  })

  await check('a lease has one holder, and the log keeps its first owner', async event => {
    const log = asRunLog(event)
    const status = async (): Promise<unknown[]> => {
      const { owner, leased } = await peekAt(log)
      return [owner, leased]
    }
    assert.equal(await log.lease('one', 60_000), true, 'a free lease is acquired')
    assert.equal(await log.lease('one', 60_000), true, 'and renewed')
    assert.equal(await log.lease('two', 60_000), false, 'by its holder alone')
    assert.equal(await log.lease('two', 0), false, 'which alone releases it')
    assert.deepEqual(await status(), ['one', true])
    assert.equal(await log.lease('one', 0), true)
    assert.deepEqual(await status(), ['one', false])
    assert.equal(await log.lease('two', 60_000), true)
    assert.deepEqual(await status(), ['one', true])
    await log.end()
    assert.equal(await log.lease('two', 60_000), false, 'there is no lease after the end')
    assert.deepEqual(await status(), ['one', false])
  })

  await check('a lease expires', async event => {
    const log = asRunLog(event)
    assert.equal(await log.lease('one', 1), true)
    for (let waited = 0; !await log.lease('two', 60_000); waited += 5) {
      assert.ok(waited < 5_000, 'the lease has not expired after 5 seconds')
      await new Promise(resolve => { setTimeout(resolve, 5) })
    }
    assert.equal(await log.lease('one', 60_000), false)
  })

  await check('of several requests for a lease, one is granted', async log => {
    const owners = Array.from({ length: 20 }, (_, n) => `owner-${n}`)
    const granted = await Promise.all(owners.map(async owner => asRunLog(log).lease(owner, 60_000)))
    assert.equal(granted.filter(Boolean).length, 1)
    assert.equal((await peekAt(asRunLog(log))).owner, owners[granted.indexOf(true)])
  })
}

export async function checkSharedRunLog (check: LogCheck): Promise<void> {
  await check('two nodes share one lease and one outcome', async (one, open) => {
    const [here, there] = [asRunLog(one), asRunLog(open())]
    assert.equal(await there.peek(), undefined, 'there is no log before the first call')
    assert.equal(await here.lease('one', 60_000), true)
    assert.equal(await there.lease('two', 60_000), false)
    assert.deepEqual(await peekAt(there), await peekAt(here))
    await there.end(record('last'), 'stopped')
    assert.equal((await peekAt(here)).outcome, 'stopped')
    assert.equal((await here.read(0, 1)).entries[0]?.data, 'last')
  })
}

export async function checkLocate (check: LogCheck, locate: NonNullable<EventLogFactory['locate']>): Promise<void> {
  await check('the name of a log is found by its epoch', async (log, open) => {
    const epochs = [(await log.append(record('1'))).epoch, (await open(' other').state()).epoch]
    const names = await Promise.all(epochs.map(async epoch => locate(epoch)))
    assert.equal(names[1], `${names[0]} other`)
    assert.match(String(names[0]), /^checkEventLog /)
    assert.equal(await locate('0'), undefined)
  })
}
