import { FST_SSE_LOG_METHOD, FST_SSE_REAUTHORIZE_TIMEOUT } from '../errors.ts'
import type { EventLogFactory } from '../log/log.ts'
import { timely } from '../log/timely.ts'
import { logSafely } from '../log-safely.ts'
import type { ChannelLogger } from './settings.ts'

// Milliseconds. The close of the server waits for a log no longer.
const CLOSE_TIMEOUT = 5_000

/** The event logs of a registration, and of all its channels and families so far. */
export class EventLogs {
  readonly #logs: Set<EventLogFactory>
  readonly #logger: ChannelLogger

  constructor (log: EventLogFactory, logger: ChannelLogger) {
    this.#logs = new Set([log])
    this.#logger = logger
  }

  add (log: EventLogFactory): void {
    this.#logs.add(log)
  }

  /** Returns the names of the channels with these epochs. Rejects as `app.sse.locate()` does. */
  async locate (epochs: readonly string[]): Promise<Array<string | undefined>> {
    const locates = [...this.#logs].map(log => {
      const { locate } = log
      if (locate === undefined) throw new FST_SSE_LOG_METHOD('locate()', 'app.sse.locate() needs')
      return locate.bind(log)
    })
    return await Promise.all(epochs.map(epoch => locateIn(locates, epoch)))
  }

  /** Releases the shared resources of the logs. Failures are logged. Waits five seconds at most. */
  async close (): Promise<void> {
    const late = (): Error => new FST_SSE_REAUTHORIZE_TIMEOUT('close() of an event log', CLOSE_TIMEOUT)
    await Promise.all([...this.#logs].map(async log => {
      try {
        await timely(async () => await log.close?.(), CLOSE_TIMEOUT, late)
      } catch (err) {
        logSafely(this.#logger, 'error', { err }, 'sse log failed')
      }
    }))
  }
}

type Locate = NonNullable<EventLogFactory['locate']>

/** Returns the name of the log with that epoch. Rejects with the error of a log if no other log has found it. */
function locateIn (locates: readonly Locate[], epoch: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    // An epoch belongs to one log: a log that has found it does not wait for the others.
    const answers = locates.map(async locate => {
      const name = await locate(epoch)
      if (name !== undefined) resolve(name)
    })
    Promise.allSettled(answers).then(settled => {
      const failure = settled.find(answer => answer.status === 'rejected')
      failure === undefined ? resolve(undefined) : reject(failure.reason)
    })
  })
}
